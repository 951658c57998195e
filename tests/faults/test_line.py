"""Do rate, loss and delay under load come out as the line between two hosts has them?

The line is `bench/relay`; its truth is arithmetic. Bounds are wide for a machine that is shared: `python -m
bench.throughput` has the figures.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.relay.line import FAR, Line, Way, line, why_not
from bench.relay.peers import engine, target

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"no emulated line: {why_not()}")

SLOW = Way(rate_bps=10_000_000, delay_ms=5, queue_ms=100)


def measured(folder: Path, down: Way, up: Way, **spec: Any) -> tuple[Mapping[str, Any], Line]:
    with line(down, up, seed=7) as there, target(there, folder) as port:
        told = engine(there, port, **spec)
    return told, there


def test_a_line_delays_and_loses_what_it_was_told_to() -> None:
    lossy = Way(rate_bps=10_000_000, delay_ms=5, queue_ms=100, loss=0.1)
    with line(lossy, SLOW, seed=1) as there:
        ping = subprocess.run(
            there.at("home", "ping", "-q", "-c", "200", "-i", "0.005", FAR), capture_output=True, text=True, check=True
        )
    fastest_ms = float(ping.stdout.rpartition("= ")[2].split("/")[0])
    assert 10 <= fastest_ms < 15
    down, up = there.counters["down"], there.counters["up"]
    assert down["in"] == down["out"] + down["lost"] + down["dropped"]
    assert 5 <= down["lost"] <= 45  # 200 draws of one in ten
    assert (up["lost"], up["dropped"]) == (0, 0)


@pytest.mark.parametrize("af", [4, 6])
def test_a_slow_line_reads_its_rate_each_way(tmp_path: Path, af: int) -> None:
    told, _ = measured(tmp_path, SLOW, SLOW, af=af)
    assert told["outcome"] == "ok"
    assert told["af"] == af
    for way in ("down", "up"):
        assert 0.98 <= told[f"{way}_bps"] / SLOW.goodput_bps(af) <= 1.01
        assert told[f"{way}_counter"] == "segments"
        assert told[f"{way}_min_rtt_us"] >= 10_000


def test_a_lossy_line_reads_its_rate_and_its_loss(tmp_path: Path) -> None:
    lossy = Way(rate_bps=20_000_000, delay_ms=5, queue_ms=200, loss=0.01)
    told, there = measured(tmp_path, lossy, SLOW, only="down", contract_down_bps=100_000_000)
    assert told["down_cc"] == "bbr"
    assert 0.95 <= told["down_bps"] / lossy.goodput_bps() <= 1.01
    down = there.counters["down"]
    assert told["down_retrans_ratio"] == pytest.approx((down["lost"] + down["dropped"]) / down["in"], abs=0.005)
    assert told["limited_by"] != "none"  # a tenth of the contract, and packets are lost


def test_delay_under_load_is_the_lines_own_queue(tmp_path: Path) -> None:
    told, _ = measured(tmp_path, SLOW, SLOW, kind="loaded")
    assert told["outcome"] == "ok"
    for way in ("down", "up"):
        assert told[f"{way}_cc"] == "cubic"
        rise_ms = (told[f"{way}_loaded_p95_us"] - told["idle_p50_us"]) / 1_000
        assert 0.8 <= rise_ms / SLOW.queue_ms <= 1.25
        assert told[f"{way}_rpm"] < 60_000 / (10 + 0.5 * SLOW.queue_ms)
