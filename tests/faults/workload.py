"""What do the outbox and the journal do until the power goes?
`python -m tests.faults.workload outbox|journal ROOT MARKS SEED SYNCHRONOUS`

The real code, one thread. What it promises is written to MARKS, one JSON object a call of write(2): the place of a
promise among the writes is its place in the trace. On the way each file is opened again and again, closed or left as a
kill leaves it, and once set aside as damaged with every row in it whole, so that cuts fall into that too.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from balise_agent import durable_file
from balise_agent.contract import Record
from balise_agent.outbox import Outbox
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.journal_salvage import open_journal
from tests.faults.clocks import HandClock
from tests.faults.messages import Sent, home_of, messages, values

LIVES, STEPS = 6, 16
DAMAGED_LIFE = 3  # this one finds its file damaged
MESSAGES = 360
DAMAGE = "damage"  # said instead of a promise: from here on it may be reported
OUTBOX, JOURNAL = "agent/outbox.db", "data/journal.db"
BOOT = "boot"
FREE_PAGES_AT = 36  # in SQLite's header: the number of free pages, which quick_check counts and reading does not need


class Marks:
    """The file of promises."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, promise: object) -> None:
        """Made now."""
        os.write(self._fd, json.dumps(promise).encode() + b"\n")


class Agent:
    """Commits numbered records, seals, acknowledges, restarts."""

    def __init__(self, path: Path, marks: Marks, rng: random.Random, synchronous: str) -> None:
        self._path, self._marks, self._rng, self._synchronous = path, marks, rng, synchronous
        self._clock = HandClock()
        self._n = 0
        self._numbers: list[int] = []
        self._left: list[Outbox] = []  # a file that nobody closes is what a kill leaves

    def live(self) -> None:
        """All of it."""
        durable_file.make_folder(self._path.parent)
        for life in range(LIVES):
            self._clock.pass_ms(1_000)
            if life == DAMAGED_LIFE and self._synchronous != "OFF":
                self._marks.say(DAMAGE)
                damage(self._path)
            outbox = Outbox(
                self._path, boot=BOOT, clock=self._clock, on_commit=self._promise, synchronous=self._synchronous
            )
            for _ in range(STEPS):
                self._step(outbox)
            if life % 2:
                outbox.close()
            else:
                self._left.append(outbox)

    def _step(self, outbox: Outbox) -> None:
        self._clock.pass_ms(30_000)
        self._numbers = [*range(self._n, self._n + self._rng.randint(1, 3))]
        self._n = self._numbers[-1] + 1
        records = [Record(measurement="host", bt_ms=self._clock.bt, fields=values(n)) for n in self._numbers]
        waiting = outbox.waiting(0, 10)
        acked = [message.id for message in waiting if self._rng.random() < 0.3]
        outbox.commit(records, seal=self._rng.random() < 0.4, acked=acked)
        self._numbers = []
        if self._rng.random() < 0.1:
            outbox.remember_time()

    def _promise(self, keys: Sequence[str]) -> None:
        numbers = iter(self._numbers)
        found = [json.loads(key) for key in keys]
        self._marks.say([key | {"n": next(numbers) if key["measurement"] == "host" else None} for key in found])


class Collector:
    """Takes batches of messages; its promise is the ack."""

    def __init__(self, path: Path, marks: Marks, rng: random.Random, synchronous: str) -> None:
        self._path, self._marks, self._rng, self._synchronous = path, marks, rng, synchronous
        self._left: list[Journal] = []

    def live(self, sent: list[Sent]) -> None:
        """All of it."""
        share = len(sent) // LIVES
        for life in range(LIVES):
            if life == DAMAGED_LIFE and self._synchronous != "OFF":
                self._marks.say(DAMAGE)
                damage(self._path)
            journal = Journal(self._path, synchronous="OFF") if self._synchronous == "OFF" else open_journal(self._path)
            self._take(journal, sent[: (life + 1) * share][-share - 5 :])
            if life % 2:
                journal.close()
            else:
                self._left.append(journal)

    def _take(self, journal: Journal, sent: list[Sent]) -> None:
        ingest = Ingest(journal, home_of, lambda: sent[-1].ts_ms + 1_000)
        waiting = [message.incoming for message in sent]
        self._rng.shuffle(waiting)
        while waiting:
            size = self._rng.randint(1, 6)
            replies = ingest.take(waiting[:size])
            del waiting[:size]
            self._marks.say([[reply.probe, reply.ack.stream, reply.ack.ranges] for reply in replies])
            if self._rng.random() < 0.1:
                journal.erase("nobody", 0, 1)  # brings the WAL into the file, as every 4,000 pages do
            if self._rng.random() < 0.1:
                with journal.transaction():
                    journal.move("store:journal", journal.last_id())


def damage(path: Path) -> None:
    """Makes SQLite's own check fail, with all rows still there."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, b"\0\0\0\x7f", FREE_PAGES_AT)
    os.fsync(fd)
    os.close(fd)


def main() -> None:
    what, root, marks, seed, synchronous = sys.argv[1:]
    rng = random.Random(int(seed))
    if what == "outbox":
        Agent(Path(root, OUTBOX), Marks(Path(marks)), rng, synchronous).live()
    else:
        Collector(Path(root, JOURNAL), Marks(Path(marks)), rng, synchronous).live(messages(int(seed), MESSAGES))
    os._exit(0)  # as a kill: what was left open stays so


if __name__ == "__main__":
    main()
