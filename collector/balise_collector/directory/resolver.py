"""Where does a record of this probe and this date belong? Pure, over a snapshot, worked out beforehand.

Rule 1: measuring needs a consent that holds at the record's date: not yet given, never given and withdrawn are all
`Withdrawn`, and nothing is stored. A place is nobody's home and needs none.
Rule 2: a period holds its start and not its end: a record of the very ms of the withdrawal is not stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from balise_collector.directory.values import Assignment, Consent, Home, Line, Purpose
from balise_collector.placement import Orphan, Place, Placement, UnknownProbe, Withdrawn

UNKNOWN, UNASSIGNED, WITHDRAWN = UnknownProbe(), Orphan(reason="unassigned"), Withdrawn()

Spans = tuple[list[int], list[Placement]]
"""Starts in order, and what holds before the first, from the first, from the second, ..."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """A snapshot of the directory; ``generation``: which."""

    generation: int
    _spans: Mapping[str, Spans]

    def resolve(self, probe: str, ts_ms: int) -> Placement:
        """0.3 us: ingest asks for each record."""
        spans = self._spans.get(probe)
        if spans is None:
            return UNKNOWN
        return spans[1][bisect_right(spans[0], ts_ms)]


def build(
    generation: int,
    probes: Iterable[str],
    assignments: Iterable[Assignment],
    homes: Mapping[str, Home],
    places: Mapping[str, Place],
) -> Resolver:
    """``probes``: those that are not revoked; assignments of others are passed over."""
    spans: dict[str, Spans] = {probe: ([], [UNASSIGNED]) for probe in probes}
    for assignment in sorted(assignments, key=lambda a: a.from_ms):
        found = spans.get(assignment.probe)
        if found is not None:
            _extend(found, assignment, homes, places)
    return Resolver(generation, spans)


def line_at(home: Home, ts_ms: int) -> Line | None:
    """The home's line at that date; lines are in order."""
    return next((line for line in reversed(home.lines) if line.from_ms <= ts_ms), None)


def agrees(home: Home, purpose: Purpose, ts_ms: int) -> bool:
    return any(consent.purpose == purpose and holds(consent, ts_ms) for consent in home.consents)


def holds(consent: Consent, ts_ms: int) -> bool:
    return consent.given_ms <= ts_ms and (consent.withdrawn_ms is None or ts_ms < consent.withdrawn_ms)


def _extend(spans: Spans, assignment: Assignment, homes: Mapping[str, Home], places: Mapping[str, Place]) -> None:
    starts, placements = spans
    if starts and starts[-1] == assignment.from_ms:  # the end of the one before
        starts.pop()
        placements.pop()
    for start in _starts(assignment, homes):
        starts.append(start)
        placements.append(_home_at(homes[assignment.home], start) if assignment.home else places[assignment.place])
    if assignment.until_ms is not None:
        starts.append(assignment.until_ms)
        placements.append(UNASSIGNED)


def _starts(assignment: Assignment, homes: Mapping[str, Home]) -> list[int]:
    """Its own, and each date within it at which the home's line or consent changes."""
    dates = {assignment.from_ms}
    if assignment.home:
        home = homes[assignment.home]
        dates |= {line.from_ms for line in home.lines}
        dates |= {date for c in home.consents for date in (c.given_ms, c.withdrawn_ms) if date is not None}
    end = assignment.until_ms
    return sorted(date for date in dates if assignment.from_ms <= date and (end is None or date < end))


def _home_at(home: Home, ts_ms: int) -> Placement:
    if not agrees(home, "mesure", ts_ms):
        return WITHDRAWN
    line = line_at(home, ts_ms)
    return Place(home=home.id, building=home.building, pon="" if line is None else line.pon)
