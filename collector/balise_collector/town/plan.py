"""When does a home's probe test what is not tested every minute?

Rule 1: slots are seeded and civil: two throughput tests in 19-23 h, one in 02-06 h, one anywhere; none over a tenant's
use of the line, so that a busy home has fewer in the evening.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from balise_collector.town import calendar
from balise_collector.town.topology import Home

Test = Literal["light", "full", "loaded"]
TV_EVERY, TV_EVERY_SLOW, SLOW_BPS = 5, 60, 50_000_000  # minutes between TV samples, by contract
REGISTER_EVERY, CALL_EVERY, LINK_EVERY = 60, 30, 60
SOME_EVERY = 5  # names, pages, the box; all that is rarer comes in one of these minutes too
TRIES = 3
USE_BY_DAY = 0.3  # of the evening's share, a line is in use at another hour

_WINDOWS = ((19 * 60, 23 * 60), (19 * 60, 23 * 60), (2 * 60, 6 * 60), (0, 24 * 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """``tests``: by minute since 1970. ``planned`` and ``skipped``: what `heavy_day` counts."""

    ordinal: int
    tests: dict[int, list[Test]] = field(default_factory=dict)
    planned: int = 0
    skipped: int = 0


def day(home: Home, ordinal: int, seed: str) -> Day:
    """The tests of one civil day, those already left out that met a tenant each time."""
    rng = random.Random(f"{seed}/plan/{home.number}/{ordinal}")
    made: Counter[str] = Counter()
    tests: dict[int, list[Test]] = {}
    kinds: list[Test] = ["light"] * 4
    if home.down_bps >= 100_000_000 and (ordinal + home.number) % 7 == 0:
        kinds.append("full")
    for kind, window in zip([*kinds, "loaded"], [*_WINDOWS, (0, 24 * 60), (0, 24 * 60)], strict=False):
        made["planned"] += 1
        minute = _free(home, rng, rng.randrange(*window))
        if minute is None:
            made["skipped"] += 1
        else:
            at = calendar.civil_ms(ordinal, minute) // calendar.MINUTE_MS
            tests.setdefault(at, []).append(kind)
    return Day(ordinal=ordinal, tests=tests, planned=made["planned"], skipped=made["skipped"])


def _free(home: Home, rng: random.Random, minute: int) -> int | None:
    """The first of three tries, 10 to 20 min apart, at which nobody uses the line."""
    for _ in range(TRIES):
        evening = 19 * 60 <= minute % 1_440 < 23 * 60
        share = home.habit.use_share if evening else home.habit.use_share * USE_BY_DAY
        if rng.random() >= share:
            return minute
        minute += rng.randrange(10, 21)
    return None


def tv_every(home: Home) -> int:
    """Minutes between its TV samples."""
    return TV_EVERY_SLOW if home.down_bps <= SLOW_BPS else TV_EVERY


def is_due(home: Home, minute: int, every: int, later: int = 0) -> bool:
    """Whether something that comes every so many minutes comes now; homes are spread over them."""
    return (minute + home.number + later) % every == 0
