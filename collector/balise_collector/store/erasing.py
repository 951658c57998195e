"""How do points leave one day's file without trace?

Rule 1: a file that rows were erased from is flagged in the same transaction, until it has been rewritten (VACUUM) and
its WAL emptied: secure_delete alone leaves copies in the gaps of pages that SQLite rearranged earlier.
Rule 2: a row that an erased one had overwritten does not come back.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping

from balise_collector.store import layout, reading, sealing
from balise_collector.store.layout import DAY_MS, HOUR_MS, HOURS
from balise_collector.store.points import Point
from balise_collector.store.reading import Owned
from balise_collector.store.writing import Day

TO_SCRUB = "to_scrub"


def erase(day: Day, home: str, from_ms: int, to_ms: int, on_bad: reading.OnBad) -> int:
    """Delete a home's points of this day; how many. The file is to be scrubbed then."""
    low, high = max(from_ms, day.start_ms), min(to_ms, day.start_ms + DAY_MS)
    hours = range((low - day.start_ms) // HOUR_MS, -(-(high - day.start_ms) // HOUR_MS))
    with day.transaction():
        owned = reading.owned_by(day.connection, home)
        if not owned:
            return 0
        _merge_late(day, owned, hours, on_bad)
        erased = sum(_erase_hot(day, one, hour, low, high) for one in owned for hour in hours)
        erased += sum(_erase_sealed(day, one, hour, low, high, on_bad) for one in owned for hour in hours)
        for one in owned:
            _erase_damaged(day, one, hours)
        _forget_the_gone(day, owned)
    return erased


def expire(day: Day, cutoffs_ms: Mapping[str, int]) -> Counter[str]:
    """Delete whole hours that end at or before their measurement's cutoff; how many points of each."""
    deleted: Counter[str] = Counter()
    with day.transaction():
        over = []
        for one in reading.owned_by(day.connection):
            hours = min(HOURS, (cutoffs_ms.get(one.tags.measurement, 0) - day.start_ms) // HOUR_MS)
            if hours > 0 and (count := _expire_series(day, one, hours)):
                deleted[one.tags.measurement] += count
                over.append(one)
        if over:
            _forget_the_gone(day, over)
    return deleted


def scrub(day: Day) -> bool:
    """Rewrite a flagged file without what was deleted, and empty its WAL; whether nothing is kept in it.

    StoreBusy: a reader holds it; the flag stays.
    """
    if day.flag(TO_SCRUB):
        day.connection.execute("VACUUM")
        layout.empty_wal(day.connection)
        with day.transaction():
            day.set_flag(TO_SCRUB, to=False)
    return is_empty(day)


def is_flagged(connection: sqlite3.Connection) -> bool:
    """A crash came between deletion and scrubbing."""
    return connection.execute("SELECT 1 FROM meta WHERE k = ?", (TO_SCRUB,)).fetchone() is not None


def is_empty(day: Day) -> bool:
    """Nothing is kept of that day."""
    held = "SELECT EXISTS(SELECT 1 FROM hot) OR EXISTS(SELECT 1 FROM chunk) OR EXISTS(SELECT 1 FROM damaged)"
    return not day.connection.execute(held).fetchone()[0]


def _merge_late(day: Day, owned: list[Owned], hours: range, on_bad: reading.OnBad) -> None:
    """Seal hours that are both hot and sealed: an overwritten row must be gone before what overwrote it is."""
    for series in {one.series for one in owned}:
        sealed = {ident % HOURS for one in sealing.owners_of(day, series) for ident in _chunk_ids(day, one)}
        for hour in sealed & {*hours} & {*reading.hot_hours(day.connection)}:
            sealing.merge(day, series, hour, on_bad)


def _chunk_ids(day: Day, one: Owned) -> list[int]:
    span = (one.owner * HOURS, one.owner * HOURS + HOURS - 1)
    return [row[0] for row in day.connection.execute("SELECT id FROM chunk WHERE id BETWEEN ? AND ?", span)]


def _erase_hot(day: Day, one: Owned, hour: int, low: int, high: int) -> int:
    start_ms = day.start_ms + hour * HOUR_MS
    return day.connection.execute(
        "DELETE FROM hot WHERE hour = ? AND series = ? AND owner = ? AND at >= ? AND at < ?",
        (hour, one.series, one.owner, low - start_ms, high - start_ms),
    ).rowcount


def _erase_sealed(day: Day, one: Owned, hour: int, low: int, high: int, on_bad: reading.OnBad) -> int:
    """A damaged hour goes whole: nothing can tell which part of it was to stay."""
    ident = (one.owner * HOURS + hour,)
    held = day.connection.execute("SELECT n FROM chunk WHERE id = ?", ident).fetchone()
    if held is None:
        return 0
    points = [p for hour_of in reading.chunks(day.connection, day.number, one, hour, hour, on_bad) for p in hour_of]
    kept: list[Point] = [point for point in points if not low <= point.ts_ms < high]
    sealing.put(day, one.tags, hour, kept)
    return int(held[0]) - len(kept)


def _erase_damaged(day: Day, one: Owned, hours: range) -> None:
    day.connection.execute(
        "DELETE FROM damaged WHERE owner = ? AND hour BETWEEN ? AND ?", (one.owner, hours.start, hours.stop - 1)
    )


def _expire_series(day: Day, one: Owned, hours: int) -> int:
    """Delete the first hours of the day."""
    span = (one.owner * HOURS, one.owner * HOURS + hours - 1)
    sealed = day.connection.execute("SELECT total(n) FROM chunk WHERE id BETWEEN ? AND ?", span).fetchone()[0]
    day.connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", span)
    day.connection.execute("DELETE FROM dirty WHERE id BETWEEN ? AND ?", span)
    _erase_damaged(day, one, range(hours))
    hot = sum(_erase_hot(day, one, hour, day.start_ms, day.start_ms + DAY_MS) for hour in range(hours))
    return int(sealed) + hot


def _forget_the_gone(day: Day, owned: list[Owned]) -> None:
    """No name stays of what nothing is kept of any more."""
    warm = reading.hot_hours(day.connection)
    for one in owned:
        if not _is_held(day, one, warm):
            span = (one.owner * HOURS, one.owner * HOURS + HOURS - 1)
            day.connection.execute("DELETE FROM dirty WHERE id BETWEEN ? AND ?", span)
            day.connection.execute("DELETE FROM owner WHERE id = ?", (one.owner,))
    day.connection.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM owner)")
    day.connection.execute("DELETE FROM damaged WHERE owner NOT IN (SELECT id FROM owner)")
    day.set_flag(TO_SCRUB, to=True)
    day.forget()


def _is_held(day: Day, one: Owned, warm: list[int]) -> bool:
    hot = "SELECT 1 FROM hot WHERE hour = ? AND series = ? AND owner = ? LIMIT 1"
    if _chunk_ids(day, one) or any(
        day.connection.execute(hot, (hour, one.series, one.owner)).fetchone() for hour in warm
    ):
        return True
    return day.connection.execute("SELECT 1 FROM damaged WHERE owner = ?", (one.owner,)).fetchone() is not None
