"""How do points come into one day's file?

Rule 1: an id that is known here is in the file: what a transaction that failed gave out is forgotten with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from balise_collector.store import bodies, layout
from balise_collector.store.layout import DAY_MS, HOUR_MS
from balise_collector.store.points import Point, Tags

_HOT = """INSERT INTO hot(hour, series, at, owner, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT(hour, series, at) DO UPDATE SET owner = excluded.owner, body = excluded.body"""


class _Ids(NamedTuple):
    series: int
    owner: int
    start: int  # of its rows' checksums


class Day:
    """One day's file, open to write."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.start_ms = number * DAY_MS
        self.path = layout.day_path(folder, number)
        self.connection = layout.open_day(self.path)
        self._ids: dict[Tags, _Ids] = {}
        self._shapes: dict[tuple[str, ...], int] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it on disk, or nothing of it."""
        try:
            with layout.transaction(self.connection):
                yield
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Ask the file for each id again."""
        self._ids.clear()
        self._shapes.clear()

    def write(self, points: Sequence[Point]) -> int:
        """Keep points of this day, the last of one key counts; how many were given."""
        with self.transaction():
            self.connection.executemany(_HOT, [self._row(point) for point in points])
        return len(points)

    def owner(self, tags: Tags) -> int:
        """Id of these tags on this day; call it in a transaction."""
        return (self._ids.get(tags) or self._give_ids(tags)).owner

    def shape(self, names: tuple[str, ...]) -> int:
        """Id of these field names on this day; call it in a transaction."""
        found = self._shapes.get(names)
        if found is None:
            found = self._shapes[names] = self._id_of("shape", {"names": msgspec.msgpack.encode(names)})
        return found

    def flag(self, key: str) -> bool:
        """Something that is still to be done with this file, or was done."""
        return self.connection.execute("SELECT 1 FROM meta WHERE k = ?", (key,)).fetchone() is not None

    def set_flag(self, key: str, *, to: bool) -> None:
        """See `flag`."""
        if to:
            self.connection.execute("INSERT OR IGNORE INTO meta(k, v) VALUES (?, 1)", (key,))
        else:
            self.connection.execute("DELETE FROM meta WHERE k = ?", (key,))

    def close(self) -> None:
        """Let go of the file; SQLite brings its WAL in."""
        self.connection.close()

    def _row(self, point: Point) -> tuple[int, int, int, int, bytes]:
        tags = point.tags
        ids = self._ids.get(tags) or self._give_ids(tags)
        hour, at = divmod(point.ts_ms - self.start_ms, HOUR_MS)
        return hour, ids.series, at, ids.owner, bodies.encode_row(point, ids.start)

    def _give_ids(self, tags: Tags) -> _Ids:
        start = bodies.fingerprint(tags)
        natural = {"probe": tags.probe, "measurement": tags.measurement, "target": tags.target}
        series = self._id_of("series", natural)
        tenure: dict[str, int | str] = {"series": series, "home": tags.home, "building": tags.building, "pon": tags.pon}
        found = self._ids[tags] = _Ids(series, self._id_of("owner", tenure), start)
        return found

    def _id_of(self, table: str, values: Mapping[str, int | str | bytes]) -> int:
        """The row's id, given now where there is none."""
        given = list(values.values())
        where = " AND ".join(f"{name} = ?" for name in values)
        find = f"SELECT id FROM {table} WHERE {where}"  # noqa: S608 - names from this file
        row = self.connection.execute(find, given).fetchone()
        if row is not None:
            return int(row[0])
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        made = self.connection.execute(f"INSERT INTO {table}({names}) VALUES ({marks})", given)  # noqa: S608
        assert made.lastrowid is not None  # noqa: S101 - an INSERT always has one
        return made.lastrowid
