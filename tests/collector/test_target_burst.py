"""Does a burst of UDP go to who was given a lease, as fast and as long as that allows, and to nobody else?"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.contract import Value
from balise_agent.net.stamp import SenderPacket, decode_reflected, encode_sender
from balise_agent.net.throughput.burst import (
    CONTROL_BYTES,
    COOKIE,
    DATA_BYTES,
    HELLO,
    METER,
    MOST_BPS,
    PACE,
    Control,
    Seen,
    decode_control,
    decode_seen,
    encode_control,
    encode_seen,
    put_head,
    read_head,
)
from balise_agent.net.throughput.capacity import is_full
from balise_agent.net.throughput.measure import Spec, measure
from balise_agent.net.throughput.meter import Meter
from balise_collector.target import Ports, Throughput
from balise_collector.target.leases import DRIVEN, Lease, Leases
from tests.collector.test_target_throughput import KEY, ask, peer, serving, silence, told

LEASE = "a" * 22
RATE_BPS = 2_000_000


# What they say


@given(
    st.sampled_from((HELLO, COOKIE, PACE, METER)), st.binary(min_size=16, max_size=16), st.integers(0, int(MOST_BPS))
)
def test_what_is_said_is_understood(kind: int, cookie: bytes, rate_bps: int) -> None:
    control = Control(kind=kind, lease=LEASE, cookie=cookie, step=7, rate_bps=rate_bps)
    said = encode_control(control)
    assert (len(said), decode_control(said)) == (CONTROL_BYTES, control)


@given(st.binary(max_size=CONTROL_BYTES) | st.binary(min_size=CONTROL_BYTES, max_size=CONTROL_BYTES))
def test_no_other_bytes_are_understood(data: bytes) -> None:
    control = decode_control(data)
    assert control is None or data.startswith(b"BlsU")
    assert decode_seen(data) is None or data.startswith(b"BlsU")
    assert read_head(data, 0) is None


@given(st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 6), st.integers(0, 1 << 40))
def test_what_was_counted_is_understood(numbers: tuple[int, ...], at_us: int) -> None:
    everything, step, packets, highest, late, dropped = numbers
    seen = Seen(
        at_s=at_us / 1e6, all=everything, step=step, packets=packets, highest=highest, late=late, dropped=dropped
    )
    said = encode_seen(seen)
    assert (len(said), decode_seen(said), decode_control(said)) == (CONTROL_BYTES, seen, None)


def test_a_packet_says_its_step_and_its_number() -> None:
    packets = bytearray(2 * DATA_BYTES)
    put_head(packets, DATA_BYTES, 3, 1 << 33 | 9, 5)
    assert (read_head(bytes(packets), DATA_BYTES), read_head(bytes(packets), 0)) == ((3, 9, 5), None)
    assert read_head(bytes(packets), DATA_BYTES + 1) is None


# When a line is full


@pytest.mark.parametrize(
    ("rate", "got", "before", "full"),
    [
        (100, 60, None, False),  # one step alone tells nothing: the line may lose
        (100, 99, (50, 50), False),
        (200, 105, (100, 100), True),
        (150, 100, (100, 95), True),
        (200, 140, (100, 70), False),  # three in ten are lost, and twice as much still brings twice as much
    ],
)
def test_a_line_is_full_when_more_brings_no_more(
    rate: float, got: float, before: tuple[float, float] | None, full: bool
) -> None:
    assert is_full(rate, got, before) is full


def packet(step: int, *sequences: int) -> bytes:
    packets = bytearray(DATA_BYTES * len(sequences))
    for number, sequence in enumerate(sequences):
        put_head(packets, number * DATA_BYTES, step, sequence, 0)
    return bytes(packets)


def test_packets_are_counted_with_what_is_missing_between_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        meter = Meter(sock, monotonic=lambda: 7.0)
        for data in (packet(1, 4), packet(1, 5, 9), packet(1, 8), packet(2, 0), packet(1, 10)):
            meter.count(data)
            if meter.seen().step == 1:
                first = meter.seen()
    assert first == Seen(at_s=7.0, all=4, step=1, packets=4, highest=9, late=1)
    assert meter.seen() == Seen(at_s=7.0, all=6, step=2, packets=1, highest=0)  # an earlier step's is one of all


# The target


@contextmanager
def leased(shape: str = "burst", throughput: Throughput | None = None) -> Iterator[tuple[Ports, str, socket.socket]]:
    """A target, a lease of it, and a socket towards it."""
    with serving(throughput) as ports, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        lease = told(ports.http, "POST", f"/lease?shape={shape}&down_bps={RATE_BPS}")["lease"]
        sock.connect(("127.0.0.1", ports.udp))
        sock.settimeout(30)
        yield ports, lease, sock


def cookie(sock: socket.socket, lease: str) -> bytes:
    sock.send(encode_control(Control(kind=HELLO, lease=lease)))
    control = decode_control(sock.recv(2_048))
    assert control is not None
    assert (control.kind, control.lease) == (COOKIE, lease)
    return control.cookie


def hears(sock: socket.socket) -> int:
    """Packets until it is silent."""
    sock.settimeout(1.0)
    count = 0
    while True:
        try:
            count += read_head(sock.recv(2_048), 0) is not None
        except TimeoutError:
            return count


def pace(lease: str, shown: bytes, rate_bps: int = RATE_BPS) -> bytes:
    return encode_control(Control(kind=PACE, lease=lease, cookie=shown, step=1, rate_bps=rate_bps))


def test_it_is_sent_at_the_rate_that_is_asked_for_and_stops_when_nobody_asks() -> None:
    with leased() as (_, lease, sock):
        sock.send(pace(lease, cookie(sock, lease)))
        assert 0 < hears(sock) < RATE_BPS / 8 / DATA_BYTES  # a second's; it has stopped after a quarter
        sock.send(pace(lease, cookie(sock, lease)))
        assert hears(sock) == 0  # one burst a lease


def test_no_more_is_sent_than_the_lease_has_reserved() -> None:
    with leased() as (_, lease, sock):
        sock.send(pace(lease, cookie(sock, lease), int(MOST_BPS)))
        assert 0 < hears(sock) < DRIVEN["burst"] * RATE_BPS / 8 / DATA_BYTES


def test_nobody_without_its_cookie_or_lease_is_sent_anything() -> None:
    with leased() as (ports, lease, sock):
        shown = cookie(sock, lease)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.connect(("127.0.0.1", ports.udp))
            other.send(pace(lease, shown))  # another's cookie, seen on the way
            assert hears(other) == 0
        for control in (pace(lease, bytes(16)), pace(LEASE, shown), encode_control(Control(kind=HELLO, lease=LEASE))):
            sock.send(control)
        assert hears(sock) == 0


def test_a_lease_of_another_shape_has_no_burst() -> None:
    with leased("light") as (_, lease, sock):
        sock.send(encode_control(Control(kind=HELLO, lease=lease)))
        assert hears(sock) == 0


def test_a_burst_ends_with_its_lease() -> None:
    throughput = Throughput(key=None)
    with leased(throughput=throughput) as (ports, lease, sock):
        shown = cookie(sock, lease)
        sock.send(pace(lease, shown))
        assert read_head(sock.recv(2_048), 0) is not None
        ask(ports.http, "POST", f"/release?lease={lease}")
        sock.setblocking(False)
        quiet_s = time.monotonic()
        while time.monotonic() - quiet_s < 0.5:
            try:
                sock.recv(2_048)
                quiet_s = time.monotonic()
            except BlockingIOError:
                pass
            sock.send(pace(lease, shown))


def test_a_burst_reserves_what_it_may_send() -> None:
    lease = Leases(nic_bps=3e9).ask("1", "a", "burst", (1e9, None), 0)
    assert isinstance(lease, Lease)
    assert lease.bps == DRIVEN["burst"] * 1e9


def meter(lease: str, shown: bytes) -> bytes:
    return encode_control(Control(kind=METER, lease=lease, cookie=shown))


def counted(sock: socket.socket) -> Seen:
    seen = decode_seen(sock.recv(2_048))
    assert seen is not None
    return seen


def is_reflected(sock: socket.socket) -> bool:
    """Whether the next answer is the reflector's."""
    sock.send(encode_sender(SenderPacket(sequence=9, time_ns=0)))
    return decode_reflected(sock.recv(2_048)) is not None


