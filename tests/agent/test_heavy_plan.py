"""Do the tests that fill the line come when they may, and no oftener?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from balise_agent import civil
from balise_agent.budget import Contract, Count, bounds, cost, fits
from balise_agent.heavy_plan import (
    AGAIN_S,
    CAMPAIGN_DAYS,
    GAP_S,
    LATE_S,
    MOST_TRIES,
    SPACING_S,
    History,
    Next,
    Rules,
    Tried,
    next_tests,
    slots_of,
)

BASE = Contract(down_bps=10e6, up_bps=10e6)
FAST = Contract(down_bps=300e6, up_bps=50e6)
HOUR_S = 3600
CHANGES = [civil.day_from(text) for text in ("2026-03-29", "2026-10-25", "2027-03-28", "2027-10-31")]

seeds = st.text(min_size=1, max_size=22)
days = st.integers(min_value=20_400, max_value=22_000) | st.sampled_from(CHANGES)
contracts = st.sampled_from([Contract(), BASE, FAST, Contract(down_bps=1e9, up_bps=700e6)])
campaigns = st.none() | st.integers(min_value=-8, max_value=8)


def hour_of(at_s: float) -> float:
    return civil.second_of(at_s) / HOUR_S


@given(seeds, days, contracts, campaigns)
def test_slots_stand_in_their_windows_apart_and_never_on_the_hour(
    seed: str, day: int, contract: Contract, since: int | None
) -> None:
    rules = Rules(campaign_day=None if since is None else day + since)
    slots = [s for d in (day, day + 1) for s in slots_of(seed, d, contract, rules)]
    starts = [slot.start_s for slot in slots]
    assert all(b - a >= SPACING_S for a, b in pairwise(starts))
    assert all(civil.second_of(at_s) % HOUR_S >= 60 for at_s in starts)
    assert all(int(slot.id.split(".")[0]) == civil.day_of(slot.start_s) for slot in slots)
    assert all(slot.start_s < slot.end_s for slot in slots)
    for d in (day, day + 1):
        today = [slot for slot in slots if civil.day_of(slot.start_s) == d and slot.shape == "light"]
        hours = Counter(int(hour_of(slot.start_s)) for slot in today if slot.cause == "campaign")
        is_campaign = rules.campaign_day is not None and 0 <= d - rules.campaign_day < CAMPAIGN_DAYS
        assert hours == (Counter(range(18, 24)) if is_campaign else Counter())
        assert is_campaign or sum(19 <= hour_of(slot.start_s) < 23 for slot in today) >= 2
        assert any(2 <= hour_of(slot.start_s) < 6 for slot in today)
        assert len(today) == (8 if is_campaign else 4)


@given(seeds, days)
def test_a_week_has_one_full_test_where_the_line_is_fast_and_none_where_it_is_slow(seed: str, day: int) -> None:
    monday = day - (day + 3) % 7
    for contract, full in ((FAST, 1), (BASE, 0), (Contract(), 0)):
        slots = [slot for d in range(monday, monday + 7) for slot in slots_of(seed, d, contract, Rules())]
        assert Counter(slot.shape for slot in slots) == Counter(light=28, loaded=7, full=full) - Counter()


@given(seeds, days)
def test_another_seed_has_other_moments_and_the_same_one_the_same(seed: str, day: int) -> None:
    assert slots_of(seed, day, BASE, Rules()) == slots_of(seed, day, BASE, Rules())
    assert slots_of(seed, day, BASE, Rules()) != slots_of(seed + "x", day, BASE, Rules())


@given(seeds, days, st.data())
def test_a_line_in_use_is_tried_three_times_a_slot_inside_its_window_and_a_test_leaves_the_line_its_rest(
    seed: str, day: int, data: st.DataObject
) -> None:
    """A whole day is played: at each try a coin says whether the line was in use."""
    now_s, history = civil.utc_of(day, 0), History()
    tries: Counter[str] = Counter()
    tests: list[float] = []
    last: dict[str, float] = {}
    while upcoming := _today(seed, day, now_s, history):
        found = upcoming[0]
        now_s = max(now_s, found.at_s)
        slot = found.slot
        assert now_s < slot.end_s
        assert slot.id not in last or now_s - last[slot.id] >= AGAIN_S[0]
        assert not tests or now_s - tests[-1] >= GAP_S
        tries[slot.id] += 1
        busy = data.draw(st.booleans())
        tried = Tried(count=tries[slot.id], last_s=now_s, over=not busy)
        history = replace(history, tried={**history.tried, slot.id: tried})
        last[slot.id] = now_s
        if not busy:
            tests.append(now_s)
            history = replace(history, last_test_s=now_s)
    assert max(tries.values(), default=0) <= MOST_TRIES
    untried = [slot for slot in slots_of(seed, day, BASE, Rules()) if slot.id not in tries]
    assert all(
        any(slot.start_s - GAP_S - LATE_S <= at_s and at_s + GAP_S >= slot.end_s for at_s in tests) for slot in untried
    )


def _today(seed: str, day: int, now_s: float, history: History) -> list[Next]:
    found = next_tests(seed, BASE, Rules(), now_s, history)
    return [n for n in found if civil.day_of(n.slot.start_s) == day]


@given(seeds, days)
def test_a_slot_that_the_agent_slept_through_is_not_made_up_for(seed: str, day: int) -> None:
    first = slots_of(seed, day, BASE, Rules())[0]
    late_s = first.start_s + LATE_S + 1
    assert first.id not in {n.slot.id for n in next_tests(seed, BASE, Rules(), late_s, History())}


@given(seeds, days, contracts.filter(lambda c: c.down_bps is not None), campaigns)
def test_the_budget_is_twice_the_plan_and_holds_it_with_its_full_test_and_a_campaign_of_a_slow_line(
    seed: str, day: int, contract: Contract, since: int | None
) -> None:
    limits = bounds(contract)
    spent_month = 0
    for d in range(day, day + 28):
        spent = sum(cost(slot.shape, contract) for slot in slots_of(seed, d, contract, Rules()))
        spent_month += spent
        assert 2 * spent <= limits.day_bytes + 1
    assert 2 * spent_month <= limits.month_bytes + 2
    campaign = Rules(campaign_day=day)
    of_a_day = sum(cost(slot.shape, BASE) for slot in slots_of(seed, day, BASE, campaign))
    assert of_a_day <= bounds(BASE).day_bytes


def test_a_light_test_at_10_mbit_s_moves_10_mb_and_a_full_one_with_its_queue_38() -> None:
    assert cost("light", BASE) == 10_000_000
    assert cost("full", BASE) == 32_500_000 + 6_250_000
    assert cost("light", Contract()) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_bytes_fit_when_neither_the_day_nor_the_month_is_used_up(day: int, month: int, more: int) -> None:
    limits = bounds(BASE)
    fine = fits(limits, [Count(bytes=day)], [Count(bytes=month)], more)
    assert fine == (day + more <= limits.day_bytes and month + more <= limits.month_bytes)


def test_what_the_operator_set_counts_instead() -> None:
    limits = bounds(BASE, day_bytes=5)
    assert (limits.day_bytes, limits.month_bytes) == (5, bounds(BASE).month_bytes)
    assert not fits(limits, [Count(bytes=5)], [], 1)
