"""What is in the files of a store, for any process, while another writes?

Rule 1: a file is opened for one answer and let go of: an erasure waits for nobody long, a removed day stays nowhere.
Rule 2: a file that SQLite cannot read is reported and left out; the other days are read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from balise_collector.store import Damage, OnDamage, layout, reading
from balise_collector.store.layout import DAY_MS
from balise_collector.store.points import Point, Series
from balise_collector.store.reading import DirtyHour, OnBad

T = TypeVar("T")


class ChunkReader:
    """A `store.Reader` of the files in a folder. An absent folder is an empty store."""

    def __init__(self, folder: Path, on_damage: OnDamage) -> None:
        self._folder = folder
        self._on_damage = on_damage

    def cursor(self, feed: str) -> int:
        """Up to where the feed has been written; 0 for one that never was."""

        def position(index: sqlite3.Connection) -> int:
            row = index.execute("SELECT position FROM cursor WHERE feed = ?", (feed,)).fetchone()
            return int(row[0]) if row else 0

        return layout.ask(layout.index_path(self._folder), position) or 0

    def read(self, home: str, measurement: str, target: str | None, start_ms: int, end_ms: int) -> Iterator[Point]:
        """Points of a home in order of time, then target, then probe; one day of them is in memory at a time."""
        for day in self._days(start_ms, end_ms):

            def of_day(connection: sqlite3.Connection, day: int = day) -> list[Point]:
                owned = reading.owned_by(connection, home, measurement, target)
                return reading.points(connection, day, owned, start_ms, end_ms, self._on_bad(day))

            yield from self._ask(day, of_day) or []

    def series(self, home: str | None = None) -> list[Series]:
        """All that anything is kept of, sorted."""

        def of_day(connection: sqlite3.Connection) -> set[Series]:
            return {one.tags.series for one in reading.owned_by(connection, home)}

        return sorted({series for day in layout.days(self._folder) for series in self._ask(day, of_day) or ()})

    def latest(self, home: str | None = None, *, since_ms: int) -> list[Point]:
        """The last point of each series that has one from ``since_ms`` on, sorted by series."""
        found: dict[Series, Point] = {}
        for day in reversed(self._days(since_ms, None)):

            def of_day(connection: sqlite3.Connection, day: int = day) -> list[Point]:
                missing = (one for one in reading.owned_by(connection, home) if one.tags.series not in found)
                newest = (reading.latest(connection, day, one, since_ms, self._on_bad(day)) for one in missing)
                return [point for point in newest if point]

            # A series may have had several tags that day: the newest comes last.
            for point in sorted(self._ask(day, of_day) or [], key=lambda point: point.ts_ms):
                found[point.series] = point
        return [found[series] for series in sorted(found)]

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many points are kept of all homes."""
        total = 0
        for day in self._days(start_ms, end_ms):
            of_day = partial(reading.count, day=day, start_ms=start_ms, end_ms=end_ms, on_bad=self._on_bad(day))
            total += self._ask(day, of_day) or 0
        return total

    def dirty(self) -> list[DirtyHour]:
        """Sealed hours that changed: their sketches are to be made (again) from what is kept."""
        days = layout.days(self._folder)
        return [hour for day in days for hour in self._ask(day, partial(reading.dirty, day=day)) or []]

    def close(self) -> None:
        """Nothing is open between two answers."""

    def _days(self, start_ms: int, end_ms: int | None) -> list[int]:
        first, last = start_ms // DAY_MS, None if end_ms is None else (end_ms - 1) // DAY_MS
        return [day for day in layout.days(self._folder) if first <= day and (last is None or day <= last)]

    def _ask(self, day: int, question: Callable[[sqlite3.Connection], T]) -> T | None:
        """What a day's file answers; None where there is no such file or SQLite cannot read it."""
        path = layout.day_path(self._folder, day)
        try:
            return layout.ask(path, question)
        except sqlite3.DatabaseError as exc:
            if not layout.is_damage(exc):
                raise
            self._on_damage(Damage(file=path.name, what=str(exc)))
            return None

    def _on_bad(self, day: int) -> OnBad:
        file = layout.day_path(self._folder, day).name
        return lambda tags, hour_ms, what: self._on_damage(Damage(file=file, what=what, hour_ms=hour_ms, tags=tags))
