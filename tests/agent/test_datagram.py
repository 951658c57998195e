"""Does a stamp count only while both clocks agree, and is a router's refusal read for what it is?"""

from __future__ import annotations

import select
import socket
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import datagram
from balise_agent.net.datagram import Arrival, Departure, Refusal, Sent, round_trip_ns

MS = 1_000_000
NOON = 1_800_000_000_000 * MS
ICMP_HOST_UNREACHABLE = bytes.fromhex(  # Linux 6.18: sock_extended_err of an ICMP 3/1, then the router 192.0.2.2
    "710000000203010000000000000000000200 0000c00002020000000000000000".replace(" ", "")
)
DESTINATION = ("192.0.2.77", 862)


def sent() -> Sent:
    return Sent(wall_ns=NOON, mono_ns=5_000 * MS)


def arrival(*, stamp_ms: float | None, read_ms: float, wall_step_ms: float = 0) -> Arrival:
    return Arrival(
        data=b"",
        source=("127.0.0.1", 0),
        stamp_ns=None if stamp_ms is None else NOON + int((stamp_ms + wall_step_ms) * MS),
        wall_ns=NOON + int((read_ms + wall_step_ms) * MS),
        mono_ns=5_000 * MS + int(read_ms * MS),
    )


def test_the_round_trip_is_between_the_two_stamps() -> None:
    assert round_trip_ns(sent(), NOON + MS, arrival(stamp_ms=11, read_ms=12)) == (10 * MS, True)


def test_without_a_stamp_of_departure_it_counts_from_the_sending() -> None:
    assert round_trip_ns(sent(), None, arrival(stamp_ms=11, read_ms=12)) == (11 * MS, True)


def test_without_a_stamp_of_arrival_the_monotonic_reading_counts() -> None:
    assert round_trip_ns(sent(), NOON + MS, arrival(stamp_ms=None, read_ms=12)) == (12 * MS, False)


@pytest.mark.parametrize("step_ms", [51, -51, 60_000, -60_000])
def test_a_stepped_clock_never_makes_a_round_trip(step_ms: int) -> None:
    assert round_trip_ns(sent(), NOON, arrival(stamp_ms=11, read_ms=12, wall_step_ms=step_ms)) == (12 * MS, False)


def test_a_loop_that_is_late_to_read_does_not_lengthen_a_stamped_round_trip() -> None:
    assert round_trip_ns(sent(), NOON, arrival(stamp_ms=11, read_ms=900)) == (11 * MS, True)


@pytest.mark.parametrize("stamp_ms", [-1, 13])
def test_a_stamp_outside_the_round_trip_does_not_count(stamp_ms: int) -> None:
    assert round_trip_ns(sent(), None, arrival(stamp_ms=stamp_ms, read_ms=12)) == (12 * MS, False)


@given(st.integers(-(10**10), 10**10), st.integers(-(10**10), 10**10), st.integers(0, 10**10), st.integers())
def test_a_stamped_round_trip_is_never_negative_nor_longer_than_the_wait(
    stamp: int, read: int, mono: int, departed: int
) -> None:
    came = Arrival(data=b"", source=("", 0), stamp_ns=NOON + stamp, wall_ns=NOON + read, mono_ns=sent().mono_ns + mono)
    rtt_ns, stamped = round_trip_ns(sent(), departed, came)
    assert rtt_ns >= 0
    assert rtt_ns <= read if stamped else rtt_ns == mono


def test_an_error_names_the_router_and_what_it_refused() -> None:
    ancillary = [(socket.IPPROTO_IP, datagram.IP_RECVERR, ICMP_HOST_UNREACHABLE)]
    report = datagram.decode_report(b"quoted", ancillary, DESTINATION, wall_ns=8, mono_ns=9)
    assert report == Refusal(
        family=socket.AF_INET,
        type=3,
        code=1,
        router="192.0.2.2",
        quoted=b"quoted",
        destination=DESTINATION,
        stamp_ns=None,
        wall_ns=8,
        mono_ns=9,
    )
    assert datagram.refusal_reason(socket.AF_INET, 3, 1) == "unreachable_host"


