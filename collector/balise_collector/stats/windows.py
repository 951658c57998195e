"""In which windows of the day is a moment, by the clock on the wall in France? (method QOS-1 § 3)

Rule 1: days, windows and months are civil, Europe/Paris: a day of a change of clock has 23 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
HOUR_MS = 3_600_000
WINDOWS: dict[str, range] = {
    "24h": range(24),
    "pointe_19_23": range(19, 23),
    "pointe_20_22": range(20, 22),
    "creux_02_06": range(2, 6),
}
"""Each by the hours that the clock shows in it."""


class Civil(NamedTuple):
    """The day, as a date's ordinal, and the hour on the clock."""

    day: int
    hour: int


@lru_cache(maxsize=4_096)
def _of_hour(utc_hour: int) -> Civil:
    local = datetime.fromtimestamp(utc_hour * 3_600, UTC).astimezone(PARIS)
    return Civil(local.toordinal(), local.hour)


def civil(ts_ms: int) -> Civil:
    """What the wall shows; in France clocks are whole hours ahead of UTC."""
    return _of_hour(ts_ms // HOUR_MS)


def windows_at(ts_ms: int) -> Iterator[str]:
    """The windows that this moment is in."""
    hour = civil(ts_ms).hour
    return (name for name, hours in WINDOWS.items() if hour in hours)


def month_bounds(month: int) -> tuple[int, int]:
    """First moment of a month, as year x 100 + month, and of the next one. ValueError: it is none."""
    first = date(month // 100, month % 100, 1)
    following = (first + timedelta(days=31)).replace(day=1)
    return _midnight_ms(first), _midnight_ms(following)


def month_at(ts_ms: int) -> int:
    """The month of a moment."""
    day = date.fromordinal(civil(ts_ms).day)
    return day.year * 100 + day.month


@lru_cache(maxsize=256)
def hours_within(window: str, start_ms: int, end_ms: int) -> int:
    """How many hours of a window there are between two moments."""
    return sum(civil(ts_ms).hour in WINDOWS[window] for ts_ms in range(start_ms, end_ms, HOUR_MS))


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=PARIS).timestamp() * 1_000)
