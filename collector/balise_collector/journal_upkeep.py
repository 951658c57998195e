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
from balise_collector.erased import whose
from balise_collector.journal_rows import ORPHAN_MS, SHORT_LIVED, checksum
from balise_collector.placement import Place

DAY_MS = 86_400_000
KEPT_MS = 7 * DAY_MS
"""A journal row lives at least this long, so that a store that lost its last writes can be filled again."""

DEAD_LETTER_MS = DAY_MS * min(days for days in RETENTION_DAYS.values() if days is not None)
"""What could not be read may hold anything, so it goes as what may be kept the shortest."""

UNSENT_MS = 90 * DAY_MS
"""How long an outbox holds what it measured: so long after a probe left a home, something of that may come."""

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


def erase(
    db: sqlite3.Connection,
    transaction: Transaction,
    home: str,
    span_ms: tuple[int, int],
    stood: Sequence[tuple[str, int, int]] = (),
) -> int:
    """Takes a home's records from one date up to another out of bodies and of what was derived, and what its probes
    sent that nobody could read or date; says how many rows. From its first commit nothing of it is kept any more.

    Hashes stay in the chain.
    """
    from_ms, to_ms = span_ms
    db.execute("PRAGMA secure_delete = ON")
    with transaction():
        db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?, ?, 1)", (whose(home), from_ms, to_ms))
        erased = _erase_unplaced(db, home, span_ms, stood)
    for ids in _rows_of(db, "journal", "place", home, (from_ms - MAX_AT_MS, to_ms + MAX_AT_MS)):
        with transaction():
            erased += _erase_bodies(db, ids, from_ms, to_ms)
    for ids in _rows_of(db, "derived", "tags", home, (from_ms, to_ms)):
        with transaction():
            erased += db.executemany("DELETE FROM derived WHERE id = ?", [(id_,) for id_ in ids]).rowcount
    _empty_wal(db)
    return erased


def end_erasure(db: sqlite3.Connection, home: str, span_ms: tuple[int, int], now_ms: int) -> None:
    """From now on the home is kept again, where it still agrees; of the dates before, nothing ever."""
    from_ms, to_ms = span_ms
    db.execute("DELETE FROM erased WHERE whose = ? AND from_ms = ? AND to_ms = ?", (whose(home), from_ms, to_ms))
    if from_ms < min(to_ms, now_ms):
        db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?, ?, 0)", (whose(home), from_ms, min(to_ms, now_ms)))


def _erase_unplaced(
    db: sqlite3.Connection, home: str, span_ms: tuple[int, int], stood: Sequence[tuple[str, int, int]]
) -> int:
    """Dead letters that name the home, as a line that InfluxDB refused does; those of its probes, and their orphans.

    Their dates are not known, or not to be believed: what came in a time in which it may be of these dates goes.
    """
    names = "received_ms >= ? AND instr(payload, CAST(? AS BLOB))"
    erased = db.execute(f"DELETE FROM dead_letter WHERE {names}", (span_ms[0], home)).rowcount  # noqa: S608
    for probe, since_ms, until_ms in stood:
        low, high = max(span_ms[0], since_ms), min(span_ms[1], until_ms)
        if low < high:
            came = (probe, low, high + UNSENT_MS)
            sql = "DELETE FROM dead_letter WHERE probe = ? AND received_ms >= ? AND received_ms < ?"
            erased += db.execute(sql, came).rowcount
            erased += db.execute(_ORPHANS_OF, came).rowcount
    return erased


_ORPHANS_OF = (
    "DELETE FROM orphan WHERE reason <> 'unassigned' AND stream_id IN (SELECT id FROM stream WHERE probe = ?)"
    " AND received_ms >= ? AND received_ms < ?"
)


def _rows_of(
    db: sqlite3.Connection, feed: str, column: str, home: str, span_ms: tuple[int, int]
) -> Iterator[Sequence[int]]:
    """Ids of a home's rows, found while nobody waits; those that come meanwhile too."""
    where = f"id > ? AND id <= ? AND ts_ms >= ? AND ts_ms < ? AND instr(CAST({column} AS TEXT), ?)"
    sql = f"SELECT id, {column} FROM {feed} WHERE {where}"  # noqa: S608
    at: int = db.execute(f"SELECT coalesce(min(id), 1) - 1 FROM {feed}").fetchone()[0]  # noqa: S608
    while at < db.execute(f"SELECT coalesce(max(id), 0) FROM {feed}").fetchone()[0]:  # noqa: S608
        named = db.execute(sql, (at, at + _AT_ONCE, *span_ms, home)).fetchall()
        found = [id_ for id_, said in named if _is_of(msgspec.json.decode(said), home)]
        if found:
            yield found
        at += _AT_ONCE


def _is_of(said: Mapping[str, str], home: str) -> bool:
    """A place or the tags of a conclusion; ``scope``: an incident that is the home's alone."""
    return said.get("home") == home or said.get("scope") == f"home.{home}"


_NOWHERE = msgspec.json.encode(Place(home="")).decode()


def _erase_bodies(db: sqlite3.Connection, ids: Sequence[int], from_ms: int, to_ms: int) -> int:
    sql = "SELECT stream_id, seq, received_ms, ts_ms, retention, place, body FROM journal WHERE id = ?"
    changed = 0
    for id_ in ids:
        row = db.execute(sql, (id_,)).fetchone()
        if row is None:  # pruned meanwhile
            continue
        *kept, place, body = row
        left = None if body is None else _without(body, from_ms - kept[3], to_ms - kept[3])
        said = place if left is not None else _NOWHERE
        if (said, left) != (place, body):
            crc = checksum(*kept, said, left)
            db.execute("UPDATE journal SET place = ?, body = ?, crc = ? WHERE id = ?", (said, left, crc, id_))
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
