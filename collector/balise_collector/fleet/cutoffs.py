"""Which probes are cut off for what they sent, since when and why?

In ``DATA/fleet.db``. Any process may open it; each call is a transaction of its own.

Rule 1: it is written here before the broker is told: a crash between the two leaves one that is told at the next start.
Rule 2: a probe is cut off once at a time; one that was let back and is cut off again has another row.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cut_off(
  id INTEGER PRIMARY KEY, probe TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL, ended_ms INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS cut_off_now ON cut_off(probe) WHERE ended_ms IS NULL;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """One probe that may not speak. ``ended_ms``: when it was let back; None: it was not."""

    probe: str
    at_ms: int
    why: str
    ended_ms: int | None = None


class CutOffs:
    """The table."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def add(self, probe: str, why: str, now_ms: int) -> bool:
        """Cut off from now on; False where it is already."""
        with self._db:
            values = (probe, now_ms, why)
            done = self._db.execute("INSERT OR IGNORE INTO cut_off(probe, at_ms, why) VALUES (?, ?, ?)", values)
        return done.rowcount > 0

    def end(self, probe: str, now_ms: int) -> bool:
        """Not any more; False where it was not."""
        with self._db:
            update = "UPDATE cut_off SET ended_ms = ? WHERE probe = ? AND ended_ms IS NULL"
            return self._db.execute(update, (now_ms, probe)).rowcount > 0

    def standing(self) -> list[CutOff]:
        """Those that are cut off now, the first one first."""
        return self._read("WHERE ended_ms IS NULL ORDER BY id")

    def all(self) -> list[CutOff]:
        """Every one that ever was."""
        return self._read("ORDER BY id")

    def _read(self, where: str) -> list[CutOff]:
        rows = self._db.execute(f"SELECT probe, at_ms, why, ended_ms FROM cut_off {where}")  # noqa: S608
        return [CutOff(probe=probe, at_ms=at_ms, why=why, ended_ms=ended) for probe, at_ms, why, ended in rows]
