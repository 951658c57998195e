"""What stands in DATA/judge.db?

The judge's memory (so that a start does not read the whole journal again), its incidents as they were last told, what
people did with them, evidence from outside, and webhooks still to be delivered.

Rule 1: memory and incidents are made again at will; `follow`, `evidence` and `hook` are nowhere else.
Rule 2: several processes have it open: the judge, `balise incidents`, `balise evidence`; none writes for long.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from balise_agent.durable_file import make_folder
from balise_collector.judge.evidence import Evidence, key

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory(part TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incident(
  id TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, state TEXT NOT NULL, told_ms INTEGER NOT NULL, body TEXT NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change(
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, told_ms INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS change_id ON change(id, n);
CREATE TABLE IF NOT EXISTS follow(
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, at_ms INTEGER NOT NULL, what TEXT NOT NULL,
  who TEXT NOT NULL, ticket TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS follow_id ON follow(id, n);
CREATE TABLE IF NOT EXISTS evidence(
  n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, ts_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS hook(
  n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, body BLOB NOT NULL, due_ms INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '');
"""
FOLLOWS = ("ack", "note", "close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What somebody did with an incident. ``who`` is a service or an organisation, never a person's name."""

    at_ms: int
    what: str
    who: str = ""
    ticket: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook to be delivered."""

    n: int
    id: str
    body: bytes
    tries: int


class State:
    """The file. sqlite3.Error: it cannot be had."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self.path = path
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One commit."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # memory

    def meta(self, name: str) -> str:
        """A value by its name, "" where there is none."""
        found = self._db.execute("SELECT v FROM meta WHERE k = ?", (name,)).fetchone()
        return "" if found is None else str(found[0])

    def note(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(value)))

    def remember(self, parts: Iterable[tuple[str, bytes]]) -> None:
        """Parts of the judge's memory, by name."""
        self._db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?)", parts)

    def keep_only(self, names: set[str]) -> None:
        """Parts of no home, channel or day that the judge still knows go."""
        gone = [(part,) for (part,) in self._db.execute("SELECT part FROM memory") if part not in names]
        self._db.executemany("DELETE FROM memory WHERE part = ?", gone)

    def memory(self) -> Iterator[tuple[str, bytes]]:
        """All of it."""
        yield from self._db.execute("SELECT part, body FROM memory ORDER BY part")

    def forget(self) -> None:
        """The judge begins anew; what people did stays."""
        with self.transaction():
            for table in ("memory", "meta", "incident", "change"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours

    # incidents

    def tell(self, fields: Mapping[str, Any], told_ms: int) -> None:
        """An incident as it is now."""
        body = json.dumps(dict(fields), sort_keys=True)
        row = (fields["id"], fields["since_ms"], fields["state"], told_ms, body)
        self._db.execute("INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?, ?)", row)
        self._db.execute("INSERT INTO change(id, told_ms, body) VALUES (?, ?, ?)", (fields["id"], told_ms, body))

    def incidents(self) -> list[dict[str, Any]]:
        """All, the latest first."""
        sql = "SELECT body, told_ms FROM incident ORDER BY since_ms DESC, id"
        return [json.loads(body) | {"told_ms": told_ms} for body, told_ms in self._db.execute(sql)]

    def incident(self, id_: str) -> dict[str, Any] | None:
        found = self._db.execute("SELECT body, told_ms FROM incident WHERE id = ?", (id_,)).fetchone()
        return None if found is None else json.loads(found[0]) | {"told_ms": found[1]}

    def changes(self, id_: str) -> list[dict[str, Any]]:
        """How it was told, in order."""
        rows = self._db.execute("SELECT told_ms, body FROM change WHERE id = ? ORDER BY n", (id_,))
        return [json.loads(body) | {"told_ms": told_ms} for told_ms, body in rows]

    def follow(self, id_: str, follow: Follow) -> None:
        """Somebody took it, said something, or closed it."""
        row = (id_, follow.at_ms, follow.what, follow.who, follow.ticket, follow.text)
        self._db.execute("INSERT INTO follow(id, at_ms, what, who, ticket, text) VALUES (?, ?, ?, ?, ?, ?)", row)

    def follows(self, id_: str) -> list[Follow]:
        """In order."""
        sql = "SELECT at_ms, what, who, ticket, text FROM follow WHERE id = ? ORDER BY n"
        names = ("at_ms", "what", "who", "ticket", "text")
        return [Follow(**dict(zip(names, row, strict=True))) for row in self._db.execute(sql, (id_,))]

    # evidence

    def add_evidence(self, said: Iterable[Evidence]) -> int:
        """Each once; how many were new."""
        new = 0
        for one in said:
            row = (json.dumps(key(one)), one.ts_ms, msgspec.json.encode(one))
            sql = "INSERT OR IGNORE INTO evidence(key, ts_ms, body) VALUES (?, ?, ?)"
            new += self._db.execute(sql, row).rowcount
        return new

    def evidence(self, after: int) -> list[tuple[int, Evidence]]:
        """What came after that number, in order."""
        rows = self._db.execute("SELECT n, body FROM evidence WHERE n > ? ORDER BY n", (after,))
        return [(n, msgspec.json.decode(body, type=Evidence)) for n, body in rows]

    # erasing

    def edit(self, table: str, key: str, column: str, change: Callable[[Any, Any], Any]) -> None:
        """Each row's value as ``change`` of its key and value says; None: the row goes."""
        select = f"SELECT {key}, {column} FROM {table}"  # noqa: S608 - names of ours
        for at, value in self._db.execute(select).fetchall():
            changed = change(at, value)
            if changed is None:
                self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", (at,))  # noqa: S608
            elif changed != value:
                self._db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (changed, at))  # noqa: S608

    def edit_follows(self, from_ms: int, to_ms: int, change: Callable[[str], str]) -> None:
        """What people wrote between these dates."""
        sql = "SELECT n, who, ticket, text FROM follow WHERE at_ms >= ? AND at_ms < ?"
        for n, *said in self._db.execute(sql, (from_ms, to_ms)).fetchall():
            update = "UPDATE follow SET who = ?, ticket = ?, text = ? WHERE n = ?"
            self._db.execute(update, (*map(change, said), n))

    def same_states(self) -> None:
        """Incidents' columns say what their bodies do."""
        self._db.execute("UPDATE incident SET state = json_extract(body, '$.state')")

    def clean(self) -> None:
        """Nothing that was deleted stands in the file or its WAL any more. sqlite3.Error: somebody reads; try again."""
        self._db.execute("VACUUM")
        busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError(f"{self.path}: its WAL is being read")

    # webhooks

    def post(self, id_: str, body: bytes, due_ms: int) -> None:
        """To be delivered."""
        self._db.execute("INSERT INTO hook(id, body, due_ms) VALUES (?, ?, ?)", (id_, body, due_ms))

    def due(self, now_ms: int) -> Hook | None:
        """The first that is due; of one incident the earlier goes first."""
        sql = (
            "SELECT n, id, body, tries FROM hook AS h WHERE due_ms <= ?"
            " AND NOT EXISTS (SELECT 1 FROM hook AS o WHERE o.id = h.id AND o.n < h.n) ORDER BY n LIMIT 1"
        )
        found = self._db.execute(sql, (now_ms,)).fetchone()
        return None if found is None else Hook(n=found[0], id=found[1], body=bytes(found[2]), tries=found[3])

    def delivered(self, n: int) -> None:
        self._db.execute("DELETE FROM hook WHERE n = ?", (n,))

    def again(self, n: int, due_ms: int, why: str) -> None:
        """It was not taken."""
        self._db.execute("UPDATE hook SET tries = tries + 1, due_ms = ?, why = ? WHERE n = ?", (due_ms, why, n))

    def waiting(self) -> int:
        """Webhooks not delivered."""
        return int(self._db.execute("SELECT count(*) FROM hook").fetchone()[0])
