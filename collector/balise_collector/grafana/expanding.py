"""What does Grafana send to InfluxDB for a panel's query?

As its InfluxDB data source does in raw mode: macros of time and interval, then the dashboard's variables; a variable
that stands for all is its ``allValue``. Documented at grafana.com (InfluxDB template variables, global variables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

_STEPS_MS = (
    *(1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000, 900_000, 1_200_000, 1_800_000),
    *(3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000),
)
_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
_WINDOW = re.compile(r"(\d+)([smhdw])")
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")
POINTS = 1_000  # of a panel as wide as a screen


class UnknownVariableError(Exception):
    """A query names a variable that its dashboard does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What is looked at, UTC in ms, and how many points a panel draws, none shorter than ``least_ms``."""

    start_ms: int
    end_ms: int
    points: int = POINTS
    least_ms: int = 0

    @property
    def interval_ms(self) -> int:
        """Grafana's $__interval: the width of a point, rounded up to a step of a clock."""
        wanted = max(1, self.least_ms, (self.end_ms - self.start_ms) // self.points)
        return next((step for step in _STEPS_MS if step >= wanted), _STEPS_MS[-1])

    def over(self, window: str) -> Range:
        """The panel's own range (its timeFrom), ending where this ends."""
        return replace(self, start_ms=self.end_ms - duration_ms(window))


def expand(query: str, over: Range, variables: Mapping[str, str]) -> str:
    """The text that InfluxDB gets; `now()` is the end of what is looked at, so that an older day can be asked for.
    UnknownVariableError: a variable that is not known."""
    known = {
        **variables,
        "timeFilter": f"time >= {over.start_ms}ms and time <= {over.end_ms}ms",
        "__interval": written(over.interval_ms),
        "__interval_ms": str(over.interval_ms),
    }

    def value(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name not in known:
            raise UnknownVariableError(f"${name} in {query!r}")
        return known[name]

    return _VARIABLE.sub(value, query).replace("now()", f"{over.end_ms}ms")


def names(query: str) -> set[str]:
    """The variables that a query uses, macros aside."""
    found = {one or other for one, other in _VARIABLE.findall(query)}
    return found - {"timeFilter", "__interval", "__interval_ms"}


def duration_ms(window: str) -> int:
    """Of a text such as 10m. ValueError: it is none."""
    found = _WINDOW.fullmatch(window)
    if not found:
        raise ValueError(f"{window!r} is no duration; 10m is one")
    return int(found.group(1)) * dict(_UNITS)[found.group(2)]


def written(ms: int) -> str:
    """A duration as InfluxQL has it."""
    unit, size = next(((unit, size) for unit, size in _UNITS if ms % size == 0), ("ms", 1))
    return f"{ms // size}{unit}"
