"""What did a home get in a civil month, by the store, and what is frozen of it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from balise_collector.judge.rows import Derived
from balise_collector.stats.indicators import MEASUREMENTS, METHOD, Home, Indicator
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_bounds
from balise_collector.store import Point, Reader

TOLD_MS = 7 * 86_400_000  # an outage that began in the month may end after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A civil month, as year x 100 + month; ``end_ms`` is now where it is not over."""

    month: int
    start_ms: int
    end_ms: int
    is_over: bool

    @classmethod
    def of(cls, month: int, now_ms: int) -> Month:
        """ValueError: there is no such month, or it has not begun."""
        start_ms, end_ms = month_bounds(month)
        if now_ms <= start_ms:
            raise ValueError(month)
        return cls(month=month, start_ms=start_ms, end_ms=min(end_ms, now_ms), is_over=end_ms <= now_ms)


def of_home(reader: Reader, home: str, terms: Terms, month: Month) -> list[Indicator]:
    """The home's indicators, from what the store still has."""
    found = Home(terms, month.start_ms, month.end_ms)
    for measurement in MEASUREMENTS:
        end_ms = month.end_ms + (TOLD_MS if measurement == "outage" else 0)
        for point in reader.read(home, measurement, None, month.start_ms, end_ms):
            found.add(point)
    return found.indicators()


def kept_of(reader: Reader, home: str, month: Month) -> list[Indicator]:
    """The month as it was frozen, when raw measurements are long gone; none: it was not."""
    rows = reader.read(home, "month_indicator", None, month.start_ms, month.start_ms + 1)
    return [_thawed(row) for row in rows if row.fields.get("frozen") is True]


def of_month(reader: Reader, home: str, terms: Terms, month: Month) -> list[Indicator]:
    """As it was frozen, else of what the store has."""
    return kept_of(reader, home, month) or of_home(reader, home, terms, month)


def frozen(home: str, month: Month, indicators: list[Indicator]) -> Iterator[Derived]:
    """The month's rows of one home, as `month_indicator` has them."""
    for one in indicators:
        tags = {"home": home, "indicator": one.name}
        yield Derived(measurement="month_indicator", tags=tags, ts_ms=month.start_ms, fields=_fields(one, month))


def _fields(one: Indicator, month: Month) -> dict[str, Any]:
    told = {"value": one.value, "contract_bps": one.contract_bps}
    return {
        "month": month.month,
        "unit": one.unit,
        "n": one.n,
        "n_invalid": one.n_invalid,
        "n_failed": one.n_failed,
        "n_skipped": one.n_skipped,
        "validity": " ".join(f"{code}={n}" for code, n in one.validity.items()),
        "days": one.days,
        "coverage": one.coverage,
        "method": METHOD,
        "frozen": month.is_over,
    } | {name: value for name, value in told.items() if value is not None}


def _thawed(row: Point) -> Indicator:
    said = row.fields
    pairs = (code.rpartition("=") for code in str(said.get("validity", "")).split())
    counts = {name: int(said.get(name, 0)) for name in ("n", "n_invalid", "n_failed", "n_skipped", "days")}
    contract, value = said.get("contract_bps"), said.get("value")
    return Indicator(
        name=row.target,
        value=None if value is None else float(value),
        unit=str(said.get("unit", "")),
        contract_bps=None if contract is None else int(contract),
        validity={code: int(n) for code, _, n in pairs},
        coverage=float(said.get("coverage", 0.0)),
        **counts,
    )
