"""Does a window tell what was lost, how long the rest took, and why nothing came?"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.codec import check_record
from balise_agent.contract import OK, Record, failed, skipped
from balise_agent.net import icmp, stamp
from balise_agent.net.datagram import Sent
from balise_agent.net.ranks import nearest_rank
from balise_agent.probes.context import Context
from balise_agent.probes.echoes import Echo, summarise
from balise_agent.probes.reach import ReachSettings, ReachTarget, run
from balise_agent.settings import build

MS = 1_000_000
AGENT = Path(__file__).parents[2] / "agent"


def context(seed: int = 1) -> Context:
    return Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // MS,
        monotonic=time.monotonic,
        rng=random.Random(seed),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=Path("/"),
    )


def measure(*targets: ReachTarget, interval_s: float = 1.0) -> list[Record]:
    records = asyncio.run(run(ReachSettings(interval_s=interval_s, targets=targets), context()))
    assert [check_record(record) for record in records] == [None] * len(targets)
    assert [record.target for record in records] == [target.label for target in targets]
    return records


@pytest.fixture
def ping() -> None:
    try:
        icmp.open_ping_socket(socket.AF_INET).close()
    except PermissionError:
        pytest.skip("no ping sockets for this user: net.ipv4.ping_group_range")


@contextmanager
def reflector(fates: str = "", *, stateful: bool = True, silent: bool = False, held_s: float = 0) -> Iterator[int]:
    """A STAMP peer: questions in turn are answered (.), lost on the way there (f) or back (r); the others, answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            turns, reached = iter(fates), 0
            while (received := sock.recvfrom(100))[0]:
                question, fate = stamp.decode_sender(received[0]), next(turns, ".")
                assert question is not None
                if fate == "." and not silent:
                    time.sleep(held_s)
                    sock.sendto(answer(question, reached if stateful else question.sequence, held_s), received[1])
                reached += fate != "f"

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"", sock.getsockname())
            thread.join()


def answer(question: stamp.SenderPacket, sequence: int, held_s: float = 0) -> bytes:
    packet = stamp.ReflectedPacket(
        sequence=sequence,
        time_ns=1 + int(held_s * 1_000) * MS,
        session=question.session,
        received_ns=1,
        sender_sequence=question.sequence,
        sender_time_ns=question.time_ns,
        sender_error=question.error,
        sender_ttl=64,
    )
    return stamp.encode_reflected(packet)


def test_echoes_while_a_test_of_its_own_fills_the_line_are_in_no_figure() -> None:
    asked = iter([False, True, True])  # the first is quiet, the rest of the window is not
    with reflector() as port:
        target = ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.1)
        settings = ReachSettings(interval_s=1.0, targets=(target,))
        quiet = replace(context(), own_load=lambda: next(asked, True))
        (record,) = asyncio.run(run(settings, quiet))
        (skip,) = asyncio.run(run(settings, replace(context(), own_load=lambda: True)))
    assert record.outcome == OK
    assert record.fields["sent"] == 1
    assert "fwd_lost" not in record.fields
    assert skip.outcome == skipped("own_test")


@pytest.mark.usefixtures("ping")
def test_echoes_come_back_with_kernel_stamps_over_both_families() -> None:
    four, six = measure(
        ReachTarget(label="four", host="127.0.0.1", every_s=0.1), ReachTarget(label="six", host="::1", every_s=0.1)
    )
    for record, af in ((four, 4), (six, 6)):
        if af == 6 and record.outcome != OK:
            pytest.skip("no IPv6 on this machine's loopback")
        fields = record.fields
        assert record.outcome == OK
        assert (fields["method"], fields["af"], fields["lost"], fields["burst_max"]) == ("icmp", af, 0, 0)
        assert 1 < int(fields["sent"]) <= 10
        assert fields["kernel_stamped"] == fields["sent"]
        assert 0 <= fields["min_us"] <= fields["p50_us"] <= fields["p95_us"] <= fields["p99_us"]  # type: ignore[operator]


def test_a_loss_is_told_by_its_direction() -> None:
    with reflector("..ffr.r") as port:
        (record,) = measure(ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.05))
    assert record.outcome == OK
    assert {name: record.fields[name] for name in ("lost", "burst_max", "fwd_lost", "rev_lost")} == {
        "lost": 4,
        "burst_max": 3,
        "fwd_lost": 2,
        "rev_lost": 2,
    }


def test_the_time_in_the_reflector_is_no_part_of_the_round_trip() -> None:
    with reflector(held_s=0.2) as port:
        (record,) = measure(ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.5))
    assert record.outcome == OK
    assert 0 <= int(record.fields["min_us"]) < 200_000


def test_a_stateless_reflector_leaves_the_direction_unsaid() -> None:
    with reflector("..f.", stateful=False) as port:
        (record,) = measure(ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.1))
    assert (record.outcome, record.fields["lost"]) == (OK, 1)
    assert not {"fwd_lost", "rev_lost"} & record.fields.keys()


def test_a_silent_target_is_no_answer_with_all_it_lost_and_no_times() -> None:
    with reflector(silent=True) as port:
        (record,) = measure(ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.25))
    assert record.outcome == failed("no_answer")
    sent = record.fields["sent"]
    assert (record.fields["lost"], record.fields["burst_max"]) == (sent, sent)
    assert record.fields.keys() == {"method", "af", "window_s", "sent", "lost", "burst_max"}


