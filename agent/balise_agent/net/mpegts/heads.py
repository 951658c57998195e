"""What do the headers of a batch of packets say, all at once?

Each header is one word of 32 bits: 47 words are a packet, so the headers are a slice, and of a packet's three cache
lines one is read. Sorted by PID once: a PID's packets are a slice then too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from balise_agent.net.mpegts.packet import SIZE

Array = Any  # of NumPy, whose types say nothing here

DAMAGED, STARTS = 1 << 23, 1 << 22
SCRAMBLED, ADAPTED, PAYLOAD, COUNTER = 0xC0, 0x20, 0x10, 0x0F
_PIDS = 1 << 13
_EMPTY = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Places are counted from the batch's first packet, which is ``index`` of the stream.

    ``words``: big-endian; ``order``: places by PID, then as they came; ``groups``: of each PID, where its places begin
    and end in it; ``flags``: of adaptation fields, 0 without one; ``adapted``: places of those that have any.
    """

    data: bytes
    index: int
    packets: Array
    words: Array
    pids: Array
    order: Array
    groups: dict[int, tuple[int, int]]
    flags: Array
    adapted: Array

    def places(self, pid: int) -> Array:
        """Of a PID's packets."""
        start, end = self.groups.get(pid, (0, 0))
        return self.order[start:end] if end else _EMPTY

    def packet(self, place: int) -> bytes:
        """Copied: the batch's memory is used again."""
        return self.data[place * SIZE : place * SIZE + SIZE]


def heads(data: bytes, index: int) -> Heads:
    """Of whole packets."""
    words = np.frombuffer(data, ">u4")[:: SIZE // 4].astype(np.uint32)
    packets = np.frombuffer(data, np.uint8).reshape(-1, SIZE)
    pids = (words >> 8).astype(np.uint16) & (_PIDS - 1)
    order = np.argsort(pids, kind="stable")
    of = pids[order]
    ends = np.append(np.flatnonzero(of[1:] != of[:-1]) + 1, len(of)).tolist()
    starts = [0, *ends[:-1]]
    flags = np.zeros(len(words), np.uint8)
    adapted = np.flatnonzero(words & ADAPTED)
    flags[adapted] = np.where(packets[adapted, 4] > 0, packets[adapted, 5], 0)
    return Heads(
        data=data,
        index=index,
        packets=packets,
        words=words,
        pids=pids,
        order=order,
        groups=dict(zip(of[starts].tolist(), zip(starts, ends, strict=True), strict=True)),
        flags=flags,
        adapted=adapted[flags[adapted] > 0],
    )


def gaps(values: Array, before: Any) -> Array:
    """From each to the next, and from what was before to the first."""
    found = np.empty_like(values)
    found[0] = values[0] - before
    np.subtract(values[1:], values[:-1], out=found[1:])
    return found


def lookup(pids: Any) -> Array:
    """Of each PID whether it is among these."""
    found = np.zeros(_PIDS, bool)
    found[list(pids)] = True
    return found
