"""What has this probe measured that the collector has not yet said it holds?

A record is committed to `pending` as soon as it exists. Sealing moves what is pending into `outbox`, one row a
message, whose body is never changed again. A row is dated and chained when its time is known, and leaves only on the
collector's ack.

Rule 1: what `commit` returned from is on disk: WAL, synchronous=FULL, one transaction.
Rule 2: a row is deleted unacknowledged only by a bound (size, age, consent), and a `gap` is written in the same
transaction.
Rule 3: each row carries a checksum; one that does not match is never delivered, and its loss is a `gap` too.
Rule 4: each opening starts a new stream: a file that a fault set back in time cannot give a number out twice.
Rule 5: two records of one series never get the same date: boot times are multiples of `GRAIN_MS` and each new clock
offset has its own remainder, so that dates before and after a backward step cannot meet.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from balise_agent import durable_file, outbox_budget, sqlite_file
from balise_agent.catalogue import CATALOGUE, Retention
from balise_agent.clock import Clock, offset_ms
from balise_agent.codec import deflate, encode_body, inflate
from balise_agent.contract import (
    MAX_BODY_BYTES,
    MAX_RECORDS,
    Body,
    Envelope,
    Record,
    Refusal,
    Value,
    body_hash,
    chain_next,
    chain_start,
    token,
)
from balise_agent.outbox_rows import (
    SCHEMA,
    PendingRow,
    Row,
    StreamRow,
    ack_mark,
    connect,
    note,
    pending_rows,
    put_gap,
    put_note,
    put_pending,
    put_stream,
    record_text,
    rows,
    stream_row,
    stream_rows,
    survey,
    used_bytes,
)
from balise_agent.salvage import read

log = logging.getLogger(__name__)

GRAIN_MS = 8
MAX_BYTES = 256 * 2**20
MAX_AGE_MS = 90 * 86_400_000  # raw data may not live longer anywhere
GRACE_MS = 30 * 86_400_000  # acked rows are kept for a replay, should the collector lose its disk
_PRUNE_ROWS = 64  # at one message a minute this keeps up, and a sealing stays short
_CHECKPOINT_PAGES = 256  # the WAL is reused from its start every 256 kB: no growth, so no metadata written at each sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One sealed row, dated and chained, ready to be sent; ``envelope.sent_ms`` is still to be filled."""

    id: int
    envelope: Envelope
    body: bytes


