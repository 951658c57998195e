"""What day and hour is it in the home?

Civil time of metropolitan France: UTC+1, and UTC+2 from the last Sunday of March to the last of October, 01:00 UTC
(directive 2000/84/EC). By rule, not by the zone files: a small probe's system may have none.

Rule 1: a day is counted in days since 1970-01-01; it has 23, 24 or 25 hours.
"""

from __future__ import annotations

from datetime import date

DAY_S = 86_400
WINTER_S, SUMMER_S = 3_600, 7_200
_EPOCH = date(1970, 1, 1).toordinal()
_CHANGE_S = 3_600  # of its day, UTC


def offset_s(utc_s: float) -> int:
    """What civil time is ahead of UTC."""
    year = date.fromordinal(_EPOCH + int(utc_s // DAY_S)).year
    return SUMMER_S if _change_s(year, 3) <= utc_s < _change_s(year, 10) else WINTER_S


def day_of(utc_s: float) -> int:
    """The civil day."""
    return int((utc_s + offset_s(utc_s)) // DAY_S)


def second_of(utc_s: float) -> float:
    """What the clock on the wall shows, in seconds since it showed midnight."""
    return (utc_s + offset_s(utc_s)) % DAY_S


def utc_of(day: int, second: float) -> float:
    """When the clock on the wall shows that: of two moments the first; one that is left out is the change itself."""
    shown = day * DAY_S + second
    for ahead_s in (SUMMER_S, WINTER_S):
        if offset_s(shown - ahead_s) == ahead_s:
            return shown - ahead_s
    return _change_s(date.fromordinal(_EPOCH + day).year, 3)


def day_from(text: str) -> int:
    """The day of a date like 2026-11-24. ValueError: it is none."""
    return date.fromisoformat(text).toordinal() - _EPOCH


def month_of(day: int) -> str:
    """Its month, like 2026-11."""
    return date.fromordinal(_EPOCH + day).isoformat()[:7]


def week_of(day: int) -> int:
    """Weeks since 1970, from Monday to Sunday."""
    return (day + 3) // 7  # 1970-01-01 was a Thursday


def _change_s(year: int, month: int) -> float:
    last = date(year, month, 31)
    sunday = last.toordinal() - (last.weekday() + 1) % 7
    return float((sunday - _EPOCH) * DAY_S + _CHANGE_S)
