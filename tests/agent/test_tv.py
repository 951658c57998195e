"""Is a channel received as it is on the wire, told apart from what this machine loses, and left again?"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from balise_agent.channels import Channel
from balise_agent.contract import Record
from balise_agent.net.mpegts.analyser import Analyser
from balise_agent.net.tv import machine
from balise_agent.net.tv.address import Address
from balise_agent.net.tv.joining import Joined
from balise_agent.net.tv.leaving import Watch
from balise_agent.net.tv.receiving import Came, Receiver, slots
from balise_agent.net.tv.sample import sample, window, zap
from balise_agent.probes import tv, tv_plan, tv_rates
from balise_agent.probes.context import Context
from tests.agent.mpegts.streams import datagrams, over_rtp, stream
from tests.waiting import free_port, until

GROUP = "239.77.31.1"
PACE_S = 0.007  # seven packets of the hand-made stream, at its 1,000 a second


@contextmanager
def sending(parts: list[bytes], host: str, port: int, source: str = "127.0.0.1") -> Iterator[None]:
    """The parts at their pace, again and again."""
    over = threading.Event()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    sender.bind((source, 0))

    def send() -> None:
        start_s = time.monotonic()
        for n in count():
            if over.wait(max(0.0, start_s + n * PACE_S - time.monotonic())):
                return
            sender.sendto(parts[n % len(parts)], (host, port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sender.close()


PLAIN = datagrams(stream(14_000))


def context(folder: Path, **more: Any) -> Context:
    made = Context(
        now_bt_ms=lambda: 7,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=folder,
        identity="probe0001",
        wall_s=lambda: 1_000_000.0,
    )
    return replace(made, **more)


def settings(*channels: Channel, **more: Any) -> tv.TvSettings:
    known: dict[str, Any] = {"listen_s": 1, "fastest_join_ms": 0, "ungated": True, "every_s": 3_600, "interface": "lo"}
    return tv.TvSettings(channels=channels, **known | more)


def taken(chosen: tv.TvSettings, outside: Context) -> list[Record]:
    return asyncio.run(tv.run(chosen, outside))


@pytest.mark.parametrize("encap", ["udp", "rtp"])
def test_a_multicast_channel_is_joined_analysed_and_told_from_its_first_packet_on(encap: str, tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    parts = over_rtp(PLAIN) if encap == "rtp" else PLAIN
    with sending(parts, GROUP, port):
        of_zap, of_window = taken(settings(Channel(label="one", url=f"{encap}://{GROUP}:{port}")), context(tmp_path))
    assert [(one.measurement, one.target, one.outcome.kind) for one in (of_zap, of_window)] == [
        ("tv_zap", "one", "ok"),
        ("tv_window", "one", "ok"),
    ]
    assert of_zap.fields["ok"] is True
    assert of_zap.fields["encap"] == of_window.fields["encap"] == encap
    steps = [float(of_zap.fields[f"zap_{step}_ms"]) for step in ("pat", "pmt", "rap")]
    assert steps == sorted(steps)
    assert float(of_window.fields["listened_s"]) >= 0.9
    assert "tdt" in str(of_window.fields["not_judged"]).split(",")


def test_one_of_two_senders_is_chosen_by_its_address() -> None:
    port = free_port(socket.SOCK_DGRAM)
    other = [b"\x47" + bytes(187)] * 7
    with sending(PLAIN, GROUP, port), sending(other, GROUP, port, source="127.0.0.2"):
        found = sample(Address(group=GROUP, port=port, source="127.0.0.1"), 1, "lo")
    assert found.outcome.kind == "ok"
    assert found.zap["ok"] is True
    assert found.window["psi_crc_err"] == 0


def test_a_group_of_another_socket_of_this_machine_is_not_ours() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with ExitStack() as stack:
        ours = stack.enter_context(closing(Joined(Address(group=GROUP, port=port), "lo")))
        theirs = stack.enter_context(closing(Joined(Address(group=GROUP, port=port), "lo")))
        theirs.join()
        with sending(PLAIN, GROUP, port):
            until(lambda: list(Receiver(theirs, slots()).drain()), "the other socket has some")
        assert list(Receiver(ours, slots()).drain()) == []


def test_a_channel_sent_to_this_probe_alone_is_received_and_is_no_join(tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with sending(PLAIN, "127.0.0.1", port):
        taken(settings(Channel(label="one", url=f"udp://127.0.0.1:{port}")), context(tmp_path))
    assert json.loads((tmp_path / "tv.json").read_text())["joined"] == 0


def test_where_nobody_sends_there_is_no_signal(tmp_path: Path) -> None:
    records = taken(
        settings(Channel(label="one", url=f"udp://{GROUP}:{free_port(socket.SOCK_DGRAM)}")), context(tmp_path)
    )
    assert {one.outcome.reason for one in records} == {"no_signal"}
    assert json.loads((tmp_path / "tv.json").read_text())["unanswered"] == 1


def test_what_is_no_transport_stream_is_said_to_be_none() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with sending([b"no television"], GROUP, port):
        found = sample(Address(group=GROUP, port=port), 1, "lo", now_s=running(9))
    assert found.outcome.reason == "no_stream"


@pytest.mark.parametrize("is_at_once", [True, False])
def test_what_this_machine_drops_is_never_the_lines(is_at_once: bool) -> None:
    """2,000 datagrams into a queue for some 900, 5 of them withheld; then it is read again."""
    port = free_port(socket.SOCK_DGRAM)
    parts = over_rtp(datagrams(stream(14_140)))
    withheld = set(range(2_003, 2_008))
    analyser = Analyser("plain")
    with closing(Joined(Address(group="127.0.0.1", port=port))) as joined, closing(to(port)) as sender:
        receiver = Receiver(joined, slots() if is_at_once else None)
        for number, part in enumerate(parts):
            if number not in withheld:
                sender.send(part)
            if number < 10 or number >= 2_000:
                for came in receiver.drain():
                    analyser.feed_run(came.data, came.arrivals_ns, came.dropped)
        analyser.drop(receiver.unseen_drops())
        dropped = joined.drops()
    analyser.finish()
    found = window(analyser.report(), is_sound=True)
    assert found["local_drop_datagrams"] == dropped > 500
    assert (found["loss_method"], found["net_lost_datagrams"], found["valid"]) == ("rtp", 5, False)
    assert "cc_err" not in found


def one_by_one(came: list[Came]) -> list[tuple[bytes, int]]:
    found = []
    for data, arrivals_ns, _ in came:
        size = len(data) // len(arrivals_ns)
        found += [(data[n * size : (n + 1) * size], at_ns) for n, at_ns in enumerate(arrivals_ns)]
    return found


@pytest.mark.parametrize("source", ["", "127.0.0.1"])
def test_many_at_once_are_what_each_for_itself_is(source: str) -> None:
    """Of all sizes, from two senders, to two sockets that joined the same group."""
    port, sizes = free_port(socket.SOCK_DGRAM), [1_316] * 300 + [0, 1, 188, 2_048, 2_049, 3_000] * 9 + [1_316] * 5
    address = Address(group=GROUP, port=port, source=source)
    with ExitStack() as stack:
        both = [stack.enter_context(closing(Joined(address, "lo"))) for _ in range(2)]
        for one in both:
            one.join()
        senders = [stack.enter_context(closing(bound_to(f"127.0.0.{host}"))) for host in (1, 2)]
        for number, size in enumerate(sizes):
            senders[number % 7 == 0].sendto(bytes([number & 0xFF]) * size, (GROUP, port))
        room = slots()
        assert room is not None
        together, apart = list(Receiver(both[0], room).drain()), list(Receiver(both[1], None).drain())
    assert one_by_one(together) == one_by_one(apart)
    wanted = [n for n, size in enumerate(sizes) if size <= 2_048 and (n % 7 or not source)]
    assert [len(data) for data, _ in one_by_one(apart)] == [sizes[n] for n in wanted]
    assert max(len(one.arrivals_ns) for one in together) > (100 if not source else 0)


@pytest.mark.parametrize("is_at_once", [True, False])
def test_a_drop_after_the_last_datagram_is_seen_too(is_at_once: bool) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with closing(Joined(Address(group="127.0.0.1", port=port))) as joined, closing(to(port)) as sender:
        for _ in range(3_000):
            sender.send(PLAIN[0])
        receiver = Receiver(joined, slots() if is_at_once else None)
        read = sum(len(one.arrivals_ns) for one in receiver.drain())
        assert (read + receiver.unseen_drops(), read < 3_000) == (3_000, True)


def test_a_scrambled_picture_is_not_judged_and_is_no_failure() -> None:
    analyser = Analyser("plain")
    for n, part in enumerate(datagrams([scrambled(one) for one in stream(2_100)])):
        analyser.feed(part, n * 7_000_000)
    analyser.finish()
    found = zap(analyser, analyser.report())
    assert "ok" not in found
    assert "zap_rap_ms" not in found
    assert found["zap_pcr_ms"] == pytest.approx(0, abs=1_000)


@pytest.mark.parametrize("watched", [False, True])
def test_a_record_is_of_the_same_shape_whether_or_not_the_household_watches(watched: bool, tmp_path: Path) -> None:
    """The set-top box is on the channel, so that the line carries it already, or it is not."""
    port = free_port(socket.SOCK_DGRAM)
    chosen = settings(Channel(label="one", url=f"udp://{GROUP}:{port}"), fastest_join_ms=1_000, listen_s=2.5)
    with ExitStack() as stack:
        if watched:
            stack.enter_context(closing(Joined(Address(group=GROUP, port=port), "lo"))).join()
        stack.enter_context(sending(PLAIN, GROUP, port))
        folder, records = undisturbed(chosen, tmp_path)
    told = [[one.measurement, one.target, one.outcome.kind, *sorted(one.fields)] for one in records]
    assert told == [one.split() for one in SHAPE]
    hints = ("join", "network", "leave", "igmp", "watch")
    assert not [name for one in records for name in one.fields if any(hint in name for hint in hints)]
    kept = tv_plan.load(folder / "tv.json")
    assert (kept.joined, kept.joins_ms) == (1, ())  # so fast a join is counted, and its time is nowhere


def undisturbed(chosen: tv.TvSettings, tmp_path: Path) -> tuple[Path, list[Record]]:
    """The first sample that was not disturbed by a machine that is busy, which would leave fields out of it, and where
    its probe keeps what it knows."""
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        records = taken(chosen, context(folder))
        if records[1].fields.get("valid"):
            break
    return folder, records


SHAPE = [
    """tv_zap one ok af encap gop_ms ok zap_pat_ms zap_pcr_ms zap_pes_ms zap_pmt_ms zap_rap_ms""",
    """tv_window one ok af cc_err clock_drift_ppm duplicates encap es_ratio iat_max_ms listened_s local_drop_datagrams
    loss_events loss_method loss_ratio loss_run_max mdi_df_ms net_lost_datagrams not_judged null_ratio
    pat_interval_max_ms pcr_arrival_jitter_pp_ms pcr_disc_err pcr_gt100 pcr_gt40 pcr_interval_max_ms pid_missing
    pmt_interval_max_ms psi_crc_err psi_truncated pts_interval_max_ms reordered scrambled_ratio sync_err sync_loss tei
    ts_bps valid video_bps""",
]


def test_the_schedule_is_the_same_whatever_was_received(tmp_path: Path) -> None:
    chosen = settings(*(Channel(label=f"c{n}", url=f"udp://{GROUP}:{5_000 + n}") for n in range(8)))
    plan = tv_plan.plan_of(chosen, chosen.received, context(tmp_path).identity)
    order = [tv_plan.channel_of(plan, slot).label for slot in range(24)]
    kept = tv_plan.joined(tv_plan.Kept(), 0.2, None)
    assert order == [tv_plan.channel_of(plan, slot).label for slot in range(24)]
    assert tv_plan.due(plan, kept, 1_000_000.0) == tv_plan.due(plan, tv_plan.Kept(), 1_000_000.0)
    assert all(len(set(order[at : at + 8])) == 8 for at in range(0, 24, 8))


def test_while_the_line_is_in_use_nothing_is_joined_and_only_the_days_count_tells(tmp_path: Path) -> None:
    async def busy() -> tuple[str, str | None]:
        return "busy", "counters"

    chosen = settings(Channel(label="one", url=f"udp://{GROUP}:{free_port(socket.SOCK_DGRAM)}"), ungated=False)
    assert taken(chosen, context(tmp_path, line_use=busy)) == []
    later = context(tmp_path, line_use=busy, wall_s=lambda: 1_000_000.0 + 86_400)
    (day,) = [one for one in taken(chosen, later) if one.measurement == "heavy_day"]
    assert (day.target, day.fields["skipped_line_busy"], day.fields["run"]) == ("tv", 1, 0)


def test_a_picture_far_below_its_own_rate_is_suspected_to_stand_still() -> None:
    rates: tv_rates.Rates = {}
    assert tv_rates.is_suspected(rates, "one", 10, 0) is None
    for n in range(6):
        rates = tv_rates.seen(rates, "one", 6_000_000, n * 300, ["one"])
    assert tv_rates.is_suspected(rates, "one", 900_000, 2_000) is False
    assert tv_rates.is_suspected(rates, "one", 25_000, 2_000) is True
    assert tv_rates.is_suspected(rates, "one", 25_000, 200_000) is None


def test_a_clock_that_steps_and_a_card_that_loses_make_a_window_invalid() -> None:
    before = machine.Machine(errors=3, wall_less_monotonic_ns=10)
    assert machine.is_sound(before, before)
    assert not machine.is_sound(before, replace(before, errors=4))
    assert not machine.is_sound(before, replace(before, wall_less_monotonic_ns=2_000_000))
    assert machine.look().errors >= 0


def test_on_loopback_nobody_can_tell_when_a_group_was_left() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with sending(PLAIN, GROUP, port), closing(Watch(Address(group=GROUP, port=port), "lo")) as watch:
        assert watch.left_ms(time.time_ns()) is None


# between two hosts


def test_a_group_of_ipv6_crosses_a_wire_and_what_follows_its_leave_is_seen() -> None:
    with two_hosts() as (near, far):
        found = crossed(near, far, "ff15::7731")
    assert (found["kind"], found["fields"]["zap.ok"]) == ("ok", True), found
    assert found["fields"]["window.net_lost_datagrams"] == 0
    assert 0 < found["fields"]["join.leave_ms"] <= 5_000  # this sender knows of no listeners and goes on


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    names = tuple(f"tv{free_port(socket.SOCK_DGRAM)}{side}" for side in "ab")
    with ExitStack() as stack:
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
                pytest.skip("network namespaces need root")
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        lines = [f"link add v0 type veth peer name v0 netns {names[1]}"]
        subprocess.run(["ip", "-n", names[0], *lines[0].split()], check=True)
        for number, name in enumerate(names, 1):
            for line in (
                f"addr add 10.66.0.{number}/24 dev v0",
                f"addr add fd00:66::{number}/64 dev v0 nodad",
                "link set lo up",
                "link set v0 up",
                "route add 224.0.0.0/4 dev v0",
                "-6 route add multicast ff15::/16 dev v0 table local",
            ):
                subprocess.run(["ip", "-n", name, *line.split()], check=True)
        yield names[0], names[1]


SENDER = """
import socket, sys, time
from tests.agent.mpegts.streams import datagrams, stream
group, seconds = sys.argv[1], float(sys.argv[2])
family = socket.AF_INET6 if ":" in group else socket.AF_INET
sender = socket.socket(family, socket.SOCK_DGRAM)
if ":" in group:
    sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("v0"))
