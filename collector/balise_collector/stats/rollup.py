"""What was an hour like, in each home, building and PON and over the fleet?

Rule 1: an hour is made of all of its points at once, never added to: a redelivered or late row cannot count twice.
Rule 2: a place's percentiles are of its homes' sketches merged, never of their percentiles.
Rule 3: a percentile of nothing is absent, never 0; that nothing came is said by coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import HomeSite
from balise_collector.stats.series import BY_MEASUREMENT, SERIES, Reading, readings
from balise_collector.stats.sketch import Sketch
from balise_collector.store import Point

HOUR_MS = 3_600_000
PERCENTILES = (5, 10, 50, 95, 99)
MEASUREMENTS = tuple(BY_MEASUREMENT)
"""What an hour's points are read of."""

Element = tuple[str, str]  # scope and code; the fleet's code is ""
_FLEET: Element = ("fleet", "")


class Cell:
    """One series of one place in one hour."""

    __slots__ = ("an_hour", "homes", "n_failed", "n_invalid", "sketch")

    def __init__(self, an_hour: float) -> None:
        self.sketch, self.homes, self.an_hour = Sketch(), set[str](), an_hour
        self.n_failed = self.n_invalid = 0

    def add(self, reading: Reading, home: str) -> None:
        """One record."""
        if reading.value is not None:
            self.sketch.add(reading.value)
            self.homes.add(home)
        elif reading.word == "failed":
            self.n_failed += 1
        elif reading.word != "skipped":
            self.n_invalid += 1

    def merge(self, other: Cell) -> None:
        """What a part of the place counted."""
        self.sketch.merge(other.sketch)
        self.homes |= other.homes
        self.n_failed += other.n_failed
        self.n_invalid += other.n_invalid

    def fields(self, expected_homes: int) -> dict[str, Any]:
        """As `rollup_hour` has them."""
        found: dict[str, Any] = {}
        for percent in PERCENTILES:
            value = self.sketch.quantile(percent / 100)
            if value is not None:
                found[f"p{percent}"] = value
        planned = max(expected_homes, len(self.homes)) * self.an_hour
        found |= {"n": self.sketch.n, "n_invalid": self.n_invalid, "n_failed": self.n_failed}
        return found | {"homes": len(self.homes), "coverage": min(1.0, self.sketch.n / planned) if planned else 0.0}


class _Where(NamedTuple):
    home: str
    building: str
    pon: str
    name: str


class Hour:
    """The points of one hour, taken as they come; ``homes``: those expected, with their contracts; ``of``: the
    measurements that it is made of, of which the fleet has a row whether anything came or not."""

    def __init__(self, homes: Mapping[str, HomeSite], hour_ms: int, of: Sequence[str] = MEASUREMENTS) -> None:
        self._homes, self._hour_ms, self._of = homes, hour_ms, of
        self._cells: dict[_Where, Cell] = {}

    def add(self, point: Point) -> None:
        """A point of a home within the hour; each once."""
        if not point.home or point.measurement not in BY_MEASUREMENT:
            return
        site = self._homes.get(point.home)
        for reading in readings(point, site):
            where = _Where(point.home, point.building, point.pon, reading.name)
            cell = self._cells.get(where)
            if cell is None:
                cell = self._cells[where] = Cell(reading.series.an_hour)
            cell.add(reading, point.home)

    def rows(self) -> list[Derived]:
        """A row of `rollup_hour` for each series of each place with a record, and for each of the fleet."""
        expected = _expected(self._homes.values())
        found: dict[tuple[Element, str], Cell] = {}
        for where, cell in self._cells.items():
            for element in _elements(where):
                found.setdefault((element, where.name), Cell(cell.an_hour)).merge(cell)
        for series in SERIES:
            if series.measurement in self._of and series.an_hour and not series.by_target and expected[_FLEET]:
                found.setdefault((_FLEET, series.name), Cell(series.an_hour))
        return [self._row(*key, found[key], expected[key[0]]) for key in sorted(found)]

    def _row(self, element: Element, name: str, cell: Cell, expected_homes: int) -> Derived:
        scope, code = element
        tags = {"scope": scope, "series": name} | ({scope: code} if code else {})
        homes = 1 if scope == "home" else expected_homes
        return Derived(measurement="rollup_hour", tags=tags, ts_ms=self._hour_ms, fields=cell.fields(homes))


def rollup(points: Iterable[Point], homes: Mapping[str, HomeSite], hour_ms: int) -> list[Derived]:
    """The rows of the hour that begins at ``hour_ms``, of its points; others are left out."""
    hour = Hour(homes, hour_ms)
    for point in points:
        if hour_ms <= point.ts_ms < hour_ms + HOUR_MS:
            hour.add(point)
    return hour.rows()


def _elements(where: _Where) -> Iterator[Element]:
    places = (("home", where.home), ("building", where.building), ("pon", where.pon))
    yield from (place for place in places if place[1])
    yield _FLEET


def _expected(homes: Iterable[HomeSite]) -> Counter[Element]:
    """Homes with a probe, of each building, PON and the fleet: the plan is for these alone."""
    found: Counter[Element] = Counter()
    for site in homes:
        if site.probe:
            found[_FLEET] += 1
            found.update(place for place in (("building", site.building), ("pon", site.pon)) if place[1])
    return found
