"""Is latency under load a record of its own, and part of a full test?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from balise_agent.catalogue import CATALOGUE
from balise_agent.cli import main
from balise_agent.contract import failed
from balise_agent.probes.loaded import LoadedSettings, run
from balise_agent.probes.throughput import ThroughputSettings
from tests.agent.targets import target
from tests.agent.test_throughput import context, measured, towards

KNOWN = {field.name for field in CATALOGUE["loaded"].fields}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with target() as found:
        yield found


def test_it_says_round_trips_before_and_during_each_way_and_how_they_were_measured(port: int) -> None:
    (record,) = asyncio.run(run(LoadedSettings(targets=(towards(port),)), context()))
    assert (record.measurement, record.target, record.outcome.kind) == ("loaded", "op.v4", "ok")
    fields = record.fields
    assert set(fields) <= KNOWN
    assert fields["rpm_method"] in ("icmp", "stamp")
    for way in ("down", "up"):
        p50, p95 = int(fields[f"{way}_loaded_p50_us"]), int(fields[f"{way}_loaded_p95_us"])
        assert 0 < p50 <= p95
        assert int(fields[f"{way}_rpm"]) > 0
        assert fields[f"{way}_cc"] != "bbr"


def test_once_prints_one_object(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["once", "loaded", "--target", f"http://127.0.0.1:{port}", "--only", "up", "--json"]) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["measurement"], "down_rpm" in record["fields"]) == ("loaded", False)


def test_a_full_test_measures_it_too_unless_it_shall_not() -> None:
    nobody = ThroughputSettings(shape="full", targets=(towards(9),))
    found = [(r.measurement, r.outcome) for r in measured(nobody)]
    assert found == [("throughput", failed("connect_refused")), ("loaded", failed("connect_refused"))]
    alone = ThroughputSettings(shape="full", loaded=False, targets=(towards(9),))
    assert [r.measurement for r in measured(alone)] == ["throughput"]


def test_the_plan_never_starts_one() -> None:
    assert LoadedSettings().enabled is False
