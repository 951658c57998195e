"""Which acks are to be sent now?

An ack costs the collector and the broker nearly as much as the message that it answers. When 1,000 probes catch up at
once their messages come interleaved, and each would get an ack of its own; held together for a moment, five go in one.

Rule 1: what is handed in is committed; an ack that is never sent costs one resend and no record.
Rule 2: a probe is never kept waiting: half of its window is answered at once, all of it as soon as nothing more comes,
and anything after `HOLD_S`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from balise_agent.contract import Ack
from balise_collector.ingest import Reply

HALF_WINDOW = 5  # an agent has at most ten messages unacknowledged
HOLD_S = 1.0  # an agent sends again after 30 s

Range = tuple[int, int]


@dataclass(slots=True)
class _Held:
    since_s: float
    ranges: list[Range] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0


class Acks:
    """The acks of one session that are not sent yet."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], _Held] = {}  # by probe and stream, the oldest first

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, replies: Sequence[Reply], now_s: float) -> None:
        """What was committed just now."""
        for reply in replies:
            ack = reply.ack
            held = self._held.setdefault((reply.probe, ack.stream), _Held(now_s))
            held.ranges += ack.ranges
            held.rejected += ack.rejected
            held.count += sum(last - first + 1 for first, last in ack.ranges) + len(ack.rejected)

    def due(self, now_s: float) -> list[Reply]:
        """Those that may not wait any longer; they are held no more."""
        return self._take(
            [key for key, held in self._held.items() if held.count >= HALF_WINDOW or now_s - held.since_s >= HOLD_S]
        )

    def all(self) -> list[Reply]:
        """Every one, for nothing more comes now."""
        return self._take(list(self._held))

    def _take(self, keys: Sequence[tuple[str, str]]) -> list[Reply]:
        return [_reply(*key, self._held.pop(key)) for key in keys]


def joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Ranges in order, those that touch or overlap as one."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _reply(probe: str, stream: str, held: _Held) -> Reply:
    return Reply(probe=probe, ack=Ack(stream=stream, ranges=joined(held.ranges), rejected=tuple(held.rejected)))
