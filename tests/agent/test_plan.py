"""Does the plan spread the probes, keep its grid, and make up for nothing?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.plan import APART_S, STEP_S, Slots, plan, slots

INTERVALS = {"reach": 60.0, "dns": 300.0, "web": 300.0, "host": 60.0}


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(INTERVALS, "k3v9q2xa7m", 5.0) == plan(INTERVALS, "k3v9q2xa7m", 5.0)


def test_first_starts_are_within_the_first_interval() -> None:
    for name, grid in plan(INTERVALS, "k3v9q2xa7m", 1000.0).items():
        assert 1000 <= grid.first_s < 1000 + INTERVALS[name]


def test_a_thousand_probes_that_start_together_do_not_act_together() -> None:
    a_second = [0] * 60
    for number in range(1000):
        a_second[int(slots("reach", 60, f"probe{number:04}", 0.0).first_s)] += 1
    assert min(a_second) > 0
    assert max(a_second) <= 40  # 16.7 on average; a standard deviation is 4.1


def test_the_probes_of_one_home_do_not_start_together() -> None:
    first = [grid.first_s for grid in plan(INTERVALS, "k3v9q2xa7m", 0.0).values()]
    assert len(set(first)) == len(first)


@given(st.text("abcdefgh23456789", min_size=8, max_size=16), st.floats(0, 1e7))
def test_the_probes_of_one_home_start_close_together_so_that_one_commit_holds_them(seed: str, start_s: float) -> None:
    seconds = sorted(grid.first_s % STEP_S for grid in plan(INTERVALS, seed, start_s).values())
    gaps = [after - before for before, after in pairwise([*seconds, seconds[0] + STEP_S])]
    assert STEP_S - max(gaps) <= APART_S + 1e-6


def test_a_probe_whose_interval_changes_keeps_to_the_others_moment() -> None:
    before, after = slots("dns", 300, "k3v9q2xa7m", 17.0), slots("dns", 120, "k3v9q2xa7m", 4_321.0)
    assert before.first_s % STEP_S == pytest.approx(after.first_s % STEP_S)


GRID = Slots(first_s=10.0, interval_s=60.0)


@pytest.mark.parametrize(
    ("now_s", "next_s"), [(0, 10), (9.99, 10), (10, 70), (10.1, 70), (69, 70), (70, 130), (700, 730)]
)
def test_the_next_start_is_on_the_grid(now_s: float, next_s: float) -> None:
    assert GRID.next_after(now_s) == next_s


@pytest.mark.parametrize(("now_s", "missed"), [(70, False), (71, False), (100, False), (100.1, True), (5000, True)])
def test_a_start_is_missed_when_it_is_nearer_to_the_next(now_s: float, missed: bool) -> None:
    assert GRID.is_missed(70, now_s) is missed


@given(st.floats(0, 1e6), st.floats(0.05, 86_400), st.floats(0, 1e9))
def test_the_next_start_is_always_later_and_at_most_an_interval_away(first: float, interval: float, now: float) -> None:
    next_s = Slots(first_s=first, interval_s=interval).next_after(now)
    assert next_s > now
    assert next_s <= max(first, now + interval * (1 + 1e-9) + 1e-6)
