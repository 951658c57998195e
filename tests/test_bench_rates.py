"""Do the rows of rates say what holds, what is short and why, and take no figure of a machine that was too busy?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # `bench` is no part of the distribution

from bench import rate_rows, table
from bench.__main__ import ALL
from bench.throughput import CASES, GOAL, GOAL_SHORT_QUEUE


def run(**changes: Any) -> dict[str, Any]:
    """One run at 50 Mbit/s as `bench.throughput` tells it."""
    told = {"mbps": 50, "rtt_ms": 10, "queue_ms": 200, "goal": GOAL, "limited_by": "none", "at_once": 1}
    return told | {"down_ratio": 1.001, "up_ratio": 0.999, "down_iperf3_ratio": 0.98, "up_iperf3_ratio": 1.0} | changes


def test_the_worst_figure_of_a_rate_stands_beside_the_worst_of_iperf3() -> None:
    (row,) = rate_rows._truth([run(), run(up_ratio=0.997)])
    assert (row.figure, row.peer_figure, row.holds) == (0.3, 2.0, True)
    assert "BBR" in row.conditions
    assert "oracle" in row.conditions
    assert row.beside.startswith("4 of 4 figures within the goal")


def test_a_figure_that_is_off_is_named_with_its_line() -> None:
    (row,) = rate_rows._truth([run(), run(down_ratio=0.98, rtt_ms=1)])
    assert row.holds is False
    assert "down RTT 1 queue 200: 0.98" in row.beside


def test_a_run_that_says_that_a_processor_was_the_limit_is_no_figure() -> None:
    (row,) = rate_rows._truth([run(), run(down_ratio=0.5, limited_by="probe_cpu")])
    assert (row.holds, "1 of 2 runs said" in row.beside) == (True, True)
    (row,) = rate_rows._truth([run(limited_by="probe_cpu")])
    assert row.holds is None


def test_a_queue_below_the_round_trip_has_a_row_and_a_goal_of_its_own() -> None:
    rows = list(rate_rows._truth([run(), run(queue_ms=20, rtt_ms=40, goal=GOAL_SHORT_QUEUE, down_ratio=0.985)]))
    assert [(row.goal, row.holds) for row in rows] == [("<= 2 %", True), ("<= 0.5 %", True)]


def test_a_probe_without_processor_is_right_or_says_so() -> None:
    def held(percent: int, **changes: Any) -> dict[str, Any]:
        return run(cpu_percent=percent, **changes)

    found = [held(10), held(5, down_ratio=0.8, limited_by="probe_cpu"), held(2, down_ratio=0.8)]
    assert [row.holds for row in rate_rows._held(found)] == [True, True, False]


def test_parts_that_were_measured_apart_make_one_table() -> None:
    (first,) = rate_rows._truth([run()])
    (again,) = rate_rows._truth([run(up_ratio=0.997)])
    (other,) = rate_rows._truth([run(mbps=300)])
    told = json.loads(json.dumps(table.as_json([first, other])))
    assert table.added(told, [again]) == [again, other]
    assert table.added(table.as_json([other]), [again]) == [other, again]


def test_the_bench_has_it_by_name() -> None:
    assert {"throughput", *rate_rows.PARTS} <= set(ALL)
    assert set(CASES) >= {"truth", "loss", "loaded", "cpu", "loopback", "indicative", "udp"}
