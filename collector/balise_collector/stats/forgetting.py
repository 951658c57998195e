"""Which hours are made again once a home is forgotten, since its building, its PON and the fleet had it in them?

Rule 1: an hour is marked before the erasure is answered for: a crash between marks it once more, never once less.
Rule 2: it is made `sealing.GRACE_MS` later, by when the home has gone from InfluxDB too, which comes last.
"""

from __future__ import annotations

from collections.abc import Iterator

from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS
from balise_collector.erasures import Asked, Erasures
from balise_collector.journal import Journal
from balise_collector.stats.pending import Pending, Touched
from balise_collector.stats.rollup import HOUR_MS
from balise_collector.stats.sealing import TAKEN

_DAY_MS = 86_400_000


def forget(erasures: Erasures, pending: Pending, journal: Journal, now_ms: int) -> int:
    """Marks the hours of those that are erased from journal and store; how many homes."""
    asked = erasures.waiting_for("stats")
    for one in asked:
        last = journal.last_id()
        pending.again(Touched(hour_ms, last, now_ms) for hour_ms in hours(one, now_ms))
        erasures.forgot(one.id, "stats")
    return len(asked)


def hours(asked: Asked, now_ms: int) -> Iterator[int]:
    """Those in which a probe of it stood there, as far back as anything is kept that hours are made of."""
    days = max(RETENTION_DAYS[CATALOGUE[name].retention] or 0 for name in TAKEN)
    found: set[int] = set()
    for _, from_ms, until_ms in asked.stood:
        low = max(from_ms, asked.from_ms, now_ms - days * _DAY_MS)
        found.update(range(low - low % HOUR_MS, min(until_ms, asked.to_ms, now_ms), HOUR_MS))
    yield from sorted(found)
