"""Which bursts of UDP run: down, to a probe as fast as it asks; up, from a probe, which is told what came?

Over the reflector's own port, so that both ways pass the probe's box; each burst has a thread of its own.

Rule 1: a burst is under a lease of its shape, and for who has shown its cookie: not for a forged sender.
Rule 2: none is longer than `BURST_S`, one a lease each way; down no faster than the lease has reserved; a probe that
falls silent for `SILENCE_S` is sent no more. Rule 3: what comes up is counted and dropped.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field

from balise_agent.net.throughput.burst import (
    COOKIE,
    COOKIE_BYTES,
    COUNTED_EVERY_S,
    DATA_BYTES,
    HEADERS,
    HELLO,
    METER,
    PACE,
    SILENCE_S,
    Control,
    decode_control,
    encode_control,
    encode_seen,
)
from balise_agent.net.throughput.meter import Meter, prepare
from balise_agent.net.throughput.pump import TICK_S, Pump, send_cut
from balise_collector.target.datagrams import Datagram, answer, asked_address
from balise_collector.target.leases import Lease, Leases

BURST_S = 8.0  # all of it, whatever is asked: the search, twice the line's rate for some 100 ms, two windows


@dataclass(slots=True, kw_only=True)
class _Sent:
    """One that is sent down."""

    pump: Pump
    asked_s: float
    ends_s: float


@dataclass(slots=True)
class Bursts:
    """Bursts of one target."""

    sock: socket.socket
    leases: Leases
    monotonic: Callable[[], float] = time.monotonic
    running: dict[str, _Sent] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _had: dict[tuple[str, int], float] = field(default_factory=dict)  # by lease and PACE or METER -> when it is over
    _stopping: bool = False

    def take(self, arrival: Datagram) -> bool:
        """Whether this datagram is of a burst."""
        control = decode_control(arrival.data)
        if control is None or control.kind == COOKIE:
            return False
        lease = self.leases.find(control.lease, self.monotonic())
        if lease is None or lease.shape != "burst":
            return True
        cookie = self._cookie(control.lease, arrival)
        if control.kind == HELLO:
            answer(self.sock, arrival, encode_control(Control(kind=COOKIE, lease=control.lease, cookie=cookie)))
        elif hmac.compare_digest(cookie, control.cookie):
            (self._pace if control.kind == PACE else self._meter)(control, arrival, lease)
        return True

    def close(self) -> None:
        """Ends what runs, within a tick."""
        self._stopping = True

    def _cookie(self, lease: str, arrival: Datagram) -> bytes:
        said = f"{lease} {arrival.source[:2]}".encode()
        return hmac.new(self._key, said, hashlib.sha256).digest()[:COOKIE_BYTES]

    def _is_first(self, lease: Lease, kind: int, now_s: float) -> bool:
        """Whether this lease had no burst that way yet; from now on it has."""
        self._had = {name: until_s for name, until_s in self._had.items() if until_s > now_s}
        if (lease.id, kind) in self._had:
            return False
        self._had[lease.id, kind] = lease.ends_s
        return True

    def _is_over(self, lease_id: str, heard_s: float, ends_s: float) -> bool:
        now_s = self.monotonic()
        # Only looked up: what has expired is dropped by the loop's thread.
        gone = lease_id not in self.leases.running
        return self._stopping or gone or now_s - heard_s > SILENCE_S or now_s > ends_s

    # down

    def _pace(self, control: Control, arrival: Datagram, lease: Lease) -> None:
        now_s = self.monotonic()
        burst = self.running.get(lease.id)
        if burst is not None:
            burst.pump.step, burst.pump.rate_bps, burst.asked_s = control.step, control.rate_bps, now_s
        elif control.rate_bps and self._is_first(lease, PACE, now_s):
            pump = self._pump(arrival, lease)
            pump.step, pump.rate_bps = control.step, control.rate_bps
            burst = _Sent(pump=pump, asked_s=now_s, ends_s=min(now_s + BURST_S, lease.ends_s))
            self.running[lease.id] = burst
            threading.Thread(target=self._send, args=(lease.id, burst), daemon=True).start()

    def _pump(self, to: Datagram, lease: Lease) -> Pump:
        is_v4 = len(to.source) == 2 or to.source[0].startswith("::ffff:")
        return Pump(
            out=lambda data: send_cut(self.sock, data, to.source, to.asked_at),
            packet_bits=8 * (DATA_BYTES + HEADERS[4 if is_v4 else 6]),
            most_bps=lease.bps,
            monotonic=self.monotonic,
        )

    def _send(self, lease_id: str, burst: _Sent) -> None:
        try:
            burst.pump.run(lambda: self._is_over(lease_id, burst.asked_s, burst.ends_s))
        finally:
            self.running.pop(lease_id, None)

    # up

    def _meter(self, _control: Control, arrival: Datagram, lease: Lease) -> None:
        now_s = self.monotonic()
        if self._is_first(lease, METER, now_s):
            with suppress(OSError):  # no descriptor is left: the probe hears nothing, and says so
                sock = _of_one_probe(self.sock, arrival)
                ends_s = min(now_s + BURST_S, lease.ends_s)
                threading.Thread(target=self._count, args=(sock, lease.id, ends_s), daemon=True).start()

    def _count(self, sock: socket.socket, lease_id: str, ends_s: float) -> None:
        meter, due_s, begun_s = Meter(sock, monotonic=self.monotonic), 0.0, self.monotonic()
        with closing(sock):
            while True:
                meter.take()
                if self._is_over(lease_id, meter.came_s or begun_s, ends_s):
                    return
                if self.monotonic() >= due_s:
                    due_s = self.monotonic() + COUNTED_EVERY_S
                    with suppress(OSError):  # a full buffer; the probe is gone
                        sock.send(encode_seen(meter.seen()))
                time.sleep(TICK_S)


def _of_one_probe(sock: socket.socket, arrival: Datagram) -> socket.socket:
    """A socket on the same port that hears this probe alone: the kernel gives a datagram to who is connected to its
    sender, and the reflector is not woken for 30,000 packets a second."""
    own = socket.socket(sock.family, socket.SOCK_DGRAM)
    try:
        prepare(own)
        _share_port(sock, own, arrival)
        own.connect(arrival.source)
    except BaseException:
        own.close()
        raise
    return own


def _share_port(sock: socket.socket, own: socket.socket, arrival: Datagram) -> None:
    """Both must allow it when the second one binds, and only then: no other program gets the port."""
    for one in (sock, own):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind(asked_address(sock, arrival))
    finally:
        for one in (sock, own):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
