"""Which points does one day's file hold of these series, at this moment?

Rule 1: a hot row overrides the sealed one of its key, whoever owned that: the later writing counts.
Rule 2: what is damaged is reported and left out, and nothing else with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from balise_collector.store import bodies
from balise_collector.store.layout import DAY_MS, HOUR_MS, HOURS, Unsound
from balise_collector.store.points import Point, Tags

BAD = (ValueError, TypeError, OverflowError)
"""What unpacking damaged rows can meet: another value than was written, or one of another type."""

_OWNED = """SELECT owner.id, series, home, building, pon, probe, measurement, target
    FROM owner JOIN series ON series.id = owner.series"""

OnBad = Callable[[Tags, int, str], None]
"""Told of damage: whose, which hour, what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyHour:
    """An hour of a series whose points changed since its sketch was made. ``mark`` grows with each change."""

    tags: Tags
    hour_ms: int
    mark: int


class Owned(NamedTuple):
    """A series as long as it had the same tags."""

    owner: int
    series: int
    tags: Tags


def owned_by(
    connection: sqlite3.Connection, home: str | None = None, measurement: str | None = None, target: str | None = None
) -> list[Owned]:
    """What is known of a home, or of all; None: any."""
    wanted = {"owner.home": home, "measurement": measurement, "target": target}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "1"
    rows = connection.execute(f"{_OWNED} WHERE {where}", list(given.values()))
    return [Owned(owner, series, Tags(*tags)) for owner, series, *tags in rows]


def hot_hours(connection: sqlite3.Connection) -> list[int]:
    """Hours of the day that have hot rows."""
    found: list[int] = []
    while True:
        after = found[-1] if found else -1
        hour = connection.execute("SELECT min(hour) FROM hot WHERE hour > ?", (after,)).fetchone()[0]
        if hour is None:
            return found
        if type(hour) is not int:
            raise Unsound(f"an hour that is {hour!r}")
        found.append(hour)


