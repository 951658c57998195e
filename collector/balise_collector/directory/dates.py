"""How is a date written? Text <-> UTC in ms since 1970.

Rule 1: a day alone is its midnight in UTC; a time says its offset, since nobody knows later which clock was meant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

ALLOWED = "a day (2026-11-30: its midnight UTC) or a time with its offset (2026-11-30T18:00:00+01:00)"

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def read(text: str) -> int | None:
    """ms, or None where it is no such date."""
    try:
        if _DAY.fullmatch(text):
            found = datetime.fromisoformat(text).replace(tzinfo=UTC)
        elif _TIME.fullmatch(text):
            found = datetime.fromisoformat(text).astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return (found - _EPOCH) // _MS


def write(ms: int) -> str:
    """The shortest text that `read` takes back to the same."""
    date = _EPOCH + ms * _MS
    if ms % 86_400_000 == 0:
        return date.date().isoformat()
    return date.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
