"""What do the headers of a batch of packets say, all at once?

Each header is one word of 32 bits: 47 words are a packet, so the headers are a slice, and of a packet's three cache
lines one is read. Sorted by PID once: a PID's packets are a slice then too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from balise_agent.net.mpegts.packet import SIZE, SYNC

Array = Any  # of NumPy, whose types say nothing here

DAMAGED, STARTS = 1 << 23, 1 << 22
SCRAMBLED, ADAPTED, PAYLOAD, COUNTER = 0xC0, 0x20, 0x10, 0x0F
_PIDS = 1 << 13
_EMPTY = np.empty(0, np.intp)


class Groups(NamedTuple):
    """Where the values of each PID begin and end among values sorted by PID."""

    pids: list[int]
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Places are counted from the batch's first packet, which is ``index`` of the stream.

    ``words``: big-endian; ``order``: places by PID, then as they came; ``groups``: of each PID, where its places begin
    and end in it; ``marks``: the bits that any word has; ``starting``: places of those that begin something; ``flags``:
    of adaptation fields, 0 without one; ``adapted``: places of those that have any.
    """

    data: bytes
    index: int
    packets: Array
    words: Array
    pids: Array
    order: Array
    groups: dict[int, tuple[int, int]]
    marks: int
    starting: Array
    flags: Array
    adapted: Array

    def places(self, pid: int) -> Array:
        """Of a PID's packets."""
        start, end = self.groups.get(pid, (0, 0))
        return self.order[start:end] if end else _EMPTY

    def packet(self, place: int) -> bytes:
        """Copied: the batch's memory is used again."""
        return self.data[place * SIZE : place * SIZE + SIZE]


def first_words(data: bytes) -> Array:
    """Of whole packets."""
    return np.frombuffer(data, ">u4")[:: SIZE // 4].astype(np.uint32)


def are_packets(words: Array) -> bool:
    """Whether each begins with its sync byte."""
    return bool((words >> 24 == SYNC).all())


def heads(data: bytes, words: Array, index: int) -> Heads:
    """``words``: the packets' first ones."""
    packets = np.frombuffer(data, np.uint8).reshape(-1, SIZE)
    pids = (words >> 8).astype(np.uint16) & (_PIDS - 1)
    order = np.argsort(pids, kind="stable")
    groups = by_pid(pids[order])
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
        groups=dict(zip(groups.pids, zip(groups.starts, groups.ends, strict=True), strict=True)),
        marks=int(np.bitwise_or.reduce(words)),
        starting=np.flatnonzero(words & STARTS),
        flags=flags,
        adapted=adapted[flags[adapted] > 0],
    )


def by_pid(pids: Array) -> Groups:
    """Of PIDs that are sorted."""
    ends = [*(np.flatnonzero(pids[1:] != pids[:-1]) + 1).tolist(), len(pids)]
    starts = [0, *ends[:-1]]
    return Groups(pids[starts].tolist(), starts, ends)


def gaps(values: Array, starts: list[int], before: list[Any]) -> Array:
    """From each to the next; to a group's first one from what was before the group."""
    found = np.empty_like(values)
    np.subtract(values[1:], values[:-1], out=found[1:])
    found[starts] = values[starts] - before
    return found


def lookup(pids: Any) -> Array:
    """Of each PID whether it is among these."""
    found = np.zeros(_PIDS, bool)
    found[list(pids)] = True
    return found
