"""What is to be published to probes now: configurations that changed, and commands that wait?

``DATA/fleet.db`` remembers the version that each probe was last told, and holds commands on their way from an
operator's command line to `balise serve`, which alone has the broker's session.

Rule 1: a version only grows, even where this file was lost: it is never below the clock's seconds.
Rule 2: a command is published once, while its probe may hear it; after its expiry it is dropped, and the probe would
refuse it.
Rule 3: an answer that says how a line was used is there for who asked, for `ANSWER_S`, and then nowhere.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from balise_agent.codec import encode_command, encode_config
from balise_agent.contract import Answer, Command, topic
from balise_collector.directory import Site
from balise_collector.fleet.desired import FleetSettings, desired

_SCHEMA = """
CREATE TABLE IF NOT EXISTS told(probe TEXT PRIMARY KEY, version INTEGER NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting(
  id INTEGER PRIMARY KEY, probe TEXT NOT NULL, payload BLOB NOT NULL, expires_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answer(id TEXT PRIMARY KEY, reason TEXT NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID;
"""

ANSWER_S = 600


class Fleet:
    """The file. Any process may open it; each call is a transaction of its own."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def configurations(
        self, sites: Iterable[Site], settings: FleetSettings, now_s: int, *, changed: bool
    ) -> list[tuple[str, bytes]]:
        """(topic, payload) of each site's configuration; with ``changed`` only of those that were not told this
        before."""
        found = []
        with self._db:
            for site in sites:
                config = desired(site, settings, 1, now_s)
                digest = hashlib.sha256(encode_config(config)).digest()[:16]
                row = self._db.execute("SELECT version, digest FROM told WHERE probe = ?", (site.probe,)).fetchone()
                is_new = row is None or row[1] != digest
                version = max(now_s, 0 if row is None else row[0] + 1) if is_new else row[0]
                if is_new:
                    self._db.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", (site.probe, version, digest))
                if is_new or not changed:
                    found.append((topic(site.probe, "cmd"), encode_config(replace(config, version=version))))
        return found

    def ask(self, probe: str, command: Command) -> None:
        """Leaves a command for `balise serve` to publish."""
        with self._db:
            values = (probe, encode_command(command), command.expires_ms)
            self._db.execute("INSERT INTO waiting(probe, payload, expires_ms) VALUES (?, ?, ?)", values)

    def commands(self, now_ms: int) -> list[tuple[str, bytes]]:
        """(topic, payload) of the commands that wait and are in time; they wait no more."""
        with self._db:
            rows = self._db.execute("DELETE FROM waiting RETURNING probe, payload, expires_ms").fetchall()
        return [(topic(probe, "cmd"), payload) for probe, payload, expires_ms in rows if expires_ms > now_ms]

    def answered(self, answers: Iterable[Answer], now_s: int) -> None:
        """Keeps answers for who asked, and forgets those that had their time."""
        with self._db:
            self._db.execute("DELETE FROM answer WHERE until_s <= ?", (now_s,))
            rows = [(answer.id, answer.reason, now_s + ANSWER_S) for answer in answers]
            self._db.executemany("INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", rows)

    def answer_to(self, command_id: str) -> str | None:
        """Why that command was refused just then; None: it was not, or nobody knows yet or any more."""
        found = self._db.execute("SELECT reason FROM answer WHERE id = ?", (command_id,)).fetchone()
        return None if found is None else str(found[0])


def new_command_id() -> str:
    """128 random bits: a probe does one id once."""
    return secrets.token_hex(16)
