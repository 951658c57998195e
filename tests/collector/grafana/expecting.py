"""Which alert ought to fire at a minute, by what judge and collector said alone? Each rule again, in Python's words.

A table beside `alerts.ALERTS`, that shares no query and no threshold with it: the series that are in a bad state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.collector.grafana.evaluator import MINUTE_MS
from tests.collector.grafana.town import Told

Keys = set[tuple[str, str]]
_SERVICES = ("internet", "television", "telephone")
_BURNS = {"fast": ((60, 10), 0.072), "mid": ((360, 30), 0.03), "slow": ((72 * 60, 360), 0.005)}
_PLACES: dict[str, tuple[str, set[int]]] = {
    "balise-pon-down": ("pon:internet", {2}),
    "balise-building-down": ("building:internet", {2}),
    "balise-core-down": ("olt|card|core", {2}),
    "balise-headend": ("headend", {2}),
    "balise-channel": ("channel", {1, 2}),
    "balise-registrar": ("registrar", {2}),
    "balise-names": ("dns|target|upstream", {1, 2}),
}
_HERE = {"balise-tv-here": "television", "balise-voice-here": "telephone"}


def expect(told: Told, now_ms: int) -> dict[str, Keys]:
    """Of each alert the series that are in a bad state."""
    found = {uid: _elements(told, now_ms, *which) for uid, which in _PLACES.items()}
    well = {place for _, place in _elements(told, now_ms, "(pon|building):internet", {0, 1})}
    for uid, service in _HERE.items():
        down = _elements(told, now_ms, f"(pon|building):{service}", {2})
        found[uid] = {(target, place) for target, place in down if place in well}
    for service in _SERVICES:
        for speed, (windows, most) in _BURNS.items():
            bad = all(_share(told, now_ms, service, "down", minutes) > most for minutes in windows)
            found[f"balise-burn-{speed}-{service}"] = _one(bad)
    lines = _share(told, now_ms, "telephone", "down", 11) > 0.02 > _share(told, now_ms, "internet", "down", 11)
    found["balise-lines"] = _one(lines)
    found["balise-silent-probes"] = _one(_share(told, now_ms, "probe", "unknown", 15) > 0.05)
    found["balise-clocks"] = {
        (target, home)
        for target, home, fields in _newest(told, now_ms, "home_state", 11)
        if target == "probe" and fields["state"] == 1 and fields["evidence"] == "clock"
    }
    hours = _newest(told, now_ms, "rollup_hour", 150)
    found["balise-latency"] = _one(
        any(target == "fleet:reach.p95_us.op" and fields["p95"] > 100_000 for target, _, fields in hours)
    )
    return found | _platform(told, now_ms)


def _platform(told: Told, now_ms: int) -> dict[str, Keys]:
    """A judge that has said nothing for five minutes is mute; of the others nothing is known then."""
    newest = list(_newest(told, now_ms, "platform", 5))
    return {
        "balise-judge-mute": _one(not newest),
        "balise-collector-late": {(part, "") for part, _, fields in newest if fields.get("lag_s", 0.0) > 300},
        "balise-quarantine": {(part, "") for part, _, fields in newest if fields.get("dead_letters", 0) > 100},
        "balise-disk": {(part, "") for part, _, fields in newest if fields.get("disk_free_kb", 9e9) < 5_000_000},
    }


def _elements(told: Told, now_ms: int, scopes: str, states: set[int]) -> Keys:
    """Those that are in one of these states; not known is no fault."""
    return {
        (target, place)
        for target, place, fields in _newest(told, now_ms, "element_state", 11)
        if re.match(rf"({scopes})(:|$)", target) and fields["state"] in states
    }


def _newest(told: Told, now_ms: int, measurement: str, minutes: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The last row of each series, where it is not older."""
    for (kind, target, place), rows in told.rows.items():
        if kind == measurement and (date := next(reversed(rows))) >= now_ms - minutes * MINUTE_MS:
            yield target, place, rows[date]


def _share(told: Told, now_ms: int, service: str, what: str, minutes: int) -> float:
    """Of the fleet's homes, counted at each row of the last minutes."""
    rows = told.rows["element_state", f"fleet:{service}", ""]
    seen = [fields for date, fields in rows.items() if date >= now_ms - minutes * MINUTE_MS]
    if what == "unknown":
        return 1 - _sum(seen, "known") / _sum(seen, "homes")
    return _sum(seen, what) / _sum(seen, "known")


def _sum(rows: Iterable[dict[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows))


def _one(bad: bool) -> Keys:
    return {("", "")} if bad else set()
