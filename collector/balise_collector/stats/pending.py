"""Which hours are still to be rolled up, up to where was the journal read for that, which months are frozen?

It is DATA/stats.db.

Rule 1: an hour is pending before the cursor passes the row that touched it: after a crash it is made once more, never
once less.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from balise_agent.durable_file import make_folder

SCHEMA = """
CREATE TABLE IF NOT EXISTS pending(hour_ms INTEGER PRIMARY KEY, row_id INTEGER NOT NULL, since_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursor(feed TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frozen(journal TEXT NOT NULL, month INTEGER NOT NULL, PRIMARY KEY(journal, month))
  WITHOUT ROWID;
"""


class Touched(NamedTuple):
    """An hour, the last journal row with a point in it, and when the first came since it was made."""

    hour_ms: int
    row_id: int
    since_ms: int


class Pending:
    """The file; one thread."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def cursor(self, feed: str) -> int:
        """The last row that is done with; 0 at a feed's start."""
        found = self._db.execute("SELECT id FROM cursor WHERE feed = ?", (feed,)).fetchone()
        return 0 if found is None else int(found[0])

    def mark(self, hours: Iterable[Touched], feed: str, last_id: int) -> None:
        """These hours and the cursor, at once."""
        sql = "INSERT INTO pending VALUES (?, ?, ?) ON CONFLICT(hour_ms) DO UPDATE SET row_id = excluded.row_id"
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(sql, hours)
        self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (feed, last_id))
        self._db.execute("COMMIT")

    def again(self, hours: Iterable[Touched]) -> None:
        """These hours too, though no row touched them: something was taken out of them."""
        sql = """INSERT INTO pending VALUES (?, ?, ?) ON CONFLICT(hour_ms) DO UPDATE
            SET row_id = max(row_id, excluded.row_id), since_ms = excluded.since_ms"""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(sql, hours)
        self._db.execute("COMMIT")

    def until(self, start_ms: int, since_ms: int) -> list[Touched]:
        """Those that begin up to one date and are pending since another or longer. The newest first: nobody waits for
        this hour until three months of an erased home are made again."""
        sql = "SELECT * FROM pending WHERE hour_ms <= ? AND since_ms <= ? ORDER BY hour_ms DESC"
        return [Touched(*row) for row in self._db.execute(sql, (start_ms, since_ms))]

    def done(self, one: Touched) -> None:
        """It is rolled up, as far as that row."""
        self._db.execute("DELETE FROM pending WHERE hour_ms = ? AND row_id = ?", (one.hour_ms, one.row_id))

    def is_frozen(self, journal: str, month: int) -> bool:
        """The rows of that month stand in that journal, or did."""
        found = self._db.execute("SELECT 1 FROM frozen WHERE journal = ? AND month = ?", (journal, month))
        return found.fetchone() is not None

    def note_frozen(self, journal: str, month: int) -> None:
        """They do."""
        self._db.execute("INSERT OR IGNORE INTO frozen VALUES (?, ?)", (journal, month))
