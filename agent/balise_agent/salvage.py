"""What can still be read of an outbox that a fault of the card damaged?

What a file that was set aside still holds whole (by each row's checksum) goes on in a new file under its own stream and
number, so that nothing is delivered twice; that some is missing is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from balise_agent.contract import chain_start
from balise_agent.outbox_rows import PendingRow, Row, StreamRow, pending_rows, rows, stream_rows
from balise_agent.sqlite_file import TEXT, is_damage

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What a damaged file still gave: messages, records not yet in one, where their streams stand."""

    rows: tuple[Row, ...] = ()
    pending: tuple[PendingRow, ...] = ()
    streams: tuple[StreamRow, ...] = ()


def read(aside: Path) -> Salvage:
    """Reads it; sqlite3.OperationalError: not now (the disk is full, say)."""
    if not aside.stat().st_size:
        return Salvage()  # SQLite would take it for a new one
    try:
        with closing(sqlite3.connect(aside, timeout=10)) as db:
            db.text_factory = TEXT
            return _read(db)
    except sqlite3.Error as exc:
        if not is_damage(exc):
            raise
        return Salvage()


def _read(db: sqlite3.Connection) -> Salvage:
    found = [row for row in _readable(lambda: rows(db, "1")) if row.whole()]
    once = tuple({(row.stream, row.seq): row for row in found}.values())
    streams = {row.stream: row for row in _readable(lambda: stream_rows(db))}
    for row in found:  # a stream whose own row is gone, or behind, goes on from its last known message
        known = streams.get(row.stream) or StreamRow(
            stream=row.stream, previous=None, head=0, c=chain_start(row.stream, None)
        )
        last = known.c if row.chain is None or row.seq < known.head else row.chain
        streams[row.stream] = replace(known, head=max(known.head, row.seq), c=last)
    pending = tuple(row for row in _readable(lambda: pending_rows(db)) if row.whole())
    return Salvage(rows=once, pending=pending, streams=tuple(streams.values()))


def _readable(read_rows: Callable[[], Iterator[T]]) -> list[T]:
    """All rows up to the first page that cannot be read."""
    found: list[T] = []
    try:
        for row in read_rows():
            found.append(row)  # noqa: PERF402 - what was read before an error is kept
    except sqlite3.Error as exc:
        if not is_damage(exc):
            raise
    return found
