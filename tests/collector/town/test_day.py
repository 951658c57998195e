"""A town of 200 homes, a day, each kind of fault once: is the judge right, and more than simpler watchers?

The goals of a whole month are wider apart than chance in one day lets be held: what must hold here is below them.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from typer.testing import CliRunner

from balise_collector.cli import app


@cache
def day() -> dict[str, Any]:
    """Run once for all tests of this file; the judge looks once a minute, so that what it takes is mostly rows."""
    options = ["--homes", "200", "--days", "1", "--tick", "60", "--start", "2026-11-23T23:00Z", "--json"]
    done = CliRunner().invoke(app, ["town", "run", *options])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_judge_finds_what_was_broken_in_its_place_and_invents_nothing() -> None:
    found = day()["score"]
    assert found["recall"] >= 0.95, found["by_fault"]
    assert found["precision"] >= 0.97, found["by_service"]
    assert found["place_right"] >= 0.9, found["kinds"]
    assert found["cause_right"] >= 0.8, found["kinds"]
    assert found["false_green_p95_s"] <= 180  # two minutes, and a look
    assert found["green_in_silence_s"] == 0


def test_it_calls_less_often_and_is_right_more_often_than_thresholds_a_home_and_a_fixed_share() -> None:
    said = day()
    judge, others = said["score"], said["baselines"]
    assert others["per-home thresholds"]["alerts"] > 10 * max(1, judge["alerts"])
    assert all((other["recall"] or 0.0) < judge["recall"] for other in others.values())
    assert others["always ok"]["missed"] > judge["missed"]
