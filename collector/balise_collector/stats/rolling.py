"""Which hours are over, where points are handed over as they are made, each once, and never read again?

For a simulated town, which has no store; what comes over a journal is rolled up by `sealing`.

Rule 1: an hour's rows are given when it is over by ten minutes, and again when late points changed it.
Rule 2: an hour is let go of `KEPT_H` after its end, for memory: later points are in no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import HomeSite
from balise_collector.stats.rollup import HOUR_MS, MEASUREMENTS, Hour
from balise_collector.store import Point

GRACE_MS = 600_000
KEPT_H = 6  # an hour of 1,000 homes is some 20 MB

_TAKEN = frozenset(MEASUREMENTS)


class Rolling:
    """The hours that are not let go of yet."""

    def __init__(self, homes: Mapping[str, HomeSite]) -> None:
        self._homes = homes
        self._hours: dict[int, Hour] = {}
        self._changed: set[int] = set()
        self._gone_ms = 0
        self.too_late = 0

    def add(self, points: Iterable[Point]) -> None:
        """Points of homes, each once."""
        for point in points:
            if point.measurement in _TAKEN:
                self._add(point)

    def _add(self, point: Point) -> None:
        hour_ms = point.ts_ms - point.ts_ms % HOUR_MS
        if hour_ms < self._gone_ms:
            self.too_late += 1
            return
        hour = self._hours.get(hour_ms)
        if hour is None:
            hour = self._hours[hour_ms] = Hour(self._homes, hour_ms)
        hour.add(point)
        self._changed.add(hour_ms)

    def over(self, now_ms: int) -> Iterator[Derived]:
        """Rows of hours that are over, and not said since they changed."""
        for hour_ms in sorted(h for h in self._changed if h + HOUR_MS + GRACE_MS <= now_ms):
            self._changed.discard(hour_ms)
            yield from self._hours[hour_ms].rows()
        for hour_ms in [h for h in self._hours if h + (1 + KEPT_H) * HOUR_MS + GRACE_MS <= now_ms]:
            del self._hours[hour_ms]
            self._gone_ms = max(self._gone_ms, hour_ms + HOUR_MS)

    def rest(self) -> Iterator[Derived]:
        """What is left, the hour that is not over too."""
        for hour_ms in sorted(self._changed):
            yield from self._hours[hour_ms].rows()
        self._changed.clear()
