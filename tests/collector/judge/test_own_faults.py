"""Is what befell the probe itself never said of the home's line, television or telephone?"""

from __future__ import annotations

from typing import Literal

import pytest

from balise_collector.judge.rows import Row
from tests.collector.judge.saying import HOUR, MINUTE, T0, life, row
from tests.collector.judge.test_judge import CUT, HOMES, judged

OWN = ["interrupted", "link_down", "child_killed", "child_timeout", "join_refused", "no_socket"]


def samples(home: str, why: str) -> list[Row]:
    """Twelve channels in an hour, each of which fails so."""
    times = range(CUT, CUT + HOUR, 5 * MINUTE)
    return [row(home, "tv_window", at, f"c{number:02d}", why=why) for number, at in enumerate(times)]


def states(rows: list[Row], subject: Literal["television", "telephone"]) -> set[int]:
    """Of the home, in the hour from the cut on."""
    judge = judged(life(HOMES, T0, CUT + 2 * HOUR), rows, until_ms=CUT + 2 * HOUR)
    found = {spell.state for spell in judge.timeline(HOMES[3], subject, CUT, CUT + HOUR)}
    return found | {7 for incident in judge.incidents() if incident.kind in ("tv", "telephone")}


@pytest.mark.parametrize("why", OWN)
def test_a_sample_that_the_probe_could_not_take_is_no_fault_of_television(why: str) -> None:
    lost = states(samples(HOMES[3], why), "television")
    assert lost == states([], "television")
    assert lost != states(samples(HOMES[3], "no_signal"), "television")


@pytest.mark.parametrize("why", ["interrupted", "link_down"])
def test_a_call_that_the_probe_could_not_finish_is_no_fault_of_the_telephone(why: str) -> None:
    calls = [
        row(HOMES[3], "voip_call", at, "echo", why=why, fail_class="local") for at in range(CUT, CUT + HOUR, 5 * MINUTE)
    ]
    assert states(calls, "telephone") == states([], "telephone")
