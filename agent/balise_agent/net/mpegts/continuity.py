"""Was a packet of a PID lost, sent twice, or is all in order?

The rules of ISO/IEC 13818-1 § 2.4.3.3, as TSDuck and tshark apply them:
- a packet with payload has the next counter; without, the last one again;
- the same counter and the same bytes (its PCR aside) is a repeat: once is legal, a second in a row is one error;
- the same counter with another payload: 15 were lost; a counter d ahead: d - 1 were;
- a counter that goes on without payload is an error; one that goes on by more says how many were lost;
- discontinuity_indicator excuses all; null packets have no counter; a damaged packet's counter counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from balise_agent.net.mpegts.packet import DISCONTINUITY, NULL_PID, Header, is_repeat


class Break(NamedTuple):
    """An error of a PID's counter at a packet. ``since``: index of the PID's packet before it."""

    at: int
    pid: int
    missing: int
    since: int


@dataclass(slots=True)
class Counter:
    """Of one PID: what the next packet is compared with."""

    last: int
    packet: bytes
    index: int
    repeats: int = 0
    duplicates: int = 0
    breaks: int = 0
    missing: int = 0


class Continuity:
    """The counters of all PIDs: 8,192 at most."""

    def __init__(self) -> None:
        self.of: dict[int, Counter] = {}

    def step(self, index: int, head: Header, packet: bytes) -> Break | bool:
        """The next packet of its PID: a break, or whether it is a repeat."""
        if head.pid == NULL_PID:
            return False
        counter = self.of.get(head.pid)
        if counter is None:
            self.of[head.pid] = Counter(head.counter, packet, index)
            return False
        found = _judge(counter, head, packet)
        since, counter.last, counter.packet, counter.index = counter.index, head.counter, packet, index
        if found is None:
            return counter.repeats > 0
        counter.breaks += 1
        counter.missing += found
        return Break(index, head.pid, found, since)


def _judge(counter: Counter, head: Header, packet: bytes) -> int | None:
    """How many are missing, where the counter is in error; keeps count of repeats."""
    ahead = (head.counter - counter.last) & 15
    repeats, counter.repeats = counter.repeats, 0
    if head.flags & DISCONTINUITY:
        return None
    if not head.has_payload:
        return None if ahead == 0 else 0 if ahead == 1 else ahead
    if ahead == 1:
        return None
    if ahead == 0 and is_repeat(packet, counter.packet):
        counter.duplicates += 1
        counter.repeats = repeats + 1
        return 0 if counter.repeats == 2 else None
    return (ahead - 1) & 15
