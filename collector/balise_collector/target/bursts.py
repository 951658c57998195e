"""How does the target send UDP as fast as a probe asks, and to nobody else?

Over the reflector's own socket, so that the answer comes through the probe's box; each burst from a thread.

Rule 1: a burst is under a lease of its shape, and goes only to who has shown its cookie: not to a forged sender.
Rule 2: no faster than the lease has reserved, no longer than `BURST_S`, one a lease; a probe that falls silent for
`SILENCE_S` is sent no more.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from balise_agent.net.throughput.burst import (
    COOKIE,
    COOKIE_BYTES,
    DATA_BYTES,
    HEADERS,
    HELLO,
    PACE,
    SILENCE_S,
    Control,
    decode_control,
    encode_control,
    put_head,
)
from balise_collector.target.datagrams import Datagram, answer
from balise_collector.target.leases import Lease, Leases

BURST_S = 8.0  # all of it, whatever is asked: the search, twice the line's rate for some 100 ms, two windows
TICK_S = 0.001
BEHIND_S = 0.02  # what is not sent in this time is skipped, and said
AT_ONCE = 40  # packets in one call: 49 kB, below UDP's 64

_SOL_UDP, _UDP_SEGMENT = 17, 103
_SEGMENT = struct.pack("@H", DATA_BYTES)


@dataclass(slots=True, kw_only=True)
class _Burst:
    """One that runs. ``to``: the datagram that it answers."""

    to: Datagram
    most_bps: float
    packet_bits: int
    step: int
    rate_bps: float
    asked_s: float
    ends_s: float
    skipped: int = 0


@dataclass(slots=True)
class Bursts:
    """Bursts of one target."""

    sock: socket.socket
    leases: Leases
    monotonic: Callable[[], float] = time.monotonic
    running: dict[str, _Burst] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _noise: bytes = field(default_factory=lambda: os.urandom(DATA_BYTES * AT_ONCE))
    _had: dict[str, float] = field(default_factory=dict)  # leases that had their burst -> when it is over
    _stopping: bool = False

    def take(self, arrival: Datagram) -> bool:
        """Whether this datagram is of a burst."""
        control = decode_control(arrival.data)
        if control is None or control.kind not in (HELLO, PACE):
            return False
        lease = self.leases.find(control.lease, self.monotonic())
        if lease is None or lease.shape != "burst":
            return True
        cookie = self._cookie(control.lease, arrival)
        if control.kind == HELLO:
            answer(self.sock, arrival, encode_control(Control(kind=COOKIE, lease=control.lease, cookie=cookie)))
        elif hmac.compare_digest(cookie, control.cookie):
            self._pace(control, arrival, lease)
        return True

    def close(self) -> None:
        """Ends what runs, within a tick."""
        self._stopping = True

    def _cookie(self, lease: str, arrival: Datagram) -> bytes:
        said = f"{lease} {arrival.source[:2]}".encode()
        return hmac.new(self._key, said, hashlib.sha256).digest()[:COOKIE_BYTES]

    def _pace(self, control: Control, arrival: Datagram, lease: Lease) -> None:
        now_s = self.monotonic()
        burst = self.running.get(lease.id)
        if burst is not None:
            burst.step, burst.rate_bps, burst.asked_s = control.step, control.rate_bps, now_s
            return
        self._had = {name: until_s for name, until_s in self._had.items() if until_s > now_s}
        if lease.id in self._had or control.rate_bps == 0:
            return
        self._had[lease.id] = lease.ends_s
        is_v4 = len(arrival.source) == 2 or arrival.source[0].startswith("::ffff:")
        burst = self.running[lease.id] = _Burst(
            to=arrival,
            most_bps=lease.bps,
            packet_bits=8 * (DATA_BYTES + HEADERS[4 if is_v4 else 6]),
            step=control.step,
            rate_bps=control.rate_bps,
            asked_s=now_s,
            ends_s=min(now_s + BURST_S, lease.ends_s),
        )
        threading.Thread(target=self._send, args=(lease.id, burst), daemon=True).start()

    def _send(self, lease_id: str, burst: _Burst) -> None:
        packets, step, sequence = bytearray(self._noise), -1, 0
        paid_s = self.monotonic()
        try:
            while not self._is_over(lease_id, burst):
                now_s = self.monotonic()
                if burst.step != step:
                    step, sequence, paid_s = burst.step, 0, now_s
                rate_bps = min(burst.rate_bps, burst.most_bps)
                due = int((now_s - paid_s) * rate_bps / burst.packet_bits)
                paid_s = paid_s + due * burst.packet_bits / rate_bps if rate_bps else now_s
                most = max(1, int(BEHIND_S * rate_bps / burst.packet_bits))
                burst.skipped += max(0, due - most)
                sequence = self._some(burst, packets, step, sequence, min(due, most), now_s)
                time.sleep(TICK_S)
        finally:
            self.running.pop(lease_id, None)

    def _is_over(self, lease_id: str, burst: _Burst) -> bool:
        now_s = self.monotonic()
        silent = now_s - burst.asked_s > SILENCE_S
        # Only looked up: what has expired is dropped by the loop's thread.
        return self._stopping or silent or now_s > burst.ends_s or lease_id not in self.leases.running

    def _some(self, burst: _Burst, packets: bytearray, step: int, sequence: int, due: int, now_s: float) -> int:
        """Sends what is due; the next sequence number. What takes too long, or the kernel does not take, is skipped."""
        while due > 0:
            count = min(due, AT_ONCE)
            late = self.monotonic() - now_s > BEHIND_S
            for n in range(count):
                put_head(packets, n * DATA_BYTES, step, sequence + n, burst.skipped)
            if late or not self._out(burst.to, memoryview(packets)[: count * DATA_BYTES]):
                burst.skipped += due if late else count
                if late:
                    return sequence
            else:
                sequence += count
            due -= count
        return sequence

    def _out(self, to: Datagram, data: memoryview) -> bool:
        """Several packets by one call, which the kernel cuts (Linux 4.18)."""
        ancillary = [*to.asked_at, (_SOL_UDP, _UDP_SEGMENT, _SEGMENT)]
        try:
            return self.sock.sendmsg([data], ancillary, 0, to.source) == len(data)
        except OSError:  # a full queue; no way there any more
            return False
