"""What stands in the journal's file?"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from balise_agent.catalogue import Retention
from balise_collector.placement import Place

SHORT_LIVED = "(retention = 'tv_home_7d' OR ts_ms < received_ms - 86400000)"
"""Rows that may have to go before pruning comes to them in the order of their arrival: few, so they have an index."""

ORPHAN_MS = "min(received_ms, iif(ts_ms, ts_ms, received_ms))"
"""The latest that an orphan can have been measured."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stream(
  id INTEGER PRIMARY KEY, probe TEXT NOT NULL, stream TEXT NOT NULL, crc INTEGER NOT NULL, previous TEXT,
  UNIQUE(probe, stream));
CREATE TABLE IF NOT EXISTS journal(
  id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  ts_ms INTEGER NOT NULL, retention TEXT NOT NULL, place TEXT NOT NULL, body BLOB, crc INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS journal_short_lived ON journal(retention, ts_ms) WHERE {SHORT_LIVED};
CREATE TABLE IF NOT EXISTS chain(
  stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, ts_ms INTEGER NOT NULL, bh BLOB NOT NULL, c TEXT NOT NULL,
  link INTEGER, UNIQUE(stream_id, seq));
CREATE INDEX IF NOT EXISTS chain_broken ON chain(link) WHERE link = 0;
CREATE INDEX IF NOT EXISTS chain_open ON chain(link) WHERE link IS NULL;
CREATE TABLE IF NOT EXISTS orphan(
  id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, seq INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  reason TEXT NOT NULL, boot TEXT NOT NULL, ts_ms INTEGER NOT NULL, low_ms INTEGER, high_ms INTEGER,
  retention TEXT NOT NULL, body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS orphan_age ON orphan(retention, {ORPHAN_MS});
CREATE INDEX IF NOT EXISTS orphan_reason ON orphan(reason);
CREATE TABLE IF NOT EXISTS dead_letter(
  id INTEGER PRIMARY KEY, probe TEXT NOT NULL, key BLOB NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL,
  received_ms INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE(probe, key));
CREATE TABLE IF NOT EXISTS presence(
  probe TEXT PRIMARY KEY, online INTEGER NOT NULL, since_ms INTEGER NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS derived(
  id INTEGER PRIMARY KEY AUTOINCREMENT, measurement TEXT NOT NULL, tags TEXT NOT NULL, ts_ms INTEGER NOT NULL,
  fields TEXT NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cursor(consumer TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counted(name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased(
  whose BLOB NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, is_open INTEGER NOT NULL,
  PRIMARY KEY(whose, from_ms, to_ms)) WITHOUT ROWID;
"""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A row of the journal. A record's date is ``ts_ms`` plus its ``at``; ``body`` is zlib(JSON), read by
    `wire.records`."""

    id: int
    probe: str
    stream: str
    seq: int
    received_ms: int
    ts_ms: int
    retention: Retention
    place: Place
    body: bytes


class DerivedEntry(msgspec.Struct, frozen=True, gc=False):
    """A row of ``derived``: what a consumer concluded."""

    id: int
    measurement: str
    tags: dict[str, str]
    ts_ms: int
    fields: dict[str, Any]


class Message(msgspec.Struct, frozen=True, gc=False):
    """A valid message on its way into the journal. ``parts``: (place, body) pairs, none where nothing of it may be
    stored."""

    probe: str
    stream: str
    previous: str | None
    seq: int
    ts_ms: int
    boot: str
    retention: Retention
    chain: str
    body_hash: bytes
    parts: tuple[tuple[Place, bytes], ...] = ()
    orphans: tuple[tuple[str, bytes], ...] = ()
    window: tuple[int, int] | None = None


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """Authentic, but not a message that this collector can read."""

    probe: str
    key: bytes  # what makes two sendings of it the same
    reason: str
    detail: str
    payload: bytes


def checksum(*values: object) -> int:
    """CRC-32 over the columns of a row; the last is hashed as it is where it is bytes, as bodies are."""
    *head, last = values
    start = zlib.crc32(repr(head).encode())
    return zlib.crc32(last, start) if isinstance(last, bytes) else zlib.crc32(repr(last).encode(), start)
