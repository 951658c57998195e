"""How many IP bits a second does the line carry when more is sent, and what does it lose when it is not full?

TCP makes one figure of both; a burst of UDP tells "slow" from "lossy". The target sends at the rate that it is asked
for: doubled until more comes no more, then held 15 % above what came, then 10 % below.

Rule 1: what the probe itself could not take, or the target not send, is nobody's loss: `limited_by` says so.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from balise_agent.contract import failed
from balise_agent.net.throughput.burst import (
    ASK_EVERY_S,
    COOKIE,
    DATA_BYTES,
    HEADERS,
    HELLO,
    PACE,
    Control,
    decode_control,
    encode_control,
    read_head,
)
from balise_agent.net.throughput.dialogue import TroubleError
from balise_agent.net.throughput.limits import VALIDITY, Evidence, limited_by
from balise_agent.net.throughput.machine import machine_share, moment, process_share
from balise_agent.net.throughput.session import Session

START_BPS = 2e6  # where the contract is not known
START_SHARE, MOST_SHARE = 0.5, 1.5  # of the contract: the search's first and last rate
UNKNOWN_MOST_BPS = 1.5e9
STEP_S, NOTHING_S, SEARCH_S = 0.1, 1.5, 3.0
KEPT_UP = 0.85  # of what was sent: with less, more was sent than the line carries, if no more came than before
DRIVE, HELD_S, WINDOW_S = 1.15, 0.4, 0.8  # of what came; until the queue is full; what is measured
DRIVES, MORE = 4, 1.5  # where the line was not full yet: so often more, by so much
EMPTY, EMPTY_S = 0.5, 0.4  # lets 200 ms of queue run out
PROBE, PROBE_SKIP_S, PROBE_S = 0.9, 0.1, 1.0  # of what the line carries: a line that is not full
HELLO_S, HELLO_EVERY_S = 3.0, 0.2
TURN_S = 0.001
LOST_HERE = 0.001  # of the packets: dropped by the probe's own socket

_SO_RXQ_OVFL, _UDP_GRO, _SOL_UDP = 40, 104, 17
_RECEIVE_BYTES = 4 << 20
_DATAGRAM_BYTES, _ANCILLARY_BYTES = 65_536, 256
_AT_ONCE = 256
_DROPS = struct.Struct("@I")

Turn = Callable[[str, float, int], None]


@dataclass(slots=True, kw_only=True)
class Count:
    """What came of one step. ``late``: behind a packet that was sent after it."""

    first_s: float
    first: int
    last: int
    packets: int = 0
    late: int = 0

    def seen(self, sequence: int) -> None:
        """One more packet."""
        self.packets += 1
        if sequence < self.last:
            self.late += 1
        self.first, self.last = min(self.first, sequence), max(self.last, sequence)

    @property
    def sent(self) -> int:
        """What the target sent between the first and the last that came."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Meter:
    """Packets of the burst on one socket, by step."""

    sock: socket.socket
    monotonic: Callable[[], float] = time.monotonic
    packets: int = 0
    skipped: int = 0
    dropped: int = 0
    cookie: bytes | None = None
    steps: dict[int, Count] = field(default_factory=dict)

    def take(self) -> None:
        """What has come, some at a time: the target is to be asked meanwhile."""
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, _ = self.sock.recvmsg(_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet: whether anything comes is seen by itself
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                    self.dropped = int(_DROPS.unpack_from(value)[0])
            self._packets(data)

    def _packets(self, data: bytes) -> None:
        control = decode_control(data)
        if control is not None and control.kind == COOKIE:
            self.cookie = control.cookie
        now_s = self.monotonic()
        for at in range(0, len(data), DATA_BYTES):  # several at once, as the kernel merged them
            head = read_head(data, at)
            if head is None:
                return
            step, sequence, skipped = head
            count = self.steps.get(step)
            if count is None:
                count = self.steps[step] = Count(first_s=now_s, first=sequence, last=sequence)
            count.seen(sequence)
            self.packets += 1
            self.skipped = max(self.skipped, skipped)


def is_full(rate: float, got: float, before: tuple[float, float] | None) -> bool:
    """Whether more was sent than the line carries: less came, and not in proportion more than ``before`` (rate, got).

    A line that loses a fifth of everything brings less too, and goes on bringing more.
    """
    if before is None or got >= KEPT_UP * rate:
        return False
    return got / max(1.0, before[1]) < (1 + rate / before[0]) / 2


@dataclass(slots=True, kw_only=True)
class Burst:
    """One burst under a lease. Rates are of IP packets."""

    session: Session
    sock: socket.socket
    address: tuple[object, ...]
    meter: Meter
    most_bps: float
    packet_bits: int
    step: int = 0
    rate_bps: float = 0.0
    _asked_s: float = 0.0
    _begun_s: float = field(default_factory=time.monotonic)

    def hello(self) -> None:
        """Until the target has answered."""
        end_s = time.monotonic() + HELLO_S
        while self.meter.cookie is None:
            if time.monotonic() >= end_s:
                raise TroubleError(failed("no_answer"))
            self._send(Control(kind=HELLO, lease=self.session.lease.id))
            self._until(lambda: self.meter.cookie is not None, HELLO_EVERY_S)

    def at(self, rate_bps: float) -> None:
        """From now on so much."""
        self.step, self.rate_bps, self._asked_s = self.step + 1, min(rate_bps, self.most_bps), 0.0

    def for_s(self, seconds: float) -> float:
        """Goes on for so long; bits a second that came, of whatever step."""
        before, start_s = self.meter.packets, time.monotonic()
        self._until(lambda: False, seconds)
        return (self.meter.packets - before) * self.packet_bits / (time.monotonic() - start_s)

    def stepped(self) -> Count:
        """Goes on until the step that was asked for has come."""
        self._until(lambda: self.step in self.meter.steps, NOTHING_S)
        if self.step not in self.meter.steps:
            raise TroubleError(failed("no_answer"))
        return self.meter.steps[self.step]

    def search(self, start_bps: float) -> float:
        """Bits a second that came when more made no more come, or at the most that may be asked for."""
        end_s, before = time.monotonic() + SEARCH_S, None
        self.at(start_bps)
        while True:
            count = self.stepped()
            seen, since_s = count.packets, time.monotonic()
            self._until(lambda: False, STEP_S)
            got = (count.packets - seen) * self.packet_bits / (time.monotonic() - since_s)
            if is_full(self.rate_bps, got, before) or self.rate_bps >= self.most_bps or time.monotonic() > end_s:
                return got
            before = (self.rate_bps, got)
            self.at(2 * self.rate_bps)

    def stop(self) -> None:
        """No more of it; if this is lost, silence says it too."""
        self.at(0)
        self._turn()

    def _until(self, over: Callable[[], bool], most_s: float) -> None:
        end_s = time.monotonic() + most_s
        while not over() and time.monotonic() < end_s:
            self._turn()
            time.sleep(TURN_S)

    def _turn(self) -> None:
        now_s = time.monotonic()
        if self.meter.cookie is not None and self.step and now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            lease, cookie = self.session.lease.id, self.meter.cookie
            rate = round(self.rate_bps)
            self._send(Control(kind=PACE, lease=lease, cookie=cookie, step=self.step, rate_bps=rate))
            self.session.say("udp", now_s - self._begun_s, self.meter.packets * self.packet_bits // 8)
        self.meter.take()

    def _send(self, control: Control) -> None:
        with contextlib.suppress(OSError):  # a full queue of the probe's own; it is asked again
            self.sock.sendto(encode_control(control), self.address)


def capacity(session: Session, contract_bps: float | None) -> dict[str, int | float | str]:
    """Fields of a `udp_capacity` record."""
    most_bps = UNKNOWN_MOST_BPS if contract_bps is None else MOST_SHARE * contract_bps
    start_bps = START_BPS if contract_bps is None else START_SHARE * contract_bps
    with _open(session) as sock:
        burst = Burst(
            session=session,
            sock=sock,
            address=(session.peer.address[0], session.lease.udp_port, *session.peer.address[2:]),
            meter=Meter(sock),
            most_bps=most_bps,
            packet_bits=8 * (DATA_BYTES + HEADERS[session.af]),
        )
        burst.hello()
        before = moment(session.link)
        try:
            fields = _measured(burst, start_bps)
        finally:
            burst.stop()
        after, meter = moment(session.link), burst.meter
    seen = Evidence(
        bps=0,
        contract_bps=contract_bps,
        wifi=None if session.link is None else session.link.wifi,
        link_bps=None if session.link is None else session.link.bps,
        process_cpu=process_share(before, after),
        machine_cpu=machine_share(before, after),
        ran_dry=1.0 if meter.dropped > LOST_HERE * max(1, meter.packets) else 0.0,
        server_late=meter.skipped / max(1, meter.packets + meter.skipped),
    )
    word = limited_by(seen)
    return fields | {"limited_by": word, "validity": VALIDITY[word]}


def _measured(burst: Burst, start_bps: float) -> dict[str, int | float | str]:
    fields: dict[str, int | float | str] = {}
    carried_bps, was_full = _driven(burst, DRIVE * burst.search(start_bps))
    fields["driven_bps"] = round(burst.rate_bps)
    if was_full:
        fields["down_bps"] = round(carried_bps)
    burst.at(EMPTY * carried_bps)
    burst.for_s(EMPTY_S)
    burst.at(PROBE * carried_bps)
    burst.stepped()
    burst.for_s(PROBE_SKIP_S)
    count = burst.meter.steps[burst.step] = _anew(burst.meter.steps[burst.step])
    burst.for_s(PROBE_S)
    if count.packets == 0:
        raise TroubleError(failed("stalled"))
    lost = max(0, count.sent - count.packets)
    fields |= {"probed_bps": round(burst.rate_bps), "loss_ratio": round(lost / count.sent, 6)}
    return fields | {"packets": count.sent, "reordered": count.late}


def _driven(burst: Burst, rate_bps: float) -> tuple[float, bool]:
    """Bits a second that came, and whether the line was full: a search that a late process misled is made up for."""
    for _ in range(DRIVES):
        burst.at(rate_bps)
        burst.stepped()
        burst.for_s(HELD_S)
        carried_bps = burst.for_s(WINDOW_S)
        was_full = carried_bps < (1 + 1 / DRIVE) / 2 * burst.rate_bps
        if was_full or burst.rate_bps >= burst.most_bps:
            break
        rate_bps = MORE * burst.rate_bps
    return carried_bps, was_full


def _anew(count: Count) -> Count:
    """Counts what is sent from now on."""
    return Count(first_s=count.first_s, first=count.last + 1, last=count.last)


def _open(session: Session) -> socket.socket:
    sock = socket.socket(session.peer.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        with contextlib.suppress(OSError):  # Linux before 5.0
            sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    except BaseException:
        sock.close()
        raise
    return sock
