"""Is a home below its contract told from a target that is slow for everybody?"""

from __future__ import annotations

import pytest

from balise_collector.judge.rows import Row
from tests.collector.judge.saying import HOUR, MINUTE, T0, life, row
from tests.collector.judge.test_judge import CUT, HOMES, judged

HOME = HOMES[1]
FULL_BPS, LOW_BPS = 290_000_000, 120_000_000


def filled(home: str, minutes: list[int], bps: int) -> list[Row]:
    return [
        row(home, "throughput", CUT + at * MINUTE, "op.v4", validity="ok", gate="idle", down_bps=bps) for at in minutes
    ]


def others(slow: int, well: int, of_slow: list[int]) -> list[Row]:
    """So many homes are slow too, each tested at these minutes, and so many are not, tested once, an hour later."""
    low = [r for home in HOMES[2 : 2 + slow] for r in filled(home, of_slow, LOW_BPS)]
    return low + [r for home in HOMES[20 : 20 + well] for r in filled(home, [90], FULL_BPS)]


@pytest.mark.parametrize(
    ("rows", "slow"),
    [
        (others(0, 6, []), True),
        (others(2, 6, [2]), True),
        (others(2, 6, [2, 8, 15]), True),  # two slow neighbours, tested again and again, are two
        (others(5, 6, [2]), False),  # most of those that were tested then are slow: the target is
    ],
)
def test_a_home_is_slow_where_most_other_homes_are_not(rows: list[Row], slow: bool) -> None:
    judge = judged(life(HOMES, T0, CUT + 3 * HOUR), filled(HOME, [0, 12], LOW_BPS), rows, until_ms=CUT + 3 * HOUR)
    found = {incident.element[1] for incident in judge.incidents() if incident.kind == "slow"}
    assert (HOME in found) is slow
