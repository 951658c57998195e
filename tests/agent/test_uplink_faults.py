"""What becomes of a session, its thread and the next one where a peer, a password, a name or a callback fails?"""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent import codec, contract
from balise_agent.contract import Ack
from balise_agent.uplink import (
    BACKOFF_S,
    FLAPPING,
    SETTLED_S,
    STUCK_S,
    Connected,
    Disconnected,
    Event,
    Published,
    addresses,
    failures_after,
    pause_s,
)
from tests.agent.uplink_ground import (
    ID,
    NOWHERE,
    STREAM,
    Told,
    batch,
    plain,
    uplink,
)
from tests.brokers import DISCONNECT, PUBLISH, Mosquitto, Peer, Session
from tests.waiting import PATIENCE_S, until


def test_an_exception_in_a_callback_ends_the_session_and_not_the_thread(peer: Peer) -> None:
    def stumble(event: Event) -> None:
        if isinstance(event, Ack) and event.ranges == ((1, 1),):
            raise RuntimeError("as a defect would")

    told = Told(stumble)
    with uplink(plain(peer.port), told) as link:
        first = peer.session()
        first.greet()
        told.next(Connected)
        first.publish(contract.topic(ID, "ack"), codec.encode_ack(Ack(stream=STREAM, ranges=((1, 1),))))
        assert "RuntimeError" in told.next(Disconnected).reason
        second = peer.session()
        second.greet()
        told.next(Connected)
        second.publish(contract.topic(ID, "ack"), codec.encode_ack(Ack(stream=STREAM, ranges=((2, 2),))))
        assert told.next(Ack).ranges == ((2, 2),)
        assert link.alive()


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (0x30, b"\xff\xff"),  # a topic longer than its packet
        (0x30, b"\x00\x01a\x7f\x26"),  # properties longer than theirs
        (0x40, b""),  # a PUBACK of nothing
        (0x90, b"\x00"),
        (0xF0, b"\x18\x00"),  # AUTH, which nobody asked for
        (0x00, b"nonsense"),
    ],
)
def test_a_peer_s_nonsense_ends_the_session_and_not_the_thread(peer: Peer, first: int, body: bytes) -> None:
    told = Told()
    with uplink(plain(peer.port), told) as link:
        session = peer.session()
        session.greet()
        told.next(Connected)
        session.send(first, body)
        session.close()
        told.next(Disconnected)
        peer.session().greet()
        told.next(Connected)
        assert link.alive()


def test_a_peer_that_accepts_and_says_nothing_is_given_up(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port, keepalive_s=1), told):
        peer.session()
        told.next(Disconnected)
        peer.session().greet()
        told.next(Connected)


def test_a_wrong_password_is_said(mosquitto: Mosquitto) -> None:
    told = Told()
    with uplink(plain(mosquitto.port, password="wrong"), told):
        assert told.next(Disconnected).reason == "refused: Not authorized"


def test_a_closed_port_is_said(peer: Peer) -> None:
    port = peer.port
    peer.server.close()
    told = Told()
    with uplink(plain(port), told):
        assert "ConnectionRefusedError" in told.next(Disconnected).reason


def test_a_session_called_dead_is_closed_and_another_opened(mosquitto: Mosquitto) -> None:
    told = Told()
    with uplink(plain(mosquitto.port), told) as link:
        told.next(Connected)
        link.reconnect()
        told.next(Disconnected)
        told.next(Connected)


def test_a_stuck_thread_is_not_alive_although_it_runs(mosquitto: Mosquitto) -> None:
    now_s, go_on, stuck = [0.0], threading.Event(), threading.Event()

    def hang(event: Event) -> None:
        if isinstance(event, Connected):
            stuck.set()
            go_on.wait(PATIENCE_S)

    with uplink(plain(mosquitto.port), Told(hang), monotonic=lambda: now_s[0]) as link:
        assert stuck.wait(PATIENCE_S)
        assert link.alive()
        now_s[0] = STUCK_S
        assert not link.alive()
        go_on.set()
        until(link.alive)


def test_a_thread_that_ended_is_not_alive(mosquitto: Mosquitto) -> None:
    with uplink(plain(mosquitto.port), Told()) as link:
        link.stop(PATIENCE_S)
        assert not link.alive()


