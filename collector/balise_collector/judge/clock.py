"""When was it really that a probe's clock was wrong? Its machine's start tells.

A machine starts once. Where a right clock and a wrong one each date that start (a record's date less its uptime), the
clock's error lies between the two.

Rule 1: nothing here looks at when a record came: it may have waited for days.
"""

from __future__ import annotations

from collections.abc import Iterator

from balise_collector.judge import cells as c
from balise_collector.judge.cells import MINUTE_MS
from balise_collector.judge.log import HomeLog

HELD_MIN = 5  # a host's record comes each minute: after five without one nobody knows


def spells(log: HomeLog) -> Iterator[tuple[int, int]]:
    """From when to when it was wrong, by a right clock."""
    for started_ms, (first_ms, last_ms) in sorted(log.clocks.items()):
        error_ms = _error_ms(log, started_ms)
        start = last = -1
        for minute, _ in log.cells.seen(c.CLOCK_BAD, first_ms // MINUTE_MS, last_ms // MINUTE_MS):
            if start >= 0 and minute - last > HELD_MIN:
                yield _spell(start, last, error_ms)
                start = -1
            start, last = (minute if start < 0 else start), minute
        if start >= 0:
            yield _spell(start, last, error_ms)


def is_wrong(log: HomeLog, now_ms: int) -> bool:
    """As far as was seen until that date."""
    for started_ms, (first_ms, last_ms) in log.clocks.items():
        then_ms = now_ms + _error_ms(log, started_ms)
        if first_ms <= then_ms <= last_ms + HELD_MIN * MINUTE_MS:
            return log.cells.last(c.CLOCK_BAD, then_ms // MINUTE_MS, HELD_MIN) >= 0
    return False


def _error_ms(log: HomeLog, started_ms: int) -> int:
    """Of the clock that dated the start so; negative: it is behind. 0: no right clock ever dated that start."""
    right_ms = min(log.boots, key=lambda boot_ms: (abs(boot_ms - started_ms), boot_ms), default=started_ms)
    return started_ms - right_ms


def _spell(first: int, last: int, error_ms: int) -> tuple[int, int]:
    """A record is of the minute that ends about then."""
    half_ms = MINUTE_MS // 2
    return first * MINUTE_MS + half_ms - error_ms, (last + 1) * MINUTE_MS + half_ms - error_ms
