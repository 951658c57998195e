"""What leaves the journal, and when?

Rule 1: a row goes `KEPT_MS` after it came, once every consumer is done with it; what is older than its class in the
catalogue allows goes whether they are or not. The chain stays.
Rule 2: what is deleted is overwritten, in the file and in its WAL, and is in no file that was set aside.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from balise_agent.catalogue import RETENTION_DAYS, Retention
from balise_agent.codec import deflate, inflate
from balise_agent.contract import MAX_AT_MS, Refusal
from balise_collector.journal_rows import ORPHAN_MS, SHORT_LIVED, checksum

DAY_MS = 86_400_000
KEPT_MS = 7 * DAY_MS
"""A journal row lives at least this long, so that a store that lost its last writes can be filled again."""

DEAD_LETTER_MS = DAY_MS * min(days for days in RETENTION_DAYS.values() if days is not None)
"""What could not be read may hold anything, so it goes as what may be kept the shortest."""

_AT_ONCE = 1_000  # rows of one transaction: ingest waits for it
_LIMITS: dict[Retention, int] = {name: days * DAY_MS for name, days in RETENTION_DAYS.items() if days is not None}

Transaction = Callable[[], AbstractContextManager[None]]


def prune(db: sqlite3.Connection, transaction: Transaction, cursors: Mapping[str, int], now_ms: int) -> int:
    """Deletes what is old enough; says how many rows."""
    db.execute("PRAGMA secure_delete = ON")
    pruned = 0
    for feed in ("journal", "derived"):
        done = min((id_ for name, id_ in cursors.items() if name.endswith(f":{feed}")), default=0)
        while count := _prune_oldest(db, transaction, feed, done, now_ms):
            pruned += count
    with transaction():
        for name, days_ms in _LIMITS.items():
            old = (name, now_ms - days_ms)
            pruned += db.execute(_SHORT_LIVED, old).rowcount + db.execute(_ORPHANS, old).rowcount
        pruned += db.execute("DELETE FROM dead_letter WHERE received_ms < ?", (now_ms - DEAD_LETTER_MS,)).rowcount
    if pruned:
        _empty_wal(db)
    return pruned


_SHORT_LIVED = f"DELETE FROM journal WHERE {SHORT_LIVED} AND retention = ? AND ts_ms < ?"  # noqa: S608
_ORPHANS = f"DELETE FROM orphan WHERE retention = ? AND {ORPHAN_MS} < ?"  # noqa: S608


def _prune_oldest(db: sqlite3.Connection, transaction: Transaction, feed: str, done: int, now_ms: int) -> int:
    """Of the oldest rows, those whose time is over: no more is read than is deleted."""
    cases = " ".join(f"WHEN '{name}' THEN :now - {days_ms}" for name, days_ms in _LIMITS.items())
    limit, came = (f"CASE retention {cases} END", "received_ms") if feed == "journal" else (":now - :state", "ts_ms")
    oldest = f"SELECT id FROM {feed} ORDER BY id LIMIT {_AT_ONCE}"  # noqa: S608
    over = f"({came} < :now - :kept AND id <= :done) OR ts_ms < {limit}"
    values = {"now": now_ms, "kept": KEPT_MS, "done": done, "state": _LIMITS["state"]}
    with transaction():
        return db.execute(f"DELETE FROM {feed} WHERE id IN ({oldest}) AND ({over})", values).rowcount  # noqa: S608


def erase(db: sqlite3.Connection, transaction: Transaction, home: str, from_ms: int, to_ms: int) -> int:
    """Takes a home's records from one date up to another out of bodies and of what was derived; says how many rows.

    Hashes stay in the chain. Orphans and dead letters are of no home.
    """
    db.execute("PRAGMA secure_delete = ON")
    erased = 0
    for ids in _rows_of(db, "journal", "place", home, (from_ms - MAX_AT_MS, to_ms + MAX_AT_MS)):
        with transaction():
            erased += _erase_bodies(db, ids, from_ms, to_ms)
    for ids in _rows_of(db, "derived", "tags", home, (from_ms, to_ms)):
        with transaction():
            erased += db.executemany("DELETE FROM derived WHERE id = ?", [(id_,) for id_ in ids]).rowcount
    _empty_wal(db)
    return erased


def _rows_of(
    db: sqlite3.Connection, feed: str, whose: str, home: str, span_ms: tuple[int, int]
) -> Iterator[Sequence[int]]:
    """Ids of a home's rows, found while nobody waits; those that come meanwhile too."""
    where = f"id > ? AND id <= ? AND ts_ms >= ? AND ts_ms < ? AND instr(CAST({whose} AS TEXT), ?)"
    sql = f"SELECT id, {whose} FROM {feed} WHERE {where}"  # noqa: S608
    at: int = db.execute(f"SELECT coalesce(min(id), 1) - 1 FROM {feed}").fetchone()[0]  # noqa: S608
    while at < db.execute(f"SELECT coalesce(max(id), 0) FROM {feed}").fetchone()[0]:  # noqa: S608
        named = db.execute(sql, (at, at + _AT_ONCE, *span_ms, home)).fetchall()
        found = [id_ for id_, said in named if msgspec.json.decode(said).get("home") == home]
        if found:
            yield found
        at += _AT_ONCE


def _erase_bodies(db: sqlite3.Connection, ids: Sequence[int], from_ms: int, to_ms: int) -> int:
    sql = "SELECT stream_id, seq, received_ms, ts_ms, retention, place, body FROM journal WHERE id = ?"
    changed = 0
    for id_ in ids:
        row = db.execute(sql, (id_,)).fetchone()
        if row is None:  # pruned meanwhile
            continue
        *kept, body = row
        left = None if body is None else _without(body, from_ms - kept[3], to_ms - kept[3])
        if left != body:
            db.execute("UPDATE journal SET body = ?, crc = ? WHERE id = ?", (left, checksum(*kept, left), id_))
            changed += 1
    return changed


def _without(body: bytes, from_at: int, to_at: int) -> bytes | None:
    """A stored body less the records from one ``at`` up to another; None where none are left."""
    raw = inflate(body)
    read = msgspec.json.decode(b"" if isinstance(raw, Refusal) else raw)
    left = [record for record in read["records"] if not from_at <= record["at"] < to_at]
    if len(left) == len(read["records"]):
        return body
    return deflate(msgspec.json.encode(read | {"records": left})) if left else None


def remove_asides(path: Path, before_ms: int) -> int:
    """Deletes files that were set aside before that: nothing can be deleted from the middle of one."""
    found = [
        aside
        for aside in path.parent.glob(f"{path.name}.damaged-*")
        if (stamp := re.search(r"damaged-(\d+)", aside.name)) is not None and int(stamp[1]) < before_ms
    ]
    for aside in found:
        aside.unlink()
    return len(found)


def _empty_wal(db: sqlite3.Connection) -> None:
    """Copies of what was deleted stand in it."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