parts, start = datagrams(stream(14_000)), time.monotonic()
for n in range(int(seconds / 0.007)):
    time.sleep(max(0.0, start + n * 0.007 - time.monotonic()))
    sender.sendto(parts[n % len(parts)], (group, 5004))
"""


def crossed(near: str, far: str, group: str) -> dict[str, Any]:
    program = ["ip", "netns", "exec"]
    command = [*program, near, sys.executable, "-c", SENDER, group, "600"]
    spec = {"group": group, "port": 5004, "source": "", "listen_s": 1, "interface": "v0"}
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as sender:
        try:
            run = subprocess.run(
                [*program, far, sys.executable, "-m", "balise_agent.net.tv"],
                input=json.dumps(spec),
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            sender.kill()
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


# small things


def to(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(("127.0.0.1", port))
    return made


def bound_to(source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    made.bind((source, 0))
    return made


def scrambled(one: bytes) -> bytes:
    """The video, its clock aside."""
    pid = (one[1] & 0x1F) << 8 | one[2]
    return one[:3] + bytes([one[3] | 0x80]) + one[4:] if pid in (0x101, 0x102) else one


def running(step_s: float) -> Callable[[], float]:
    """A clock that is ahead: so a wait of seconds is short."""
    start_s = time.monotonic()
    return lambda: start_s + (time.monotonic() - start_s) * step_s
