"""What becomes of a row after the journal?

Each consumer reads the journal (and what others derived from it) behind its own cursor and writes its own state. They
run in a process of their own, so that one that is slow or broken never stops ingest.

Rule 1: a consumer's cursor stands with its state; what is in the journal's `cursor` table is a copy, for pruning and
for status.
Rule 2: a consumer that fails is tried again for ever; the others go on.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from balise_agent import sqlite_file
from balise_agent.logs import set_up
from balise_collector import wire
from balise_collector.erasures import Erasures, Taken
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry, Entry
from balise_collector.store import Point, Store, StoreBusy, Unavailable
from balise_collector.store.chunks import open_store

log = logging.getLogger(__name__)

ROWS = 2_000  # read at once; 14,000 points are some 20 MB
IDLE_S = 0.25
TELL_S = 1.0  # under load there is always something to read, and status must not take that for standing still
RETRY_S = (1.0, 60.0)
ERASE_S = 1.0  # somebody waits for it
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Consumer(Protocol):
    """Something behind the journal; its feeds are "journal", "derived" or both."""

    @property
    def name(self) -> str:
        """What its cursors are called."""

    @property
    def feeds(self) -> Sequence[str]:
        """What it reads."""

    def cursor(self, feed: str) -> int:
        """The last id that it is done with."""

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        """Makes the rows part of its state, durably, with ``last_id`` as its cursor."""


@runtime_checkable
class Ahead(Consumer, Protocol):
    """A consumer that has something under way when `take` returns, so that it need not wait while rows are read."""

    def position(self, feed: str) -> int:
        """From where it is read on: at its cursor, or after what is under way."""

    def settle(self) -> None:
        """Waits for what is under way; called where there is nothing more to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConsumer:
    """Writes points into a store. ``journal``: the journal's own name, so that another file is read from its start."""

    store: Store
    journal: str
    name: str = "store"
    feeds: Sequence[str] = ("journal", "derived")

    def cursor(self, feed: str) -> int:
        """As the store keeps it."""
        return self.store.cursor(f"{self.journal}:{feed}")

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        """Points first, then the cursor: a crash between writes the same points again."""
        points = [point for row in rows for point in (points_of(row) if isinstance(row, Entry) else derived_point(row))]
        self.store.write(points, f"{self.journal}:{feed}", last_id)


def points_of(entry: Entry) -> list[Point]:
    """The records of a journal row as points. ValueError: a damaged body, which the row's checksum rules out."""
    place, ts_ms = entry.place, entry.ts_ms
    return [
        Point(
            home=place.home,
            building=place.building,
            pon=place.pon,
            probe=entry.probe,
            measurement=row.measurement,
            target=row.target,
            ts_ms=ts_ms + row.at,
            kind=row.kind,
            reason=row.reason,
            fields=row.fields,
        )
        for row in wire.records(entry.body)
    ]


def derived_point(entry: DerivedEntry) -> list[Point]:
    """A conclusion as a point; what is not home, building or PON of its tags is its target. A point's key has no place
    but its probe's, so that a conclusion about one has a probe of its own."""
    tags = dict(entry.tags)
    home, building, pon = (tags.pop(name, "") for name in ("home", "building", "pon"))
    return [
        Point(
            home=home,
            building=building,
            pon=pon,
            probe=".".join(("collector", *filter(None, (home or building or pon,)))),
            measurement=entry.measurement,
            target=":".join(tags[name] for name in sorted(tags)),
            ts_ms=entry.ts_ms,
            fields=entry.fields,
        )
    ]


