"""Which homes are to be forgotten, and is it done?

Journal, store, the judge's memory and what is concluded are written by `balise serve` alone; who wants a home erased
asks it here, and reads the answer. First the journal and the store, from when on nothing of the home is kept; then who
has something of it in memory lets go of it (`Who`); then the journal keeps again what comes.

Rule 1: what was asked stays asked until it is done, whatever is killed; done twice it takes nothing more.
Rule 2: once the answer is read, or a day old, no home is named here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ANSWER_MS = 86_400_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS erasure(
  id INTEGER PRIMARY KEY, home TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
  asked_ms INTEGER NOT NULL, rows INTEGER, points INTEGER);
CREATE TABLE IF NOT EXISTS stood(id INTEGER NOT NULL, probe TEXT NOT NULL, from_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS forgot(id INTEGER NOT NULL, who TEXT NOT NULL, PRIMARY KEY(id, who)) WITHOUT ROWID;
"""
Who = Literal["judge", "stats", "journal"]
_ALL = "(SELECT count(*) FROM forgot WHERE forgot.id = erasure.id AND who IN ('judge', 'stats')) = 2"
_DONE = "rows IS NOT NULL AND id IN (SELECT id FROM forgot WHERE who = 'journal')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A home's measurements from one date up to another; ``stood``: its probes, each from one date up to another."""

    id: int
    home: str
    from_ms: int
    to_ms: int
    stood: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken: rows of the journal, points of the embedded store."""

    rows: int
    points: int


class Erasures:
    """The file. Any process may open it; each call is a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=30)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def ask(self, home: str, from_ms: int, to_ms: int, now_ms: int, stood: Sequence[tuple[str, int, int]] = ()) -> int:
        """By which number the answer is told. What nobody reads goes after a day."""
        with self._db:
            self._db.execute(f"DELETE FROM erasure WHERE {_DONE} AND asked_ms < ?", (now_ms - ANSWER_MS,))  # noqa: S608
            self._tidy()
            insert = "INSERT INTO erasure(home, from_ms, to_ms, asked_ms) VALUES (?, ?, ?, ?)"
            id_ = int(self._db.execute(insert, (home, from_ms, to_ms, now_ms)).lastrowid or 0)
            self._db.executemany("INSERT INTO stood VALUES (?, ?, ?, ?)", [(id_, *one) for one in stood])
            return id_

    def waiting(self) -> list[Asked]:
        """What is still to be done, the oldest first."""
        return self._asked("rows IS NULL")

    def waiting_for(self, who: Who) -> list[Asked]:
        """What he is still to forget: the journal has, so that he reads nothing of it again."""
        return self._asked("rows IS NOT NULL AND id NOT IN (SELECT id FROM forgot WHERE who = ?)", who)

    def forgotten(self) -> list[Asked]:
        """What nobody has anything of any more, which the journal is still to be told."""
        return self._asked(f"rows IS NOT NULL AND {_ALL} AND NOT ({_DONE})")

    def forgot(self, id_: int, who: Who) -> None:
        """He has; ``journal``: it knows that all have."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO forgot VALUES (?, ?)", (id_, who))

    def done(self, id_: int, taken: Taken) -> None:
        """It is erased."""
        with self._db:
            self._db.execute("UPDATE erasure SET rows = ?, points = ? WHERE id = ?", (taken.rows, taken.points, id_))

    def answer(self, id_: int) -> Taken | None:
        """What was taken, told once; None: it is not done yet."""
        with self._db:
            sql = f"DELETE FROM erasure WHERE id = ? AND {_DONE} RETURNING rows, points"  # noqa: S608
            rows = self._db.execute(sql, (id_,)).fetchall()
            self._tidy()
        return Taken(rows=rows[0][0], points=rows[0][1]) if rows else None

    def _asked(self, where: str, *values: str) -> list[Asked]:
        sql = f"SELECT id, home, from_ms, to_ms FROM erasure WHERE {where} ORDER BY id"  # noqa: S608
        rows = self._db.execute(sql, values)
        return [
            Asked(id=id_, home=home, from_ms=from_ms, to_ms=to_ms, stood=self._stood(id_))
            for id_, home, from_ms, to_ms in rows.fetchall()
        ]

    def _stood(self, id_: int) -> tuple[tuple[str, int, int], ...]:
        return tuple(self._db.execute("SELECT probe, from_ms, until_ms FROM stood WHERE id = ?", (id_,)))

    def _tidy(self) -> None:
        """What was said about those that are not here any more."""
        for table in ("stood", "forgot"):
            self._db.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM erasure)")  # noqa: S608
