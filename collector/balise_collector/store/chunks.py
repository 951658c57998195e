"""How does one machine keep points in files: hot rows first, sealed hours later?

Rule 1: one writer; a lock that ends with its process says so. Its methods may be called from several threads.
Rule 2: points first, then the cursor: each commit is on disk, a crash between the two overwrites.
Rule 3: an erasure is written down before it begins, and finished when the store is opened after a crash.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS
from balise_collector.store import (
    Damage,
    OnDamage,
    Retained,
    StoreBusy,
    aside,
    erasing,
    layout,
    points,
    reading,
    sealing,
)
from balise_collector.store.layout import DAY_MS, HOUR_MS, HOURS
from balise_collector.store.points import Point
from balise_collector.store.reader import ChunkReader
from balise_collector.store.reading import DirtyHour
from balise_collector.store.writing import Day

__all__ = ["SEAL_MARGIN_MS", "ChunkReader", "ChunkStore", "DirtyHour", "log_damage", "open_reader", "open_store"]

SEAL_MARGIN_MS = 15 * 60_000
"""How long after its end an hour is sealed: batches come each minute, `eco` ones each five, with resends on top."""

_OPEN_DAYS = 8  # files kept open to write: today, yesterday, and what some probes deliver after an outage

_SALVAGED_A_TRANSACTION = 5_000

T = TypeVar("T")
log = logging.getLogger(__name__)


def log_damage(damage: Damage) -> None:
    """What is done with damage where nobody said otherwise."""
    found: dict[str, object] = {"file": damage.file, "what": damage.what}
    if damage.hour_ms is not None:
        found["hour_ms"] = damage.hour_ms
    if damage.tags is not None:
        found |= {"home": damage.tags.home, "measurement": damage.tags.measurement}
    log.error("store_damage", extra=found)


def open_reader(folder: Path, on_damage: OnDamage = log_damage) -> ChunkReader:
    """Reads what there is, in any process, while another may write."""
    return ChunkReader(folder, on_damage)


def open_store(folder: Path, on_damage: OnDamage = log_damage) -> ChunkStore:
    """The writer; its folder is made where there is none. StoreBusy: another process writes."""
    return ChunkStore(folder, on_damage)


class ChunkStore(ChunkReader):
    """A `store.Store` on the files of a folder."""

    def __init__(self, folder: Path, on_damage: OnDamage) -> None:
        super().__init__(folder, on_damage)
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)
        self._lock = _lock(folder / "lock")
        self._turn = threading.RLock()
        self._open: dict[int, Day] = {}  # the last used stands last
        self._checked: set[int] = set()
        self._index = self._open_index()
        self._warm: set[int] = set()  # days that may have something to seal
        self._recover()

    def write(self, points: Sequence[Point], feed: str, cursor: int) -> None:
        """Keep the points, then the feed's cursor; on disk when it returns. ValueError: a point that cannot be kept."""
        by_day: dict[int, list[Point]] = {}
        for point in points:
            _check(point)
            by_day.setdefault(point.ts_ms // DAY_MS, []).append(point)
        with self._turn:
            for number, of_day in by_day.items():
                self._on_day(number, partial(Day.write, points=of_day))
                self._warm.add(number)
            with layout.transaction(self._index):
                self._index.execute("INSERT OR REPLACE INTO cursor(feed, position) VALUES (?, ?)", (feed, cursor))

    def seal(self, now_ms: int) -> int:
        """Seal hours that ended more than the margin ago; how many chunks were written."""
        return sum(self._seal_day(number, now_ms - SEAL_MARGIN_MS) for number in sorted(self._warm))

    def delete(self, home: str, from_ms: int, to_ms: int) -> int:
        """Erase a home's points without trace; how many there were.

        StoreBusy: a reader stands in the way; what is missing is done when the store is opened next.
        """
        plan = "INSERT INTO erasure(home, from_ms, to_ms) VALUES (?, ?, ?)"
        with self._turn:
            with layout.transaction(self._index):
                self._index.execute(plan, (home, from_ms, to_ms))
            return self._carry_out_erasures()

    def retain(self, now_ms: int) -> Retained:
        """Erase what is older than its class allows, to the hour."""
        allowed = {name: RETENTION_DAYS[measurement.retention] for name, measurement in CATALOGUE.items()}
        cutoffs_ms = {name: now_ms - days * DAY_MS for name, days in allowed.items() if days is not None}
        deleted: Counter[str] = Counter()
        removed = 0
        for number in self._days(0, max(cutoffs_ms.values())):
            with self._turn:
                deleted += self._on_day(number, partial(erasing.expire, cutoffs_ms=cutoffs_ms))
                removed += self._scrub(number)
        aside.remove(self._folder, 0, now_ms // DAY_MS - aside.KEPT_DAYS - 1)
        unknown = {series.measurement for series in self.series()} - CATALOGUE.keys()
        return Retained(deleted=dict(deleted), files=removed, unknown=tuple(sorted(unknown)))

    def clean(self, hours: Sequence[DirtyHour]) -> None:
        """Their sketches are made; an hour that changed again since it was asked for stays dirty."""
        by_day: dict[int, list[DirtyHour]] = {}
        for hour in hours:
            by_day.setdefault(hour.hour_ms // DAY_MS, []).append(hour)
        with self._turn:
            for number in by_day.keys() & {*layout.days(self._folder)}:
                self._on_day(number, partial(sealing.clean, hours=by_day[number]))

    def close(self) -> None:
        """Let go of files and of the lock."""
        with self._turn:
            for number in list(self._open):
                self._open.pop(number).close()
            self._index.close()
            os.close(self._lock)

    def _seal_day(self, number: int, until_ms: int) -> int:
        over = min(HOURS, (until_ms - number * DAY_MS) // HOUR_MS)  # hours of the day that are over
        if over <= 0:
            return 0
        with self._turn:
            hours = self._on_day(number, lambda day: reading.hot_hours(day.connection))
        written = sum(self._seal_hour(number, hour) for hour in hours if hour < over)
        if over == HOURS:
            with self._turn:
                self._on_day(number, self._settle)
        return written

    def _seal_hour(self, number: int, hour: int) -> int:
        """A few series at a time, so that writing need not wait for all of them."""
        after: int | None = 0
        written = 0
        while after is not None:
            some = partial(sealing.seal_some, hour=hour, after=after, on_bad=self._on_bad(number))
            with self._turn:
                count, after = self._on_day(number, some)
            written += count
        return written

    def _settle(self, day: Day) -> None:
        if not reading.hot_hours(day.connection):
            sealing.settle(day)
            self._warm.discard(day.number)

    def _carry_out_erasures(self) -> int:
        erased = 0
        for ident, home, from_ms, to_ms in self._index.execute("SELECT * FROM erasure").fetchall():
            erased += sum(self._erase(number, home, from_ms, to_ms) for number in self._days(from_ms, to_ms))
            aside.remove(self._folder, from_ms // DAY_MS, (to_ms - 1) // DAY_MS)
            with layout.transaction(self._index):
                self._index.execute("DELETE FROM erasure WHERE id = ?", (ident,))
            self._index.execute("VACUUM")
            layout.empty_wal(self._index)
        return erased

    def _erase(self, number: int, home: str, from_ms: int, to_ms: int) -> int:
        erase = partial(erasing.erase, home=home, from_ms=from_ms, to_ms=to_ms, on_bad=self._on_bad(number))
        erased = self._on_day(number, erase)
        self._scrub(number)
        return erased

    def _scrub(self, number: int) -> bool:
        """Leave no trace of what was deleted from a day; whether its file is gone."""
        empty = self._on_day(number, erasing.scrub)
        if not empty:
            return False
        self._open.pop(number).close()
        self._warm.discard(number)
        layout.remove(layout.day_path(self._folder, number))
        return True

    def _recover(self) -> None:
        """Finish what a crash interrupted."""
        for path in aside.waiting(self._folder):
            self._salvage(path)
        self._carry_out_erasures()
        for number in layout.days(self._folder):
            if self._ask(number, erasing.is_flagged):
                self._scrub(number)
            if not self._ask(number, sealing.is_settled):
                self._warm.add(number)

    def _on_day(self, number: int, work: Callable[[Day], T]) -> T:
        """Work on a day's file. One that SQLite cannot read all of is set aside, and the work done on a new one."""
        try:
            return work(self._day(number))
        except sqlite3.DatabaseError as exc:
            if not layout.is_damage(exc):
                raise
            self._set_aside(number, str(exc))
            return work(self._day(number))

    def _set_aside(self, number: int, what: str) -> None:
        if number in self._open:
            self._open.pop(number).close()
        path = layout.day_path(self._folder, number)
        self._on_damage(Damage(file=path.name, what=f"set aside: {what}"))
        self._salvage(aside.set_aside(path))

    def _salvage(self, path: Path) -> None:
        """What can still be read of a file that was set aside becomes hot rows of a new one."""
        number = layout.day_of(path)
        held: list[Point] = []
        for some in aside.salvage(path, self._on_bad(number)):
            held += some
            if len(held) > _SALVAGED_A_TRANSACTION:
                self._day(number).write(held)
                held.clear()
        self._day(number).write(held)
        self._warm.add(number)
        aside.salvaged(path)

    def _day(self, number: int) -> Day:
        """The day's file, open to write; the one used longest ago is closed for it."""
        day = self._open.pop(number, None) or Day(self._folder, number)
        self._open[number] = day
        if number not in self._checked:  # once a process: what it writes itself is sound
            layout.check_indexes(day.connection)
            self._checked.add(number)
        if len(self._open) > _OPEN_DAYS:
            self._open.pop(next(iter(self._open))).close()
        return day

    def _open_index(self) -> sqlite3.Connection:
        """Cursors that cannot be read begin again: the feeds are read again, which overwrites."""
        path = layout.index_path(self._folder)
        fault = layout.fault(path)
        if fault:
            self._on_damage(Damage(file=path.name, what=f"begun again: {fault}"))
            layout.remove(path)
        return layout.open_index(self._folder)


def _check(point: Point) -> None:
    why = points.refusal(point)
    if why is not None:
        raise ValueError(f"{point.measurement} {point.target!r} of {point.probe} at {point.ts_ms}: {why}")


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StoreBusy(f"{path.parent}: another process writes") from None
    return handle


def _sync(folder: Path) -> None:
    """The name of a folder made in it is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
