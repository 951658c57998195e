"""Where was a home's line broken, from when to when, as its probe's ladder of echoes tells?

An outage is told of as one from the first rung that failed to the last that was well again; each minute's mark names
the rung that is broken then. Together they tell faults apart that follow each other, or lie within each other.

Rule 1: a rung that is broken hides those behind it, and none before it: what was broken before and after it was hidden
was broken meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

LINE_CLASSES = frozenset({"access.line", "access.wan", "unplaced"})
BOX_CLASSES = frozenset({"home.box_or_lan", "lan.link"})
CUT_CLASSES = LINE_CLASSES | BOX_CLASSES | {"operator.core"}
"""The home is without any service; in the others the line itself works."""

Rung = Literal["box", "line", "core", "upstream", "dns", "target"]
RANK: dict[str, int] = {"box": 0, "line": 1, "core": 2, "upstream": 3, "dns": 4, "target": 5}
"""In the order in which they hide each other."""

MARK_MS = 60_000  # each minute has one
MISSED_MS = 90_000  # without one for so long nobody knows when it changed
UNWATCHED_S = 60.0  # a probe that only restarted missed less


class Outage(NamedTuple):
    """What a probe's ladder told. ``end_ms`` None: it had not ended when it was last told of, at ``told_ms``.
    ``unknown_s``: for how long of it no probe was there to watch."""

    start_ms: int
    end_ms: int | None
    place: str
    told_ms: int
    unknown_s: float = 0.0


class Stretch(NamedTuple):
    """A part of an outage in which one rung was broken. ``hidden``: it may have gone on after its end, behind a rung
    before it, or while no probe was there."""

    start_ms: int
    end_ms: int | None
    place: str
    told_ms: int
    hidden: bool = False


@dataclass(slots=True, kw_only=True)
class _Run:
    """Marks in a row that name one rung. ``alone``: nobody watched before it."""

    place: str
    first_ms: int
    last_ms: int
    count: int = 1
    alone: bool = False


def rung(place: str) -> Rung:
    """Of an outage's class."""
    if place in LINE_CLASSES:
        return "line"
    if place in BOX_CLASSES:
        return "box"
    if place == "operator.core":
        return "core"
    if place == "operator.server":
        return "target"
    return "dns" if place == "dns" else "upstream"


def by_start(stretch: Stretch) -> tuple[int, str, bool, int, int]:
    """Two outages that were told of the same time have an order too, one that has not ended last."""
    end_ms = stretch.end_ms
    return stretch.start_ms, stretch.place, end_ms is None, end_ms or 0, stretch.told_ms


def stretches(outage: Outage, marks: Sequence[tuple[int, str]]) -> list[Stretch]:
    """The parts of an outage by its own marks, in order; parts of several rungs may overlap."""
    runs = _without_blips(_runs(outage, marks))
    ends = [*(_end(run, later) for run, later in pairwise(runs)), _last_end(outage, runs[-1])]
    found: list[Stretch] = []
    open_: dict[Rung, Stretch] = {}
    start_ms = outage.start_ms
    for run, later, end_ms in zip(runs, [*runs[1:], None], ends, strict=True):
        at = rung(run.place)
        if run.alone:
            start_ms = run.first_ms - MARK_MS // 2
        found += [open_.pop(other) for other in list(open_) if run.alone or RANK[other] < RANK[at]]
        told_ms = max(start_ms, outage.told_ms if later is None else later.first_ms)
        hidden = end_ms != outage.end_ms if later is None else later.alone or RANK[rung(later.place)] < RANK[at]
        known = open_.get(at) or Stretch(start_ms, None, run.place, told_ms)
        open_[at] = known._replace(end_ms=end_ms, told_ms=told_ms, hidden=hidden)
        start_ms = outage.start_ms if end_ms is None else end_ms
    return sorted([*found, *open_.values()], key=by_start)


def _runs(outage: Outage, marks: Sequence[tuple[int, str]]) -> list[_Run]:
    runs = [_Run(place=outage.place, first_ms=outage.start_ms, last_ms=outage.start_ms)]
    for ts_ms, place in marks:
        alone = _was_off(outage, runs[-1].last_ms, ts_ms)
        if rung(place) == rung(runs[-1].place) and not alone:
            runs[-1].last_ms, runs[-1].count = ts_ms, runs[-1].count + 1
        else:
            runs.append(_Run(place=place, first_ms=ts_ms, last_ms=ts_ms, alone=alone))
    return runs


def _without_blips(runs: list[_Run]) -> list[_Run]:
    """One mark that differs from those around it is an echo that came or did not, and no fault."""
    found = runs[:1]
    for number, run in enumerate(runs[1:], 1):
        later = runs[number + 1] if number + 1 < len(runs) else None
        back = later is not None and not later.alone and rung(later.place) == rung(found[-1].place)
        if rung(run.place) == rung(found[-1].place) and not run.alone:
            found[-1].last_ms, found[-1].count = run.last_ms, found[-1].count + run.count
        elif run.count > 1 or run.alone or not back:
            found.append(run)
    return found


def _was_off(outage: Outage, last_ms: int, next_ms: int) -> bool:
    """Marks are missing between, and the ladder itself says that it did not watch all the time."""
    return outage.unknown_s > UNWATCHED_S and next_ms - last_ms > MISSED_MS


def _end(run: _Run, later: _Run) -> int:
    """It changed between these marks; half a minute before the second, where those between are missing."""
    if later.alone:
        return run.last_ms + MARK_MS // 2
    if later.first_ms - run.last_ms > MISSED_MS:
        return later.first_ms - MARK_MS // 2
    return (run.last_ms + later.first_ms) // 2


def _last_end(outage: Outage, run: _Run) -> int | None:
    if outage.end_ms is not None and _was_off(outage, run.last_ms, outage.end_ms):
        return run.last_ms + MARK_MS // 2
    return outage.end_ms
