"""What would the operator's OLT say of the town, where it says anything?

Loss of signal where the light is gone, a dying gasp where the current went with it, and that all is well again: one
alarm a home, a few seconds after the fact. One gasp in ten is lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from balise_collector.town.condition import Condition
from balise_collector.town.timeline import Timeline

LOST_GASPS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """``what``: los, dying_gasp or clear, of one home's ONT, which the box feeds."""

    ts_ms: int
    what: str
    home: str


def of(lines: Sequence[Timeline], seed: str) -> list[Alarm]:
    """All of a run, in order; homes without a probe have an ONT too."""
    found = [alarm for line in lines for alarm in _of_home(line, random.Random(f"{seed}/olt/{line.home.number}"))]
    return sorted(found, key=lambda alarm: (alarm.ts_ms, alarm.home))


def _of_home(line: Timeline, rng: random.Random) -> Iterator[Alarm]:
    before = "clear"
    for stretch in line.stretches:
        now = _state(stretch.condition)
        if now != before and not (now == "dying_gasp" and rng.random() < LOST_GASPS):
            yield Alarm(ts_ms=stretch.start_ms + rng.randrange(1_000, 6_000), what=now, home=line.home.id)
        before = now


def _state(condition: Condition) -> str:
    if not condition.has_box:
        return "dying_gasp"
    return "clear" if condition.light else "los"
