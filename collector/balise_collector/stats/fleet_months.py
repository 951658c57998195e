"""What did homes get in a civil month, all of them together, and what is frozen of it?

Rule 1: the home is the unit: a percentile is one of homes' own figures, never of their measurements.
Rule 2: it is not the pilot's figure (`pilot.py`): not weighted, and of all homes; for those who run the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from balise_collector.judge.rows import Derived
from balise_collector.stats.indicators import METHOD, Indicator
from balise_collector.stats.months import Month

PERCENTILES = (10, 50, 90)


@dataclass(slots=True)
class _Gathered:
    """One indicator's figures, and the coverage of each home that was followed."""

    unit: str
    values: list[float] = field(default_factory=list)
    coverages: list[float] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        told = {f"p{percent}": _ranked(sorted(self.values), percent) for percent in PERCENTILES if self.values}
        homes, coverage = len(self.coverages), math.fsum(self.coverages) / len(self.coverages)
        return told | {"unit": self.unit, "n": len(self.values), "homes": homes, "coverage": coverage}


class FleetMonth:
    """Homes are added one after the other, each once."""

    def __init__(self) -> None:
        self._gathered: dict[str, _Gathered] = {}

    def add(self, indicators: Iterable[Indicator]) -> None:
        """One home's."""
        for one in indicators:
            gathered = self._gathered.setdefault(one.name, _Gathered(one.unit))
            gathered.coverages.append(one.coverage)
            if one.value is not None:
                gathered.values.append(one.value)

    def rows(self, month: Month) -> Iterator[Derived]:
        """The month's, as `month_fleet` has them."""
        more = {"month": month.month, "method": METHOD, "frozen": month.is_over}
        for name in sorted(self._gathered):
            fields = self._gathered[name].fields() | more
            yield Derived(measurement="month_fleet", tags={"indicator": name}, ts_ms=month.start_ms, fields=fields)


def _ranked(values: Sequence[float], percent: int) -> float:
    """The least value that so many of a hundred do not exceed."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]
