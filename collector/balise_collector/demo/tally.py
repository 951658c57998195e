"""What became of each record that was measured?

The agent's witness says what was on its disk, the store says what is kept: two files written by two programs, compared
key by key, never counters of the path between them.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balise_agent.catalogue import CATALOGUE
from balise_collector import wire
from balise_collector.demo.programs import AgentFiles
from balise_collector.store.chunks import ChunkReader, open_reader

Key = tuple[str, str, int]
"""Measurement, target, ts_ms: with the probe, a point's natural key."""

_ALL_MS = 2**43  # beyond any date that a record may carry


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Records of all agents. ``delivered``: acknowledged to an agent; ``waiting``: measured, still in an outbox.

    ``lost``: measured, not kept, and in no outbox; ``duplicated``: kept under a key that nobody measured;
    ``stored_of``: measurement to how many of it are stored.
    """

    measured: int
    delivered: int
    stored: int
    waiting: int
    lost: int
    duplicated: int
    dead_letters: int
    delay_p95_ms: int | None
    stored_of: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """One object, as `balise demo --json` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def tally(data: Path, agents: Iterable[AgentFiles]) -> Tally:
    """Once nothing moves any more."""
    measured = stored = waiting = lost = duplicated = 0
    delays: list[int] = []
    stored_of: Counter[str] = Counter()
    with closing(open_reader(data / "store")) as reader:
        for agent in agents:
            keys, kept = witnessed(agent.witness), keys_of(reader, agent.probe)
            held, sent = in_outbox(agent.outbox)
            measured += len(keys)
            stored += len(keys & kept)
            stored_of.update(measurement for measurement, _, _ in keys & kept)
            waiting += len(held)
            lost += len(keys - kept - held)
            duplicated += len(kept - keys - sent)
            delays += delays_ms(data / "journal.db", agent.outbox)
    return Tally(
        measured=measured,
        delivered=measured - waiting,
        stored=stored,
        waiting=waiting,
        lost=lost,
        duplicated=duplicated,
        dead_letters=_one(data / "journal.db", "SELECT count(*) FROM dead_letter"),
        delay_p95_ms=nearest_rank(delays, 0.95),
        stored_of=dict(sorted(stored_of.items())),
    )


def witnessed(path: Path) -> set[Key]:
    """The keys of a witness file; a line cut short by a kill was not yet promised to anybody."""
    keys: set[Key] = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["ts_ms"] is not None:
            keys.add((row["measurement"], row["target"], row["ts_ms"]))
    return keys


def keys_of(reader: ChunkReader, probe: str) -> set[Key]:
    """The keys that the store keeps of what a probe itself wrote."""
    return {
        (point.measurement, point.target, point.ts_ms)
        for series in reader.series()
        if series.probe == probe and CATALOGUE[series.measurement].writer == "probe"
        for point in reader.read(series.home, series.measurement, series.target, 0, _ALL_MS)
        if point.probe == probe
    }


def in_outbox(path: Path) -> tuple[set[Key], set[Key]]:
    """Keys that an outbox still holds unacknowledged, and those that it has acknowledged.

    A kill between the commit and the witness's line leaves a record that only the outbox knows.
    """
    held: set[Key] = set()
    sent: set[Key] = set()
    if not path.exists():  # ended before the agent had begun
        return held, sent
    with closing(_open(path)) as db:
        for acked, ts_ms, body in db.execute("SELECT acked IS NOT NULL, ts_ms, body FROM outbox"):
            keys = {(row.measurement, row.target, ts_ms + row.at) for row in wire.records(body)}
            (sent if acked else held).update(keys)
        for off_ms, bt_ms, text in db.execute("SELECT off_ms, bt_ms, record FROM pending WHERE off_ms IS NOT NULL"):
            record = json.loads(text)
            held.add((record["m"], record.get("k", ""), off_ms + bt_ms))
    return held, sent


def delays_ms(journal: Path, outbox: Path) -> list[int]:
    """From sealing to the commit that took it, of each message of an outbox."""
    if not (journal.exists() and outbox.exists()):
        return []
    sql = "SELECT s.stream, j.seq, min(j.received_ms) FROM journal j JOIN stream s ON s.id = j.stream_id GROUP BY 1, 2"
    with closing(_open(journal)) as db:
        received = {(stream, seq): ms for stream, seq, ms in db.execute(sql)}
    with closing(_open(outbox)) as db:
        sealed = {(stream, seq): ms for stream, seq, ms in db.execute("SELECT stream, seq, sealed_ms FROM outbox")}
    return [received[key] - ms for key, ms in sealed.items() if key in received]


def nearest_rank(values: Iterable[int], p: float) -> int | None:
    """The smallest value that a share p of them does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(p * len(ordered)) - 1)] if ordered else None


def _one(path: Path, sql: str) -> int:
    if not path.exists():
        return 0
    with closing(_open(path)) as db:
        return int(db.execute(sql).fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