def points(
    connection: sqlite3.Connection, day: int, owned: Sequence[Owned], start_ms: int, end_ms: int, on_bad: OnBad
) -> list[Point]:
    """Points of these, in order of time, target and probe."""
    first = max(0, (start_ms - day * DAY_MS) // HOUR_MS)
    last = min(HOURS - 1, (end_ms - 1 - day * DAY_MS) // HOUR_MS)
    found: list[Point] = []
    hot_by_series: dict[int, dict[int, Point]] = {}
    warm = [hour for hour in hot_hours(connection) if first <= hour <= last]
    for one in owned:
        if one.series not in hot_by_series:
            hot_by_series[one.series] = hot(connection, day, one.series, warm, on_bad)
        newer = hot_by_series[one.series]
        found += (point for point in newer.values() if point.tags == one.tags)
        sealed = (point for hour in chunks(connection, day, one, first, last, on_bad) for point in hour)
        found += (point for point in sealed if point.ts_ms not in newer) if newer else sealed
    found = [point for point in found if start_ms <= point.ts_ms < end_ms]
    found.sort(key=lambda point: (point.ts_ms, point.target, point.probe))
    return found


def hot(connection: sqlite3.Connection, day: int, series: int, hours: Iterable[int], on_bad: OnBad) -> dict[int, Point]:
    """A series' hot rows by their date, whoever owns them."""
    found = {}
    tags_of: dict[int, Tags] = {}
    for hour in hours:
        start_ms = day * DAY_MS + hour * HOUR_MS
        rows = connection.execute("SELECT at, owner, body FROM hot WHERE hour = ? AND series = ?", (hour, series))
        for at, owner, body in rows.fetchall():
            tags = tags_of.get(owner) or tags_of.setdefault(owner, tags_of_owner(connection, owner))
            try:
                found[start_ms + at] = bodies.decode_row(tags, start_ms + at, body)
            except BAD as exc:
                on_bad(tags, start_ms, str(exc))
    return found


def chunks(
    connection: sqlite3.Connection, day: int, one: Owned, first: int, last: int, on_bad: OnBad
) -> Iterable[list[Point]]:
    """Its sealed hours, in order."""
    span = (one.owner * HOURS + first, one.owner * HOURS + last)
    rows = connection.execute(
        "SELECT chunk.id, n, names, chunk.body FROM chunk LEFT JOIN shape ON shape.id = shape"
        " WHERE chunk.id BETWEEN ? AND ? ORDER BY chunk.id",
        span,
    )
    for ident, count, names, body in rows.fetchall():
        hour_ms = day * DAY_MS + ident % HOURS * HOUR_MS
        try:
            yield bodies.decode_hour(one.tags, hour_ms, count, names_in(names), body)
        except BAD as exc:
            on_bad(one.tags, hour_ms, str(exc))


def names_in(stored: bytes) -> tuple[str, ...]:
    """Field names of a shape; ValueError where they are damaged."""
    try:
        return msgspec.msgpack.decode(stored, type=tuple[str, ...])
    except msgspec.MsgspecError as exc:
        raise ValueError(f"the names of an hour's fields: {exc}") from exc


def tags_of_owner(connection: sqlite3.Connection, owner: int) -> Tags:
    """Whose it is; empty where the row is lost, which no checksum matches."""
    row = connection.execute(f"{_OWNED} WHERE owner.id = ?", (owner,)).fetchone()
    return Tags(*row[2:]) if row else Tags("", "", "", "", "", "")


def count(connection: sqlite3.Connection, day: int, start_ms: int, end_ms: int, on_bad: OnBad) -> int:
    """How many points; only hours that are cut, or both sealed and hot, are unpacked for it."""
    warm = hot_hours(connection)
    sealed = dict(connection.execute("SELECT id % 24, sum(n) FROM chunk GROUP BY id % 24").fetchall())
    total = 0
    for hour in sorted({*warm, *sealed}):
        hour_ms = day * DAY_MS + hour * HOUR_MS
        low, high = max(start_ms, hour_ms), min(end_ms, hour_ms + HOUR_MS)
        if low >= high:
            continue
        if hour not in sealed:
            total += _count_hot(connection, hour, low - hour_ms, high - hour_ms)
        elif hour not in warm and high - low == HOUR_MS:
            total += sealed[hour]
        else:
            total += len(points(connection, day, owned_by(connection), low, high, on_bad))
    return total


def _count_hot(connection: sqlite3.Connection, hour: int, low: int, high: int) -> int:
    row = connection.execute("SELECT count(*) FROM hot WHERE hour = ? AND at >= ? AND at < ?", (hour, low, high))
    return int(row.fetchone()[0])


def latest(connection: sqlite3.Connection, day: int, one: Owned, since_ms: int, on_bad: OnBad) -> Point | None:
    """The last point of these tags on that day, from ``since_ms`` on."""
    warm = hot_hours(connection)
    span = (one.owner * HOURS, one.owner * HOURS + HOURS - 1)
    sealed = [row[0] % HOURS for row in connection.execute("SELECT id FROM chunk WHERE id BETWEEN ? AND ?", span)]
    for hour in sorted({*warm, *sealed}, reverse=True):
        hour_ms = day * DAY_MS + hour * HOUR_MS
        found = points(connection, day, [one], max(since_ms, hour_ms), hour_ms + HOUR_MS, on_bad)
        if found:
            return found[-1]
    return None


def dirty(connection: sqlite3.Connection, day: int) -> list[DirtyHour]:
    """Hours of the day whose sketches are behind."""
    found = []
    for ident, mark in connection.execute("SELECT id, mark FROM dirty ORDER BY id").fetchall():
        owner, hour = divmod(ident, HOURS)
        hour_ms = day * DAY_MS + hour * HOUR_MS
        found.append(DirtyHour(tags=tags_of_owner(connection, owner), hour_ms=hour_ms, mark=mark))
    return found
