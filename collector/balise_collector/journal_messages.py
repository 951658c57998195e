"""Which messages are new, and does each follow on the one before it in its chain?

Within the journal's transactions, over its connection. A number above all that its stream has is new without a look:
those of a batch are written together, which costs two thirds of one after the other.

Rule 1: a message counts once: (probe, stream, seq) is unique in ``chain``.
Rule 2: what is remembered of chains is forgotten as soon as anybody else has written into the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from balise_agent.contract import chain_next, chain_start
from balise_collector.journal_rows import Message, checksum
from balise_collector.placement import Place

_place_text = msgspec.json.Encoder().encode

_CHAIN = "INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?)"
_ROW = (
    "INSERT INTO journal(stream_id, seq, received_ms, ts_ms, retention, place, body, crc)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ORPHAN = (
    "INSERT INTO orphan(stream_id, seq, received_ms, reason, boot, ts_ms, low_ms, high_ms, retention, body, crc)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_Columns = tuple[object, ...]


class _Head(NamedTuple):
    """The newest message of a stream; number 0 where it has none."""

    seq: int
    chain: str


class Messages:
    """Messages of a journal, by stream."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._version = -1
        self._streams: dict[tuple[str, str], int] = {}
        self._heads: dict[int, _Head] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._places: dict[Place, str] = {}

    def begin(self) -> None:
        """A transaction has begun: nobody else writes until its end."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]  # another one after another's commit
        if version != self._version:
            self._heads.clear()
            self._version = version

    def forget(self) -> None:
        """A transaction went back, and what is remembered with it."""
        for remembered in (self._streams, self._heads, self._names):
            remembered.clear()

    def add(self, messages: Iterable[Message], received_ms: int) -> list[str]:
        """What became of each: "new", "duplicate", or "conflict": other content has its number, so it is kept out."""
        states: list[str] = []
        chain: list[_Columns] = []
        rows: list[_Columns] = []
        for message in messages:
            stream_id = self.stream_id(message.probe, message.stream, message.previous)
            head = self._heads.get(stream_id) or self._newest(stream_id)
            if message.seq <= head.seq:
                self._write(chain, rows)  # it may be one of these again
                states.append(self._add_late(stream_id, head, message, received_ms))
                continue
            chain.append(_link_columns(stream_id, message, self._link(stream_id, head, message)))
            rows += self._rows(stream_id, message, received_ms)
            self._keep_orphans(stream_id, message, received_ms)
            self._heads[stream_id] = _Head(message.seq, message.chain)
            states.append("new")
        self._write(chain, rows)
        return states

    def append(self, stream_id: int, seq: int, dates_ms: tuple[int, int], what: tuple[str, Place, bytes]) -> None:
        """A row that is in no chain. ``dates_ms``: when it came, and its own; ``what``: retention, place and body."""
        self._db.execute(_ROW, self._row(stream_id, seq, dates_ms, what))

    def stream_id(self, probe: str, stream: str, previous: str | None) -> int:
        """Its number in the file, which it gets here where it has none."""
        key = (probe, stream)
        found = self._streams.get(key)
        if found is None:
            row = self._db.execute("SELECT id FROM stream WHERE probe = ? AND stream = ?", key).fetchone()
            if row is None or self.whose(row[0]) != key:  # the index may be whole where its row is damaged
                sql = "INSERT OR REPLACE INTO stream(id, probe, stream, crc) VALUES (?, ?, ?, ?) RETURNING id"
                row = self._db.execute(sql, (None if row is None else row[0], *key, checksum(*key))).fetchone()
            found = self._streams[key] = int(row[0])
        if previous is not None:
            self._db.execute("UPDATE stream SET previous = ? WHERE id = ?", (previous, found))
        return found

    def whose(self, stream_id: int) -> tuple[str, str] | None:
        """Probe and stream of a number; None where that row is damaged or gone."""
        known = self._names.get(stream_id)
        if known is None:
            row = self._db.execute("SELECT probe, stream, crc FROM stream WHERE id = ?", (stream_id,)).fetchone()
            if row is None or row[2] != checksum(row[0], row[1]):
                return None
            known = self._names[stream_id] = (row[0], row[1])
        return known

    def _add_late(self, stream_id: int, head: _Head, message: Message, received_ms: int) -> str:
        """One whose number its stream has passed: it came late, or again, or it is another's number."""
        known = self._chain_at(stream_id, message.seq)
        if known is not None:
            return "duplicate" if known == message.chain else "conflict"
        chain = [_link_columns(stream_id, message, self._link(stream_id, head, message))]
        self._write(chain, self._rows(stream_id, message, received_ms))
        self._keep_orphans(stream_id, message, received_ms)
        where = (stream_id, message.seq + 1)  # the one after it can be checked now
        after = self._db.execute("SELECT ts_ms, bh, c FROM chain WHERE stream_id = ? AND seq = ?", where).fetchone()
        if after is not None:
            linked = _follows(message.chain, message.seq + 1, *after)
            self._db.execute("UPDATE chain SET link = ? WHERE stream_id = ? AND seq = ?", (linked, *where))
        return "new"

    def _write(self, chain: list[_Columns], rows: list[_Columns]) -> None:
        """And empties what it was given."""
        self._db.executemany(_CHAIN, chain)
        self._db.executemany(_ROW, rows)
        chain.clear()
        rows.clear()

    def _link(self, stream_id: int, head: _Head, message: Message) -> bool | None:
        """Whether the message follows on the one before it; None while that one is not here."""
        if message.seq == 1:
            last: str | None = chain_start(message.stream, message.previous)
        elif head.seq == message.seq - 1:
            last = head.chain
        else:
            last = self._chain_at(stream_id, message.seq - 1)
        if last is None:
            return None
        return _follows(last, message.seq, message.ts_ms, message.body_hash, message.chain)

    def _chain_at(self, stream_id: int, seq: int) -> str | None:
        found = self._db.execute("SELECT c FROM chain WHERE stream_id = ? AND seq = ?", (stream_id, seq)).fetchone()
        return None if found is None else str(found[0])

    def _newest(self, stream_id: int) -> _Head:
        sql = "SELECT seq, c FROM chain WHERE stream_id = ? ORDER BY seq DESC LIMIT 1"
        found = self._db.execute(sql, (stream_id,)).fetchone()
        head = self._heads[stream_id] = _Head(0, "") if found is None else _Head(int(found[0]), str(found[1]))
        return head

    def _rows(self, stream_id: int, message: Message, received_ms: int) -> list[_Columns]:
        dates_ms, retention = (received_ms, message.ts_ms), message.retention
        return [self._row(stream_id, message.seq, dates_ms, (retention, place, body)) for place, body in message.parts]

    def _row(self, stream_id: int, seq: int, dates_ms: tuple[int, int], what: tuple[str, Place, bytes]) -> _Columns:
        retention, place, body = what
        text = self._places.get(place)
        if text is None:
            text = self._places[place] = _place_text(place).decode()
        values = (stream_id, seq, *dates_ms, retention, text, body)
        return (*values, checksum(*values))

    def _keep_orphans(self, stream_id: int, message: Message, received_ms: int) -> None:
        dates_ms = (message.ts_ms, *(message.window or (None, None)))
        for reason, body in message.orphans:
            values = (stream_id, message.seq, received_ms, reason, message.boot, *dates_ms, message.retention, body)
            self._db.execute(_ORPHAN, (*values, checksum(*values)))


def _link_columns(stream_id: int, message: Message, link: bool | None) -> _Columns:
    return (stream_id, message.seq, message.ts_ms, message.body_hash, message.chain, link)


def _follows(last: str, seq: int, ts_ms: int, bh: bytes, chain: str) -> bool:
    """Whether a message is the next in its chain; what is damaged is not."""
    try:
        return chain_next(last, seq, ts_ms, bh) == chain
    except (ValueError, TypeError, AttributeError, OverflowError):
        return False
