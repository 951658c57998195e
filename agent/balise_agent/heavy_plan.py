"""When is which test due that fills the line?

Pure: seed, contract, rules and day give the day's slots; with the clock and what became of slots so far, `next_tests`
says which are still to be tried, and when.

Rule 1: windows are those of civil time in the home, whatever the clock change does to a day.
Rule 2: slots of a day are `SPACING_S` apart, never in the first minute of an hour, and far from midnight, so that those
of two days are apart too; after a test nothing begins within `GAP_S`.
Rule 3: a slot that was refused is tried again after 10 to 20 min, three times in all, never beyond its window.
Rule 4: the seed is a secret of the probe: who knew the slots could read from those without a result when somebody was
at home.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from balise_agent import civil
from balise_agent.budget import Contract, may_be_full

Cause = Literal["plan", "campaign"]

HOUR_S = 3_600
SPACING_S = 1_800
GAP_S = 600
LATE_S = 300  # later than this it is another moment than the one drawn
MOST_TRIES = 3
AGAIN_S = (600.0, 1_200.0)
CAMPAIGN_DAYS = 7
_DRAWS = 1_000  # of the 240 minutes of an evening the slots of a day can close less than all

EVENING, NIGHT, ANY = (19 * HOUR_S, 23 * HOUR_S), (2 * HOUR_S, 6 * HOUR_S), (900, 24 * HOUR_S - 900)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``campaign_day``: first of a week with a light test each hour of 18-24 h; None: there is none."""

    campaign_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One test to be. Dates are UTC in seconds; ``end_s``: of its window."""

    id: str
    probe: str
    shape: str
    cause: Cause
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of a slot so far. ``over``: it has run, or is given up; ``why``: it did not run, the last time."""

    count: int = 0
    last_s: float = 0.0
    over: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """``last_test_s``: end of the last test that filled the line."""

    tried: Mapping[str, Tried] = field(default_factory=dict)
    last_test_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A slot and when it is tried."""

    slot: Slot
    at_s: float


def slots_of(seed: str, day: int, contract: Contract, rules: Rules) -> tuple[Slot, ...]:
    """All slots of a civil day, in order."""
    rng = random.Random(f"{seed}/{day}")
    taken: list[Slot] = []
    for number, (probe, shape, cause, window) in enumerate(_wanted(seed, day, contract, rules)):
        slot = _drawn(rng, f"{day}.{cause}.{number}", probe, shape, cause, (day, *window), taken)
        if slot is not None:
            taken.append(slot)
    return tuple(sorted(taken, key=lambda slot: slot.start_s))


def next_tests(seed: str, contract: Contract, rules: Rules, now_s: float, history: History) -> tuple[Next, ...]:
    """What is still to be tried today and tomorrow, in order. What is over, missed or past its window is not in it."""
    today = civil.day_of(now_s)
    slots = (slot for day in (today, today + 1) for slot in slots_of(seed, day, contract, rules))
    found = [Next(slot=slot, at_s=_at_s(seed, slot, history)) for slot in slots]
    return tuple(sorted((n for n in found if _is_open(n, now_s, history)), key=lambda n: n.at_s))


def _wanted(
    seed: str, day: int, contract: Contract, rules: Rules
) -> Iterator[tuple[str, str, Cause, tuple[float, float]]]:
    """Probe, shape, cause and window of each; those with the narrowest window draw first."""
    if rules.campaign_day is not None and 0 <= day - rules.campaign_day < CAMPAIGN_DAYS:
        for hour in range(18, 24):
            end_s = min((hour + 1) * HOUR_S, ANY[1])
            yield "throughput", "light", "campaign", (hour * HOUR_S, end_s)
    else:
        yield "throughput", "light", "plan", EVENING
        yield "throughput", "light", "plan", EVENING
        yield "loaded", "loaded", "plan", EVENING
    yield "throughput", "light", "plan", NIGHT
    yield "throughput", "light", "plan", ANY
    if rules.campaign_day is not None and 0 <= day - rules.campaign_day < CAMPAIGN_DAYS:
        yield "loaded", "loaded", "plan", ANY
    week = civil.week_of(day)
    if may_be_full(contract) and random.Random(f"{seed}/week/{week}").randrange(7) == (day + 3) % 7:
        yield "throughput", "full", "plan", ANY


def _drawn(
    rng: random.Random,
    id_: str,
    probe: str,
    shape: str,
    cause: Cause,
    window: tuple[int, float, float],
    taken: list[Slot],
) -> Slot | None:
    """A moment of the window that is apart from those taken; None where there is none."""
    day, first, last = window
    start_s, end_s = civil.utc_of(day, first), civil.utc_of(day, last)
    for _ in range(_DRAWS):
        at_s = start_s + int(rng.random() * (end_s - start_s))
        on_the_hour = at_s % HOUR_S < 60
        if not on_the_hour and all(abs(at_s - other.start_s) >= SPACING_S for other in taken):
            return Slot(id=id_, probe=probe, shape=shape, cause=cause, start_s=at_s, end_s=end_s)
    return None


def _at_s(seed: str, slot: Slot, history: History) -> float:
    tried = history.tried.get(slot.id, Tried())
    at_s = slot.start_s
    if tried.count:
        low_s, high_s = AGAIN_S
        at_s = tried.last_s + low_s + random.Random(f"{seed}/{slot.id}/{tried.count}").random() * (high_s - low_s)
    if history.last_test_s is not None and history.last_test_s <= at_s + LATE_S:
        at_s = max(at_s, history.last_test_s + GAP_S)
    return at_s


def _is_open(found: Next, now_s: float, history: History) -> bool:
    tried = history.tried.get(found.slot.id, Tried())
    given_up = tried.over or tried.count >= MOST_TRIES
    return not given_up and found.at_s < found.slot.end_s and found.at_s + LATE_S >= now_s
