"""Does the pilot's headline say of itself what skipped tests do to it?"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3]))  # `bench` is no part of the distribution

from balise_collector.stats.pilot import Figure, leans
from bench.skipped import Case, Found, interval, over_seeds

HOMES, SEEDS = 60, 2


def pilots(case: Case) -> list[Found]:
    return over_seeds(case, SEEDS, HOMES)


def test_the_slowest_tests_skipped_raise_the_headline_and_it_says_so() -> None:
    found = pilots(Case(follows=1.0))
    assert all(one.bias > 0.5 for one in found)
    assert {one.leans for one in found} == {"high"}


def test_the_missing_share_is_what_busy_homes_skipped() -> None:
    found = pilots(Case())
    assert all(one.missing == pytest.approx(0.2, abs=0.05) for one in found)  # 40 % of half of the homes
    assert statistics.fmean(one.bias for one in found) > 0.5


def test_where_nothing_is_skipped_the_headline_is_the_truth_and_leans_nowhere() -> None:
    found = pilots(Case(share=0.0))
    assert [(one.bias, one.missing, one.leans) for one in found] == [(0.0, 0.0, "")] * SEEDS


def test_a_figure_of_no_home_leans_nowhere() -> None:
    assert leans(Figure(indicator="x", what="median", value=None, unit="1")) == ""


def test_an_interval_is_around_the_mean() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert mean - low == pytest.approx(high - mean)