def test_thousands_of_publishes_with_pubacks_at_once_do_not_lock_each_other_out(peer: Peer) -> None:
    """A lock that the caller holds around publish and takes when it is told of the PUBACK: paho's own order of locks,
    the other way round."""
    ours, count, done = threading.Lock(), 3_000, threading.Event()
    taken = 0

    def take(event: Event) -> None:
        nonlocal taken
        with ours:
            taken += isinstance(event, Published)
        if taken == count:
            done.set()

    def answer(session: Session) -> None:
        while (packet := session.read()) is not None and packet.kind != DISCONNECT:
            if packet.kind == PUBLISH:
                session.puback(packet.mid)

    told = Told(take)
    with uplink(plain(peer.port), told) as link:
        session = peer.session()
        session.greet()
        thread = threading.Thread(target=answer, args=(session,), daemon=True)
        thread.start()
        told.next(Connected)
        for id_ in range(count):
            with ours:
                assert link.publish(id_, batch(id_))
        assert done.wait(PATIENCE_S), f"{taken} of {count}"
    thread.join(PATIENCE_S)


# addresses


def test_the_last_good_address_is_tried_where_the_name_does_not_resolve() -> None:
    assert addresses(NOWHERE, 1, "127.0.0.1") == ["127.0.0.1"]
    assert addresses("a..b", 1, "127.0.0.1") == ["127.0.0.1"]  # no name at all
    assert addresses(NOWHERE, 1, None) == []
    assert addresses("127.0.0.1", 1, "127.0.0.2") == ["127.0.0.1"]


def test_a_session_without_name_service_goes_to_the_last_good_address(mosquitto: Mosquitto) -> None:
    told = Told()
    with uplink(plain(mosquitto.port, host=NOWHERE), told, last_good="127.0.0.1"):
        assert told.next(Connected).address == "127.0.0.1"


def test_a_name_that_does_not_resolve_is_said() -> None:
    told = Told()
    with uplink(plain(1, host=NOWHERE), told):
        assert told.next(Disconnected).reason == "name does not resolve"


def test_an_address_that_worked_is_used_when_the_name_stops_resolving(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port, host="127.0.0.1"), told) as link:
        peer.session().greet()
        told.next(Connected)
        link._broker = plain(peer.port, host=NOWHERE)  # as if the name service had gone
        peer.taken[0].close()
        peer.session().greet()
        assert told.next(Connected).address == "127.0.0.1"


# the pause between two sessions


@given(failures=st.integers(0, 10_000), share=st.floats(0, 1))
def test_a_pause_is_anything_below_a_ceiling_that_doubles_and_ends(failures: int, share: float) -> None:
    found_s = pause_s(failures, lambda low, high: low + share * (high - low))
    first_s, longest_s = BACKOFF_S
    assert 0 <= found_s <= longest_s
    assert found_s <= share * first_s * 2 ** min(failures, 60)
    assert pause_s(failures + 1, lambda _low, high: high) >= pause_s(failures, lambda _low, high: high)


def test_the_longest_pause_is_reached() -> None:
    assert pause_s(50, lambda _low, high: high) == BACKOFF_S[1]


@pytest.mark.parametrize(
    ("before", "was_heard", "lived_s", "after"),
    [
        (5, True, 3600.0, 0),
        (0, True, 1.0, 1),  # cut off soon, by another of the same identity perhaps
        (9, True, 1.0, FLAPPING),
        (9, False, 3600.0, 10),  # open, and nobody acknowledges
        (0, False, 0.0, 1),
    ],
)
def test_only_a_session_that_lived_and_was_answered_is_a_good_one(
    before: int, was_heard: bool, lived_s: float, after: int
) -> None:
    assert failures_after(before, was_heard=was_heard, lived_s=lived_s) == after


def test_sessions_without_an_ack_are_further_and_further_apart_and_a_good_one_begins_anew(peer: Peer) -> None:
    ceilings: list[float] = []
    now_s = [0.0]

    class Draws(random.Random):
        def uniform(self, a: float, b: float) -> float:
            ceilings.append(b)
            return a

    told = Told()
    with uplink(plain(peer.port), told, rng=Draws(), monotonic=lambda: now_s[0]):
        for number in range(4):
            session = peer.session()
            session.greet()
            told.next(Connected)
            if number == 2:
                session.publish(contract.topic(ID, "ack"), codec.encode_ack(Ack(stream=STREAM, ranges=((1, 1),))))
                told.next(Ack)
                now_s[0] += SETTLED_S
            session.close()
            told.next(Disconnected)
        until(lambda: len(ceilings) == 4)
        assert ceilings == [2.0, 4.0, 1.0, 2.0]
