"""Is an SQLite file as its writer left it, and what is done with one that is not?

Rule 1: a full disk or a missing permission is no damage: what only cannot be reached now is left where it is.
Rule 2: a damaged file is renamed aside, never repaired in place. Each step is on disk before the next, so that a kill
or a power cut in between leaves something that the next opening goes on from (`asides`).
Rule 3: what SQLite passes over in silence is found as well: an empty file, tables that are not ours any more, commits
that stood in the WAL behind its damaged part.
"""

from __future__ import annotations

import re
import sqlite3
import struct
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from balise_agent.durable_file import sync_folder

TEXT = partial(str, encoding="utf-8", errors="replace")
"""For ``text_factory``: sqlite3 raises on bytes that are no UTF-8; a checksum is to judge them."""

_ELSEWHERE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL,
}
_SECTOR_GONE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
_HEADER = b"SQLite format 3\0"
_WAL_HEADER, _FRAME_HEADER = 32, 24  # bytes; sqlite.org/fileformat2.html, section 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """``fault``: why the file cannot be used as it is, None where it can. ``tail_lost``: commits of it are gone."""

    fault: str | None = None
    tail_lost: bool = False


def is_damage(exc: sqlite3.Error) -> bool:
    """The file's fault, not that of the disk's room, of a permission or of another process."""
    code = getattr(exc, "sqlite_errorcode", None)
    return code is not None and (code in _SECTOR_GONE or code & 0xFF not in _ELSEWHERE)


def make(path: Path, schema: str, *pragmas: str) -> None:
    """Makes a file with its tables, on disk, unless it is there: whatever ends this half-way, it then has not been.

    So a file that is there and empty is damaged.
    """
    if path.exists():
        return
    new = path.with_name(path.name + ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    with closing(sqlite3.connect(new)) as db:
        for pragma in (*pragmas, "journal_mode = WAL"):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(schema)
        db.execute(f"PRAGMA user_version = {_version(schema)}")
    new.rename(path)
    sync_folder(path.parent)


def look(path: Path, schema: str, *, check_bytes: int = 2**62) -> Look:
    """Looks at a file that is about to be opened; one that does not exist is fine.

    ``schema``: what it was made with. ``check_bytes``: above this size its pages are not all read.
    sqlite3.OperationalError: it cannot be reached now.
    """
    if not path.exists():
        _mark(path).unlink(missing_ok=True)
        return Look()
    if _mark(path).exists():
        return Look(fault="malformed while it was used")
    with path.open("rb") as file:
        header = file.read(20)
    if not header:
        return Look(fault="empty")
    if header[:16] == _HEADER and not set(header[18:20]) <= {1, 2}:
        return Look(fault="unknown file format")  # SQLite would read it and refuse to write
    try:
        with closing(sqlite3.connect(path, timeout=30)) as db:
            return _look_into(db, path, schema, deep=path.stat().st_size <= check_bytes)
    except sqlite3.Error as exc:
        if not is_damage(exc):
            raise
        return Look(fault=str(exc))


def _look_into(db: sqlite3.Connection, path: Path, schema: str, *, deep: bool) -> Look:
    db.text_factory = TEXT
    db.execute("PRAGMA journal_mode = WAL")
    frames = int(db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
    tail_lost = _has_lost_tail(path.with_name(path.name + "-wal"), max(frames, 0))
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0] if deep else "ok"
    if found != "ok":
        return Look(fault=str(found).replace("\n", " "), tail_lost=tail_lost)
    columns = 4 if db.execute("PRAGMA user_version").fetchone() == (_version(schema),) else 2
    foreign = set(_objects(db, columns)) - _objects_of(schema, columns)
    return Look(fault=f"not of ours: {sorted(foreign)[0]}" if foreign else None, tail_lost=tail_lost)


def _objects(db: sqlite3.Connection, columns: int) -> list[str]:
    """Tables and indexes: type and name, and how they were made where the same schema made them."""
    found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'")
    return [" ".join(map(str, row[:columns])) for row in found]


def _objects_of(schema: str, columns: int) -> set[str]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(schema)
        return set(_objects(db, columns))


def _version(schema: str) -> int:
    return zlib.crc32(schema.encode()) & 0x7FFFFFFF


def _has_lost_tail(wal: Path, frames: int) -> bool:
    """Whether commits stand behind the last frame that SQLite takes.

    A commit is synced before the next begins, so a power cut leaves at most one torn: frames of the same WAL behind a
    commit that is not taken show that what SQLite stopped at had been on disk.
    """
    if not wal.exists():
        return False
    content = wal.read_bytes()
    if len(content) <= _WAL_HEADER:
        return False
    if not _is_wal_header(content[:_WAL_HEADER]):
        return True  # it is synced before the first frame
    size = _FRAME_HEADER + int.from_bytes(content[8:12], "big")
    salts = content[16:24]
    heads = [content[at : at + _FRAME_HEADER] for at in range(_WAL_HEADER + frames * size, len(content), size)]
    commits = [head[4:8] != b"\0\0\0\0" for head in heads if head[8:16] == salts]
    return True in commits[:-1]


def _is_wal_header(header: bytes) -> bool:
    order = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}.get(header[:4])
    if order is None:
        return False
    words = struct.unpack(f"{order}6I", header[:24])
    s0 = s1 = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + even + s1) & 0xFFFFFFFF
        s1 = (s1 + odd + s0) & 0xFFFFFFFF
    return (s0, s1) == struct.unpack(">2I", header[24:])


def set_aside(path: Path, stamp: str) -> Path:
    """Renames a damaged file and its WAL to ``<name>.damaged-<stamp>``; what it had under its name is gone then."""
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    path.rename(aside)
    sync_folder(path.parent)
    _move_companions(path, aside)
    _mark(path).unlink(missing_ok=True)
    return aside


def asides(path: Path) -> list[Path]:
    """Files set aside, oldest first; called before the file is made anew, as it ends a renaming that was cut short."""
    found = sorted(p for p in path.parent.glob(f"{path.name}.damaged-*") if re.search(r"-[0-9a-f]+$", p.name))
    if found and not path.exists():
        _move_companions(path, found[-1])
    return found


def mark_damaged(path: Path) -> None:
    """Asks the next opening to set the file aside: SQLite called it malformed while it was used."""
    _mark(path).touch()


def is_marked(path: Path) -> bool:
    """Whether `mark_damaged` was called since it was opened."""
    return _mark(path).exists()


def _move_companions(path: Path, aside: Path) -> None:
    for suffix in ("-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".malformed")
