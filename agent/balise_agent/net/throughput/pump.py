"""How are the packets of a burst sent at a rate? By the target down, by the probe up.

Rule 1: what cannot be sent in its time is skipped and counted, never sent late: that would be another rate.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from balise_agent.net.throughput.burst import DATA_BYTES, put_head

TICK_S = 0.001
BEHIND_S = 0.02  # what is not sent in this time is skipped, and said
AT_ONCE = 40  # packets in one call: 49 kB, below UDP's 64

_SOL_UDP, _UDP_SEGMENT = 17, 103
_SEGMENT = struct.pack("@H", DATA_BYTES)

Out = Callable[[memoryview], bool]
"""Sends several packets; whether the kernel took them."""


@dataclass(slots=True, kw_only=True)
class Pump:
    """Rates are of IP packets. Another thread may set ``step`` and ``rate_bps`` while `run` runs."""

    out: Out
    packet_bits: int
    most_bps: float
    step: int = 0
    rate_bps: float = 0.0
    sent: int = 0
    skipped: int = 0
    monotonic: Callable[[], float] = time.monotonic
    _packets: bytearray = field(default_factory=lambda: bytearray(os.urandom(DATA_BYTES * AT_ONCE)))

    def run(self, over: Callable[[], bool]) -> None:
        """Until ``over``."""
        step, sequence, paid_s = -1, 0, self.monotonic()
        while not over():
            now_s = self.monotonic()
            if self.step != step:
                step, sequence, paid_s = self.step, 0, now_s
            rate_bps = min(self.rate_bps, self.most_bps)
            due = int((now_s - paid_s) * rate_bps / self.packet_bits)
            paid_s = paid_s + due * self.packet_bits / rate_bps if rate_bps else now_s
            most = max(1, int(BEHIND_S * rate_bps / self.packet_bits))
            self.skipped += max(0, due - most)
            sequence = self._some(step, sequence, min(due, most), now_s)
            time.sleep(TICK_S)

    def _some(self, step: int, sequence: int, due: int, now_s: float) -> int:
        """Sends what is due; the next sequence number. What takes too long, or the kernel does not take, is skipped."""
        while due > 0:
            if self.monotonic() - now_s > BEHIND_S:
                self.skipped += due
                return sequence
            count = min(due, AT_ONCE)
            for n in range(count):
                put_head(self._packets, n * DATA_BYTES, step, sequence + n, self.skipped)
            if self.out(memoryview(self._packets)[: count * DATA_BYTES]):
                sequence, self.sent = sequence + count, self.sent + count
            else:
                self.skipped += count
            due -= count
        return sequence


def send_cut(
    sock: socket.socket, data: memoryview, to: tuple[object, ...], ancillary: Iterable[tuple[int, int, bytes]] = ()
) -> bool:
    """Several packets by one call, which the kernel cuts (Linux 4.18)."""
    try:
        return sock.sendmsg([data], [*ancillary, (_SOL_UDP, _UDP_SEGMENT, _SEGMENT)], 0, to) == len(data)
    except OSError:  # a full queue; no way there any more
        return False
