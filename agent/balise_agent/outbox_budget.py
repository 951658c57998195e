"""What have tests cost this line, kept across restarts?

The table `budget` of the outbox's file: one row a period (a civil day, a civil month) and kind of test, and one that
says what became of the slots of a day. A row whose checksum does not match counts as none.

Rule 1: of days only the last two are kept, of months the last two: what is older was told, and is a diary of tests.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from balise_agent.budget import Count
from balise_agent.heavy_plan import Tried
from balise_agent.outbox_rows import crc_of

SLOTS = "slots"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """``counts`` by period and kind of test; ``tried`` by slot; ``day``: the civil day that it is of, None: fresh."""

    day: int | None = None
    counts: Mapping[Key, Count] = field(default_factory=dict)
    tried: Mapping[str, Tried] = field(default_factory=dict)

    def of(self, period: str) -> dict[str, Count]:
        """Counts of one period by kind of test."""
        return {kind: count for (found, kind), count in self.counts.items() if found == period}


def day_key(day: int) -> str:
    """The period of a civil day."""
    return f"d{day}"


def read(db: sqlite3.Connection) -> Ledger:
    """What is kept."""
    day, counts, tried = None, {}, {}
    for period, kind, text, crc in db.execute("SELECT period, kind, v, crc FROM budget"):
        if crc != crc_of((period, kind, text)):
            continue
        raw = json.loads(text)
        if kind == SLOTS:
            day = int(period[1:])
            tried = {id_: Tried(**one) for id_, one in raw.items()}
        else:
            known = {f.name for f in fields(Count)}
            counts[period, kind] = Count(**{name: value for name, value in raw.items() if name in known})
    return Ledger(day=day, counts=counts, tried=tried)


def write(db: sqlite3.Connection, ledger: Ledger) -> None:
    """Replaces what is kept; inside the caller's transaction."""
    rows = [(period, kind, asdict(count)) for (period, kind), count in ledger.counts.items()]
    if ledger.day is not None:
        rows.append((day_key(ledger.day), SLOTS, {id_: asdict(one) for id_, one in ledger.tried.items()}))
    db.execute("DELETE FROM budget")
    for period, kind, value in rows:
        text = json.dumps(value, separators=(",", ":"))
        db.execute("INSERT INTO budget VALUES (?, ?, ?, ?)", (period, kind, text, crc_of((period, kind, text))))
