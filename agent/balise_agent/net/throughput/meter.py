"""What has come of a burst? On the probe down, on the target up."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from balise_agent.net.throughput.burst import DATA_BYTES, Seen, read_head

_SO_RXQ_OVFL, _UDP_GRO, _SOL_UDP = 40, 104, 17
_RECEIVE_BYTES = 4 << 20
_DATAGRAM_BYTES, _ANCILLARY_BYTES = 65_536, 256
_AT_ONCE = 256
_DROPS = struct.Struct("@I")


def prepare(sock: socket.socket) -> None:
    """A large buffer that says what it drops, and packets of one burst several at a time."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    with contextlib.suppress(OSError):  # Linux before 5.0
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)


@dataclass(slots=True)
class Meter:
    """Packets of the burst on one socket. ``others``: takes a datagram that is none."""

    sock: socket.socket
    others: Callable[[bytes], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    packets: int = 0
    skipped: int = 0
    dropped: int = 0
    came_s: float | None = None
    _step: int = -1
    _of_step: int = 0
    _highest: int = 0
    _late: int = 0

    def take(self) -> None:
        """What has come, some at a time: the other end is to be told meanwhile."""
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
            self.came_s = self.monotonic()
            self.count(data)

    def count(self, data: bytes) -> None:
        """One datagram, or several that the kernel merged."""
        if read_head(data, 0) is None:
            self.others(data)
        for at in range(0, len(data), DATA_BYTES):
            head = read_head(data, at)
            if head is None:
                return
            step, sequence, skipped = head
            self.packets, self.skipped = self.packets + 1, max(self.skipped, skipped)
            if step > self._step:
                self._step, self._of_step, self._highest, self._late = step, 0, sequence, 0
            if step == self._step:
                self._of_step += 1
                self._late += sequence < self._highest
                self._highest = max(self._highest, sequence)

    def seen(self) -> Seen:
        """By now."""
        return Seen(
            at_s=self.monotonic(),
            all=self.packets,
            step=max(0, self._step),
            packets=self._of_step,
            highest=self._highest,
            late=self._late,
            dropped=self.dropped,
        )
