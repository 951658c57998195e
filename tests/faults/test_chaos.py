"""Does nothing get lost when anything is killed, and would the harness see it if it did?"""

from __future__ import annotations

from pathlib import Path

from tests.faults import chaos


def test_nothing_is_lost_or_doubled_in_sixty_kills(tmp_path: Path) -> None:
    found = chaos.run(kills=60, seed=1, folder=tmp_path)
    assert sum(found.killed.values()) == 60
    assert {name.rstrip("0123456789") for name in found.killed} == {"agent", "broker", "collector"}
    assert found.tally.measured > 100
    assert (found.tally.lost, found.tally.duplicated, found.tally.dead_letters) == (0, 0, 0)


def test_nothing_is_lost_or_doubled_in_influxdb_where_it_is_killed_too(tmp_path: Path) -> None:
    found = chaos.run(kills=30, seed=3, folder=tmp_path, influx=True)
    assert {name.rstrip("0123456789") for name in found.killed} == {"agent", "broker", "collector", "influxd"}
    assert found.influx["influx_points"] >= found.tally.stored > 50
    assert found.is_whole


def test_an_agent_that_takes_a_puback_for_a_receipt_loses(tmp_path: Path) -> None:
    assert chaos.run(kills=20, seed=2, control="puback", folder=tmp_path).tally.lost > 0
