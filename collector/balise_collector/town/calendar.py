"""What time is it for the tenants?

Rule 1: dates are UTC in ms; a tenant's day is Europe/Paris, so that one day of the year has 23 hours and one 25.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def midnight_ms(day: int, start_ms: int) -> int:
    """The civil midnight that begins day ``day`` of a run; day 0 is the one that ``start_ms`` is in."""
    first = datetime.fromtimestamp(start_ms / 1_000, PARIS).date()
    return civil_ms(first.toordinal() + day, 0)


@lru_cache(maxsize=100_000)
def civil_ms(ordinal: int, minute: int) -> int:
    """A date at so many minutes by the clock on the wall. An hour that does not exist is the one after it."""
    date = datetime.fromordinal(ordinal) + timedelta(minutes=minute)
    return int(date.replace(tzinfo=PARIS).astimezone(UTC).timestamp() * 1_000)


def minute_of_day(ts_ms: int) -> int:
    """By the clock on the wall, 0 to 1,439."""
    return (ts_ms + _offset_ms(ts_ms // HOUR_MS)) % DAY_MS // MINUTE_MS


def ordinal(ts_ms: int) -> int:
    """The civil day, as `date.toordinal` counts."""
    return (ts_ms + _offset_ms(ts_ms // HOUR_MS)) // DAY_MS + 719_163  # 1970-01-01


@lru_cache(maxsize=4_096)
def _offset_ms(hour: int) -> int:
    offset = datetime.fromtimestamp(hour * 3_600, PARIS).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1_000)
