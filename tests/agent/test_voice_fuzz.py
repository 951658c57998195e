"""Do the telephone's decoders bear any bytes?"""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balise_agent.net import rtcp, srv
from balise_agent.net.sip import dialog, digest, message, sdp, uri
from balise_agent.net.sip.message import Request, Response
from balise_agent.probes.voice_numbers import calls_for_help
from tests.agent.test_sip import INVITE, OK

SDP = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8 0\r\na=rtcp:4001\r\na=ssrc:7 cname:x\r\n"
CHALLENGE = 'Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", stale=TRUE'


def bear_sip(data: bytes) -> None:
    """All that is done with a message before anything is known of it."""
    read = message.parse(data)
    if read is None:
        return
    for name in ("via", "record-route", "contact", "to"):
        message.values(read.headers, name)
        uri.place(read.headers, name)
    message.branch(read.headers)
    message.cseq(read.headers)
    message.encode(read)
    asked = message.parse(INVITE)
    if isinstance(read, Response) and isinstance(asked, Request):
        made = dialog.from_answer(asked, read)
        if made is not None:
            dialog.route(made)


def bear_stream(data: bytes) -> None:
    """A connection's bytes."""
    buffer = bytearray(data)
    with contextlib.suppress(ValueError):
        while True:
            found, done = message.frame(buffer)
            del buffer[:done]
            if found is None:
                return


def bear_challenge(data: bytes) -> None:
    """A challenge, and its answer."""
    challenge = digest.strongest([digest.parse(data.decode("latin-1"))])
    if challenge is not None:
        digest.answer(challenge, digest.Login(user="u", password="p"), "REGISTER", "sip:h", "c")


def bear_dns(data: bytes) -> None:
    """Records of an answer."""
    srv.srv_records(data)
    srv.naptr_records(data)


ENTRIES = {
    "sip": (bear_sip, (INVITE, OK)),
    "sip_stream": (bear_stream, (INVITE + OK,)),
    "sdp": (sdp.decode, (SDP,)),
    "digest": (bear_challenge, (CHALLENGE.encode(),)),
    "rtcp": (rtcp.decode, (b"\x81\xc8\0\x0c" + bytes(48),)),
    "srv": (bear_dns, (b"\0\1\x80\0\0\0\0\1\0\0\0\0\0\0\x21\0\1\0\0\0\1\0\x09\0\1\0\2\0\3\1a\0",)),
}
"""Decoder -> what bears any bytes, and seeds for a fuzzer."""


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A real one with parts changed, cut or doubled; or anything."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at:at] = draw(st.binary(max_size=8))
            case 1:
                del data[at : at + draw(st.integers(1, 16))]
            case 2:
                data[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data) if draw(st.integers(0, 9)) else draw(st.binary(max_size=400))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated((INVITE, OK)))
def test_any_bytes_are_a_message_or_none_and_what_is_read_can_be_written(data: bytes) -> None:
    read = message.parse(data)
    if read is None:
        return
    assert len(read.headers) <= message.MAX_HEADERS
    for name in ("via", "record-route", "contact", "to"):
        message.values(read.headers, name)
        uri.place(read.headers, name)
    message.branch(read.headers)
    message.cseq(read.headers)
    assert message.parse(message.encode(read)) is not None or b"\n" in message.encode(read).split(b"\r\n")[0]
    asked = message.parse(INVITE)
    if isinstance(read, Response) and isinstance(asked, Request):
        made = dialog.from_answer(asked, read)
        if made is not None and (routed := dialog.route(made)) is not None:
            message.encode(dialog.request(made, routed, "BYE", 2, "SIP/2.0/UDP h;branch=z9hG4bKx"))
        message.encode(dialog.refused_ack(asked, read))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mutated((INVITE, OK)), max_size=4))
def test_any_stream_is_cut_or_given_up(parts: list[bytes]) -> None:
    buffer = bytearray()
    with contextlib.suppress(ValueError):
        for part in parts:
            buffer += part
            while True:
                data, done = message.frame(buffer)
                assert 0 <= done <= len(buffer)
                del buffer[:done]
                if data is None:
                    break
                assert len(data) <= message.MAX_BYTES


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated((SDP,)))
def test_any_bytes_are_a_description_or_none(data: bytes) -> None:
    media = sdp.decode(data)
    if media is not None:
        assert 0 < media.port <= 65_535
        sdp.encode(media, 1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.text(max_size=200), mutated((CHALLENGE.encode(),)).map(lambda data: data.decode("latin-1"))))
def test_any_text_is_a_challenge_or_none_a_uri_or_none(text: str) -> None:
    challenge = digest.strongest([digest.parse(text)])
    if challenge is not None:
        digest.answer(challenge, digest.Login(user="u", password="p"), "REGISTER", "sip:h", "c")
    uri.parse_uri(text)
    uri.parse_place(text)
    message.split(text)
    calls_for_help(text)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_any_bytes_are_reports_or_none(data: bytes) -> None:
    assert len(rtcp.decode(data)) <= rtcp.MOST_REPORTS
    assert len(rtcp.decode(b"\x81\xc8" + data)) <= rtcp.MOST_REPORTS
    srv.srv_records(b"\0\1\x80\0\0\0\0\2\0\0\0\0" + data)
    srv.naptr_records(b"\0\1\x80\0\0\0\0\2\0\0\0\0" + data)


blocks = st.builds(
    rtcp.Block,
    ssrc=st.integers(0, 2**32 - 1),
    fraction=st.integers(0, 255),
    lost=st.integers(-(2**23), 2**23 - 1),
    highest=st.integers(0, 2**32 - 1),
    jitter=st.integers(0, 2**32 - 1),
    last_sr=st.integers(0, 2**32 - 1),
    since_sr=st.integers(0, 2**32 - 1),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(blocks, max_size=5), st.integers(0, 2**32 - 1))
def test_a_report_reads_as_it_was_written(given_: list[rtcp.Block], ssrc: int) -> None:
    sender = rtcp.Sender(ntp=2**63 + 5, rtp_time=7, packets=8, payload_bytes=9)
    for sent in (None, sender):
        report = rtcp.Report(ssrc=ssrc, sender=sent, blocks=tuple(given_))
        assert rtcp.decode(rtcp.encode(report)) == [report]
