"""What does watching a line cost, how soon is a fault known, and what does a tenant notice? As rows of the table."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator

from bench import ladder, tenant
from bench.table import Row

_LINE = "namespaces, the real runner and windows at the real cadence: STAMP each 1.5 s, four rungs and a name each 10 s"
HOMES = 6  # side by side
_HOUSE = "miniupnpd 2.3.1 and relay.c in namespaces, 10 Mbit/s each way, RTT 10 ms, queue 100 ms, BBR at the target"


def cost_rows(runs: int | None) -> Iterator[Row]:
    """What all rungs cost, over so often 90 s."""
    (cost,) = ladder.cost(argparse.Namespace(seconds=(runs or 1) * 90.0))
    for work, name, times, unit, goal in (
        ("steady reach, all rungs: processor", "cpu_of_a_core", 100, "% of a core", ladder.GOAL_CPU),
        ("steady reach, all rungs: line", "line_gb_a_month", 1, "GB a month", ladder.GOAL_GB),
    ):
        figure = float(cost[name])
        yield _row(work, unit, [figure * times], f"<= {goal * times:g}", holds=figure <= goal, conditions=_LINE)


def place_rows(runs: int | None) -> Iterator[Row]:
    """Each fault's class, so often."""
    found = list(ladder.place(argparse.Namespace(runs=runs or 1, homes=HOMES, families=(4, 6), seed=1)))
    for goal_s in (ladder.GOAL_STEADY_S, ladder.GOAL_OTHER_S):
        mine = [row for row in found if row["goal"] == goal_s]
        seconds = [float(row["seconds"]) if row["right"] else ladder.PATIENCE_S for row in mine]
        which = "the steady echo misses it" if goal_s == ladder.GOAL_STEADY_S else "other rungs alone"
        right = sum(row["right"] for row in mine)
        yield _row(
            f"fault injected to class known, {which}, worst",
            "s",
            [max(seconds)],
            f"<= {goal_s:.0f} s",
            holds=right == len(mine) and max(seconds) <= goal_s,
            conditions=_LINE,
            beside=f"IPv4 alone and IPv6 alone; {right} of {len(mine)} classed right, median"
            f" {statistics.median(seconds):.1f} s",
        )


def tenant_rows(runs: int | None) -> Iterator[Row]:
    """Tests over a tenant's use, and how soon one is ended."""
    for rows in PARTS.values():
        yield from rows(runs)


def _use_rows(runs: int | None) -> Iterator[Row]:
    (use,) = tenant.use(runs or 3)
    yield _row(
        "heavy tests run over a tenant's 0.6 Mbit/s",
        "tests",
        [float(use["ran"])],
        "0",
        holds=bool(use["holds"]),
        conditions=_HOUSE,
        beside=f"{use['asked']} asked for",
    )


def _abort_rows(runs: int | None) -> Iterator[Row]:
    ends = [float(row["seconds"]) for row in tenant.abort(runs or 3)]
    what = "tenant's first byte to the test's end, worst"
    goal = f"<= {tenant.GOAL_ABORT_S} s"
    holds = max(ends) <= tenant.GOAL_ABORT_S
    yield _row(what, "s", [max(ends)], goal, holds=holds, conditions=_HOUSE, beside=f"{_listed(ends)} s")


def _call_rows(runs: int | None) -> Iterator[Row]:
    calls = list(tenant.call(runs or 3))
    for knows in (True, False):
        rows = [row for row in calls if row["knows"] is knows]
        well = [float("inf") if row["well_s"] is None else float(row["well_s"]) for row in rows]
        yield _row(
            f"call as before after its start, {'' if knows else 'the first test of a probe, '}worst",
            "s",
            [max(well)],
            f"<= {tenant.GOAL_CALL_S} s",
            holds=max(well) <= tenant.GOAL_CALL_S,
            conditions=_HOUSE,
            beside=f"{_listed(well)} s; lost of 800: {_listed(row['lost'] for row in rows)}; the test ended after"
            f" {_listed(row['test_ended_s'] for row in rows)} s",
        )


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _row(work: str, unit: str, runs: list[float], goal: str, *, holds: bool, conditions: str, beside: str = "") -> Row:
    return Row(
        work=work,
        unit=unit,
        figure=statistics.median(runs),
        goal=goal,
        holds=holds,
        runs=tuple(runs),
        conditions=conditions,
        beside=beside,
    )


PARTS: dict[str, Callable[[int | None], Iterator[Row]]] = {
    "tenant-use": _use_rows,
    "tenant-abort": _abort_rows,
    "tenant-call": _call_rows,
}
"""Of `tenant`, by name: a call's three runs take five minutes."""
