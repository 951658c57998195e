"""Which homes are to be forgotten, and is it done?

Journal, store and the judge's memory are written by `balise serve` alone; who wants a home erased asks it here, and
reads the answer.

Rule 1: what was asked stays asked until it is done, whatever is killed; done twice it takes nothing more.
Rule 2: once the answer is read, or a day old, no home is named here.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

ANSWER_MS = 86_400_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS erasure(
  id INTEGER PRIMARY KEY, home TEXT NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL,
  asked_ms INTEGER NOT NULL, rows INTEGER, points INTEGER);
CREATE TABLE IF NOT EXISTS judged(id INTEGER PRIMARY KEY);
"""
_DONE = "rows IS NOT NULL AND id IN (SELECT id FROM judged)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A home's measurements from one date up to another."""

    id: int
    home: str
    from_ms: int
    to_ms: int


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

    def ask(self, home: str, from_ms: int, to_ms: int, now_ms: int) -> int:
        """By which number the answer is told. What nobody reads goes after a day."""
        with self._db:
            self._db.execute(f"DELETE FROM erasure WHERE {_DONE} AND asked_ms < ?", (now_ms - ANSWER_MS,))  # noqa: S608
            self._db.execute("DELETE FROM judged WHERE id NOT IN (SELECT id FROM erasure)")
            insert = "INSERT INTO erasure(home, from_ms, to_ms, asked_ms) VALUES (?, ?, ?, ?)"
            return int(self._db.execute(insert, (home, from_ms, to_ms, now_ms)).lastrowid or 0)

    def waiting(self) -> list[Asked]:
        """What is still to be done, the oldest first."""
        return self._asked("rows IS NULL")

    def waiting_for_judge(self) -> list[Asked]:
        """What the judge is still to forget: the journal has, so that it reads nothing of it again."""
        return self._asked("rows IS NOT NULL AND id NOT IN (SELECT id FROM judged)")

    def judged(self, id_: int) -> None:
        """The judge has forgotten it."""
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO judged VALUES (?)", (id_,))

    def done(self, id_: int, taken: Taken) -> None:
        """It is erased."""
        with self._db:
            self._db.execute("UPDATE erasure SET rows = ?, points = ? WHERE id = ?", (taken.rows, taken.points, id_))

    def answer(self, id_: int) -> Taken | None:
        """What was taken, told once; None: it is not done yet."""
        with self._db:
            sql = f"DELETE FROM erasure WHERE id = ? AND {_DONE} RETURNING rows, points"  # noqa: S608
            rows = self._db.execute(sql, (id_,)).fetchall()
        return Taken(rows=rows[0][0], points=rows[0][1]) if rows else None

    def _asked(self, where: str) -> list[Asked]:
        rows = self._db.execute(f"SELECT id, home, from_ms, to_ms FROM erasure WHERE {where} ORDER BY id")  # noqa: S608
        return [Asked(id=id_, home=home, from_ms=from_ms, to_ms=to_ms) for id_, home, from_ms, to_ms in rows]
