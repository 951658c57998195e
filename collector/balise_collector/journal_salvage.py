"""What can still be read of a journal that a fault of the disk damaged?

A damaged file is renamed aside and a new one begun; rows that are whole go over, with their ids' order, and are read
again by every consumer, to whom the same points are the same points. What is missing is counted, said by `balise
status`, and can be asked of the probes again (`balise replay`): they keep what was acknowledged for 30 days.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from balise_collector.journal import Journal

log = logging.getLogger(__name__)

CHECK_BYTES = 2**30
"""Above this the structural check at the start is left out (10 GB take a minute): reading meets damage as well, and
says so."""

_COLUMNS = {
    "stream": "id, probe, stream, crc",
    "journal": "stream_id, seq, received_ms, ts_ms, retention, place, body, crc",
    "chain": "stream_id, seq, ts_ms, bh, c, link",
    "orphan": "stream_id, seq, received_ms, reason, boot, ts_ms, low_ms, high_ms, retention, body, crc",
    "dead_letter": "probe, key, reason, detail, received_ms, payload",
    "presence": "probe, online, since_ms, payload",
    "derived": "measurement, tags, ts_ms, fields, crc",
}


def open_journal(path: Path) -> Journal:
    """The journal, as it is or, where it is damaged, as much of it as is whole."""
    if _is_whole(path):
        return Journal(path)
    aside = _set_aside(path)
    journal = Journal(path)
    kept, lost = _take_over(journal, aside)
    with journal.transaction():
        journal.count("journal_damaged")
        journal.count("journal_rows_lost", lost)
    log.error("journal_damaged", extra={"aside": aside.name, "kept": kept, "lost": lost})
    return journal


def mark_damaged(path: Path) -> None:
    """Asks the next `open_journal` to set the file aside: SQLite called it malformed while it was used."""
    _mark(path).touch()


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".malformed")


def _is_whole(path: Path) -> bool:
    if not path.exists():
        return True
    if _mark(path).exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=30)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            if path.stat().st_size > CHECK_BYTES:
                return bool(db.execute("SELECT count(*) FROM sqlite_schema").fetchone())
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    _mark(path).unlink(missing_ok=True)
    return aside


def _take_over(journal: Journal, aside: Path) -> tuple[int, int]:
    """Copies what is whole; rows kept, and rows of the journal that its last number says there were beside them."""
    kept = 0
    with closing(sqlite3.connect(aside, timeout=30)) as old, journal.transaction():
        for table, columns in _COLUMNS.items():
            count = sum(journal.restore(table, columns, row) for row in _readable(old, table, columns))
            kept += count if table == "journal" else 0
        expected = _count(old)
    return kept, max(0, expected - kept)


def _count(old: sqlite3.Connection) -> int:
    try:
        return int(old.execute("SELECT max(id) - min(id) + 1 FROM journal").fetchone()[0] or 0)
    except sqlite3.DatabaseError:
        return 0


def _readable(old: sqlite3.Connection, table: str, columns: str) -> Iterator[Sequence[Any]]:
    """Rows up to the first page that cannot be read."""
    try:
        yield from old.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - names from this file
    except sqlite3.DatabaseError:
        return