def test_a_closed_port_is_told_at_once_by_its_own_reason() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (record,) = measure(ReachTarget(label="op", host="127.0.0.1", method="stamp", port=port, every_s=0.25))
    assert record.outcome == failed("unreachable_port")
    assert record.fields["lost"] == record.fields["sent"]


def test_a_name_that_does_not_resolve_holds_up_no_other_target() -> None:
    with reflector() as port:
        unknown, known = measure(
            ReachTarget(label="unknown", host="a..b"),
            ReachTarget(label="known", host="localhost", method="stamp", port=port, every_s=0.2),
        )
    assert (unknown.outcome, dict(unknown.fields)) == (failed("resolve"), {"method": "icmp"})
    assert known.outcome == OK


def test_an_answer_to_another_question_is_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))

        def forge() -> None:
            data, source = peer.recvfrom(100)
            question = stamp.decode_sender(data)
            assert question is not None
            other_time = stamp.SenderPacket(sequence=question.sequence, time_ns=1, session=question.session)
            other_session = stamp.SenderPacket(
                sequence=question.sequence, time_ns=question.time_ns, session=question.session ^ 1
            )
            for forged in (b"", b"junk", data, answer(other_time, 0), answer(other_session, 0)):
                peer.sendto(forged, source)

        thread = threading.Thread(target=forge)
        thread.start()
        (record,) = measure(
            ReachTarget(label="op", host="127.0.0.1", method="stamp", port=peer.getsockname()[1], every_s=10)
        )
        thread.join()
    assert (record.outcome, record.fields["sent"]) == (failed("no_answer"), 1)


def test_without_targets_there_is_nothing_to_wait_for() -> None:
    assert measure(interval_s=3_600) == []


def test_a_user_without_ping_sockets_and_a_machine_without_a_route_are_told_apart() -> None:
    """In a network of its own, as a container's: no group may ping (ping_group_range "1 0"), and loopback is down."""
    code = f"""
import asyncio, sys
sys.path[:0] = [{str(AGENT)!r}, {str(Path(__file__).parent)!r}]
from test_reach import ReachSettings, ReachTarget, context, run
targets = tuple(ReachTarget(label=method, host="127.0.0.1", method=method) for method in ("icmp", "stamp"))
for record in asyncio.run(run(ReachSettings(interval_s=1, targets=targets), context())):
    print(record.target, record.outcome.reason, record.fields.get("sent"), record.fields.get("lost"))
"""
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace")
    done = subprocess.run([*alone, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["icmp no_ping_permission None None", "stamp no_route 1 1"], "")


def echo(rtt_ms: float | None, *, refused: str | None = None) -> Echo:
    rtt_ns = None if rtt_ms is None else int(rtt_ms * MS)
    return Echo(sequence=1, sent=Sent(wall_ns=0, mono_ns=0), rtt_ns=rtt_ns, refused=refused, stamped=True)


def test_percentiles_are_nearest_rank_and_jitter_is_of_consecutive_round_trips() -> None:
    outcome, fields = summarise([echo(ms) for ms in (10, 30, None, 20, 40)], method="icmp", af=4, window_s=60.0)
    assert outcome == OK
    assert fields == {
        "method": "icmp",
        "af": 4,
        "window_s": 60.0,
        "sent": 5,
        "lost": 1,
        "burst_max": 1,
        "min_us": 10_000,
        "p50_us": 20_000,
        "p95_us": 40_000,
        "p99_us": 40_000,
        "jitter_us": 16_667,  # 20, 10 and 20 ms
        "kernel_stamped": 4,
    }


def test_an_answer_after_two_seconds_is_lost() -> None:
    _, fields = summarise([echo(2_000), echo(2_001)], method="icmp", af=4, window_s=60.0)
    assert (fields["lost"], fields["p99_us"]) == (1, 2_000_000)


def test_one_round_trip_has_no_jitter() -> None:
    assert "jitter_us" not in summarise([echo(1)], method="icmp", af=4, window_s=60.0)[1]


@pytest.mark.parametrize(
    ("echoes", "reason"),
    [
        ([echo(None), echo(None)], "no_answer"),
        ([echo(None, refused="unreachable_net")] * 2, "unreachable_net"),
        ([echo(None, refused="unreachable_net"), echo(None), echo(None)], "unreachable_net"),
        ([echo(None, refused="unreachable_host")] * 3 + [echo(None, refused="prohibited")], "unreachable_host"),
    ],
)
def test_where_nothing_came_the_reason_is_what_was_told_most_often(echoes: list[Echo], reason: str) -> None:
    assert summarise(echoes, method="icmp", af=4, window_s=60.0)[0] == failed(reason)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(1, 100))
def test_a_nearest_rank_is_a_value_that_at_least_that_share_is_not_above(values: list[int], percent: int) -> None:
    ordered = sorted(values)
    rank = nearest_rank(ordered, percent)
    assert sum(v <= rank for v in ordered) * 100 >= percent * len(ordered)
    assert sum(v < rank for v in ordered) * 100 < percent * len(ordered)


def test_settings_say_all_their_faults() -> None:
    raw = {"interval_s": 0, "targets": [{"label": "Gw", "host": "a b", "method": "tcp", "port": 0, "every_s": 0}]}
    _, faults = build(ReachSettings, raw, "reach")
    assert [fault.partition(":")[0] for fault in faults] == [
        "reach.interval_s",
        "reach.targets[0].label",
        "reach.targets[0].host",
        "reach.targets[0].method",
        "reach.targets[0].port",
        "reach.targets[0].every_s",
    ]
