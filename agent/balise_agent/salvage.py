"""What can still be read of an outbox that a fault of the card damaged?

A file that does not pass SQLite's own check is renamed aside, never repaired in place. What it still holds whole (by
each row's checksum) goes on in a new file under its own stream and number, so that nothing is delivered twice; that
some is missing is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from balise_agent.contract import chain_start
from balise_agent.outbox_rows import PendingRow, Row, pending_rows, rows

T = TypeVar("T", Row, PendingRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What a damaged file still gave. ``streams``: name -> (previous, head, c). ``aside``: where the file is now."""

    aside: Path
    rows: tuple[Row, ...]
    pending: tuple[PendingRow, ...]
    streams: dict[str, tuple[str | None, int, str]]


def is_whole(path: Path) -> bool:
    """SQLite's own structural check; a file that does not exist yet is whole."""
    if not path.exists():
        return True
    try:
        with closing(sqlite3.connect(path, timeout=10)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def set_aside(path: Path, stamp: str) -> Salvage:
    """Renames the file and its WAL to ``<name>.damaged-<stamp>`` and reads what is whole in them."""
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    try:
        with closing(sqlite3.connect(aside, timeout=10)) as db:
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            return _read(db, aside)
    except sqlite3.DatabaseError:
        return Salvage(aside=aside, rows=(), pending=(), streams={})


def _read(db: sqlite3.Connection, aside: Path) -> Salvage:
    found = _whole(lambda: rows(db, "1"))
    waiting = tuple({(r.stream, r.seq): r for r in found if not r.is_acked()}.values())
    streams = _streams(db)
    for row in found:  # a stream whose own row is gone goes on from its last known message
        previous, head, c = streams.get(row.stream, (None, 0, chain_start(row.stream, None)))
        last = row.chain if row.chain is not None and row.seq >= head else c
        streams[row.stream] = (previous, max(head, row.seq), last)
    return Salvage(aside=aside, rows=waiting, pending=_whole(lambda: pending_rows(db)), streams=streams)


def _streams(db: sqlite3.Connection) -> dict[str, tuple[str | None, int, str]]:
    found: dict[str, tuple[str | None, int, str]] = {}
    try:
        for stream, previous, head, c in db.execute("SELECT stream, previous, head, c FROM stream"):
            if isinstance(stream, str) and isinstance(head, int) and isinstance(c, str) and len(stream) == len(c) == 22:
                found[stream] = (previous if isinstance(previous, str) and len(previous) == 22 else None, head, c)
    except sqlite3.DatabaseError:
        pass
    return found


def _whole(read: Callable[[], Iterator[T]]) -> tuple[T, ...]:
    """All rows up to the first page that cannot be read, less those whose checksum does not match."""
    found: list[T] = []
    try:
        for row in read():
            if row.whole():
                found.append(row)  # noqa: PERF401 - what was read before an error is kept
    except sqlite3.DatabaseError:
        pass
    return tuple(found)
