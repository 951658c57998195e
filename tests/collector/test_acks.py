"""Which acks are held together, and how long?"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from balise_agent.contract import Ack
from balise_collector.acks import HALF_WINDOW, HOLD_S, Acks, joined
from balise_collector.ingest import Reply


def reply(*seqs: int, probe: str = "probe001", rejected: tuple[tuple[int, str], ...] = ()) -> Reply:
    return Reply(probe=probe, ack=Ack(stream="s", ranges=tuple((n, n) for n in seqs), rejected=rejected))


def test_half_a_window_is_answered_at_once_in_one_ack() -> None:
    acks = Acks()
    for n in range(1, HALF_WINDOW):
        acks.add([reply(n)], now_s=10.0)
        assert acks.due(10.0) == []
    acks.add([reply(HALF_WINDOW)], now_s=10.1)
    assert acks.due(10.1) == [Reply(probe="probe001", ack=Ack(stream="s", ranges=((1, HALF_WINDOW),)))]
    assert not acks


def test_less_than_half_a_window_waits_until_its_time_is_over() -> None:
    acks = Acks()
    acks.add([reply(1)], now_s=10.0)
    acks.add([reply(2)], now_s=10.0 + HOLD_S / 2)
    assert acks.due(10.0 + HOLD_S * 0.9) == []
    assert [r.ack.ranges for r in acks.due(10.0 + HOLD_S)] == [((1, 2),)]


def test_when_nothing_more_comes_everything_is_answered() -> None:
    acks = Acks()
    acks.add([reply(1), reply(7, probe="probe002")], now_s=10.0)
    assert [(r.probe, r.ack.ranges) for r in acks.all()] == [("probe001", ((1, 1),)), ("probe002", ((7, 7),))]
    assert acks.all() == []


def test_a_rejection_is_told_with_the_rest() -> None:
    acks = Acks()
    acks.add([reply(1), reply(rejected=((2, "bad_zlib"),))], now_s=10.0)
    assert [r.ack for r in acks.all()] == [Ack(stream="s", ranges=((1, 1),), rejected=((2, "bad_zlib"),))]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))))
def test_joined_ranges_hold_the_same_numbers_and_do_not_touch(ranges: list[tuple[int, int]]) -> None:
    found = joined(ranges)
    numbers = {n for first, last in ranges for n in range(first, last + 1)}
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(numbers)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))
