"""Is an echo told from anything else, and is its answer timed by the kernel?"""

from __future__ import annotations

import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import datagram, icmp

TOKEN = b"balise!!"
FAMILIES = [socket.AF_INET, socket.AF_INET6]
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def ping_socket(family: int) -> socket.socket:
    try:
        sock = icmp.open_ping_socket(family)
        sock.connect((LOOPBACK[socket.AddressFamily(family)], 0))
    except OSError as exc:
        pytest.skip(f"no ping socket to {LOOPBACK[socket.AddressFamily(family)]} here: {exc}")
    return sock


def reply_to(family: int, request: bytes) -> bytes:
    return bytes([0 if family == socket.AF_INET else 129]) + request[1:]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_echo_comes_back_with_both_of_the_kernels_stamps(family: socket.AddressFamily) -> None:
    with ping_socket(family) as sock:
        sent = datagram.send(sock, icmp.encode_request(family, 7, TOKEN), (LOOPBACK[family], 0))
        assert select.select([sock], [], [], 10)[0]
        departures = [r for r in datagram.reports(sock) if isinstance(r, datagram.Departure)]
        (arrival,) = datagram.arrivals(sock)
    assert icmp.decode_reply(family, arrival.data) == icmp.Echo(sequence=7, token=TOKEN)
    assert [icmp.decode_departed(family, d.frame) for d in departures] == [icmp.Echo(sequence=7, token=TOKEN)]
    rtt_ns, stamped = datagram.round_trip_ns(sent, departures[0].stamp_ns, arrival)
    assert stamped
    assert 0 < rtt_ns <= arrival.mono_ns - sent.mono_ns


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_is_read_whole_or_not_at_all(family: socket.AddressFamily) -> None:
    reply = reply_to(family, icmp.encode_request(family, 0xABCD, TOKEN))
    needed = 8 + icmp.TOKEN_BYTES
    assert [icmp.decode_reply(family, reply[:n]) for n in range(needed)] == [None] * needed
    for more in (b"", b"trailing"):
        assert icmp.decode_reply(family, reply + more) == icmp.Echo(sequence=0xABCD, token=TOKEN)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_request_is_no_reply_and_a_quoted_header_alone_is_enough(family: socket.AddressFamily) -> None:
    request = icmp.encode_request(family, 3, TOKEN)
    assert len(request) == icmp.ECHO_BYTES
    assert icmp.decode_reply(family, request) is None
    assert icmp.decode_quoted(family, request[:8]) == icmp.Echo(sequence=3, token=None)
    assert icmp.decode_quoted(family, request) == icmp.Echo(sequence=3, token=TOKEN)


@given(st.sampled_from(FAMILIES), st.binary(max_size=100))
def test_no_bytes_make_a_decoder_raise(family: socket.AddressFamily, data: bytes) -> None:
    for decode in (icmp.decode_reply, icmp.decode_quoted, icmp.decode_departed):
        echo = decode(family, data)
        assert echo is None or 0 <= echo.sequence < 1 << 16


@given(st.sampled_from(FAMILIES), st.integers(0, 65_535), st.binary(min_size=8, max_size=8))
def test_what_is_asked_is_read_back(family: socket.AddressFamily, sequence: int, token: bytes) -> None:
    asked = icmp.Echo(sequence=sequence, token=token)
    frame = b"link and IP header" + icmp.encode_request(family, sequence, token)
    assert icmp.decode_departed(family, frame) == asked
    assert icmp.decode_reply(family, reply_to(family, icmp.encode_request(family, sequence, token))) == asked
