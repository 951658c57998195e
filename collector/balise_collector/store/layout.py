"""Which files and tables is the store made of, and how is each opened?

`DATA/store/` holds `index.db` (cursors, erasures under way) and a file a UTC day, complete in itself: a day can be
read, copied or removed alone, and a damaged one takes nothing else with it.

Rule 1: WAL with synchronous FULL: a commit is on disk. What is deleted is overwritten (secure_delete).
Rule 2: one writer, by a lock that ends with its process; readers open read only, for one answer at a time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import TypeVar

from balise_collector.store import StoreBusy

HOUR_MS = 3_600_000
HOURS = 24
DAY_MS = HOURS * HOUR_MS

BUSY_TIMEOUT_S = 10.0  # the longest wait seen is a commit of 24 ms; VACUUM of a day of 1,000 homes takes seconds

READERS_TIMEOUT_S = 30.0  # a reader holds a file for one answer, milliseconds; one that was stopped, for ever

T = TypeVar("T")

_EPOCH = date(1970, 1, 1).toordinal()
_VERSION = 1

# A row's hour stands first in hot's key, so that an hour that is over is found without a look at the others. `chunk`
# and `dirty` are keyed by owner * 24 + hour: one series' day lies together, and the key is the rowid, without an index.
_DAY = """
CREATE TABLE series(id INTEGER PRIMARY KEY, probe TEXT NOT NULL, measurement TEXT NOT NULL, target TEXT NOT NULL,
    UNIQUE(probe, measurement, target));
CREATE TABLE owner(id INTEGER PRIMARY KEY, series INTEGER NOT NULL, home TEXT NOT NULL, building TEXT NOT NULL,
    pon TEXT NOT NULL, UNIQUE(series, home, building, pon));
CREATE INDEX owner_home ON owner(home);
CREATE TABLE shape(id INTEGER PRIMARY KEY, names BLOB NOT NULL UNIQUE);
CREATE TABLE hot(hour INTEGER NOT NULL, series INTEGER NOT NULL, at INTEGER NOT NULL, owner INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY(hour, series, at));
CREATE TABLE chunk(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, shape INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE dirty(id INTEGER PRIMARY KEY, mark INTEGER NOT NULL);
CREATE TABLE damaged(hour INTEGER NOT NULL, owner INTEGER NOT NULL, at INTEGER, body BLOB NOT NULL);
CREATE TABLE meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL);
"""

_INDEXED = ("series", "owner", "shape", "hot")  # what is sealed is not among them: a look takes milliseconds

_INDEX = """
CREATE TABLE cursor(feed TEXT PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE erasure(id INTEGER PRIMARY KEY, home TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL);
"""


def day_path(folder: Path, day: int) -> Path:
    """The file of a day, counted from 1970-01-01."""
    return folder / f"{date.fromordinal(_EPOCH + day).isoformat()}.db"


def days(folder: Path) -> list[int]:
    """The days that have a file, in order."""
    return sorted(day_of(path) for path in folder.glob("????-??-??.db"))


def day_of(path: Path) -> int:
    """The day that a file's name begins with."""
    return date.fromisoformat(path.name[:10]).toordinal() - _EPOCH


def index_path(folder: Path) -> Path:
    """Cursors and erasures."""
    return folder / "index.db"


def open_day(path: Path) -> sqlite3.Connection:
    """A day's file to write; made where there is none."""
    return _open(path)


def open_index(folder: Path) -> sqlite3.Connection:
    """The index to write; made where there is none."""
    return _open(index_path(folder))


def ask(path: Path, question: Callable[[sqlite3.Connection], T]) -> T | None:
    """What a file answers, as it is at this moment; None where there is no such file (yet, or any more)."""
    if not path.exists():  # SQLite would say the same of a folder that may not be read
        return None
    try:
        with closing(_connect(f"{path.absolute().as_uri()}?mode=ro")) as connection:
            connection.execute("BEGIN")
            return question(connection) if _is_made(connection, path) else None
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it on disk, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def empty_wal(connection: sqlite3.Connection) -> None:
    """Bring the WAL into the file and truncate it. StoreBusy: a reader holds it."""
    deadline = time.monotonic() + READERS_TIMEOUT_S
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise StoreBusy(f"a reader has held a file for {READERS_TIMEOUT_S:.0f} s")


def remove(path: Path) -> None:
    """Take a closed file away, and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def fault(path: Path) -> str | None:
    """What is wrong with a small file, all of whose pages are looked at; None: nothing, or there is none."""

    def check(connection: sqlite3.Connection) -> str | None:
        found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return None if found == "ok" else found

    try:
        return ask(path, check)
    except sqlite3.DatabaseError as exc:
        if not is_damage(exc):
            raise
        return str(exc)


class Unsound(sqlite3.DatabaseError):
    """A file that SQLite reads, with an index that does not lead to all of its rows."""


def check_indexes(connection: sqlite3.Connection) -> None:
    """Unsound: damage in an index hides rows without a word, and what is written by it would not be found again."""
    for table in _INDEXED:
        found = connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0]
        if found != "ok":
            raise Unsound(f"{table}: {found}")


def is_damage(exc: sqlite3.DatabaseError) -> bool:
    """The file is not as SQLite wrote it; everything else (disk full, busy) is not the file's fault."""
    if isinstance(exc, Unsound):
        return True
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _open(path: Path) -> sqlite3.Connection:
    connection = _connect(f"{path.absolute().as_uri()}?mode=rwc")
    try:
        made = _is_made(connection, path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA temp_store=MEMORY")  # VACUUM's copy: no other disk sees it
        if not made:
            _make(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
        for statement in _tables(path):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={_VERSION}")


def _is_made(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are there. Unsound: they are others; SQLite would only say that it knows no such table."""
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = [row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
    except (UnicodeDecodeError, sqlite3.OperationalError) as exc:
        # The two statements are sound: SQLITE_ERROR is a header that is not, text that is none stood in its complaint.
        if isinstance(exc, sqlite3.OperationalError) and exc.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise Unsound(f"the tables' definitions: {exc}") from exc
    if version == 0 and not tables:
        return False
    if sorted(tables) != sorted(_tables(path)):
        raise Unsound(f"tables of version {version}, this program knows {_VERSION}")
    return True


def _tables(path: Path) -> list[str]:
    schema = _INDEX if path.stem == index_path(path.parent).stem else _DAY
    return [statement.strip() for statement in schema.split(";") if statement.strip()]


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    # Text that is damaged must reach the checksum, not end the reading.
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    return connection
