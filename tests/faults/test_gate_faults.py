"""Is a home's line left alone while somebody uses it, behind a real box (miniupnpd) on a line of 10 Mbit/s?

`python -m bench.tenant` has how fast; bounds here hold on a machine that is shared.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.relay.household import Household, Probe, household
from bench.relay.line import Way, why_not

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=f"no emulated line: {why_not()}"),
    pytest.mark.skipif(shutil.which("miniupnpd", path="/usr/sbin:/usr/bin:/sbin") is None, reason="no miniupnpd"),
]

LINE = Way(rate_bps=10_000_000, delay_ms=5, queue_ms=100)
TENANT_BPS = 600_000


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Household]:
    with household(tmp_path, LINE) as built:
        yield built


def outcome(probe: Probe) -> dict[str, object]:
    """What a test that was asked for came to, when it is known."""
    said = probe.next()
    while said["event"] == "running":
        said = probe.next()
    return dict(said)


def test_an_idle_line_is_measured_and_one_in_use_is_not_and_is_given_back(behind: Household) -> None:
    with behind.probe() as probe:
        assert probe.next()["event"] == "ready"
        probe.ask("throughput")
        done = outcome(probe)
        assert done["event"] == "done", done
        records = done["records"]
        assert isinstance(records, list)
        rate, delay = records
        assert (rate["outcome"], delay["outcome"]) == ("ok", "ok")
        assert (rate["gate"], rate["gate_by"]) == ("idle", "box")
        assert rate["limited_by"] != "cross_traffic"
        assert 0.95 <= rate["down_bps"] / LINE.goodput_bps() <= 1.01
        with behind.tenant(TENANT_BPS):
            for _ in range(2):
                probe.ask("throughput")
                refused = outcome(probe)
                assert (refused["event"], refused["reason"]) == ("refused", "line_busy")
        probe.ask("throughput")
        assert probe.next()["event"] == "running"
        with behind.tenant(TENANT_BPS):
            aborted = outcome(probe)
        assert (aborted["event"], aborted["reason"]) == ("refused", "line_busy")


def test_where_the_box_says_nothing_no_test_runs(tmp_path: Path) -> None:
    with household(tmp_path, LINE, speaks=False) as built, built.probe() as probe:
        assert probe.next()["event"] == "ready"
        probe.ask("throughput")
        refused = outcome(probe)
        assert (refused["event"], refused["reason"]) == ("refused", "gate_unknown")
