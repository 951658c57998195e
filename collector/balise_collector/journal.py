"""Is it safe?

`journal.db` is the collector's one durable place: what is committed here may be acknowledged, and everything after it
is a consumer that can be stopped, rebuilt or added.

Rule 1: WAL, synchronous=FULL; whatever `commit` returned from is on disk.
Rule 2: a message counts once (`journal_messages`): `chain` is kept for the pilot's life, so that a duplicate is known
also when its row was pruned or its body erased.
Rule 3: each row carries a checksum; a row that does not match is reported and never handed to a consumer.
Rule 4: a consumer's cursor moves after its own state is durable, or in the same transaction; rows above any cursor are
not pruned.
Rule 5: what was erased does not come back: ingest asks `erased` in the transaction that keeps a message, and `derive`
keeps nothing of a home while it is being erased.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from balise_agent.contract import token
from balise_agent.durable_file import make_folder
from balise_agent.sqlite_file import TEXT, make
from balise_collector import journal_upkeep
from balise_collector.erased import Erased, Span
from balise_collector.journal_messages import Messages
from balise_collector.journal_rows import SCHEMA, DeadLetter, DerivedEntry, Entry, Message, checksum
from balise_collector.placement import Place

MAX_DEAD_LETTERS = 1_000  # of one probe; a broken probe must not fill the disk: above it they are only counted
_SURE_MS = 7 * 86_400_000  # no row is pruned sooner after it came (`journal_upkeep.KEPT_MS`)
_CHECKPOINT_PAGES = 4_000

_place_of = msgspec.json.Decoder(Place).decode


class Journal:
    """The file. One thread writes; others open their own. sqlite3.OperationalError: the disk is full or failing.

    ``name`` is random and the file's own: a cursor is of one journal, so that a new file is read from its start.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        make_folder(path.parent)
        make(path, SCHEMA)
        self.path = path
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.text_factory = TEXT
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        self._db.executescript(SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('journal', ?)", (token(secrets.token_bytes(16)),))
        self.name = str(self._db.execute("SELECT v FROM meta WHERE k = 'journal'").fetchone()[0])
        self._messages = Messages(self._db)
        self._known_places: dict[str, Place] = {}
        self._damaged: dict[str, set[int]] = {"journal": set(), "derived": set()}
        self._erased: Erased | None = None

    def close(self) -> None:
        """Closes the file; nothing is lost without it."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One commit, one sync. What is remembered of streams goes back with it."""
        self._db.execute("BEGIN IMMEDIATE")
        self._messages.begin()
        self._erased = None  # another process may have erased meanwhile
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._messages.forget()
            raise

    # inside a transaction: what came

    def add(self, messages: Iterable[Message], received_ms: int) -> list[str]:
        """Keeps each once: "new", "duplicate", or "conflict": other content has its number, so it is kept out."""
        return self._messages.add(messages, received_ms)

    def add_dead_letter(self, letter: DeadLetter, received_ms: int) -> bool:
        """Keeps what could not be read, once; False where it is known or the probe has too many."""
        count = self._db.execute("SELECT count(*) FROM dead_letter WHERE probe = ?", (letter.probe,)).fetchone()[0]
        if count >= MAX_DEAD_LETTERS:
            self.count("dead_letters_dropped")
            return False
        values = (letter.probe, letter.key, letter.reason, letter.detail, received_ms, letter.payload)
        sql = "INSERT INTO dead_letter(probe, key, reason, detail, received_ms, payload, crc)"
        sql += " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(probe, key) DO NOTHING"
        added = self._db.execute(sql, (*values, checksum(*values)))
        return added.rowcount > 0

    def add_presence(
        self, probe: str, online: bool, payload: bytes, received_ms: int, place: Place | None, body: bytes
    ) -> bool:
        """Keeps a change of presence, as a row like any other where the probe has a place; False: nothing changed."""
        known = self._db.execute("SELECT payload FROM presence WHERE probe = ?", (probe,)).fetchone()
        if known is not None and known[0] == payload:
            return False
        self._db.execute("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", (probe, online, received_ms, payload))
        if place is not None:
            stream_id = self._messages.stream_id(probe, "presence", None)
            self._messages.append(stream_id, received_ms, (received_ms, received_ms), ("raw_90d", place, body))
        return True

    def derive(self, measurement: str, tags: Mapping[str, str], ts_ms: int, fields: Mapping[str, Any]) -> None:
        """Appends what a consumer concluded, in the transaction that moves its cursor; nothing of a home that is just
        being erased."""
        if self.erased().is_going_on(tags.get("home", ""), ts_ms):
            return
        values = (measurement, _text(dict(tags)), ts_ms, _text(dict(fields)))
        self._db.execute(
            "INSERT INTO derived(measurement, tags, ts_ms, fields, crc) VALUES (?, ?, ?, ?, ?)",
            (*values, checksum(*values)),
        )

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a count that outlives the process."""
        self._db.execute(
            "INSERT INTO counted VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET n = n + excluded.n", (name, n)
        )

    def move(self, consumer: str, id_: int) -> None:
        """Sets a consumer's cursor."""
        self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (consumer, id_))

    def forget_consumer(self, name: str) -> bool:
        """Rows are not kept for it any more; False: they were not."""
        feeds = (f"{name}:journal", f"{name}:derived")
        return self._db.execute("DELETE FROM cursor WHERE consumer IN (?, ?)", feeds).rowcount > 0

    # reading

    def entries(self, after_id: int, limit: int) -> tuple[list[Entry], int]:
        """Rows above an id, in order, and the last id looked at; less erased rows, and damaged ones, counted in
        ``damaged``."""
        sql = (
            "SELECT id, stream_id, seq, received_ms, ts_ms, retention, place, body, crc"
            " FROM journal WHERE id > ? ORDER BY id LIMIT ?"
        )
        found: list[Entry] = []
        last = after_id
        for row in self._db.execute(sql, (after_id, limit)):
            last, *kept, crc = row
            stream_id, seq, received_ms, ts_ms, retention, place, body = kept
            whose = self._messages.whose(stream_id)
            if body is not None and whose is not None and crc == checksum(*kept):
                found.append(Entry(last, *whose, seq, received_ms, ts_ms, retention, self._place(place), body))
            elif body is not None:
                self._damaged["journal"].add(last)
        return found, last

    def derived(self, after_id: int, limit: int) -> tuple[list[DerivedEntry], int]:
        """What consumers concluded, above an id, in order, and the last id looked at."""
        sql = "SELECT id, measurement, tags, ts_ms, fields, crc FROM derived WHERE id > ? ORDER BY id LIMIT ?"
        found: list[DerivedEntry] = []
        last = after_id
        for last, measurement, tags, ts_ms, fields, crc in self._db.execute(sql, (after_id, limit)):
            if crc == checksum(measurement, tags, ts_ms, fields):
                decoded = (msgspec.json.decode(tags), ts_ms, msgspec.json.decode(fields))
                found.append(DerivedEntry(last, measurement, *decoded))
            else:
                self._damaged["derived"].add(last)
        return found, last

    def cursor(self, consumer: str) -> int:
        """The last id that a consumer has done with; 0 at its start."""
        found = self._db.execute("SELECT id FROM cursor WHERE consumer = ?", (consumer,)).fetchone()
        return 0 if found is None else int(found[0])

    def cursors(self) -> dict[str, int]:
        """All of them."""
        return dict(self._db.execute("SELECT consumer, id FROM cursor ORDER BY consumer"))

    def last_id(self, feed: str = "journal") -> int:
        """The newest id of ``journal`` or ``derived``."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (feed,)).fetchone()
        return 0 if found is None else int(found[0])

    def waiting_since_ms(self, name: str) -> int | None:
        """When the oldest row came (or was derived) that a cursor, ``consumer:feed``, has not passed; None: none is."""
        feed = "derived" if name.endswith(":derived") else "journal"
        came = "ts_ms" if feed == "derived" else "received_ms"
        sql = f"SELECT {came} FROM {feed} WHERE id > ? ORDER BY id LIMIT 1"  # noqa: S608
        found = self._db.execute(sql, (self.cursor(name),)).fetchone()
        return None if found is None else int(found[0])

    def came_before(self, feed: str, since_ms: int) -> int:
        """The last id before the first row that came at ``since_ms`` or later; a derived row came at its date."""
        table, date = ("journal", "received_ms") if feed == "journal" else ("derived", "ts_ms")
        found = self._db.execute(f"SELECT min(id) FROM {table} WHERE {date} >= ?", (since_ms,)).fetchone()  # noqa: S608
        return self.last_id(feed) if found[0] is None else int(found[0]) - 1

    def newest_ms(self) -> int | None:
        """When the newest row came; None where there is none."""
        found = self._db.execute("SELECT received_ms FROM journal ORDER BY id DESC LIMIT 1").fetchone()
        return None if found is None else int(found[0])

    def counts(self) -> dict[str, int]:
        """What stands in the journal, by kind; counts that outlive the process beside."""
        sizes = {
            "dead_letters": "SELECT count(*) FROM dead_letter",
            "orphans": "SELECT count(*) FROM orphan",
            "chain_broken": "SELECT count(*) FROM chain WHERE link = 0",
            "chain_open": "SELECT count(*) FROM chain WHERE link IS NULL",
            "streams": "SELECT count(*) FROM stream",
        }
        found = {name: int(self._db.execute(sql).fetchone()[0]) for name, sql in sizes.items()}
        return found | dict(self._db.execute("SELECT name, n FROM counted"))

    def dead_letters(self) -> list[dict[str, Any]]:
        """What is kept unread, oldest first, without its content."""
        names = ("id", "probe", "reason", "detail", "received_ms", "bytes")
        sql = "SELECT id, probe, reason, detail, received_ms, length(payload) FROM dead_letter ORDER BY id"
        return [dict(zip(names, row, strict=True)) for row in self._db.execute(sql)]

    def dead_letter_reasons(self) -> dict[str, int]:
        """How many are kept, by reason."""
        return dict(self._db.execute("SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY reason"))

    def dead_letter(self, id_: int) -> tuple[str, bytes] | None:
        """Probe and payload of one; None where there is none, or a damaged one."""
        sql = "SELECT probe, key, reason, detail, received_ms, payload, crc FROM dead_letter WHERE id = ?"
        found = self._db.execute(sql, (id_,)).fetchone()
        return None if found is None or found[-1] != checksum(*found[:-1]) else (found[0], found[5])

    def orphans(self) -> dict[str, int]:
        """How many messages are kept apart, by reason."""
        return dict(self._db.execute("SELECT reason, count(*) FROM orphan GROUP BY reason ORDER BY reason"))

    def presences(self) -> dict[str, tuple[bool, int]]:
        """Each probe's last word: online, and since when."""
        rows = self._db.execute("SELECT probe, online, since_ms FROM presence ORDER BY probe")
        return {probe: (bool(online), since_ms) for probe, online, since_ms in rows}

    def size_bytes(self) -> int:
        """Size of the file and its WAL."""
        return sum(p.stat().st_size for s in ("", "-wal") if (p := self.path.with_name(self.path.name + s)).exists())

    # upkeep

    def forget_dead_letter(self, id_: int) -> None:
        """It was read after all, or its time is over."""
        self._db.execute("DELETE FROM dead_letter WHERE id = ?", (id_,))

    def forget_presence(self, probe: str) -> None:
        """Whether it is online is not kept any more."""
        self._db.execute("DELETE FROM presence WHERE probe = ?", (probe,))

    def prune(self, now_ms: int) -> int:
        """Deletes what is old enough, as `journal_upkeep` says; says how many rows."""
        pruned = journal_upkeep.prune(self._db, self.transaction, self.cursors(), now_ms)
        journal_upkeep.remove_asides(self.path, now_ms - journal_upkeep.DEAD_LETTER_MS)
        return pruned

    def erased(self) -> Erased:
        """Of which homes and dates nothing is kept; within a transaction it is looked up once."""
        if self._erased is None or not self._db.in_transaction:
            rows = self._db.execute("SELECT whose, from_ms, to_ms, is_open FROM erased")
            self._erased = Erased(
                (whose, Span(from_ms, to_ms, bool(is_open))) for whose, from_ms, to_ms, is_open in rows
            )
        return self._erased

    def erase(self, home: str, from_ms: int, to_ms: int, stood: Sequence[tuple[str, int, int]] = ()) -> int:
        """Takes what is kept of a home from one date up to another; says how many rows that changed. ``stood``: which
        probes were there, from when until when: what they sent and nobody could place is the home's too."""
        changed = journal_upkeep.erase(self._db, self.transaction, home, (from_ms, to_ms), stood)
        journal_upkeep.remove_asides(self.path, 2**63)
        return changed

    def end_erasure(self, home: str, from_ms: int, to_ms: int, now_ms: int) -> None:
        """Nobody has anything of it under way any more: what is dated later than now is kept again."""
        with self.transaction():
            journal_upkeep.end_erasure(self._db, home, (from_ms, to_ms), now_ms)

    def forget_lost(self) -> int:
        """Forgets messages whose rows a damage took, so that they are new when their probes send them again."""
        self._db.execute("CREATE TEMP TABLE here(stream_id, seq, PRIMARY KEY(stream_id, seq)) WITHOUT ROWID")
        for table in ("journal", "orphan"):
            self._db.execute(f"INSERT OR IGNORE INTO here SELECT stream_id, seq FROM {table}")  # noqa: S608
        lost = self._db.execute(
            "DELETE FROM chain WHERE (ts_ms >= coalesce("
            "(SELECT max(received_ms) FROM journal), (SELECT max(ts_ms) FROM chain)) - ?"
            " OR seq > (SELECT min(seq) FROM here WHERE stream_id = chain.stream_id))"
            " AND NOT EXISTS (SELECT 1 FROM here WHERE stream_id = chain.stream_id AND seq = chain.seq)",
            (_SURE_MS,),
        )
        self._db.execute("DROP TABLE here")
        return lost.rowcount

    def note_salvaged(self, aside: str) -> bool:
        """Notes that a file set aside was brought in; False where it had been before."""
        noted = self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (f"salvaged:{aside}", "1"))
        return noted.rowcount > 0

    @property
    def damaged(self) -> int:
        """Rows that were read, are not what was written, and were not given up yet."""
        return sum(map(len, self._damaged.values()))

    def give_up_damaged(self) -> int:
        """Deletes those rows and counts them; what their messages said can be sent again. Says how many."""
        count = self.damaged
        for feed, ids in self._damaged.items():
            self._db.executemany(f"DELETE FROM {feed} WHERE id = ?", [(id_,) for id_ in ids])  # noqa: S608
        self._damaged = {feed: set() for feed in self._damaged}
        self.forget_lost()
        self.count("journal_rows_damaged", count)
        return count

    def restore(self, table: str, columns: str, row: Sequence[Any]) -> bool:
        """Puts a row of a damaged journal into this one; False where it is not whole, or is here already."""
        covered, crc = row[:-1], row[-1]
        if table == "stream":
            covered = covered[1:]
        if table in ("stream", "journal", "orphan", "dead_letter", "derived") and crc != checksum(*covered):
            return False
        if table in ("journal", "chain", "orphan") and self._messages.whose(row[0]) is None:
            return False  # its number may be another stream's soon
        marks = ", ".join("?" * len(row))
        try:
            self._db.execute(f"INSERT INTO {table}({columns}) VALUES ({marks})", row)  # noqa: S608 - names of ours
        except sqlite3.IntegrityError:
            return False
        return True

    def _place(self, text: str) -> Place:
        known = self._known_places.get(text)
        if known is None:
            known = self._known_places[text] = _place_of(text)
        return known


def _text(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
