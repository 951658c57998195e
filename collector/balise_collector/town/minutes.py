"""Of the time in which something did not work, how much was called so, and of the time called so, how much was?

Rule 1: unknown is a miss where the truth could be known; a home without a probe that is called faulty is never right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from balise_collector.town import spans
from balise_collector.town.notes import DEGRADED, DOWN, OK, Key, Notes
from balise_collector.town.spans import Span
from balise_collector.town.truth import Broken, Truth


@dataclass(slots=True, kw_only=True)
class Count:
    """In ms. ``knowable`` and ``found`` of it; ``called`` and ``right`` of it."""

    knowable: int = 0
    found: int = 0
    called: int = 0
    right: int = 0

    @property
    def recall(self) -> float | None:
        """None: there was nothing to find."""
        return self.found / self.knowable if self.knowable else None

    @property
    def precision(self) -> float | None:
        """None: nothing was called."""
        return self.right / self.called if self.called else None

    def add(self, other: Count) -> None:
        """Adds up."""
        self.knowable += other.knowable
        self.found += other.found
        self.called += other.called
        self.right += other.right


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """``live``: against what was shown at the time, without what late rows corrected."""

    by_service: dict[str, Count] = field(default_factory=dict)
    live: dict[str, Count] = field(default_factory=dict)
    by_kind: dict[str, Count] = field(default_factory=dict)


def count(truth: Truth, notes: Notes) -> Minutes:
    """Every home and service of which something was true or said."""
    broken: dict[Key, list[Broken]] = defaultdict(list)
    for one in truth.broken:
        broken[one.home.id, one.service].append(one)
    found = Minutes(by_service=defaultdict(Count), live=defaultdict(Count), by_kind=defaultdict(Count))
    keys = {*broken, *notes.changes, *(notes.settled or {})}
    for key in sorted(keys):
        mine, end_ms = broken.get(key, []), truth.bounds[1]
        shown = notes.called(key, (DEGRADED, DOWN), end_ms)
        history = notes.faulty(key, end_ms)
        found.by_service[key[1]].add(_one(mine, history))
        found.live[key[1]].add(_one(mine, shown))
        for one in mine:
            kind = found.by_kind[one.fault.kind]
            kind.knowable += spans.length(one.knowable)
            kind.found += spans.length(spans.cut(one.knowable, history))
    return found


def _one(mine: list[Broken], called: list[Span]) -> Count:
    knowable = spans.union(span for one in mine for span in one.knowable)
    blurred = spans.without(spans.union(span for one in mine for span in one.blurred), knowable)
    hit = spans.length(spans.cut(knowable, called))
    judged = spans.without(called, blurred)
    return Count(knowable=spans.length(knowable), found=hit, called=spans.length(judged), right=hit)


def false_greens(truth: Truth, notes: Notes) -> Iterator[float]:
    """For how many seconds a home was still shown green after its line was cut; 0 where it was not green then."""
    for one in truth.broken:
        if one.service != "internet" or one.fault.what.shows not in ("cut", "never"):
            continue
        if "telephone" not in one.fault.what.hits:
            continue
        start, end = one.span
        green = spans.covers(notes.called((one.home.id, "internet"), (OK,), truth.bounds[1]), start)
        yield 0.0 if green is None else (min(green[1], end) - start) / 1_000


def green_in_silence_s(truth: Truth, notes: Notes, silent_ms: int) -> float:
    """For how long homes were shown green although no agent had measured there for so long."""
    total = 0
    for home in truth.probed:
        silent = spans.without([truth.bounds], truth.watched[home])
        dark = [(start + silent_ms, end) for start, end in silent if start + silent_ms < end]
        total += spans.length(spans.cut(dark, notes.called((home, "internet"), (OK,), truth.bounds[1])))
    for home, service in notes.changes:
        if home not in truth.probed:
            total += spans.length(notes.called((home, service), (OK,), truth.bounds[1]))
    return total / 1_000
