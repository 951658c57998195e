"""Is a burst of UDP a record of its own, and behind a test that loss held back?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from balise_agent.catalogue import CATALOGUE
from balise_agent.cli import main
from balise_agent.contract import OK, Record, failed
from balise_agent.probes.udp_capacity import UdpCapacitySettings, run
from tests.agent.targets import target
from tests.agent.test_throughput import context, towards
from tests.waiting import until

KNOWN = {field.name for field in CATALOGUE["udp_capacity"].fields}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with target() as found:
        yield found


def test_it_says_what_was_sent_and_what_was_lost(port: int) -> None:
    settings = UdpCapacitySettings(targets=(towards(port),), contract_down_bps=2e6)

    def burst() -> Record | None:
        """None where a machine was too busy to end one in its time."""
        (record,) = asyncio.run(run(settings, context()))
        return record if record.outcome == OK else None

    record = until(burst, "a burst")
    assert (record.measurement, record.target) == ("udp_capacity", "op.v4")
    assert set(record.fields) <= KNOWN
    assert {"driven_bps", "probed_bps", "loss_ratio", "packets", "limited_by", "validity"} <= set(record.fields)


def test_nobody_there_is_a_reason() -> None:
    (record,) = asyncio.run(run(UdpCapacitySettings(targets=(towards(9),)), context()))
    assert record.outcome == failed("connect_refused")


def test_once_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["once", "udp_capacity", "--target", "http://127.0.0.1:9", "--json"]) == 1
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (record["measurement"], record["outcome"], record["reason"]) == ("udp_capacity", "failed", "connect_refused")


def test_the_plan_never_starts_one() -> None:
    assert UdpCapacitySettings().enabled is False
