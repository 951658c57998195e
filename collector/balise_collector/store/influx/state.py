"""Up to where has InfluxDB been written, and what keeps it from going on?

A small file beside the journal, since a server that is gone can be asked nothing. Several programs open it: the one
that writes to InfluxDB, `balise influx rewind`, and those that only look.

Rule 1: a cursor stands where InfluxDB has answered 204 for everything up to it, or before.
Rule 2: a cursor that somebody set back meanwhile is not moved on by what was under way.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

_TABLES = """
CREATE TABLE IF NOT EXISTS cursor(feed TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trouble(id INTEGER PRIMARY KEY CHECK(id = 1), what TEXT NOT NULL, since_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counted(name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""


class Trouble(NamedTuple):
    """What the server, or the way to it, said last, and since when nothing was kept."""

    what: str
    since_ms: int


def state_path(folder: Path) -> Path:
    """The file, in what DATA holds of InfluxDB."""
    return folder / "state.db"


class State:
    """The file, open; for the threads of one process, one at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the last moves back: the same points are sent again.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def cursor(self, feed: str) -> int:
        """Where a feed stands; 0 for one that never was."""
        return _cursor(self._db, feed)

    def cursors(self) -> dict[str, int]:
        """All of them."""
        return dict(self._db.execute("SELECT feed, position FROM cursor ORDER BY feed"))

    def set(self, feed: str, position: int) -> None:
        """Wherever it stood."""
        self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (feed, position))

    def move(self, feed: str, position: int, *, before: int) -> bool:
        """On from ``before``; False: somebody set it elsewhere meanwhile, and there it stays."""
        sql = "INSERT INTO cursor VALUES (?, ?) ON CONFLICT(feed) DO UPDATE SET position = excluded.position"
        moved = self._db.execute(f"{sql} WHERE position = ?", (feed, position, before))
        return moved.rowcount > 0

    def note(self, what: str, now_ms: int) -> None:
        """It does not go on; the first of a row of troubles keeps its date."""
        sql = "INSERT INTO trouble VALUES (1, ?, ?) ON CONFLICT(id) DO UPDATE SET what = excluded.what"
        self._db.execute(sql, (what, now_ms))

    def clear(self) -> None:
        """It goes on."""
        if self.trouble() is not None:
            self._db.execute("DELETE FROM trouble")

    def trouble(self) -> Trouble | None:
        """None while it goes on."""
        return _trouble(self._db)

    def count(self, name: str, n: int) -> None:
        """Adds to a count that outlives the process."""
        if n:
            sql = "INSERT INTO counted VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET n = n + excluded.n"
            self._db.execute(sql, (name, n))

    def counts(self) -> dict[str, int]:
        """All of them."""
        return dict(self._db.execute("SELECT name, n FROM counted ORDER BY name"))


def cursor_of(path: Path, feed: str) -> int:
    """Where a feed stands, for one who only looks; 0 where there is no file."""
    if not path.exists():
        return 0
    with closing(_look(path)) as db:
        return _cursor(db, feed) if _is_made(db) else 0


def trouble_of(path: Path) -> Trouble | None:
    """What keeps the writer from going on, for one who only looks; None: nothing, or there is no file."""
    if not path.exists():
        return None
    with closing(_look(path)) as db:
        return _trouble(db) if _is_made(db) else None


def _look(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)


def _is_made(db: sqlite3.Connection) -> bool:
    found = db.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('cursor', 'trouble')").fetchone()
    return int(found[0]) == 2


def _cursor(db: sqlite3.Connection, feed: str) -> int:
    found = db.execute("SELECT position FROM cursor WHERE feed = ?", (feed,)).fetchone()
    return 0 if found is None else int(found[0])


def _trouble(db: sqlite3.Connection) -> Trouble | None:
    found = db.execute("SELECT what, since_ms FROM trouble").fetchone()
    return None if found is None else Trouble(*found)
