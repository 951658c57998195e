"""What is in an InfluxDB of ours, for any process?

Rule 1: everything is asked of InfluxDB itself; only cursors are in a file here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from balise_agent.catalogue import CATALOGUE
from balise_collector.store.influx import asking
from balise_collector.store.influx.asking import Asking, Rows, identifier, text
from balise_collector.store.influx.lines import MAX_MS, NONE, OUTCOME, TAGS
from balise_collector.store.influx.server import Server, policy
from balise_collector.store.influx.state import cursor_of
from balise_collector.store.points import Point, Series

_COUNT = f"count({identifier(OUTCOME)})"  # every point has one


class InfluxReader:
    """A `store.Reader`. Unavailable, of every question: InfluxDB does not answer it now."""

    def __init__(self, server: Server, path: Path) -> None:
        self._asking, self._path, self._database = Asking(server), path, server.database

    def cursor(self, feed: str) -> int:
        """Up to where the feed has been written; 0 for one that never was."""
        return cursor_of(self._path, feed)

    def read(self, home: str, measurement: str, target: str | None, start_ms: int, end_ms: int) -> Iterator[Point]:
        """Points of a home in order of time, then target, then probe; some thousands of them are in memory."""
        if measurement not in CATALOGUE:
            return
        of = {"home": home} if target is None else {"home": home, "target": target}
        statement = select("*", measurement, where(of, start_ms, end_ms))
        found = (point for series in self._asking.stream(statement) for point in asking.points(series))
        for _, together in groupby(found, key=lambda point: point.ts_ms):
            yield from sorted(together, key=lambda point: (point.target, point.probe))

    def series(self, home: str | None = None) -> list[Series]:
        """All that anything is kept of, sorted. Of points, not of the index, which remembers what was deleted."""
        of = {} if home is None else {"home": home}
        return sorted({point.series for point in self._newest(f"last({identifier(OUTCOME)}) AS {OUTCOME}", of)})

    def latest(self, home: str | None = None, *, since_ms: int) -> list[Point]:
        """The last point of each series that has one from ``since_ms`` on, sorted by series."""
        of = {} if home is None else {"home": home}
        found: dict[Series, Point] = {}
        for point in self._newest("*", of, since_ms, " ORDER BY time DESC LIMIT 1"):
            known = found.get(point.series)  # a series may have had several buildings or PONs
            if known is None or known.ts_ms < point.ts_ms:
                found[point.series] = point
        return [found[series] for series in sorted(found)]

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many points are kept of all homes."""
        return sum(self._counts({}, start_ms, end_ms).values())

    def counts(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """How many points are kept of each measurement that has any."""
        return self._counts({}, start_ms, end_ms)

    def hours(self, start_ms: int, end_ms: int) -> dict[int, int]:
        """How many points are kept of each hour that has any, by its start; ``start_ms`` is the start of one."""
        condition, hours = where({}, start_ms, end_ms), Counter[int]()
        by = "GROUP BY time(1h) fill(none)"
        for rows in self._asking.all([select(_COUNT, name, condition, by) for name in CATALOGUE]):
            for hour_ms, count in _cells(rows):
                hours[hour_ms] += count
        return dict(sorted(hours.items()))

    def measurements(self) -> set[str]:
        """Names of what is in the database, ours or not; 2.x names those of its default bucket only."""
        found = self._asking.all(["SHOW MEASUREMENTS"])[0]
        return {str(row[0]) for series in found for row in series["values"]}

    def close(self) -> None:
        """Let go of the connection."""
        self._asking.close()

    def _newest(self, what: str, of: dict[str, str], start_ms: int = 0, ending: str = "") -> Iterator[Point]:
        condition = where(of, start_ms, MAX_MS)
        by = f"GROUP BY {', '.join(map(identifier, TAGS))}{ending}"
        statements = [select(what, name, condition, by) for name in CATALOGUE]
        for rows in self._asking.all(statements):
            for series in rows:
                yield from asking.points(series)

    def _counts(self, of: dict[str, str], start_ms: int, end_ms: int) -> dict[str, int]:
        """Points by measurement, of those that have any."""
        condition = where(of, start_ms, end_ms)
        statements = [select(_COUNT, name, condition) for name in CATALOGUE]
        found = zip(CATALOGUE, self._asking.all(statements), strict=True)
        return {name: counted for name, rows in found if (counted := sum(count for _, count in _cells(rows)))}


def source(measurement: str) -> str:
    """A measurement of the catalogue with its policy, in InfluxQL."""
    return f"{identifier(policy(CATALOGUE[measurement].retention))}.{identifier(measurement)}"


def select(what: str, measurement: str, condition: str, ending: str = "") -> str:
    """A question in InfluxQL."""
    return f"SELECT {what} FROM {source(measurement)} WHERE {condition} {ending}"  # noqa: S608 - InfluxQL has no other way


def where(tags: dict[str, str], start_ms: int, end_ms: int) -> str:
    """A condition in InfluxQL."""
    low, high = max(0, start_ms), min(end_ms, MAX_MS)
    parts = [f"{identifier(name)} = {text(value or NONE)}" for name, value in tags.items()]
    return " AND ".join([*parts, f"time >= {low}ms", f"time < {high}ms"])


def _cells(rows: Rows) -> Iterator[tuple[int, int]]:
    for series in rows:
        for time_ms, count, *_ in series["values"]:
            yield time_ms, count
