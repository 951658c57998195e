"""How do the hot rows of an hour become its sealed chunks?

Rule 1: one transaction for a few series of an hour: their hot rows are gone exactly when their chunks hold them.
Rule 2: late rows are merged by date, the later writing counts; an hour that changed is dirty, one that did not is not.
Rule 3: what is damaged is set aside, never dropped: a part of it may still be read by hand.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from balise_collector.store import bodies, reading
from balise_collector.store.layout import HOUR_MS, HOURS
from balise_collector.store.points import Point, Tags
from balise_collector.store.reading import DirtyHour, Owned
from balise_collector.store.writing import Day

SERIES_A_TRANSACTION = 200  # about 20 ms: writing waits no longer than that

_SETTLED = "settled"

_ASIDE_CHUNK = "INSERT INTO damaged(hour, owner, at, body) SELECT id % 24, id / 24, NULL, body FROM chunk WHERE id = ?"
_ASIDE_HOT = """INSERT INTO damaged(hour, owner, at, body)
    SELECT hour, owner, at, body FROM hot WHERE hour = ? AND series = ?"""
_DIRTY = "INSERT INTO dirty(id, mark) VALUES (?, 1) ON CONFLICT(id) DO UPDATE SET mark = mark + 1"


def seal_some(day: Day, hour: int, after: int, on_bad: reading.OnBad) -> tuple[int, int | None]:
    """Seal some series of an hour, those after ``after``; how many chunks were written, and where to go on."""
    with day.transaction():
        series = _hot_series(day, hour, after)
        written = sum(merge(day, one, hour, on_bad) for one in series)
    return written, series[-1] if len(series) == SERIES_A_TRANSACTION else None


def merge(day: Day, series: int, hour: int, on_bad: reading.OnBad) -> int:
    """Bring a series' hot rows of an hour into its chunks, in the transaction that is open; chunks written."""
    bad: list[Tags] = []

    def noted(tags: Tags, hour_ms: int, what: str) -> None:
        bad.append(tags)
        on_bad(tags, hour_ms, what)

    newer = reading.hot(day.connection, day.number, series, [hour], noted)
    if bad:
        day.connection.execute(_ASIDE_HOT, (hour, series))
    owners = owners_of(day, series)
    older = {point.ts_ms: point for one in owners for point in _sealed(day, one, hour, on_bad)}
    day.connection.execute("DELETE FROM hot WHERE hour = ? AND series = ?", (hour, series))
    by_tags: dict[Tags, list[Point]] = {one.tags: [] for one in owners}
    for _, point in sorted((older | newer).items()):
        by_tags.setdefault(point.tags, []).append(point)
    return sum(put(day, tags, hour, points) for tags, points in by_tags.items())


def put(day: Day, tags: Tags, hour: int, points: list[Point]) -> bool:
    """Make these the points of an hour; whether that changed anything."""
    ident = day.owner(tags) * HOURS + hour
    held = day.connection.execute("SELECT body FROM chunk WHERE id = ?", (ident,)).fetchone()
    if not points:
        day.connection.execute("DELETE FROM chunk WHERE id = ?", (ident,))
        changed = held is not None
    else:
        names = bodies.names_of(points)
        body = bodies.encode_hour(points, day.start_ms + hour * HOUR_MS, names)
        changed = held is None or held[0] != body
        row = (ident, len(points), day.shape(names), body)
        if changed:
            day.connection.execute("INSERT OR REPLACE INTO chunk(id, n, shape, body) VALUES (?, ?, ?, ?)", row)
    if changed:
        day.connection.execute(_DIRTY, (ident,))
    return changed


def settle(day: Day) -> None:
    """Of a day that is over and all sealed: pack its pages, half empty after a day of insertions. Once."""
    if not day.flag(_SETTLED):
        day.connection.execute("VACUUM")
        with day.transaction():
            day.set_flag(_SETTLED, to=True)


def is_settled(connection: sqlite3.Connection) -> bool:
    """Nothing is hot, and its pages are packed."""
    settled = "SELECT EXISTS(SELECT 1 FROM meta WHERE k = ?) AND NOT EXISTS(SELECT 1 FROM hot)"
    return bool(connection.execute(settled, (_SETTLED,)).fetchone()[0])


def clean(day: Day, hours: Sequence[DirtyHour]) -> None:
    """These are not dirty any more, those excepted that changed again since."""
    owners = {one.tags: one.owner for one in reading.owned_by(day.connection)}
    known = [(owners[hour.tags], hour) for hour in hours if hour.tags in owners]
    rows = [(owner * HOURS + (hour.hour_ms - day.start_ms) // HOUR_MS, hour.mark) for owner, hour in known]
    with day.transaction():
        day.connection.executemany("DELETE FROM dirty WHERE id = ? AND mark = ?", rows)


def owners_of(day: Day, series: int) -> list[Owned]:
    """All tags that a series has had on that day."""
    rows = day.connection.execute("SELECT id FROM owner WHERE series = ?", (series,)).fetchall()
    return [Owned(owner, series, reading.tags_of_owner(day.connection, owner)) for (owner,) in rows]


def _sealed(day: Day, one: Owned, hour: int, on_bad: reading.OnBad) -> Iterator[Point]:
    """Its sealed points of an hour; a damaged chunk is set aside, so that the hour can be written again."""

    def set_aside(tags: Tags, hour_ms: int, what: str) -> None:
        ident = (one.owner * HOURS + hour,)
        day.connection.execute(_ASIDE_CHUNK, ident)
        day.connection.execute("DELETE FROM chunk WHERE id = ?", ident)
        on_bad(tags, hour_ms, what)

    for points in reading.chunks(day.connection, day.number, one, hour, hour, set_aside):
        yield from points


def _hot_series(day: Day, hour: int, after: int) -> list[int]:
    found: Iterable[tuple[int]] = day.connection.execute(
        "SELECT DISTINCT series FROM hot WHERE hour = ? AND series > ? ORDER BY series LIMIT ?",
        (hour, after, SERIES_A_TRANSACTION),
    )
    return [series for (series,) in found]