class Loop:
    """Runs consumers over one journal until `stop`. ``rows``: how many are read at once; ``retry_s``: the first and
    the longest wait of a consumer that failed."""

    def __init__(
        self,
        journal: Journal,
        consumers: Sequence[Consumer],
        jobs: Sequence[Job] = (),
        *,
        rows: int = ROWS,
        retry_s: tuple[float, float] = RETRY_S,
    ) -> None:
        self._journal, self._consumers, self._jobs = journal, consumers, jobs
        self._rows, self._wait_s = rows, retry_s
        self._stop = threading.Event()
        self._retry_at: dict[str, float] = {}
        self._retry_s: dict[str, float] = {}
        self._told: dict[str, int] = {}
        self._tell_at_s = 0.0

    def stop(self) -> None:
        """Ends `run` after the step under way."""
        self._stop.set()

    def run(self) -> None:
        """Feeds each consumer as long as there is something, else waits a little."""
        while not self._stop.is_set():
            moved = [self._feed(consumer) for consumer in self._consumers]
            for job in self._jobs:
                job.run_if_due(time.monotonic())
            if time.monotonic() >= self._tell_at_s:
                self._tell()
            if not any(moved):
                self._stop.wait(IDLE_S)
        self._tell()

    def drain(self) -> None:
        """Feeds until nothing is left (tests, and tools that read afterwards)."""
        while sum(self._feed(consumer) for consumer in self._consumers):
            pass
        self._tell()

    def _feed(self, consumer: Consumer) -> bool:
        if time.monotonic() < self._retry_at.get(consumer.name, 0.0):
            return False
        try:
            moved = [self._feed_from(consumer, feed) for feed in consumer.feeds]
            if isinstance(consumer, Ahead) and not any(moved):
                consumer.settle()
        except Exception as exc:  # a consumer of any kind may fail in any way, and must not stop the others
            wait_s = min(self._retry_s.get(consumer.name, self._wait_s[0] / 2) * 2, self._wait_s[1])
            self._retry_s[consumer.name], self._retry_at[consumer.name] = wait_s, time.monotonic() + wait_s
            said = {"consumer": consumer.name, "again_s": wait_s, "why": str(exc)}
            if isinstance(exc, Unavailable):  # a server that is down for a week is no fault of this program
                log.warning("consumer_waits", extra=said)
            else:
                log.exception("consumer_failed", extra=said)
            return False
        self._retry_s.pop(consumer.name, None)
        return any(moved)

    def _feed_from(self, consumer: Consumer, feed: str) -> bool:
        after = consumer.position(feed) if isinstance(consumer, Ahead) else consumer.cursor(feed)
        try:
            rows, last_id = self._next(feed, after)
        except sqlite3.Error as exc:
            if sqlite_file.is_damage(exc):
                sqlite_file.mark_damaged(self._journal.path)  # `serve` ends, and its next start sets the file aside
            raise
        if last_id == after:
            return False
        consumer.take(feed, rows, last_id)
        return True

    def _next(self, feed: str, after: int) -> tuple[list[Entry] | list[DerivedEntry], int]:
        """The next rows; damaged ones are given up before the cursor passes them."""
        read: Callable[[int, int], tuple[list[Entry] | list[DerivedEntry], int]]
        read = self._journal.entries if feed == "journal" else self._journal.derived
        rows, last_id = read(after, self._rows)
        if self._journal.damaged:
            with self._journal.transaction():
                count = self._journal.give_up_damaged()
            log.error("journal_rows_damaged", extra={"rows": count, "feed": feed})
        return rows, last_id

    def _tell(self) -> None:
        """Copies cursors into the journal, where pruning and status look for them. While it refuses, they wait."""
        self._tell_at_s = time.monotonic() + TELL_S
        now = {f"{c.name}:{feed}": c.cursor(feed) for c in self._consumers for feed in c.feeds}
        changed = {name: id_ for name, id_ in now.items() if self._told.get(name) != id_}
        if not changed:
            return
        try:
            with self._journal.transaction():
                for name, id_ in changed.items():
                    self._journal.move(name, id_)
        except sqlite3.OperationalError as exc:
            log.warning("cursors_not_told", extra={"why": str(exc)})
            return
        self._told |= changed


@dataclass(slots=True)
class Job:
    """Something to be done every so often beside the consumers; a failure is said and tried at the next turn."""

    name: str
    every_s: float
    work: Callable[[], Mapping[str, object] | None]
    _next_s: float = 0.0

    def run_if_due(self, now_s: float) -> None:
        """Does it where its time has come."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.every_s
        try:
            said = self.work()
        except Exception:  # one job must not stop the others, nor the consumers
            log.exception("job_failed", extra={"job": self.name})
            return
        if said:
            log.info(self.name, extra=dict(said))


def jobs(journal: Journal, store: Store | None) -> list[Job]:
    """Sealing, retention by class, and pruning: one place applies what the catalogue says."""

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def seal(store: Store) -> dict[str, object] | None:
        sealed = store.seal(now_ms())
        return {"chunks": sealed} if sealed else None

    def retain(store: Store) -> dict[str, object] | None:
        deleted = store.retain(now_ms()).deleted
        return {"points": dict(deleted)} if deleted else None

    def prune() -> dict[str, object] | None:
        pruned = journal.prune(now_ms())
        return {"rows": pruned} if pruned else None

    pruned = Job("pruned", 600, prune)
    if store is None:
        return [pruned]
    return [Job("sealed", 60, partial(seal, store)), Job("retained", 3_600, partial(retain, store)), pruned]


def erase(journal: Journal, store: Store | None, erasures: Erasures) -> Mapping[str, object] | None:
    """Forgets the homes that somebody asked to be forgotten. The journal first: what is read from it afterwards has
    nothing of the home, and it keeps nothing of it until all who had read before have let go of it."""
    for one in erasures.forgotten():
        journal.end_erasure(one.home, one.from_ms, one.to_ms, time.time_ns() // 1_000_000)
        erasures.forgot(one.id, "journal")
    asked = erasures.waiting()
    for one in asked:
        rows = journal.erase(one.home, one.from_ms, one.to_ms, one.stood)
        points = 0 if store is None else store.delete(one.home, one.from_ms, one.to_ms)
        erasures.done(one.id, Taken(rows=rows, points=points))
    return {"homes": len(asked)} if asked else None


def main(argv: Sequence[str] = sys.argv) -> int:
    """``python -m balise_collector.consumers DATA PARENT [--no-store]``: what `balise serve` starts beside ingest, with
    its own pid; with ``--no-store`` another program keeps the points, and the embedded store stays as it is."""
    end_with(int(argv[2]))
    set_up("info", sys.stdout)
    data = Path(argv[1])
    try:
        store = None if "--no-store" in argv[3:] else open_store(data / "store")
    except StoreBusy as exc:
        log.error("store_busy", extra={"why": str(exc)})
        return 1
    journal = Journal(data / "journal.db")
    consumers = [] if store is None else [StoreConsumer(store=store, journal=journal.name)]
    erasures = Erasures(data / "erasures.db")
    work = [Job("erased", ERASE_S, partial(erase, journal, store, erasures)), *jobs(journal, store)]
    loop = Loop(journal, consumers, work)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    loop.run()
    if store is not None:
        store.close()
    erasures.close()
    journal.close()
    log.info("consumers_stopped")
    return 0


def end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone, however it went: two of us would write one store."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
