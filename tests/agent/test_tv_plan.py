"""Does the plan of television depend on nothing that the household does, and does a day tell nothing of it?"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.catalogue import CATALOGUE
from balise_agent.channels import Channel
from balise_agent.probes import tv_plan
from balise_agent.probes.tv_plan import Kept, Plan, Watch

NOON_S = 1_800_000_000.0


def channels(count: int) -> tuple[Channel, ...]:
    return tuple(Channel(label=f"c{n:02}", url=f"udp://239.0.1.{n}:5004") for n in range(1, count + 1))


def plan(count: int = 6, **more: object) -> Plan:
    return replace(Plan(seed="probe001", channels=channels(count), listen_s=10, down_bps=300e6), **more)  # type: ignore[arg-type]


def a_day(plan: Plan, kept: Kept, answers: random.Random) -> list[tuple[int, str]]:
    """What a probe watches in a day, on a line that answers in its own way to each join."""
    watched = []
    for second in range(0, 86_400, 60):
        kept, _ = tv_plan.today(kept, NOON_S + second)
        watch = tv_plan.due(plan, kept, NOON_S + second)
        if watch is None:
            continue
        kept = tv_plan.taken(kept, watch)
        if answers.random() < 0.3:
            kept = tv_plan.refused(kept, "line_busy")
            continue
        kept = tv_plan.begun(kept, watch)
        watched.append((second, watch.channel.label))
        kept = tv_plan.joined(kept, answers.choice([None, 0.3, 40.0]), answers.choice([None, 20.0, 9e9]))
    return watched


@pytest.mark.parametrize("count", [1, 6, 25, 27, 60])
def test_each_channel_comes_once_a_round_in_an_order_that_the_identity_draws(count: int) -> None:
    drawn = [tv_plan.channel_of(plan(count), slot).label for slot in range(10 * count)]
    for start in range(0, len(drawn), count):
        assert len(set(drawn[start : start + count])) == count
    if count > 5:
        assert drawn[:count] != drawn[count : 2 * count]
        assert drawn[:count] != [tv_plan.channel_of(plan(count, seed="probe002"), s).label for s in range(count)]
        assert drawn[:count] != sorted(drawn[:count])


def test_the_order_of_the_list_changes_nothing() -> None:
    turned = plan(27, channels=channels(27)[::-1])
    assert [tv_plan.channel_of(turned, s) for s in range(100)] == [tv_plan.channel_of(plan(27), s) for s in range(100)]


@given(seed=st.integers(), fast=st.integers())
def test_what_is_watched_when_is_the_same_whatever_the_line_answered(seed: int, fast: int) -> None:
    """A line on which a set-top box watches answers joins faster; the next slots must not depend on it."""
    first, second = (Kept(slot=-1), Kept(slot=-1))
    one, other = random.Random(seed), random.Random(fast)
    the_plan = plan(6)
    for step in range(60):
        wall_s = NOON_S + 300 * step
        mine, theirs = tv_plan.due(the_plan, first, wall_s), tv_plan.due(the_plan, second, wall_s)
        assert mine == theirs
        if mine is None:
            continue
        first, second = tv_plan.taken(first, mine), tv_plan.taken(second, mine)
        first = tv_plan.joined(first, one.choice([None, 0.2, 30.0, 400.0]), one.choice([None, 1.0, 1e6]))
        second = tv_plan.refused(second, "line_busy") if other.random() < 0.5 else tv_plan.joined(second, 0.1, None)


def test_a_day_at_five_minutes_sees_every_channel_about_as_often() -> None:
    seen = Counter(label for _, label in a_day(plan(27), Kept(), random.Random(1)))
    assert len(seen) == 27
    everything = Counter(tv_plan.channel_of(plan(27), slot).label for slot in range(6_000_000, 6_000_288))
    assert set(everything.values()) <= {10, 11, 12}


@pytest.mark.parametrize(
    ("down_bps", "every_s"), [(None, 3_600), (10e6, 3_600), (50e6, 3_600), (50e6 + 1, 300), (1e9, 300)]
)
def test_a_slow_or_unknown_line_is_sampled_once_an_hour(down_bps: float | None, every_s: float) -> None:
    assert plan(down_bps=down_bps).period_s == every_s


def test_a_slot_is_taken_once_and_one_that_was_refused_is_not_made_up_for() -> None:
    watch = tv_plan.due(plan(), Kept(), NOON_S)
    assert watch is not None
    kept = tv_plan.refused(tv_plan.taken(Kept(), watch), "line_busy")
    edge_s = next(s for s in range(1, 301) if tv_plan.slot_of(plan(), NOON_S + s) != watch.slot)
    assert all(tv_plan.due(plan(), kept, NOON_S + s) is None for s in range(edge_s))
    after = tv_plan.due(plan(), kept, NOON_S + edge_s)
    assert after is not None
    assert after.slot == watch.slot + 1


def test_uhd_is_watched_only_where_the_plan_says_so() -> None:
    heavy = Channel(label="uhd", url="udp://239.0.2.1:5004", rate_bps=25_000_000, uhd=True)
    both = plan(channels=(*channels(2), heavy))
    assert [c.label for c in both.watched] == ["c01", "c02"]
    assert [c.label for c in replace(both, uhd=True).watched] == ["c01", "c02", "uhd"]
    assert tv_plan.due(plan(channels=(heavy,)), Kept(), NOON_S) is None


def test_the_budget_is_twice_the_plan_and_never_passed() -> None:
    the_plan = plan(6, day_bytes=None)
    watch = Watch(channel=channels(1)[0], slot=1, bytes=the_plan.cost(channels(1)[0]))
    assert watch.bytes == 20_000_000  # 8 s of zap, 10 s, 2 s of leave, at 8 Mbit/s
    assert the_plan.limit_bytes == 2 * 288 * watch.bytes
    kept = Kept()
    while tv_plan.refusal(the_plan, kept, watch, "idle", "box") is None:
        kept = tv_plan.begun(kept, watch)
    assert kept.bytes == the_plan.limit_bytes
    assert tv_plan.refusal(the_plan, kept, watch, "idle", "box") == "budget"
    assert tv_plan.refusal(replace(the_plan, day_bytes=0), Kept(), watch, "idle", "box") == "budget"


@pytest.mark.parametrize(
    ("use", "by", "why"),
    [
        ("idle", "box", None),
        ("busy", "box", "line_busy"),
        ("busy", "rtt", "line_busy"),
        ("unknown", "rtt", None),
        ("unknown", None, "gate_unknown"),
    ],
)
def test_the_gate_decides_as_for_a_light_test(use: str, by: str | None, why: str | None) -> None:
    watch = tv_plan.due(plan(), Kept(), NOON_S)
    assert watch is not None
    assert tv_plan.refusal(plan(), Kept(), watch, use, by) == why


# what a day tells


def told(joins: list[float | None], leaves: list[float | None]) -> list[dict[str, object]]:
    kept = Kept(day=5, planned=len(joins), run=len(joins))
    for join_ms, leave_ms in zip(joins, leaves, strict=True):
        kept = tv_plan.joined(kept, join_ms, leave_ms)
    return [{"m": r.measurement, "k": r.target, **r.fields} for r in tv_plan.records_of(kept, plan(), "tv", 7)]


def test_a_channel_that_somebody_watches_leaves_the_same_record_of_the_day() -> None:
    slow = [20.0 + n for n in range(40)]
    quiet = told([*slow], [30.0] * 40)
    watched = told([*slow[:-1], 0.2], [*[30.0] * 39, math.inf])  # one fast join, one leave without an end
    assert [record.keys() for record in quiet] == [record.keys() for record in watched]
    assert quiet[1]["n"] == watched[1]["n"] == 40
    assert watched[1]["zap_network_p95_ms"] in slow


def test_no_channel_and_no_order_of_time_is_in_what_is_told_or_kept(tmp_path: Path) -> None:
    kept = Kept(day=5, planned=3, run=3)
    for join_ms in (90.0, 10.0, 50.0):
        kept = tv_plan.joined(kept, join_ms, join_ms)
    assert kept.joins_ms == kept.leaves_ms == (10.0, 50.0, 90.0)
    tv_plan.save(tmp_path / "tv.json", kept)
    assert "c0" not in (tmp_path / "tv.json").read_text()
    assert {record["k"] for record in told([10.0] * 12, [None] * 12)} == {"tv", ""}


def test_percentiles_are_of_ten_joins_at_least() -> None:
    few, enough = told([10.0] * 9, [None] * 9)[1], told([float(n) for n in range(10, 30)], [None] * 20)[1]
    assert "zap_network_p50_ms" not in few
    assert (enough["zap_network_p50_ms"], enough["zap_network_p95_ms"]) == (19.0, 28.0)
    assert "leave_p95_ms" not in enough


def test_a_day_is_told_once_by_names_of_the_catalogue() -> None:
    kept, over = tv_plan.today(Kept(), NOON_S)
    assert over is None
    kept = tv_plan.refused(replace(kept, planned=3), "line_busy")
    kept = tv_plan.joined(tv_plan.joined(kept, 12.0, 40.0), None, None)
    assert tv_plan.today(kept, NOON_S + 60) == (kept, None)
    fresh, over = tv_plan.today(kept, NOON_S + 86_400)
    assert over == kept
    assert (fresh.planned, fresh.joins_ms, fresh.slot) == (0, (), kept.slot)
    for record in tv_plan.records_of(kept, plan(), "tv", 7):
        assert {*record.fields} <= {f.name for f in CATALOGUE[record.measurement].fields}


def test_what_is_kept_comes_back_and_a_damaged_file_is_a_fresh_start(tmp_path: Path) -> None:
    path = tmp_path / "tv.json"
    assert tv_plan.load(path) == Kept()
    kept = tv_plan.refused(tv_plan.joined(Kept(slot=9, day=5, planned=2, run=1, bytes=7), 12.0, 40.0), "budget")
    tv_plan.save(path, kept)
    assert tv_plan.load(path) == kept
    path.write_text('{"slot": "x"}')
    assert tv_plan.load(path) == Kept()
