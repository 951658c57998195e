"""How is a burst driven from the probe, down or up?

Both ways the probe says at which rate; down the target sends and the probe counts, up the other way round.

Rule 1: what came is read from one clock, the receiver's, with its counts.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from balise_agent.contract import failed
from balise_agent.net.throughput.burst import (
    ASK_EVERY_S,
    COOKIE,
    DATA_BYTES,
    HEADERS,
    HELLO,
    METER,
    PACE,
    Control,
    Seen,
    decode_control,
    decode_seen,
    encode_control,
)
from balise_agent.net.throughput.dialogue import TroubleError
from balise_agent.net.throughput.meter import Meter, prepare
from balise_agent.net.throughput.pump import Pump, send_cut
from balise_agent.net.throughput.session import Session

HELLO_S, HELLO_EVERY_S = 3.0, 0.2
TURN_S = 0.001


class Driven(Protocol):
    """One burst. ``late_here``, ``late_there``: of the packets, what the probe or the target could not send or take."""

    direction: str

    @property
    def packet_bits(self) -> int: ...
    @property
    def late_here(self) -> float: ...
    @property
    def late_there(self) -> float: ...
    def at(self, step: int, rate_bps: float) -> None: ...
    def turn(self) -> None: ...
    def seen(self) -> Seen: ...


@dataclass(slots=True, kw_only=True)
class _Spoken:
    """The target, as it is spoken to over one socket."""

    session: Session
    sock: socket.socket
    cookie: bytes = b""

    @property
    def address(self) -> tuple[object, ...]:
        peer = self.session.peer.address
        return (peer[0], self.session.lease.udp_port, *peer[2:])

    @property
    def packet_bits(self) -> int:
        return 8 * (DATA_BYTES + HEADERS[self.session.af])

    def say(self, kind: int, step: int = 0, rate_bps: float = 0.0) -> None:
        lease = self.session.lease.id
        cookie = {"cookie": self.cookie} if self.cookie else {}
        control = Control(kind=kind, lease=lease, step=step, rate_bps=round(rate_bps), **cookie)
        with contextlib.suppress(OSError):  # a full queue of the probe's own; it is said again
            self.sock.sendto(encode_control(control), self.address)

    def hear(self, data: bytes) -> None:
        control = decode_control(data)
        if control is not None and control.kind == COOKIE:
            self.cookie = control.cookie

    def hello(self, take: Callable[[], None]) -> None:
        """Until the target has answered."""
        insist(lambda: self.say(HELLO), take, lambda: bool(self.cookie))


def insist(say: Callable[[], None], take: Callable[[], None], done: Callable[[], bool]) -> None:
    """Says it again and again until it is answered. `TroubleError`: it is not."""
    end_s, due_s = time.monotonic() + HELLO_S, 0.0
    while not done():
        now_s = time.monotonic()
        if now_s >= end_s:
            raise TroubleError(failed("no_answer"))
        if now_s >= due_s:
            due_s = now_s + HELLO_EVERY_S
            say()
        take()
        time.sleep(TURN_S)


@dataclass(slots=True)
class Down:
    """The target sends, as fast as it was last asked."""

    spoken: _Spoken
    meter: Meter
    direction: str = "down"
    step: int = 0
    rate_bps: float = 0.0
    _asked_s: float = 0.0

    @property
    def packet_bits(self) -> int:
        return self.spoken.packet_bits

    @property
    def late_here(self) -> float:
        return self.meter.dropped / max(1, self.meter.packets)

    @property
    def late_there(self) -> float:
        return self.meter.skipped / max(1, self.meter.packets + self.meter.skipped)

    def at(self, step: int, rate_bps: float) -> None:
        self.step, self.rate_bps, self._asked_s = step, rate_bps, 0.0

    def turn(self) -> None:
        now_s = time.monotonic()
        if now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            self.spoken.say(PACE, self.step, self.rate_bps)
        self.meter.take()

    def seen(self) -> Seen:
        return self.meter.seen()


@dataclass(slots=True)
class Up:
    """The probe sends from a thread; the target says what came."""

    spoken: _Spoken
    meter: Meter  # of what comes back: a cookie, and what was counted
    pump: Pump
    direction: str = "up"
    heard: list[Seen] = field(default_factory=list)

    @property
    def packet_bits(self) -> int:
        return self.spoken.packet_bits

    @property
    def late_here(self) -> float:
        return self.pump.skipped / max(1, self.pump.sent + self.pump.skipped)

    @property
    def late_there(self) -> float:
        return self.heard[-1].dropped / max(1, self.heard[-1].all) if self.heard else 0.0

    def at(self, step: int, rate_bps: float) -> None:
        self.pump.step, self.pump.rate_bps = step, rate_bps

    def turn(self) -> None:
        self.meter.take()

    def seen(self) -> Seen:
        return self.heard[-1]

    def hear(self, data: bytes) -> None:
        seen = decode_seen(data)
        if seen is None:
            self.spoken.hear(data)
        elif not self.heard or seen.at_s > self.heard[-1].at_s:
            self.heard = [seen]


@contextmanager
def down(session: Session) -> Iterator[Driven]:
    """A burst from the target; it stops with the block."""
    with _spoken(session) as spoken:
        burst = Down(spoken, Meter(spoken.sock, spoken.hear))
        spoken.hello(burst.meter.take)
        try:
            yield burst
        finally:
            burst.at(burst.step + 1, 0.0)  # if this is lost, silence says it too
            burst.turn()


@contextmanager
def up(session: Session) -> Iterator[Driven]:
    """A burst to the target; it stops with the block."""
    over = threading.Event()
    with _spoken(session) as spoken:
        pump = Pump(
            out=lambda data: send_cut(spoken.sock, data, spoken.address),
            packet_bits=spoken.packet_bits,
            most_bps=float("inf"),
        )
        burst = Up(spoken, Meter(spoken.sock), pump)
        burst.meter.others = burst.hear
        spoken.hello(burst.turn)
        insist(lambda: spoken.say(METER), burst.turn, lambda: bool(burst.heard))
        thread = threading.Thread(target=pump.run, args=(over.is_set,), daemon=True)
        thread.start()
        try:
            yield burst
        finally:
            over.set()
            thread.join()


@contextmanager
def _spoken(session: Session) -> Iterator[_Spoken]:
    with socket.socket(session.peer.family, socket.SOCK_DGRAM) as sock:
        prepare(sock)
        yield _Spoken(session=session, sock=sock)
