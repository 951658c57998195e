"""Where do packets begin in a run of bytes?

A file may begin anywhere, have packets of 188, 204 (with parity) or 192 bytes (with a time), and lose its step. Five
sync bytes in step find it, two wrong ones in a row lose it (ETSI TR 101 290, 1.1).

Rule 1: the same packets, whatever the cuts between calls: what cannot be decided yet waits.
"""

from __future__ import annotations

from collections.abc import Callable

from balise_agent.net.mpegts.packet import SIZE, SYNC

_STRIDES = (188, 204, 192)
_ACQUIRE, _LOSE = 5, 2
_PIECE = 1 << 16  # where the step is lost again and again, what follows is copied each time


def are_packets(data: bytes) -> bool:
    """Whether each of so many has its sync byte."""
    return data[::SIZE].count(SYNC) * SIZE == len(data)


class Framer:
    """Bytes in, whole packets out. ``are_packets``: `are_packets`, or what is faster."""

    def __init__(self, are_packets: Callable[[bytes], bool] = are_packets) -> None:
        self._are_packets = are_packets
        self.sync_errors = 0
        self.sync_losses = 0
        self._held = b""
        self._stride = 0  # 0: the step is not known
        self._wrong = 0

    def push(self, data: bytes, *, end: bool = False) -> bytes:
        """The packets that are sure now; ``end``: nothing comes after this."""
        if self._is_in_step(data) and self._are_packets(data):  # mostly a file is nothing else: then nothing is copied
            return data
        pieces = [data[at : at + _PIECE] for at in range(0, max(1, len(data)), _PIECE)]
        return b"".join([self._push(one, end=end and nth == len(pieces)) for nth, one in enumerate(pieces, 1)])

    def _is_in_step(self, data: bytes) -> bool:
        return self._stride == SIZE and not self._held and not self._wrong and bool(data) and not len(data) % SIZE

    def _push(self, data: bytes, *, end: bool) -> bytes:
        self._held = self._held + data if self._held else data
        found: list[bytes] = []
        while True:
            if not self._stride and not self._find(end=end):
                break
            packets = self._take(end=end)
            found.append(packets)
            if self._stride or not self._held:
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def _find(self, *, end: bool) -> bool:
        """Looks for five sync bytes in step, for fewer at the end of all; drops what is before."""
        held = self._held
        at = held.find(SYNC)
        while at >= 0:
            for stride in _STRIDES:
                if at + stride * (_ACQUIRE - 1) >= len(held) and not end:
                    self._held = held[at:]
                    return False
                if all(held[place] == SYNC for place in range(at, len(held), stride)[:_ACQUIRE]):
                    if len(held) - at < SIZE:
                        continue
                    self._held, self._stride, self._wrong = held[at:], stride, 0
                    return True
            at = held.find(SYNC, at + 1)
        self._held = b""
        return False

    def _take(self, *, end: bool) -> bytes:
        """Whole packets in step; one without its sync byte is counted and left out."""
        stride = self._stride
        size = SIZE if end else stride
        whole = (len(self._held) - size) // stride + 1 if len(self._held) >= size else 0
        held, self._held = self._held, b"" if end else self._held[whole * stride :]
        part = held if whole * stride == len(held) else held[: whole * stride]
        if part[::stride].count(SYNC) == whole and not self._wrong:
            return part if stride == SIZE else b"".join(part[n : n + SIZE] for n in range(0, len(part), stride))
        return self._pick(part, whole)

    def _pick(self, part: bytes, whole: int) -> bytes:
        found = []
        for nth in range(whole):
            packet = part[nth * self._stride : nth * self._stride + SIZE]
            if packet[0] == SYNC:
                self._wrong = 0
                found.append(packet)
                continue
            self.sync_errors += 1
            self._wrong += 1
            if self._wrong >= _LOSE:
                self.sync_losses += 1
                self._held = part[nth * self._stride + 1 :] + self._held
                self._stride = self._wrong = 0
                break
        return b"".join(found)
