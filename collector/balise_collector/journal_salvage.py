"""What can still be read of a journal that a fault of the disk damaged?

A damaged file is renamed aside and a new one begun; rows that are whole go over, with their ids' order, and are read
again by every consumer, to whom the same points are the same points. What is missing is counted, said by `balise
status`, and can be asked of the probes again (`balise command PROBE replay`): they keep what was acknowledged 30 days.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from balise_agent import sqlite_file
from balise_agent.durable_file import make_folder
from balise_collector.journal import Journal
from balise_collector.journal_rows import SCHEMA

log = logging.getLogger(__name__)

CHECK_BYTES = 2**30
"""Above this the structural check at the start is left out (10 GB take a minute): reading meets damage as well, and
says so."""

_COLUMNS = {
    "stream": "id, probe, stream, crc",
    "journal": "stream_id, seq, received_ms, ts_ms, retention, place, body, crc",
    "chain": "stream_id, seq, ts_ms, bh, c, link",
    "orphan": "stream_id, seq, received_ms, reason, boot, ts_ms, low_ms, high_ms, retention, body, crc",
    "dead_letter": "probe, key, reason, detail, received_ms, payload, crc",
    "presence": "probe, online, since_ms, payload",
    "derived": "measurement, tags, ts_ms, fields, crc",
    "erased": "whose, from_ms, to_ms, is_open",
}


def open_journal(path: Path) -> Journal:
    """The journal, as it is or, where it is damaged, as much of it as is whole.

    sqlite3.OperationalError: it cannot be reached now (the disk is full, say); nothing was touched.
    """
    make_folder(path.parent)
    found = sqlite_file.look(path, SCHEMA, check_bytes=CHECK_BYTES)
    if found.fault is not None:
        aside = sqlite_file.set_aside(path, str(time.time_ns() // 1_000_000))
        log.error("journal_damaged", extra={"why": found.fault, "aside": aside.name})
    asides = sqlite_file.asides(path)
    journal = Journal(path)
    for aside in asides:
        with journal.transaction():
            _take_over(journal, aside)
    if found.tail_lost:
        log.error("journal_tail_lost")
        with journal.transaction():
            journal.count("journal_tail_lost")
    return journal


def _take_over(journal: Journal, aside: Path) -> None:
    """Copies what is whole, once: that it is done is noted in the same transaction.

    Lost are rows of the journal that its numbers say there were beside those.
    """
    if not journal.note_salvaged(aside.name):
        return
    kept = expected = 0
    if aside.stat().st_size:  # else SQLite would take it for a new one
        with closing(sqlite3.connect(aside, timeout=30)) as old:
            old.text_factory = sqlite_file.TEXT
            for table, columns in _COLUMNS.items():
                count = sum(journal.restore(table, columns, row) for row in _readable(old, table, columns))
                kept += count if table == "journal" else 0
            expected = _count(old)
    journal.forget_lost()
    lost = max(0, expected - kept)
    journal.count("journal_damaged")
    journal.count("journal_rows_lost", lost)
    log.error("journal_salvaged", extra={"aside": aside.name, "kept": kept, "lost": lost})


def _count(old: sqlite3.Connection) -> int:
    try:
        return int(old.execute("SELECT max(id) - min(id) + 1 FROM journal").fetchone()[0] or 0)
    except sqlite3.Error as exc:
        if not sqlite_file.is_damage(exc):
            raise
        return 0


def _readable(old: sqlite3.Connection, table: str, columns: str) -> Iterator[Sequence[Any]]:
    """Rows up to the first page that cannot be read."""
    try:
        yield from old.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - names from this file
    except sqlite3.Error as exc:
        if not sqlite_file.is_damage(exc):
            raise