class Outbox:
    """The file ``outbox.db``; one thread uses it. sqlite3.OperationalError: the disk is full or failing, nothing was
    kept."""

    def __init__(
        self,
        path: Path,
        *,
        boot: str,
        clock: Clock,
        on_commit: Callable[[Sequence[str]], None] | None = None,
        max_bytes: int = MAX_BYTES,
        synchronous: str = "FULL",
        alone: bool = False,
    ) -> None:
        """``on_commit`` is told the key of each record once it is on disk: the witness of the demo and of the fault
        tests."""
        self.boot, self._clock, self._max_bytes, self._on_commit = boot, clock, max_bytes, on_commit
        self._last_bt: dict[tuple[str, str], int] = {}
        self._news: list[str] = []  # what the transaction under way will put on disk
        damage = _set_aside_if_damaged(path, f"{clock.wall_ms()}-{secrets.token_hex(2)}")
        asides = sqlite_file.asides(path)
        self._db, self._path = connect(path, synchronous=synchronous, alone=alone), path
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self.stream = token(secrets.token_bytes(16))
        self._off = _int(self.get(f"offset:{boot}"))
        self._next_id, self._unacked, self._first_undated = 1, 0, 1
        self._next_id = survey(self._db)[0]
        with self._transaction():
            self._start_stream()
            self._take_over(asides, damage)
        self._next_id, self._unacked, self._first_undated = survey(self._db)
        self.seal()

    # writing

    def commit(self, records: Iterable[Record], *, seal: bool = False, acked: Sequence[int] = ()) -> None:
        """Puts records on disk; in the same transaction, so with one sync, marks acked messages and seals what is
        pending.

        An ack that is lost in a crash costs one resend, so it needs no sync of its own.
        """
        with self._transaction():
            self._refresh_offset()
            fresh = [self._spaced(record) for record in records]
            self._mark(acked)
            if seal:
                self._seal(fresh)
            else:
                self._insert(fresh)

    def seal(self) -> None:
        """Makes messages of what is pending, dates what can be dated, applies the bounds."""
        self.commit((), seal=True)

    def erase(self) -> None:
        """Consent was withdrawn: nothing measured stays, not even in the file's free pages; a gap says that it was."""
        self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction():
            self._db.execute("DELETE FROM pending")
            self._db.execute("DELETE FROM budget")
            self._drop(list(rows(self._db, "1")), "erased")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.execute("PRAGMA incremental_vacuum")
        self._db.execute("PRAGMA secure_delete = OFF")
        for part in self._path.parent.glob(f"{self._path.name}.damaged-*"):
            durable_file.remove(part)

    def replay(self, stream: str, from_seq: int) -> int:
        """Makes acked messages of a stream wait again, from a sequence on; says how many."""
        with self._db:
            changed = self._db.execute(
                "UPDATE outbox SET acked = NULL WHERE stream = ? AND seq >= ? AND acked IS NOT NULL", (stream, from_seq)
            )
        self._unacked += changed.rowcount
        return changed.rowcount

    def put(self, key: str, value: str) -> None:
        """Keeps a note across restarts; writes only where it changes."""
        if self.get(key) != value:
            with self._db:
                self._note(key, value)

    def remember_time(self) -> None:
        """Keeps the last time known to be true: the window of what a later boot cannot date begins there."""
        if self._off is not None:
            self.put("last_known_ms", str(self._off + self._clock.bt_ms()))

    def keep_ledger(self, ledger: outbox_budget.Ledger) -> None:
        """Keeps what tests have cost, across restarts."""
        with self._db:
            outbox_budget.write(self._db, ledger)

    # reading

    def ledger(self) -> outbox_budget.Ledger:
        """What tests have cost."""
        return outbox_budget.read(self._db)

    def waiting(self, after_id: int, limit: int) -> list[Message]:
        """Dated messages not acked, with ids above ``after_id``, in order. A damaged row is dropped here, with its
        gap.

        SQLite passes over the acked ones by itself: each new session walks past a month of them (43,000 rows: 50 ms;
        read and checked here it would be 1.1 s).
        """
        found: list[Message] = []
        damaged: list[Row] = []
        for row in rows(self._db, "id > ? AND chain IS NOT NULL AND acked IS NOT ack_mark(id)", (after_id,)):
            if row.whole():
                found.append(_message(row, self._previous(row)))
            else:
                damaged.append(row)
            if len(found) >= limit:
                break
        if damaged:
            with self._transaction():
                self._drop(damaged, "damaged_row")
        return found

    @property
    def next_id(self) -> int:
        """The id that the next sealed message will have."""
        return self._next_id

    def rows_waiting(self) -> int:
        """Records not yet sealed and messages not yet acked."""
        return self._unacked + int(self._db.execute("SELECT count(*) FROM pending").fetchone()[0])

    def get(self, key: str) -> str | None:
        """A note kept across restarts."""
        return note(self._db, key)

    def close(self) -> None:
        """Closes the file; nothing is lost without it."""
        self._db.close()

    # opening

    def _start_stream(self) -> None:
        previous = self.get("stream")
        c = chain_start(self.stream, previous)
        put_stream(self._db, StreamRow(stream=self.stream, previous=previous, head=0, c=c))
        self._note("stream", self.stream)
        self._db.execute("DELETE FROM meta WHERE k LIKE 'offset:%' AND k != ?", (f"offset:{self.boot}",))

    def _take_over(self, asides: Sequence[Path], damage: sqlite_file.Look) -> None:
        """Brings in what files set aside still hold, each once: that it is done is noted in the same transaction."""
        fresh = [aside for aside in asides if self.get(f"salvaged:{aside.name}") is None]
        for aside in fresh:
            salvage = read(aside)
            known = {row.stream for row in stream_rows(self._db)}
            for stream in salvage.streams:
                if stream.stream not in known:
                    put_stream(self._db, stream)
            for row in salvage.rows:
                self._write(row)
            for pending in salvage.pending:
                put_pending(self._db, pending)
            self._note(f"salvaged:{aside.name}", "1")
        if fresh or damage.tail_lost:
            self._gap("damaged_file", {})

    # inside a transaction

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One commit; what is counted in memory goes back with it where the disk refuses."""
        counted = (self._off, self._next_id, self._unacked, self._first_undated, dict(self._last_bt))
        self._news.clear()
        try:
            with self._db:
                yield
        except BaseException:
            self._off, self._next_id, self._unacked, self._first_undated, self._last_bt = counted
            raise
        if self._on_commit is not None and self._news:
            self._on_commit(tuple(self._news))

    def _note(self, key: str, value: str) -> None:
        put_note(self._db, key, value)

    def _insert(self, records: Iterable[Record]) -> None:
        for record in records:
            self._news.append(self._witness(record))
            row = PendingRow(boot=self.boot, off_ms=self._off, bt_ms=record.bt_ms, record=record_text(record))
            put_pending(self._db, replace(row, crc=row.checksum()))

    def _mark(self, ids: Sequence[int]) -> None:
        marks = [(ack_mark(id_), id_) for id_ in ids]
        done = self._db.executemany("UPDATE outbox SET acked = ?1 WHERE id = ?2 AND acked IS NOT ?1", marks)
        self._unacked -= max(done.rowcount, 0)

    def _seal(self, fresh: Sequence[Record]) -> None:
        """Makes messages of what is pending, and of what comes with it: that goes by `pending`, which at a commit a
        minute is never written to, so that the card takes a third less."""
        groups: dict[tuple[str, int | None, Retention], list[Record]] = {}
        damaged = 0
        for row in pending_rows(self._db):
            if row.whole():
                groups.setdefault((row.boot, row.off_ms, row.retention()), []).append(row.parsed())
            else:
                damaged += 1
        if groups or damaged:
            self._db.execute("DELETE FROM pending")
        for record in fresh:
            self._news.append(self._witness(record))
            groups.setdefault((self.boot, self._off, CATALOGUE[record.measurement].retention), []).append(record)
        for (boot, off_ms, retention), records in groups.items():
            self._append(boot, off_ms, retention, records)
        if damaged:
            self._gap("damaged_row", {"records": damaged})
        self._date()
        self._bound()

    def _append(self, boot: str, off_ms: int | None, retention: Retention, records: Sequence[Record]) -> None:
        base = max(record.bt_ms for record in records)
        body = Body(nonce=token(secrets.token_bytes(16)), bt_ms=base, records=tuple(records))
        raw = encode_body(body) if len(records) <= MAX_RECORDS else None
        if raw is None or (len(records) > 1 and len(raw) > MAX_BODY_BYTES // 4):
            half = len(records) // 2
            self._append(boot, off_ms, retention, records[:half])
            self._append(boot, off_ms, retention, records[half:])
            return
        known = stream_row(self._db, self.stream)
        seq = known.head + 1
        put_stream(self._db, replace(known, head=seq))
        ts_ms = None if off_ms is None else off_ms + base
        where: dict[str, Any] = {"stream": self.stream, "seq": seq, "boot": boot, "bt_ms": base, "retention": retention}
        row = Row(id=0, ts_ms=ts_ms, low_ms=None, high_ms=None, body=deflate(raw), chain=None, **where)
        self._write(replace(row, crc=row.checksum()))

    def _write(self, row: Row) -> None:
        sql = "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        acked = ack_mark(self._next_id) if row.is_acked() else None
        self._db.execute(sql, (self._next_id, *row.covered(), row.crc, acked, self._clock.wall_ms()))
        self._next_id += 1
        self._unacked += acked is None

    def _date(self) -> None:
        """Gives rows their date and their place in the chain, in order, up to the first that waits for this boot's
        clock."""
        waiting: int | None = None
        held: set[str] = set()
        for row in list(rows(self._db, "id >= ? AND chain IS NULL", (self._first_undated,))):
            if row.stream in held:
                continue
            dated = self._dated(row) if row.whole() else row
            if dated is None:
                held.add(row.stream)
                waiting = row.id if waiting is None else waiting
            elif not row.whole() or not self._chain(dated):
                self._drop([row], "damaged_row")
        self._first_undated = self._next_id if waiting is None else waiting

    def _dated(self, row: Row) -> Row | None:
        """The row with its date, or with ts 0 and the window that it can have been in; None: not to be known yet."""
        if row.ts_ms is not None:
            return row
        if self._off is None:
            return None
        if row.boot == self.boot:
            return replace(row, ts_ms=self._off + row.bt_ms)
        this_boot_began_ms = max(self._off, 0)
        last_known_ms = _int(self.get("last_known_ms")) or 0
        return replace(row, ts_ms=0, low_ms=min(last_known_ms, this_boot_began_ms), high_ms=this_boot_began_ms)

    def _chain(self, row: Row) -> bool:
        raw = inflate(row.body)
        if isinstance(raw, Refusal) or row.ts_ms is None:
            return False
        known = stream_row(self._db, row.stream)
        chained = replace(row, chain=chain_next(known.c, row.seq, row.ts_ms, body_hash(raw)))
        self._db.execute(
            "UPDATE outbox SET ts_ms = ?, low_ms = ?, high_ms = ?, chain = ?, crc = ? WHERE id = ?",
            (chained.ts_ms, chained.low_ms, chained.high_ms, chained.chain, chained.checksum(), row.id),
        )
        put_stream(self._db, replace(known, c=chained.chain or known.c))
        return True

    def _bound(self) -> None:
        oldest = list(rows(self._db, "1", limit=_PRUNE_ROWS))
        if self._off is not None:
            now = self._off + self._clock.bt_ms()
            ages = [(row, now - row.ts_ms) for row in oldest if row.whole() and row.ts_ms]
            self._drop([row for row, age in ages if age > (GRACE_MS if row.is_acked() else MAX_AGE_MS)], "age_bound")
        while used_bytes(self._db) > self._max_bytes:
            acked = list(rows(self._db, "acked IS NOT NULL", limit=_PRUNE_ROWS))
            victims = acked or list(rows(self._db, "1", limit=_PRUNE_ROWS))
            if not victims:
                return
            self._drop(victims, "size_bound")

    def _drop(self, dropped: Sequence[Row], why: str) -> None:
        """Deletes rows; those that the collector is not known to hold become one gap a stream."""
        self._db.executemany("DELETE FROM outbox WHERE id = ?", [(row.id,) for row in dropped])
        self._unacked -= sum(not row.is_acked() for row in dropped)
        lost = [row for row in dropped if not row.is_acked()]
        for stream in dict.fromkeys(row.stream for row in lost):
            mine = [row for row in lost if row.stream == stream]
            where: dict[str, Value] = {"from_seq": mine[0].seq, "to_seq": mine[-1].seq, "messages": len(mine)}
            named = all(row.whole() for row in (mine[0], mine[-1]))
            last = {"last_c": mine[-1].chain} if named and mine[-1].chain is not None else {}
            self._gap(why, {"stream": stream, **where, **last} if named else {"messages": len(mine)})

    def _gap(self, why: str, fields: dict[str, Value]) -> None:
        log.warning("gap", extra={"why": why, **fields})
        record = Record(measurement="gap", bt_ms=self._clock.bt_ms(), fields={**fields, "why": why})
        self._insert([self._spaced(record)])
        put_gap(self._db, why, fields, self._clock.wall_ms())

    # time

    def _spaced(self, record: Record) -> Record:
        """The record with a boot time on the grain and after the last of its series (rule 5)."""
        key = (record.measurement, record.target)
        bt_ms = max(record.bt_ms // GRAIN_MS * GRAIN_MS, self._last_bt.get(key, -GRAIN_MS) + GRAIN_MS)
        self._last_bt[key] = bt_ms
        return replace(record, bt_ms=bt_ms)

    def _refresh_offset(self) -> None:
        """Takes a new offset where the clock became known or stepped, keeps it for this boot, says so in a record."""
        found = offset_ms(self._clock, self._off)
        if found is None or found == self._off:
            return
        step = None if self._off is None else found - self._off
        epoch = (_int(self.get("epoch")) or 0) + 1
        self._off = found // GRAIN_MS * GRAIN_MS + epoch % GRAIN_MS
        self._note("epoch", str(epoch))
        self._note(f"offset:{self.boot}", str(self._off))
        what, fields = ("clock_set", {}) if step is None else ("clock_stepped", {"step_ms": step})
        event = Record(measurement="agent_event", target=what, bt_ms=self._clock.bt_ms(), fields=fields)
        self._insert([self._spaced(event)])

    def _witness(self, record: Record) -> str:
        ts_ms = None if self._off is None else self._off + record.bt_ms
        key = {"measurement": record.measurement, "target": record.target, "ts_ms": ts_ms}
        return json.dumps(key | {"boot": self.boot, "bt_ms": record.bt_ms})

    def _previous(self, row: Row) -> str | None:
        if row.seq != 1:
            return None
        return stream_row(self._db, row.stream).previous


def _set_aside_if_damaged(path: Path, stamp: str) -> sqlite_file.Look:
    found = sqlite_file.look(path, SCHEMA)
    if found.fault is not None:
        aside = sqlite_file.set_aside(path, stamp)
        log.error("outbox_damaged", extra={"why": found.fault, "aside": aside.name})
    return found


def _message(row: Row, previous: str | None) -> Message:
    window = None if row.low_ms is None or row.high_ms is None else (row.low_ms, row.high_ms)
    envelope = Envelope(
        stream=row.stream,
        seq=row.seq,
        boot=row.boot,
        ts_ms=row.ts_ms or 0,
        sent_ms=0,
        chain=row.chain or "",
        retention=row.retention,
        previous=previous,
        window=window,
    )
    return Message(id=row.id, envelope=envelope, body=row.body)


def _int(text: str | None) -> int | None:
    """A note as a number; a damaged one is no number."""
    return int(text) if text is not None and text.lstrip("-").isascii() and text.lstrip("-").isdigit() else None
