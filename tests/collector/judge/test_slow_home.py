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


@pytest.mark.parametrize(
    ("theirs", "slow"),
    [
        ([0.4, 0.4, 0.4, 0.4, 0.4], True),  # two thirds of what others get
        ([0.4, 0.4, 0.4, 0.4, 0.2], True),  # one of them has the same fault
        ([0.4, 0.4, 0.4, 0.2, 0.2], False),  # slow as some others are: nothing tells it from the target
        ([0.3, 0.3, 0.3, 0.3, 0.3], False),
        ([1.0, 1.0, 0.3, 0.3, 0.3], False),  # the target grew slow meanwhile
    ],
)
def test_a_home_that_is_slower_than_others_at_a_slow_target_is_slow_itself(theirs: list[float], slow: bool) -> None:
    rows = [r for n, share in enumerate(theirs) for r in filled(HOMES[2 + n], [1, 11], int(share * 300_000_000))]
    mine = filled(HOME, [0, 12], int(0.27 * 300_000_000))
    judge = judged(life(HOMES, T0, CUT + 3 * HOUR), mine, rows, until_ms=CUT + 3 * HOUR)
    found = {incident.element[1] for incident in judge.incidents() if incident.kind == "slow"}
    assert (HOME in found) is slow


AFTER = [
    row(home, "throughput", T0 + 14 * HOUR + 2 * MINUTE, "op.v4", validity="ok", gate="idle", down_bps=FULL_BPS)
    for home in HOMES[20:22]
]
"""In the evening, after the test that is looked at."""


@pytest.mark.parametrize(("slow_minutes", "slow"), [(0, True), (3, True), (20, False)])
def test_one_slow_test_in_the_evening_is_enough_where_the_lines_echoes_were_well_around_it(
    slow_minutes: int, slow: bool
) -> None:
    evening = T0 + 14 * HOUR
    low = row(HOME, "throughput", evening, "op.v4", validity="ok", gate="idle", down_bps=LOW_BPS)
    delayed = [
        row(HOME, "reach", evening + (at - slow_minutes // 2) * MINUTE, "op", sent=40, lost=0, p50_us=60_000)
        for at in range(slow_minutes)
    ]
    judge = judged(life([HOME], evening - HOUR, evening + HOUR), [low], delayed, AFTER, until_ms=evening + HOUR)
    assert [incident.cause for incident in judge.incidents()] == ["provisioning"] * slow


def test_minutes_that_come_late_still_tell_that_the_line_was_full() -> None:
    evening = T0 + 14 * HOUR
    low = row(HOME, "throughput", evening, "op.v4", validity="ok", gate="idle", down_bps=LOW_BPS)
    judge = judged(life([HOME], evening - HOUR, evening - 30 * MINUTE), [low], AFTER, until_ms=evening + HOUR)
    assert len(judge.incidents()) == 1
    times = range(evening - 10 * MINUTE, evening + 10 * MINUTE, MINUTE)
    judge.take([row(HOME, "reach", at, "op", sent=40, lost=0, p50_us=60_000) for at in times])
    judge.advance(evening + 2 * HOUR)
    assert judge.incidents() == []


@pytest.mark.parametrize(("next_bps", "slow"), [([FULL_BPS, FULL_BPS], True), ([LOW_BPS, LOW_BPS], False), ([], False)])
def test_one_slow_test_is_not_enough_until_others_after_it_got_more(next_bps: list[int], slow: bool) -> None:
    before = [r for home in HOMES[10:16] for r in filled(home, [-5], FULL_BPS)]
    after = [r for n, bps in enumerate(next_bps) for r in filled(HOMES[20 + n], [3 + n], bps)]
    judge = judged(life(HOMES, T0, CUT + HOUR), before, filled(HOME, [0], LOW_BPS), after, until_ms=CUT + HOUR)
    assert [incident.opened_ms for incident in judge.incidents()] == [CUT + 4 * MINUTE] * slow
