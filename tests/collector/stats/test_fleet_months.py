"""Is a month over all homes one of homes, each with its own figure, and does it say how many?"""

from __future__ import annotations

import pytest

from balise_collector.stats.fleet_months import FleetMonth
from balise_collector.stats.indicators import Indicator
from balise_collector.stats.months import Month

MONTH = Month(month=202610, start_ms=1_000, end_ms=2_000, is_over=True)


def gathered(*values: float | None) -> dict[str, object]:
    fleet = FleetMonth()
    for at, value in enumerate(values):
        fleet.add([Indicator(name="availability", value=value, unit="1", coverage=at / 10)])
    (row,) = fleet.rows(MONTH)
    assert (row.measurement, row.tags, row.ts_ms) == ("month_fleet", {"indicator": "availability"}, 1_000)
    return row.fields


def test_percentiles_are_of_homes() -> None:
    found = gathered(*(value / 100 for value in range(100, 80, -1)))
    assert (found["p10"], found["p50"], found["p90"]) == (0.82, 0.90, 0.98)
    assert (found["n"], found["homes"], found["month"], found["frozen"]) == (20, 20, 202610, True)


def test_a_home_without_a_figure_counts_as_followed_and_its_coverage_too() -> None:
    found = gathered(0.5, None, 0.7)
    assert (found["p10"], found["p50"], found["n"], found["homes"]) == (0.5, 0.5, 2, 3)
    assert found["coverage"] == pytest.approx(0.1)


def test_where_no_home_has_a_figure_there_is_none() -> None:
    found = gathered(None)
    assert {"p10", "p50", "p90"}.isdisjoint(found)
    assert (found["n"], found["homes"]) == (0, 1)


def test_a_month_of_nobody_has_no_row() -> None:
    assert list(FleetMonth().rows(MONTH)) == []
