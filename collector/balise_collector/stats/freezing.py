"""Is the month before this one over for good, and what are its rows?

Rule 1: a month is frozen once, `LATE_MS` after its end: what probes deliver later changes no published figure.
Rule 2: it is noted as frozen after its rows are appended: a crash between says the same again under the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from balise_collector.journal import Journal
from balise_collector.judge.rows import Derived
from balise_collector.stats import channel_months
from balise_collector.stats.fleet_months import FleetMonth
from balise_collector.stats.indicators import Indicator
from balise_collector.stats.months import Month, frozen, of_home
from balise_collector.stats.pending import Pending
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_at, month_bounds
from balise_collector.store import Reader

LATE_MS = 7 * 86_400_000  # an outbox keeps longer, but a report cannot wait for all of them


Ground = Callable[[int, int], Mapping[str, Terms]]
"""Every home of the directory over a period."""


class Freezer:
    """Freezes months from a store that another process writes."""

    def __init__(self, journal: Journal, reader: Reader, pending: Pending, ground: Ground) -> None:
        self._journal, self._reader, self._pending, self._ground = journal, reader, pending, ground

    def freeze(self, now_ms: int) -> int:
        """The month before that of ``LATE_MS`` ago, unless it is; how many homes have rows in it."""
        start_ms, _ = month_bounds(month_at(now_ms - LATE_MS))
        month = Month.of(month_at(start_ms - 1), now_ms)
        if self._pending.is_frozen(self._journal.name, month.month):
            return 0
        homes = self._ground(month.start_ms, month.end_ms)
        fleet = FleetMonth()
        count = sum(self._home(home, terms, month, fleet) for home, terms in homes.items())
        self._say(list(fleet.rows(month)))
        self._say(list(channel_months.frozen(channel_months.of_month(self._reader, month), month)))
        self._pending.note_frozen(self._journal.name, month.month)
        return count

    def _home(self, home: str, terms: Terms, month: Month, fleet: FleetMonth) -> bool:
        """Nothing is said of a home of which nothing came at all: it was not measured."""
        found = of_home(self._reader, home, terms, month)
        if not any(map(_came, found)):
            return False
        self._say(list(frozen(home, month, found)))
        fleet.add(found)
        return True

    def _say(self, rows: Sequence[Derived]) -> None:
        with self._journal.transaction():
            for row in rows:
                self._journal.derive(row.measurement, row.tags, row.ts_ms, row.fields)


def _came(one: Indicator) -> bool:
    return bool(one.n or one.n_failed or one.n_invalid)
