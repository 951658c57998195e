"""Does the telephone's probe register, ask and call as operators have it, and say what it met?"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from balise_agent.codec import check_record
from balise_agent.contract import OK, Record, failed, skipped
from balise_agent.net import srv
from balise_agent.probes.context import Context
from balise_agent.probes.voice import VoiceAccount, VoiceNumber, VoicePath, VoiceSettings, run
from balise_agent.probes.voice_numbers import NUMBER_ALLOWED
from balise_agent.settings import Secret, build
from tests.agent.sip_peers import PASSWORD, Proxy, baresip, kamailio, refusing, sipp, uas
from tests.agent.targets import target_ports
from tests.agent.test_srv import resolver, srv_data
from tests.agent.voice_relay import Way, relay
from tests.waiting import free_port, until

NOON_S = 1_800_000_000.0


def context(folder: Path = Path("/"), **given: Any) -> Context:
    return Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(given.pop("seed", None)),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=folder,
        **({"asked": True} | given),
    )


def account(port: int, **given: Any) -> VoiceAccount:
    own: dict[str, Any] = {"label": "op", "domain": "127.0.0.1", "host": "127.0.0.1", "port": port, "user": "probe"}
    return VoiceAccount(**(own | {"password": Secret(PASSWORD), "dedicated": True} | given))


def settings(**given: Any) -> VoiceSettings:
    usual: dict[str, Any] = {"talk_s": 1.0, "timeout_s": 20.0, "ring_s": 30.0, "linger_s": 20.0}
    return VoiceSettings(**(usual | given))


def measured(asked: VoiceSettings, around: Context | None = None) -> dict[str, Record]:
    """Records by measurement and target."""
    records = asyncio.run(run(asked, around or context()))
    assert [(record, why) for record in records if (why := check_record(record)) is not None] == []
    return {f"{record.measurement} {record.target}": record for record in records}


def told(record: Record) -> Mapping[str, Any]:
    return record.fields


def calling(proxy: Proxy, number: str = "1234", **given: Any) -> VoiceSettings:
    numbers = (VoiceNumber(label="echo", account="op", number=number),)
    account_given = {name: given.pop(name) for name in ("transport", "password") if name in given}
    return settings(accounts=(account(proxy.port, **account_given),), numbers=numbers, **given)


@pytest.mark.parametrize(("transport", "algorithm"), [("udp", "MD5"), ("tcp", "SHA-256")])
def test_a_call_goes_through_a_proxy_that_records_its_route_with_a_digest(
    tmp_path: Path, transport: str, algorithm: str
) -> None:
    with kamailio(tmp_path, algorithm) as proxy, sipp(tmp_path, uas(100, 200), proxy.uas) as log:
        found = measured(calling(proxy, transport=transport))
        assert {name: record.outcome for name, record in found.items()} == {
            "voip_signal op.options": OK,
            "voip_signal op.register": OK,
            "voip_call echo": OK,
        }
        until(lambda: "\nBYE sip:" in log.read_text())
        seen = log.read_text()
    register = told(found["voip_signal op.register"])
    assert (register["register_ok"], register["register_code"], register["register_expires_s"]) == (True, 200, 300)
    call = told(found["voip_call echo"])
    assert (call["setup_ok"], call["code"], call["transport"]) == (True, 200, transport)
    assert call["pdd_ms"] >= 100
    assert call["answer_ms"] >= 300
    assert (call["sent"], call["one_way_audio"], call["rtt_by"]) == (50, False, "echo")
    assert (call["received"], call["loss_rt_pct"]) == (50, 0.0)
    assert "loss_up_pct" not in call
    assert "loss_down_pct" not in call
    # ACK and BYE came by the proxy, which took its own Route away: two Vias, its own on top.
    for method in ("ACK", "BYE"):
        request = seen[seen.index(f"\n{method} sip:") :].split("\n\n")[0]
        assert len(re.findall(r"^Via:", request, re.MULTILINE)) == 2
        assert "\nRoute:" not in request


def test_a_wrong_password_is_the_accounts_fault(tmp_path: Path) -> None:
    with kamailio(tmp_path) as proxy:
        found = measured(calling(proxy, password=Secret("wrong")))
    register, call = found["voip_signal op.register"], found["voip_call echo"]
    assert (register.outcome, told(register)["register_code"]) == (failed("sip_auth"), 401)
    assert (told(register)["register_ok"], told(register)["fail_class"]) == (False, "auth")
    assert (call.outcome, told(call)["code"], told(call)["fail_class"]) == (failed("sip_auth"), 407, "auth")
    assert found["voip_signal op.options"].outcome == OK


@pytest.mark.parametrize(
    ("code", "reason", "whose"),
    [
        (302, "sip_redirect", "request"),
        (404, "sip_not_found", "user"),
        (415, "sip_rejected", "request"),
        (480, "sip_unavailable", "user"),
        (486, "sip_busy", "user"),
        (500, "sip_server_error", "network"),
        (503, "sip_server_error", "network"),
        (600, "sip_busy", "user"),
        (603, "sip_declined", "user"),
        (699, "sip_declined", "request"),
    ],
)
def test_every_final_answer_is_an_outcome(tmp_path: Path, code: int, reason: str, whose: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    extra = "Contact: <sip:0033112@127.0.0.1:9>\n" if code == 302 else ""
    with sipp(tmp_path, refusing(code, extra), port) as log:
        call = measured(settings(paths=(VoicePath(label="r", host="127.0.0.1", port=port),), timeout_s=1.0))[
            "voip_path r"
        ]
        assert (call.outcome, told(call)["code"], told(call)["fail_class"]) == (failed(reason), code, whose)
        assert told(call)["setup_ok"] is False
        assert "mos_cqe" not in call.fields
        until(lambda: "\nACK sip:" in log.read_text())
        assert "INVITE sip:0033112" not in log.read_text()


def test_nobody_there_is_a_closed_port(tmp_path: Path) -> None:
    found = measured(settings(paths=(VoicePath(label="r", host="127.0.0.1", port=free_port(socket.SOCK_DGRAM)),)))
    assert found["voip_signal r.options"].outcome == failed("unreachable_port")
    assert told(found["voip_signal r.options"])["fail_class"] == "network"
    assert found["voip_path r"].outcome == failed("unreachable_port")


def test_no_connection_is_told_once_for_each_question() -> None:
    port = free_port()
    found = measured(settings(paths=(VoicePath(label="r", host="127.0.0.1", port=port, transport="tcp"),)))
    assert {record.outcome for record in found.values()} == {failed("connect_refused")}


def test_a_silent_server_is_asked_again_and_given_up() -> None:
    with silent() as (port, heard):
        found = measured(settings(paths=(VoicePath(label="r", host="127.0.0.1", port=port),), timeout_s=2.0))
        options, call = found["voip_signal r.options"], found["voip_path r"]
        assert (options.outcome, told(options)["tx_count"]) == (failed("sip_timeout"), 3)  # at 0, 0.5 and 1.5 s
        assert (call.outcome, told(call)["tx_count"]) == (failed("sip_timeout"), 3)
        assert told(call)["fail_class"] == "network"
        assert [data.split(b" ")[0] for data in heard] == [b"OPTIONS"] * 3 + [b"INVITE"] * 3


def test_a_call_that_rings_for_ever_is_taken_back(tmp_path: Path) -> None:
    with kamailio(tmp_path) as proxy, sipp(tmp_path, uas(0, 60_000), proxy.uas):
        call = measured(calling(proxy, ring_s=1.0))["voip_call echo"]
    assert (call.outcome, told(call)["fail_class"]) == (failed("no_answer_to_call"), "user")
    assert told(call)["pdd_ms"] < 30_000
    assert told(call)["setup_ok"] is False


def test_a_telephone_that_speaks_itself_is_counted_each_way(tmp_path: Path) -> None:
    with kamailio(tmp_path) as proxy, baresip(tmp_path, proxy.port, "callee"):
        call = measured(calling(proxy, "callee", talk_s=3.0))["voip_call echo"]
    assert call.outcome == OK
    assert told(call)["loss_up_pct"] == 0.0  # by its own count, or its RTCP
    assert told(call)["loss_down_pct"] == 0.0  # by its sequence numbers
    assert "loss_rt_pct" not in call.fields


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_our_reflector_counts_each_way(transport: str) -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        path = VoicePath(label="r", host="127.0.0.1", port=ports["sip"], transport=transport)
        found = measured(settings(paths=(path,)))
    call = found["voip_path r"]
    assert (call.outcome, found["voip_signal r.options"].outcome) == (OK, OK)
    assert [told(call)[name] for name in ("sent", "received", "far_received")] == [50, 50, 50]
    assert (told(call)["loss_up_pct"], told(call)["loss_down_pct"], told(call)["rtt_by"]) == (0.0, 0.0, "echo")
    assert "loss_rt_pct" not in call.fields


@pytest.mark.parametrize("seed", [1])
def test_what_is_lost_on_each_way_is_told_of_that_way(seed: int) -> None:
    with (
        target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports,
        relay(ports["sip"], Way(loss=0.1, twice=0.05), Way(loss=0.2, twice=0.05), seed) as way,
    ):
        fields = told(
            measured(
                settings(paths=(VoicePath(label="r", host="127.0.0.1", port=way.port),), talk_s=2.0, linger_s=2.0)
            )["voip_path r"]
        )
        sent, came_up = way.up.seen, way.up.seen - way.up.lost
        # A packet that came there twice was answered twice: each answer has its own number.
        answered, came_down = way.down.seen, way.down.seen - way.down.lost
    assert (fields["sent"], fields["far_received"]) == (sent, came_up)
    assert fields["loss_up_pct"] == pytest.approx(100 * way.up.lost / sent, abs=0.001)
    assert fields["received"] == came_down
    assert fields["loss_down_pct"] == pytest.approx(100 * way.down.lost / answered, abs=0.001)


def test_delay_on_the_way_is_in_the_round_trip_and_lateness_is_discarded() -> None:
    with (
        target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports,
        relay(ports["sip"], Way(delay_s=0.05), Way(delay_s=0.05, late=(10, 0.2))) as way,
    ):
        fields = told(
            measured(
                settings(paths=(VoicePath(label="r", host="127.0.0.1", port=way.port),), talk_s=2.0, linger_s=2.0)
            )["voip_path r"]
        )
    assert fields["rtt_ms"] >= 100
    assert fields["loss_down_pct"] == 0.0
    assert fields["discard_pct"] >= 10.0
    assert fields["mos_cqe"] < 4.3


def test_voice_that_nobody_hears_or_sends_is_no_call() -> None:
    with (
        target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports,
        relay(ports["sip"], Way(loss=1.0), Way()) as way,
    ):
        path = VoicePath(label="r", host="127.0.0.1", port=way.port)
        call = measured(settings(paths=(path,), linger_s=0.2))["voip_path r"]
    assert call.outcome == failed("no_media")
    assert (told(call)["setup_ok"], told(call)["one_way_audio"], told(call)["loss_up_pct"]) == (True, True, 100.0)
    assert told(call)["fail_class"] == "network"
    assert "mos_cqe" not in call.fields


def test_a_reflector_with_a_key_takes_only_who_has_a_token(tmp_path: Path) -> None:
    from balise_collector.target.tokens import Grant, make_token

    key = tmp_path / "key"
    key.write_text("A" * 43)
    token = make_token(b"\0" * 32, Grant(segment="s", shape="light", expires_s=int(time.time()) + 3_600))
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0", "--token-key", str(key)) as ports:
        without = VoicePath(label="without", host="127.0.0.1", port=ports["sip"])
        with_one = replace(without, label="with", token=Secret(token))
        found = measured(settings(paths=(without, with_one)))
    assert found["voip_path without"].outcome == failed("sip_forbidden")
    assert found["voip_path with"].outcome == OK


def test_a_server_is_found_by_srv_and_the_next_one_asked_where_the_first_is_gone() -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        zone = {
            ("_sip._udp.op.example", srv.TYPE_SRV): [
                srv_data(10, 0, free_port(socket.SOCK_DGRAM), "127.0.0.1"),
                srv_data(20, 0, ports["sip"], "127.0.0.1"),
            ]
        }
        with resolver(zone) as ((address, port),):
            found = measured(
                settings(
                    paths=(VoicePath(label="r", host="op.example"),),
                    talk_s=0.2,
                    timeout_s=1.0,
                    resolver=address.host,
                    resolver_port=port,
                )
            )
    assert found["voip_signal r.options"].outcome == OK
    assert found["voip_path r"].outcome == OK


def test_a_call_over_ipv6_is_as_over_ipv4() -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0", listen="::1") as ports:
        found = measured(settings(paths=(VoicePath(label="r", host="::1", port=ports["sip"]),), talk_s=0.4))
    call = told(found["voip_path r"])
    assert found["voip_path r"].outcome == OK
    assert (call["af"], call["loss_up_pct"], call["loss_down_pct"]) == (6, 0.0, 0.0)


def test_an_account_that_is_not_said_to_be_the_probes_own_is_never_used() -> None:
    with silent() as (port, heard):
        found = measured(settings(accounts=(account(port, dedicated=False),)))
        assert heard == []
    assert [(name, record.outcome) for name, record in found.items()] == [
        ("voip_signal op.options", skipped("not_dedicated"))
    ]


def test_a_number_that_calls_for_help_is_refused_in_the_code_too() -> None:
    with silent() as (port, heard):
        numbers = tuple(
            VoiceNumber(label=f"n{index}", account="op", number=number)
            for index, number in enumerate(("112", "0112", "15", "+33116006", "sos"))
        )
        found = measured(settings(accounts=(account(port),), numbers=numbers, timeout_s=0.5))
        assert not [data for data in heard if data.startswith(b"INVITE")]
    calls = [record.outcome for record in found.values() if record.measurement == "voip_call"]
    assert calls == [skipped("number_refused")] * 5


@pytest.mark.parametrize(
    "number", ["112", "15", "3", "0112", "9911", "+33112", "0033112", "116117", "+33116006", "sos"]
)
def test_a_number_that_calls_for_help_is_refused_in_the_configuration(number: str) -> None:
    table = {"numbers": [{"label": "n", "account": "op", "number": number}]}
    built, faults = build(VoiceSettings, table, "voice")
    assert built is None
    assert faults == [f"voice.numbers[0].number: '{number}' is not {NUMBER_ALLOWED}"]


def test_so_many_calls_a_day_and_no_more_over_restarts(tmp_path: Path) -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        path = VoicePath(label="r", host="127.0.0.1", port=ports["sip"])
        asked = settings(paths=(path,), calls_a_day=2, talk_s=0.2)
        today = [measured(asked, context(tmp_path, wall_s=lambda: NOON_S)) for _ in range(4)]
        assert ["voip_path r" in found for found in today] == [True, True, False, False]
        tomorrow = measured(asked, context(tmp_path, wall_s=lambda: NOON_S + 86_400))
    assert "voip_path r" in tomorrow
    day = told(tomorrow["heavy_day voice"])
    assert (day["run"], day["skipped"], day["skipped_budget"]) == (2, 2, 2)


def test_calls_that_cannot_be_counted_are_not_made(tmp_path: Path) -> None:
    with silent() as (port, heard):
        path = VoicePath(label="r", host="127.0.0.1", port=port)
        found = measured(settings(paths=(path,), timeout_s=0.5), context(tmp_path / "not there"))
        assert not [data for data in heard if data.startswith(b"INVITE")]
    assert found["voip_path r"].outcome == skipped("calls_not_counted")


@pytest.mark.parametrize(
    ("use", "called", "count"),
    [
        (("busy", "box"), False, "line_busy"),
        (("unknown", None), False, "gate_unknown"),
        (("unknown", "rtt"), True, None),
        (("idle", "box"), True, None),
    ],
)
def test_a_line_in_use_is_left_alone_and_only_counted(
    tmp_path: Path, use: tuple[str, str | None], called: bool, count: str | None
) -> None:
    async def line_use() -> tuple[str, str | None]:
        return use

    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        path = VoicePath(label="r", host="127.0.0.1", port=ports["sip"])
        asked = settings(paths=(path,), talk_s=0.2)
        found = measured(asked, context(tmp_path, line_use=line_use))
    assert ("voip_path r" in found) is called
    kept = json.loads((tmp_path / "voice.json").read_text())
    assert kept["skipped"] == ({} if count is None else {count: 1})
    if called:
        assert (told(found["voip_path r"])["gate"], told(found["voip_path r"])["gate_by"]) == use


def test_the_plan_calls_when_its_slot_comes_and_not_at_the_first_start(tmp_path: Path) -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        path = VoicePath(label="r", host="127.0.0.1", port=ports["sip"])
        asked = settings(paths=(path,), talk_s=0.2, path_every_s=1_800.0)
        moments = {0: 1, 60: None, 1_860: None, 1_920: None, 3_720: None}  # the first draws the phase: by that seed
        found = [
            measured(asked, context(tmp_path, asked=False, wall_s=lambda s=s: NOON_S + s, seed=seed))
            for s, seed in moments.items()
        ]
    assert all("voip_signal r.options" in records for records in found)
    assert ["voip_path r" in records for records in found] == [False, False, True, False, True]


def test_a_call_that_is_cancelled_is_hung_up() -> None:
    async def cancelled(asked: VoiceSettings) -> None:
        running = asyncio.create_task(run(asked, context()))
        while not any(data.startswith(b"ACK") for data in heard):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with answering(b"200 OK") as (port, heard):
        path = VoicePath(label="r", host="127.0.0.1", port=port)
        asyncio.run(asyncio.wait_for(cancelled(settings(paths=(path,), talk_s=30.0)), 60))
        until(lambda: any(data.startswith(b"BYE") for data in heard))


def test_a_peer_that_hangs_up_ends_the_call() -> None:
    with answering(b"200 OK", hangs_up=True) as (port, heard):
        call = measured(settings(paths=(VoicePath(label="r", host="127.0.0.1", port=port),), talk_s=20.0))[
            "voip_path r"
        ]
        until(lambda: any(data.startswith(b"SIP/2.0 200") for data in heard))
        assert not [data for data in heard if data.startswith(b"BYE")]
    assert told(call)["talk_s"] < 20.0


def test_a_far_end_that_dies_in_the_call_makes_no_loss_of_a_way_that_nobody_counted() -> None:
    async def killed(asked: VoiceSettings) -> list[Record]:
        running = asyncio.create_task(run(asked, context()))
        while not any(data[1:2] == b"\x88" for data in heard):  # the first packet of voice
            await asyncio.sleep(0.01)
        over.set()
        return await running

    heard: list[bytes] = []
    over = threading.Event()
    with (
        target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports,
        relay(ports["sip"], Way(heard=heard, dies=over), Way(dies=over)) as way,
    ):
        path = VoicePath(label="r", host="127.0.0.1", port=way.port)
        records = asyncio.run(killed(settings(paths=(path,), talk_s=1.0, linger_s=0.2)))
    (call,) = (record for record in records if record.measurement == "voip_path")
    assert check_record(call) is None
    assert (call.outcome.kind, told(call)["setup_ok"]) in {("ok", True), ("failed", True)}
    assert told(call)["sent"] == 50
    assert "loss_up_pct" not in told(call)
    assert "far_received" not in told(call)


@contextmanager
def silent() -> Iterator[tuple[int, list[bytes]]]:
    """A socket that takes everything and answers nothing."""
    with peer(lambda _: []) as found:
        yield found


@contextmanager
def answering(status: bytes, *, hangs_up: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Takes each call, with a description of a voice that goes nowhere; may end it at once."""

    def answer(data: bytes) -> list[bytes]:
        method = data.split(b" ")[0]
        if method in (b"ACK", b"SIP/2.0"):
            return [bye(data)] if hangs_up and method == b"ACK" else []
        lines = [line for line in data.split(b"\r\n") if line.startswith((b"Via", b"From", b"Call-ID", b"CSeq"))]
        to = next(line for line in data.split(b"\r\n") if line.startswith(b"To"))
        lines += [to if b"tag=" in to else to + b";tag=t"]
        body = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 8\r\n" if method == b"INVITE" else b""
        lines += [b"Contact: <sip:r@127.0.0.1:%d>" % port, b"Content-Length: %d" % len(body)]
        return [b"SIP/2.0 " + status + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body]

    def bye(ack: bytes) -> bytes:
        lines = dict(line.split(b": ", 1) for line in ack.split(b"\r\n")[1:] if b": " in line)
        head = [b"BYE sip:probe@127.0.0.1 SIP/2.0", b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKbye" % port]
        head += [b"From: " + lines[b"To"], b"To: " + lines[b"From"], b"Call-ID: " + lines[b"Call-ID"]]
        return b"\r\n".join([*head, b"CSeq: 1 BYE", b"Content-Length: 0", b"", b""])

    with peer(answer) as (port, heard):
        yield port, heard


@contextmanager
def peer(answer: Callable[[bytes], list[bytes]]) -> Iterator[tuple[int, list[bytes]]]:
    """A UDP peer of which ``answer`` makes the answers; its port, and all that it heard."""
    heard: list[bytes] = []
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    data, source = sock.recvfrom(65_535)
                except OSError:
                    continue
                heard.append(data)
                for told in answer(data):
                    sock.sendto(told, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1], heard
        finally:
            over.set()
            thread.join()