def test_what_a_probe_sends_up_is_counted_and_told() -> None:
    # Its clock is slow: what must come within a quarter of a second has five.
    slow = Throughput(key=None, monotonic=lambda: time.monotonic() / 20)
    with leased(throughput=slow) as (ports, lease, sock):
        sock.send(meter(lease, cookie(sock, lease)))
        assert counted(sock).all == 0
        for data in (packet(1, 0), packet(1, 1), packet(1, 4), packet(1, 3)):
            sock.send(data)
        while (seen := counted(sock)).all < 4:
            sock.send(b"alive")
        assert (seen.step, seen.packets, seen.highest, seen.late, seen.dropped) == (1, 4, 4, 1, 0)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
            other.connect(("127.0.0.1", ports.udp))
            other.settimeout(30)
            assert is_reflected(other)


def test_a_probe_that_sends_no_more_is_told_no_more_and_counted_once_a_lease() -> None:
    with leased() as (_, lease, sock):
        shown = cookie(sock, lease)
        sock.send(meter(lease, shown))
        assert counted(sock).all == 0
        while not is_reflected(sock):  # all that this probe sends is its burst's, until it is silent
            sock.settimeout(0.5)
            with suppress(TimeoutError):
                while True:
                    sock.recv(2_048)
            sock.settimeout(30)
        sock.send(meter(lease, shown))
        assert is_reflected(sock)


