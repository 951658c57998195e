"""How often do homes go silent of their own accord, by group and half hour of the civil day?

Learned from the days before: in each of the last 28, the minutes of a half hour in which somebody of the group was
lost. Minutes, not losses: the forty of one cut count once, so that a fault never makes the next one look ordinary.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from balise_collector.judge.settings import Settings
from balise_collector.judge.shared import Element, tail

PARIS = ZoneInfo("Europe/Paris")
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
HALF_HOURS = 48
LEARNED_DAYS = 28
MAY_BE = 0.01
_EVERYBODY: Element = ("operator", "*")
_OWN_DAYS = 10.0  # home-days of the fleet's rate that a group's own stands beside, so that three nights prove little
_EVENING = range(42, 48)  # 21 h to midnight, and the hour after it: where habits are not known yet
_NIGHT = range(2)


@lru_cache(maxsize=8_192)
def offset_ms(hour: int) -> int:
    """Of Paris in that hour since 1970."""
    offset = datetime.fromtimestamp(hour * 3_600, UTC).astimezone(PARIS).utcoffset()
    return 0 if offset is None else int(offset.total_seconds() * 1_000)


def civil(ts_ms: int) -> tuple[int, int]:
    """Civil day since 1970 and half hour of it."""
    local = ts_ms + offset_ms(ts_ms // HOUR_MS)
    return local // DAY_MS, local % DAY_MS // (HOUR_MS // 2)


class Habits:
    """Counts by day; the rate at a date is of the days before that date's."""

    __slots__ = ("_cache", "_first", "_minutes", "_settings", "_size")

    def __init__(self, settings: Settings, size: Mapping[Element, int], everybody: int) -> None:
        self._settings, self._size = settings, {**size, _EVERYBODY: everybody}
        self._minutes: dict[int, dict[Element, dict[int, set[tuple[int, str]]]]] = {}
        self._cache: dict[tuple[Element, int, int], float] = {}
        self._first: list[int] = []

    def lost(self, ts_ms: int, groups: tuple[Element, ...]) -> int | None:
        """Somebody was lost then. A date from which on rates change by it, where any does."""
        day, half = civil(ts_ms)
        minute = ts_ms // 60_000
        pon = next((code for scope, code in groups if scope == "pon"), "")
        changed = False
        for element in (*groups, _EVERYBODY):
            seen = self._minutes.setdefault(day, {}).setdefault(element, {}).setdefault(half, set())
            when = (minute, "" if element[0] in ("building", "pon") else pon)  # a fleet loses somebody each minute
            changed |= when not in seen
            seen.add(when)
        if day not in self._first[:1] and (not self._first or day < self._first[0]):
            self._first = [day]
            self._cache.clear()
        if changed and any(key[1] > day for key in self._cache):
            self._cache = {key: rate for key, rate in self._cache.items() if key[1] <= day}
            return (day + 1) * DAY_MS - 3 * HOUR_MS
        return None

    def rate(self, element: Element, ts_ms: int) -> float:
        """Chance that one home of it goes silent within the window at that date."""
        day, half = civil(ts_ms)
        key = (element, day, half)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._learned(element, day, half)
        return found

    def may_be_off(self, element: Element, from_ms: int, away: int, homes: int, to_ms: int) -> bool:
        """Whether it is no great chance that so many of so many homes of it went silent between two dates."""
        return tail(away, homes, self._within(element, from_ms, to_ms)) > MAY_BE

    def _within(self, element: Element, from_ms: int, to_ms: int) -> float:
        """Chance of one home; what it is after two days it stays."""
        stays, step_ms = 1.0, HOUR_MS // 2
        for at_ms in range(from_ms, min(to_ms, from_ms + 2 * DAY_MS), step_ms):
            windows = min(step_ms, to_ms - at_ms) / (self._settings.window_s * 1_000)
            stays *= (1 - self.rate(element, at_ms)) ** windows
        return 1 - stays

    def _learned(self, element: Element, day: int, half: int) -> float:
        settings = self._settings
        known = min(LEARNED_DAYS, max(0, day - (self._first[0] if self._first else day)))
        floor = settings.floor_per_day / 1_440
        fleet = self._seen(_EVERYBODY, day, half, known) / max(1.0, known * 30.0 * self._size[_EVERYBODY])
        if known < settings.cold_days and (half in _EVENING or half in _NIGHT):
            fleet = max(fleet, settings.cold_evening_per_min)
        exposure = known * float(max(1, self._size.get(element, 1)))
        own = self._seen(element, day, half, known) / 30.0
        blended = (own + fleet * _OWN_DAYS) / (exposure + _OWN_DAYS)
        per_minute = max(floor, fleet, blended)
        return min(0.5, per_minute * settings.window_s / 60 * settings.overdispersion)

    def _seen(self, element: Element, day: int, half: int, days: int) -> float:
        """Minutes with a loss in that half hour of the days before; the neighbours' count where they are more."""
        most = 0.0
        for near in (half - 1, half, half + 1):
            total = 0
            for before in range(day - days, day):
                seen = self._minutes.get(before, {}).get(element, {}).get(near % HALF_HOURS)
                total += len(seen) if seen else 0
            most = max(most, total * (1.0 if near == half else 0.7))
        return most
