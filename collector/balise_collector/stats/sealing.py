"""Which hours were touched by what came, and what are their rows, once they are over?

Rule 1: an hour is made again from the store's points, never added to: a redelivered row cannot count twice. It is made
when it is over by `GRACE_MS`, and again as long after a late row touched it: hundreds of outboxes that are emptied at
once cost one making.
Rule 2: it waits until the store has the rows that touched it.
Rule 3: its rows are appended before it stops being pending: a crash between says the same again under the same keys.
Rule 4: what the store may not have any more (retention) is not made again: nothing would overwrite what was known.
Rule 5: a place of which an hour has nothing any more is said to have nothing: an erased home leaves no figure there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS
from balise_collector import wire
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry, Entry
from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import HomeSite
from balise_collector.stats import channels
from balise_collector.stats.channels import Channels
from balise_collector.stats.pending import Pending, Touched
from balise_collector.stats.rollup import HOUR_MS, MEASUREMENTS, Cell, Hour
from balise_collector.store import Reader

NAME = "sealer"
GRACE_MS = 600_000
AT_ONCE = 4  # hours made before the journal is read on
_DAY_MS = 86_400_000
TAKEN = tuple(dict.fromkeys((*MEASUREMENTS, *channels.MEASUREMENTS)))
"""What hours are made of."""

Homes = Callable[[int], Mapping[str, HomeSite]]
"""The expected homes with their contracts, as of a date."""


class Sealer:
    """A `consumers.Consumer` of the journal beside a store that another process may write."""

    name = NAME
    feeds: Sequence[str] = ("journal",)

    def __init__(self, journal: Journal, reader: Reader, pending: Pending, homes: Homes, *, feed: str = "") -> None:
        """``feed``: what the reader's store calls its cursor of journal rows."""
        self._journal, self._reader, self._pending, self._homes = journal, reader, pending, homes
        self._feed = feed or f"{journal.name}:journal"

    def cursor(self, feed: str) -> int:
        """As its own file has it."""
        return self._pending.cursor(f"{self._journal.name}:{feed}")

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        """Notes the hours that they touch."""
        hours = [
            Touched(hour_ms, row.id, row.received_ms)
            for row in rows
            if isinstance(row, Entry)
            for hour_ms in _hours(row)
        ]
        self._pending.mark(hours, f"{self._journal.name}:{feed}", last_id)

    def seal(self, now_ms: int) -> int:
        """Makes some of the hours that are over; how many."""
        stored = self._reader.cursor(self._feed)
        over = self._pending.until(now_ms - GRACE_MS - HOUR_MS, now_ms - GRACE_MS)
        due = [one for one in over if one.row_id <= stored][:AT_ONCE]
        for one in due:
            self._make(one, now_ms)
        return len(due)

    def _make(self, one: Touched, now_ms: int) -> None:
        rows = self.rows(one.hour_ms, now_ms)
        with self._journal.transaction():
            for row in rows:
                self._journal.derive(row.measurement, row.tags, row.ts_ms, row.fields)
        self._pending.done(one)

    def rows(self, hour_ms: int, now_ms: int) -> list[Derived]:
        """What the store says of an hour."""
        kept = tuple(_kept(now_ms - hour_ms))
        homes = self._homes(hour_ms)
        hour = Hour(homes, hour_ms, kept)
        watched = Channels(hour_ms, sum(bool(site.probe) for site in homes.values()))
        for home in homes:
            for measurement in kept:
                for point in self._reader.read(home, measurement, None, hour_ms, hour_ms + HOUR_MS):
                    hour.add(point)
                    watched.add(point)
        rows = hour.rows()
        rows += self._emptied(hour_ms, kept, [row.tags for row in rows])
        return rows + (self._channels(hour_ms, watched.rows()) if set(channels.MEASUREMENTS) <= set(kept) else [])

    def _channels(self, hour_ms: int, rows: list[Derived]) -> list[Derived]:
        """Those and, of channels that had something of this hour and have nothing any more, that."""
        said = {row.tags["channel"] for row in rows}
        before = self._reader.read("", "channel_hour", None, hour_ms, hour_ms + 1)
        gone = [row.target for row in before if row.target not in said]
        return rows + [channels.row_of(channel, hour_ms, channels.Cell(), 0) for channel in gone]

    def _emptied(self, hour_ms: int, kept: Sequence[str], said: Collection[Mapping[str, str]]) -> Iterator[Derived]:
        """Rows for places that had one of this hour and have nothing in it any more."""
        for before in self._reader.read("", "rollup_hour", None, hour_ms, hour_ms + 1):
            scope, _, series = before.target.partition(":")
            code = before.building or before.pon
            tags = {"scope": scope, "series": series} | ({scope: code} if code else {})
            if tags not in said and series.partition(".")[0] in kept:
                yield Derived(measurement="rollup_hour", tags=tags, ts_ms=hour_ms, fields=Cell(0).fields(0))


def _hours(entry: Entry) -> set[int]:
    """The hours of its points. One that is dated hours ahead of when it came would wait for ever."""
    dates = (entry.ts_ms + row.at for row in wire.records(entry.body) if row.measurement in TAKEN)
    return {ts_ms - ts_ms % HOUR_MS for ts_ms in dates if ts_ms < entry.received_ms + HOUR_MS}


def _kept(age_ms: int) -> Iterator[str]:
    """Measurements of which an hour of that age is still whole, a day's margin off."""
    for measurement in TAKEN:
        days = RETENTION_DAYS[CATALOGUE[measurement].retention]
        if days is None or age_ms < (days - 1) * _DAY_MS:
            yield measurement