def test_nobody_without_its_cookie_is_counted() -> None:
    with leased() as (_, lease, sock):
        shown = cookie(sock, lease)
        for said in (meter(lease, bytes(16)), meter(LEASE, shown), packet(1, 0)):
            sock.send(said)
        assert is_reflected(sock)


# The probe against it


def burst(asked: Spec) -> Mapping[str, Value]:
    """Fields of one that came to its end: a quarter of a second without a processor ends one, as it must."""
    for _ in range(10):
        outcome, fields = measure(asked, silence)
        if outcome.kind == "ok":
            return fields
    raise AssertionError(outcome)


def test_a_line_that_is_never_full_has_no_capacity_and_says_what_it_was_asked_for() -> None:
    with serving() as ports:
        spec = Spec(kind="udp_capacity", peer=peer(ports.http), contract_down_bps=5e6)
        fields = burst(spec)
        assert json.loads(ask(ports.http, "POST", "/lease?shape=light")[1])["lease"]  # it was given back
    assert fields["role"] == "operator"
    assert 0 < int(fields["driven_bps"]) <= 7_500_000
    for way in ("", "up_"):
        assert int(fields[f"{way}packets"]) > 0
        assert 0 <= float(fields[f"{way}loss_ratio"]) < 1


@pytest.mark.parametrize(
    ("only", "there", "missing"), [("down", "driven_bps", "up_driven_bps"), ("up", "up_driven_bps", "driven_bps")]
)
def test_one_way_alone_is_that_way_alone(only: str, there: str, missing: str) -> None:
    with serving(listen="::1") as ports:
        spec = Spec(kind="udp_capacity", peer=peer(ports.http, "::1"), only=only)
        fields = burst(replace(spec, contract_down_bps=2e6, contract_up_bps=2e6))
    assert there in fields
    assert missing not in fields


def test_a_target_that_hears_no_udp_is_no_answer_and_one_without_tokens_refuses() -> None:
    throughput = Throughput(key=None)
    with serving(throughput) as ports, closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as nobody:
        nobody.bind(("127.0.0.1", 0))
        throughput.udp_port = nobody.getsockname()[1]
        outcome, _ = measure(Spec(kind="udp_capacity", peer=peer(ports.http)), silence)
    assert (outcome.kind, outcome.reason) == ("failed", "no_answer")
    with serving(Throughput(key=KEY)) as ports:
        outcome, _ = measure(Spec(kind="udp_capacity", peer=peer(ports.http)), silence)
    assert (outcome.kind, outcome.reason) == ("failed", "token_refused")
