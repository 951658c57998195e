"""How does the collector use a journal, damaged or not, and what must come out of it?"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from balise_agent import sqlite_file
from balise_collector.consumers import Loop, StoreConsumer
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.journal_salvage import open_journal
from balise_collector.store.chunks import open_store
from tests.faults.messages import Sent, home_of, messages, text
from tests.faults.seen import Seen

MESSAGES, LATER = 240, 20
SAID_BY = ("journal_damaged", "journal_tail_lost", "journal_rows_damaged", "chain_open")
"""Counts of the journal that `balise status` shows; the last: a message came whose predecessor is not there."""
_FAR_MS = 2**43


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """``sent``: what the journal took; ``later``: what comes afterwards."""

    sent: tuple[Sent, ...]
    later: tuple[Sent, ...]


def build(folder: Path, seed: int) -> Original:
    """A journal of several streams, half of it in the main file, half in the WAL."""
    rng, made = random.Random(seed), folder.with_name("made")
    sent = messages(seed, MESSAGES + LATER)
    with closing(Journal(made / "journal.db")) as journal:
        now = [sent[0].ts_ms]
        ingest = Ingest(journal, home_of, lambda: now[0])
        for half in (sent[: MESSAGES // 2], sent[MESSAGES // 2 : MESSAGES]):
            with closing(sqlite3.connect(made / "journal.db")) as db:  # as every 4,000 pages
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            while half:
                batch = half[: rng.randint(1, 6)]
                del half[: len(batch)]
                now[0] = batch[-1].ts_ms + 1_000
                ingest.take([message.incoming for message in batch])
        folder.mkdir()
        for name in ("journal.db", "journal.db-wal"):
            shutil.copy(made / name, folder / name)
    return Original(sent=tuple(sent[:MESSAGES]), later=tuple(sent[MESSAGES:]))


def use(folder: Path, original: Original) -> Seen:
    """Two starts: consumers drain, new messages come; then the probes send everything again, as after `replay`."""
    restarts, wrong, missing, said, is_prefix = 0, list[str](), 0, False, True
    for incoming in (original.later, (*original.sent, *original.later)):
        while True:
            try:
                found = _start(folder, original, incoming)
            except sqlite3.Error as exc:
                if not sqlite_file.is_damage(exc):
                    raise
                sqlite_file.mark_damaged(folder / "journal.db")  # as `serve` does when it ends
            if not sqlite_file.is_marked(folder / "journal.db"):
                break
            restarts += 1
            assert restarts < 4, "each start finds it malformed"
        wrong += found.wrong
        said = said or found.said
        if incoming == original.later:
            missing, is_prefix = found.missing, found.is_prefix
    if found.missing:
        wrong.append(f"{found.missing} are not stored though they were sent again")
    return Seen(wrong=tuple(wrong), missing=missing, said=said, is_prefix=is_prefix, restarts=restarts)


def _start(folder: Path, original: Original, incoming: Sequence[Sent]) -> Seen:
    by_key = {message.key: message for message in (*original.sent, *original.later)}
    with (
        closing(open_journal(folder / "journal.db")) as journal,
        closing(open_store(folder / "store")) as store,
    ):
        ingest = Ingest(journal, home_of, lambda: original.later[-1].ts_ms)
        ingest.take([message.incoming for message in incoming])
        Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()
        entries, _last = journal.entries(0, 10**6)
        wrong = []
        for entry in entries:
            sent = by_key.get((entry.probe, entry.stream, entry.seq))
            if sent is None or (entry.ts_ms, entry.body) != (sent.ts_ms, sent.body):
                wrong.append(f"{entry.probe} {entry.stream} {entry.seq} is altered")
            elif entry.place != home_of(entry.probe, 0) or entry.retention != "raw_90d":
                wrong.append(f"{entry.probe} {entry.stream} {entry.seq} is of {entry.place}")
        points = {
            (point.probe, point.measurement, point.target, point.ts_ms, text(point.fields))
            for series in store.series()
            for point in store.read(series.home, series.measurement, series.target, 0, _FAR_MS)
        }
        known = {(message.probe, *point) for message in by_key.values() for point in message.points}
        wrong += [f"stored and never sent: {point}" for point in points - known]
        counts = journal.counts()
        left = {message.key for message in original.sent if {(message.probe, *p) for p in message.points} <= points}
        missing = [number for number, message in enumerate(original.sent) if message.key not in left]
        return Seen(
            wrong=tuple(wrong),
            missing=len(missing),
            said=any(counts.get(name, 0) for name in SAID_BY),
            is_prefix=not missing or missing[0] >= len(left),
        )
