"""Does the target's telephone answer, repeat and count, and give nobody more than he brought?"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balise_agent.net.sip import sdp
from balise_agent.net.sip.message import Request, Response, encode, parse, value
from balise_collector.target.telephone import CallLimits, Telephone
from balise_collector.target.tokens import Grant, make_token
from tests.agent.targets import target_ports

HERE, CALLER = ("192.0.2.1", 5060), ("198.51.100.7", 40_000)
KEY = b"k" * 32


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def asked(method: str, call: str = "c", *, ssrc: int | None = 7, token: str = "", port: int = 4_000) -> Request:
    offer = sdp.Media(host="198.51.100.7", port=port, codecs=(8, 0), ssrc=ssrc)
    headers = (
        ("via", "SIP/2.0/UDP 10.0.0.2:5062;rport;branch=z9hG4bKb"),
        ("from", "<sip:probe@h>;tag=f"),
        ("to", "<sip:reflector@h>"),
        ("call-id", call),
        ("cseq", f"1 {method}"),
        ("record-route", "<sip:p1;lr>"),
        *((("x-balise-token", token),) if token else ()),
    )
    return Request(method=method, uri="sip:reflector@h", headers=headers, body=sdp.encode(offer, 1))


def answered(telephone: Telephone, request: Request) -> Response:
    told = telephone.answer(request, HERE, CALLER, tcp=False)
    assert told is not None
    return told


def voice(number: int, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, 8, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc) + b"v" * 160


def counts(telephone: Telephone, call: str = "c") -> str | None:
    return value(answered(telephone, asked("BYE", call)).headers, "x-rtp-stat")


def test_a_call_is_answered_once_for_each_question_with_the_same_voice() -> None:
    telephone = Telephone()
    first, again = answered(telephone, asked("INVITE")), answered(telephone, asked("INVITE"))
    assert (first.code, first.body, first.headers) == (200, again.body, again.headers)
    assert value(first.headers, "record-route") == "<sip:p1;lr>"
    assert ";received=198.51.100.7;rport=40000" in (value(first.headers, "via") or "")
    assert len(telephone) == 1
    assert telephone.answer(asked("ACK"), HERE, CALLER, tcp=False) is None


def test_each_packet_comes_back_once_in_one_of_its_own_numbers_and_is_counted() -> None:
    telephone = Telephone()
    answered(telephone, asked("INVITE"))
    back = [telephone.heard(voice(number), CALLER) for number in (65_534, 65_535, 65_536, 65_538, 65_538)]
    assert all(packet is not None and len(packet) == 172 for packet in back)
    numbers = [int.from_bytes(packet[2:4]) for packet in back if packet is not None]
    assert numbers == [1, 2, 3, 4, 5]
    assert [packet[4:8] for packet in back if packet] == [
        voice(n)[4:8] for n in (65_534, 65_535, 65_536, 65_538, 65_538)
    ]
    assert {packet[8:12] for packet in back if packet} != {voice(0)[8:12]}
    assert counts(telephone) == "PR=4;PS=5;FS=1"
    assert counts(telephone) == "PR=4;PS=5;FS=1"  # the question came again
    assert telephone.heard(voice(65_539), CALLER) is None


def test_voice_of_no_call_goes_nowhere() -> None:
    telephone = Telephone()
    assert telephone.heard(voice(1), CALLER) is None
    answered(telephone, asked("INVITE"))
    assert telephone.heard(voice(1, ssrc=8), CALLER) is None
    assert telephone.heard(b"\x80", CALLER) is None


def test_a_caller_that_says_no_source_is_known_by_its_address() -> None:
    telephone = Telephone()
    answered(telephone, asked("INVITE", ssrc=None))
    assert telephone.heard(voice(1, ssrc=99), ("198.51.100.7", 4_000)) is not None
    assert telephone.heard(voice(1, ssrc=99), ("198.51.100.8", 4_000)) is None


def test_calls_are_bounded_in_number_length_rate_and_silence() -> None:
    clock = Clock()
    telephone = Telephone(CallLimits(calls=2), monotonic=clock)
    codes = [answered(telephone, asked("INVITE", str(n), ssrc=n)).code for n in range(3)]
    assert codes == [200, 200, 486]
    assert sum(telephone.heard(voice(n, ssrc=1), CALLER) is not None for n in range(500)) == 50
    clock.now_s += 30
    assert telephone.heard(voice(600, ssrc=1), CALLER) is not None
    clock.now_s += 15
    assert answered(telephone, asked("INVITE", "3", ssrc=3)).code == 200  # the silent one is forgotten
    clock.now_s += 16
    assert telephone.heard(voice(601, ssrc=1), CALLER) is None
    assert counts(telephone, "1") is None


def test_with_a_key_a_call_needs_a_token_that_is_not_over() -> None:
    telephone = Telephone(key=KEY, wall_s=lambda: 1_000.0)
    fine = make_token(KEY, Grant(segment="s", shape="light", expires_s=1_001))
    over = make_token(KEY, Grant(segment="s", shape="light", expires_s=999))
    told = [
        answered(telephone, asked("INVITE", name, token=token)).code
        for name, token in {"a": "", "b": over, "c": fine}.items()
    ]
    assert told == [403, 403, 200]
    assert answered(telephone, asked("OPTIONS")).code == 200


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked("OPTIONS"), 200),
        (asked("BYE", "unknown"), 481),
        (asked("CANCEL", "unknown"), 481),
        (asked("REGISTER"), 405),
        (Request(method="INVITE", uri="sip:h", headers=asked("INVITE").headers, body=b"v=0"), 488),
    ],
)
def test_what_it_does_not_do_it_says(request_: Request, code: int) -> None:
    assert answered(Telephone(), request_).code == code


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_any_bytes_are_borne_and_no_answer_is_longer_than_its_voice(data: bytes) -> None:
    telephone = Telephone()
    answered(telephone, asked("INVITE"))
    for packet in (data, voice(1)[:12] + data, b"\x80\x08" + data):
        back = telephone.heard(packet, CALLER)
        assert back is None or len(back) == len(packet)
    message = parse(data)
    if isinstance(message, Request):
        told = telephone.answer(message, HERE, CALLER, tcp=False)
        assert told is None or encode(told)


def test_an_answer_is_hardly_longer_than_its_question() -> None:
    request = asked("INVITE")
    assert len(encode(answered(Telephone(), request))) <= 1.5 * len(encode(request))


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_a_caller_that_is_not_ours_has_its_call(tmp_path: Path, transport: str) -> None:
    with target_ports("--telephone", "--sip-port", "0", "--voice-port", "0") as ports:
        command = ["sipp", "-sn", "uac", f"127.0.0.1:{ports['sip']}", "-i", "127.0.0.1", "-m", "3", "-l", "1"]
        command += ["-d", "100", "-t", transport, "-nostdin", "-timeout", "60s", "-recv_timeout", "30s"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-1_500:]
