"""Is what a probe itself suffers from, its radio or its clock, seen, and dated by a clock that is right?"""

from __future__ import annotations

import pytest

from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from tests.collector.judge.saying import HOUR, MINUTE, T0, life, minute, row
from tests.collector.judge.test_judge import CUT, HOMES, judged

HOME, OTHERS = HOMES[5], [home for home in HOMES if home != HOMES[5]]
OK, DEGRADED = 0, 1
END = CUT + 3 * HOUR


def radio(rssi_dbm: int, *, sent: int = 1_200, given_up: int = 0) -> list[Row]:
    times = range(T0 + MINUTE, END, 5 * MINUTE)
    return [row(HOME, "wifi", at, rssi_dbm=rssi_dbm, tx_packets=sent, tx_failed=given_up) for at in times]


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        (radio(-60), OK),
        (radio(-75), DEGRADED),
        (radio(-66, given_up=20), DEGRADED),
        (radio(-66, given_up=2), OK),
        (radio(-66, sent=30, given_up=2), OK),
    ],
)
def test_a_radio_is_weak_by_its_level_or_by_the_frames_that_it_gives_up(rows: list[Row], state: int) -> None:
    judge = judged(life(HOMES, T0, END), rows, until_ms=END)
    middle = (CUT + 20 * MINUTE, CUT + 40 * MINUTE)
    assert {span.state for span in judge.timeline(HOME, "probe", *middle)} == {state}
    assert {span.state for span in judge.timeline(HOME, "internet", *middle)} == {OK}
    assert judge.incidents() == []


def misdated(error_ms: int, from_ms: int, to_ms: int) -> list[Row]:
    """What it says of minutes that its clock, wrong by so much, dates elsewhere. It started at T0 - 100,000 s."""
    found = []
    for at in range(from_ms + MINUTE, to_ms + 1, MINUTE):
        found += [r for r in minute(HOME, at + error_ms) if r.measurement != "host"]
        uptime_s = 100_000 + (at - T0) // 1_000
        found.append(row(HOME, "host", at + error_ms, uptime_s=uptime_s, clock_ok=False))
    return found


def right(from_ms: int, to_ms: int) -> list[Row]:
    return [
        r
        for at in range(from_ms + MINUTE, to_ms + 1, MINUTE)
        for r in minute(HOME, at, uptime_s=100_000 + (at - T0) // 1_000)
    ]


def wrong_spans(judge: Judge) -> list[tuple[int, int]]:
    spans = judge.timeline(HOME, "probe", T0, END)
    return [(s.start_ms, s.end_ms) for s in spans if s.state == DEGRADED and s.why == "clock"]


@pytest.mark.parametrize("error_ms", [-90 * MINUTE - 7, -20 * MINUTE, 10 * MINUTE])
def test_a_clock_was_wrong_when_it_was_and_not_when_it_says(error_ms: int) -> None:
    begin, end = CUT + HOUR, CUT + 2 * HOUR
    said = right(T0, begin) + misdated(error_ms, begin, end) + right(end, END)
    judge = judged(life(OTHERS, T0, END), said, until_ms=END)
    ((start_ms, end_ms),) = wrong_spans(judge)
    assert abs(start_ms - begin) < 2 * MINUTE
    assert abs(end_ms - end) < 2 * MINUTE
    assert {judge.facts(home)["probe"].state for home in HOMES} == {OK}


def test_a_wrong_clock_is_shown_while_it_is_wrong() -> None:
    begin, now_ms = CUT + HOUR, CUT + HOUR + 30 * MINUTE
    said = right(T0, begin) + misdated(-90 * MINUTE, begin, now_ms)
    judge = judged(life(OTHERS, T0, now_ms), said, until_ms=now_ms)
    assert judge.facts(HOME)["probe"].state == DEGRADED
    judge.advance(now_ms + HOUR)
    assert judge.facts(HOME)["probe"].state == 3


def test_a_clock_that_no_right_one_can_be_set_beside_is_wrong_where_its_own_dates_are() -> None:
    begin, end = CUT + HOUR, CUT + 2 * HOUR
    judge = judged(life(OTHERS, T0, END), misdated(-20 * MINUTE, begin, end), until_ms=END)
    ((start_ms, _),) = wrong_spans(judge)
    assert abs(start_ms - (begin - 20 * MINUTE)) < 2 * MINUTE
