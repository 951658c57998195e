"""Does the window hold, is nothing forgotten that was not acknowledged, and nothing sent that was?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from balise_agent.contract import Ack, Envelope
from balise_agent.delivery import RESEND_JITTER, RESEND_S, SILENCE_S, Delivery, Wanted
from balise_agent.outbox import Message

STREAM, OTHER = "A" * 22, "B" * 22


def message(id_: int, stream: str = STREAM) -> Message:
    envelope = Envelope(
        stream=stream, seq=id_, boot="b", ts_ms=1, sent_ms=0, chain="C" * 22, retention="raw_90d", previous=None
    )
    return Message(id=id_, envelope=envelope, body=b"")


def ack(*ranges: tuple[int, int], stream: str = STREAM, rejected: tuple[tuple[int, str], ...] = ()) -> Ack:
    return Ack(stream=stream, ranges=ranges, rejected=rejected)


@dataclass
class Rows:
    """The outbox, as far as a delivery sees it."""

    waiting: list[Message] = field(default_factory=list)

    def read(self, wanted: Wanted) -> list[Message]:
        return [row for row in self.waiting if row.id > wanted.after_id][: wanted.limit]

    def mark(self, ids: list[int]) -> None:
        self.waiting = [row for row in self.waiting if row.id not in ids]


def delivery(window: int = 10, seed: int = 1) -> Delivery:
    return Delivery(window=window, rng=random.Random(seed))


def pump(state: Delivery, rows: Rows, now_s: float = 0.0) -> list[int]:
    """As the agent sends: what is overdue, then new ones until the window or the outbox is at its end."""
    sent = state.overdue(now_s)
    while (wanted := state.wanted()) is not None:
        found = rows.read(wanted)
        sent += state.take(wanted, found, now_s)
        if len(found) < wanted.limit:
            break
    return [one.id for one in sent]


def outbox(count: int) -> Rows:
    return Rows([message(id_) for id_ in range(1, count + 1)])


def test_no_more_than_the_window_is_sent_and_an_ack_makes_room() -> None:
    state, rows = delivery(window=3), outbox(9)
    assert pump(state, rows) == [1, 2, 3]
    assert pump(state, rows) == []
    assert state.acked(ack((1, 2)), 1.0) == [1, 2]
    assert pump(state, rows) == [4, 5]


def test_an_ack_s_ranges_and_rejections_end_what_they_name_and_nothing_else() -> None:
    state, rows = delivery(), outbox(8)
    pump(state, rows)
    assert state.acked(ack((1, 2), (5, 5), rejected=((7, "bad_body"),)), 1.0) == [1, 2, 5, 7]
    assert state.acked(ack((1, 8), stream=OTHER), 1.0) == []
    assert state.acked(ack((100, 200)), 1.0) == []
    assert state.acked(ack((1, 8)), 1.0) == [3, 4, 6, 8]
    assert state.is_idle()


def test_two_streams_with_the_same_numbers_are_told_apart() -> None:
    state = delivery()
    rows = Rows([message(1), Message(id=2, envelope=message(1, OTHER).envelope, body=b"")])
    assert pump(state, rows) == [1, 2]
    assert state.acked(ack((1, 1), stream=OTHER), 1.0) == [2]


@given(seed=st.integers(0, 2**32))
def test_a_message_is_sent_again_after_its_time_and_within_the_jitter(seed: int) -> None:
    state, rows = delivery(seed=seed), outbox(1)
    pump(state, rows, now_s=100.0)
    due_s = state.seconds_to_resend(100.0)
    assert due_s is not None
    assert RESEND_S <= due_s <= RESEND_S * RESEND_JITTER
    assert pump(state, rows, now_s=100.0 + due_s - 0.001) == []
    assert pump(state, rows, now_s=100.0 + due_s) == [1]
    assert pump(state, rows, now_s=100.0 + due_s) == []  # its next time is later again


def test_with_nothing_in_flight_nothing_is_to_be_sent_again() -> None:
    assert delivery().seconds_to_resend(0.0) is None


def test_a_resend_uses_no_room_of_the_window() -> None:
    state, rows = delivery(window=3), outbox(9)
    pump(state, rows)
    assert sorted(pump(state, rows, now_s=RESEND_S * RESEND_JITTER)) == [1, 2, 3]


def test_a_new_session_sends_all_that_is_not_acknowledged_again_from_the_oldest() -> None:
    state, rows = delivery(window=3), outbox(9)
    pump(state, rows)
    state.acked(ack((2, 2)), 1.0)
    state.reset(2.0)
    assert pump(state, rows, now_s=2.0) == [1, 3, 4]


def test_what_is_acknowledged_but_not_yet_marked_is_not_sent_again_by_a_new_session() -> None:
    state, rows = delivery(window=3), outbox(4)
    pump(state, rows)
    ids = state.acked(ack((1, 3)), 1.0)
    state.reset(2.0)
    assert pump(state, rows, now_s=2.0) == [4]
    rows.mark(ids)
    state.kept(ids)
    state.reset(3.0)
    assert pump(state, rows, now_s=3.0) == [4]


def test_a_replay_sends_what_waits_again_and_not_what_is_in_flight() -> None:
    state, rows = delivery(window=4), outbox(6)
    pump(state, rows)
    ids = state.acked(ack((1, 3)), 1.0)
    state.kept(ids)
    assert pump(state, rows) == [5, 6]  # 1-3 are marked on the disk of a real outbox
    state.acked(ack((5, 6)), 1.0)
    rows.mark([5, 6])
    state.replayed()  # 1-3 wait again; 4 is still in flight
    assert pump(state, rows) == [1, 2, 3]


def test_what_was_read_before_the_walk_began_anew_is_not_taken() -> None:
    state, rows = delivery(window=2), outbox(4)
    wanted = state.wanted()
    assert wanted is not None
    found = rows.read(wanted)
    state.reset(1.0)
    rows.mark([1, 2, 3, 4])  # an erasure, say
    assert state.take(wanted, found, 1.0) == []
    assert state.is_idle()


def test_one_reading_is_taken_once() -> None:
    state, rows = delivery(window=2), outbox(4)
    wanted = state.wanted()
    assert wanted is not None
    found = rows.read(wanted)
    assert len(state.take(wanted, found, 0.0)) == 2
    assert state.take(wanted, found, 0.0) == []


def test_silence_is_counted_from_the_first_message_that_nobody_answers() -> None:
    state, rows = delivery(window=2), outbox(4)
    state.reset(0.0)
    assert not state.is_silent(10_000.0)  # nothing was said
    pump(state, rows, now_s=10_000.0)
    assert not state.is_silent(10_000.0 + SILENCE_S)
    assert state.is_silent(10_000.1 + SILENCE_S)
    state.acked(ack((1, 1)), 10_080.0)
    assert not state.is_silent(10_080.0 + SILENCE_S)
    state.reset(10_500.0)
    assert not state.is_silent(20_000.0)


def test_an_ack_of_nothing_in_flight_is_no_sign_of_life() -> None:
    state, rows = delivery(), outbox(2)
    pump(state, rows, now_s=0.0)
    state.acked(ack((50, 60)), SILENCE_S)
    assert state.is_silent(SILENCE_S + 0.1)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_acks_may_come_in_any_order(order: tuple[int, ...]) -> None:
    state, rows = delivery(), outbox(3)
    pump(state, rows)
    for seq in order:
        assert state.acked(ack((seq, seq)), 1.0) == [seq]
    assert state.is_idle()


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: sessions, losses, acks late and twice, commits of acks, new messages."""

    @initialize(window=st.integers(1, 12))
    def begin(self, window: int) -> None:
        self.window = window
        self.state, self.rows = delivery(window), Rows()
        self.now_s = 0.0
        self.last = 0
        self.unanswered: set[int] = set()  # sent in this session, not acknowledged
        self.acked: set[int] = set()
        self.unmarked: list[int] = []

    @rule(count=st.integers(1, 30))
    def measure(self, count: int) -> None:
        self.rows.waiting += [message(self.last + n) for n in range(1, count + 1)]
        self.last += count

    @rule()
    def send(self) -> None:
        sent = pump(self.state, self.rows, self.now_s)
        assert not set(sent) & self.acked
        self.unanswered |= set(sent)

    @rule(low=st.integers(1, 60), length=st.integers(0, 20))
    def answer(self, low: int, length: int) -> None:
        """By a collector that may say the same twice, of this session or of one before."""
        ids = self.state.acked(ack((low, low + length)), self.now_s)
        assert set(ids) <= self.unanswered
        self.unanswered -= set(ids)
        self.acked |= set(ids)
        self.unmarked += ids

    @rule()
    def commit(self) -> None:
        self.rows.mark(self.unmarked)
        self.state.kept(self.unmarked)
        self.unmarked = []

    @rule()
    def lose_the_session(self) -> None:
        self.state.reset(self.now_s)
        self.unanswered.clear()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def the_window_holds(self) -> None:
        assert len(self.unanswered) <= self.window

    def teardown(self) -> None:
        """With a broker that answers, everything arrives, once the rest of it is let through."""
        if not hasattr(self, "state"):
            return
        for _ in range(self.last + 1):
            self.unanswered |= set(pump(self.state, self.rows, self.now_s))
            self.acked |= set(self.state.acked(ack((1, 10_000)), self.now_s))
        assert self.acked == set(range(1, self.last + 1))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
