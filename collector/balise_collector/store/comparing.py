"""Do two stores keep the same, and where do they differ?

Counts of each hour first; where they differ, or where every point is asked for, point by point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from balise_collector.store import Point, Reader, Series

HOUR_MS = 3_600_000

Hours = Callable[[int, int], dict[int, int]]
"""How many points each hour of a span has, by its start, of those that have any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Points of one series in one hour: those the first has alone, those the second has alone, those that are not
    equal."""

    hour_ms: int
    series: Series
    only_first: int
    only_second: int
    unequal: int


def hours(reader: Reader, start_ms: int, end_ms: int) -> dict[int, int]:
    """An answer to `Hours` by any reader, an hour at a time."""
    starts = range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS)
    counted = ((hour_ms, reader.count(max(start_ms, hour_ms), min(end_ms, hour_ms + HOUR_MS))) for hour_ms in starts)
    return {hour_ms: count for hour_ms, count in counted if count}


def differing(first: dict[int, int], second: dict[int, int]) -> list[int]:
    """Hours whose counts differ, in order."""
    return sorted(hour_ms for hour_ms in first.keys() | second.keys() if first.get(hour_ms) != second.get(hour_ms))


def compare(first: Reader, second: Reader, start_ms: int, end_ms: int) -> Iterator[Difference]:
    """Every series of either, point by point, by hour. A point that is there twice is one too many."""
    for series in sorted({*first.series(), *second.series()}):
        ours, theirs = (_by_hour(reader, series, start_ms, end_ms) for reader in (first, second))
        for hour_ms in sorted(ours.keys() | theirs.keys()):
            found = _difference(hour_ms, series, ours.get(hour_ms, []), theirs.get(hour_ms, []))
            if found is not None:
                yield found


def _difference(hour_ms: int, series: Series, ours: list[Point], theirs: list[Point]) -> Difference | None:
    first, second = ({point.ts_ms: point for point in points} for points in (ours, theirs))
    found = Difference(
        hour_ms=hour_ms,
        series=series,
        only_first=len(first.keys() - second.keys()) + len(ours) - len(first),
        only_second=len(second.keys() - first.keys()) + len(theirs) - len(second),
        unequal=sum(_exact(first[ts_ms]) != _exact(second[ts_ms]) for ts_ms in first.keys() & second.keys()),
    )
    return found if found.only_first or found.only_second or found.unequal else None


def _by_hour(reader: Reader, series: Series, start_ms: int, end_ms: int) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = {}
    for point in reader.read(series.home, series.measurement, series.target, start_ms, end_ms):
        if point.probe == series.probe:
            found.setdefault(point.ts_ms // HOUR_MS * HOUR_MS, []).append(point)
    return found


def _exact(point: Point) -> tuple[object, ...]:
    """3, 3.0 and True are not the same."""
    fields = sorted((name, type(value).__name__, value) for name, value in point.fields.items())
    return (point.tags, point.kind, point.reason, *fields)