def test_a_refusal_that_is_read_late_is_dated_by_when_the_kernel_had_it() -> None:
    ancillary = [
        (socket.SOL_SOCKET, datagram.SO_TIMESTAMPNS, struct.pack("@ll", *divmod(NOON + 3 * MS, 10**9))),
        (socket.IPPROTO_IP, datagram.IP_RECVERR, ICMP_HOST_UNREACHABLE),
    ]
    late = {"wall_ns": NOON + 900 * MS, "mono_ns": sent().mono_ns + 900 * MS}
    report = datagram.decode_report(b"quoted", ancillary, DESTINATION, **late)
    assert isinstance(report, Refusal)
    assert round_trip_ns(sent(), None, report) == (3 * MS, True)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_stamps_refusals_of_both_families(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as closed:
        closed.bind((host, 0))
        nobody = closed.getsockname()
    with datagram.prepare(socket.socket(family, socket.SOCK_DGRAM)) as sock:
        begun = datagram.send(sock, b"to nobody", nobody)
        assert select.select([sock], [], [], 30)[0]
        time.sleep(0.2)  # the reader that is late
        (refusal,) = (report for report in datagram.reports(sock) if isinstance(report, Refusal))
    took_ns, stamped = round_trip_ns(begun, None, refusal)
    assert stamped
    assert took_ns <= refusal.mono_ns - begun.mono_ns - 200 * MS + datagram.STAMP_TOLERANCE_NS


def test_an_error_that_is_cut_short_is_none() -> None:
    for size in range(16):
        ancillary = [(socket.IPPROTO_IP, datagram.IP_RECVERR, ICMP_HOST_UNREACHABLE[:size])]
        assert datagram.decode_report(b"", ancillary, DESTINATION, wall_ns=0, mono_ns=0) is None


def test_a_stamp_of_departure_is_told_from_an_error() -> None:
    ancillary = [
        (socket.SOL_SOCKET, datagram.SO_TIMESTAMPING, struct.pack("@6l", 12, 34, 0, 0, 0, 0)),
        (socket.IPPROTO_IP, datagram.IP_RECVERR, bytes.fromhex("2a000000040000000000000001000000")),
    ]
    report = datagram.decode_report(b"frame", ancillary, (), wall_ns=0, mono_ns=0)
    assert report == Departure(frame=b"frame", stamp_ns=12_000_000_034)


@given(
    st.binary(max_size=80),
    st.lists(
        st.tuples(st.sampled_from([0, 1, 41]), st.sampled_from([11, 25, 35, 37]), st.binary(max_size=60)), max_size=3
    ),
    st.one_of(st.none(), st.text(), st.tuples(st.text(), st.integers())),
)
def test_no_message_of_the_error_queue_makes_the_decoder_raise(
    data: bytes, ancillary: list[tuple[int, int, bytes]], address: object
) -> None:
    report = datagram.decode_report(data, ancillary, address, wall_ns=0, mono_ns=0)
    assert isinstance(report, Departure | Refusal | None)


@pytest.mark.parametrize(
    ("family", "icmp_type", "code", "reason"),
    [
        (socket.AF_INET, 3, 0, "unreachable_net"),
        (socket.AF_INET, 3, 3, "unreachable_port"),
        (socket.AF_INET, 3, 13, "prohibited"),
        (socket.AF_INET, 3, 99, "unreachable"),
        (socket.AF_INET, 11, 0, "ttl_exceeded"),
        (socket.AF_INET, 200, 0, "unreachable"),
        (socket.AF_INET6, 1, 0, "unreachable_net"),
        (socket.AF_INET6, 1, 3, "unreachable_host"),
        (socket.AF_INET6, 1, 4, "unreachable_port"),
        (socket.AF_INET6, 3, 0, "ttl_exceeded"),
    ],
)
def test_each_refusal_has_its_reason(family: int, icmp_type: int, code: int, reason: str) -> None:
    assert datagram.refusal_reason(family, icmp_type, code) == reason


def test_a_closed_port_refuses_by_the_error_queue_and_the_next_sending_goes_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()
        closed.close()
        with datagram.prepare(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            datagram.send(sock, b"to nobody", nobody)
            datagram.send(sock, b"to a peer", peer.getsockname())  # not held up by the error of the first
            assert select.select([peer], [], [], 10)[0]
            assert peer.recv(100) == b"to a peer"
            refusals = [r for r in datagram.reports(sock) if isinstance(r, Refusal)]
    assert [(r.type, r.code, r.router, r.quoted, r.destination) for r in refusals] == [
        (3, 3, "127.0.0.1", b"to nobody", nobody)
    ]
