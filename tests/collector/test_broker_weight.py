"""What can a probe's weight do: bombs, floods, replays, one that does not listen? On the real broker."""

from __future__ import annotations

import socket
import threading
import tracemalloc
import zlib

import pytest

from balise_agent.contract import MAX_BODY_BYTES, MAX_WIRE_BYTES, topic
from tests.collector.attacker import NOT_AUTHORIZED, VERSIONS, answer
from tests.collector.ground import A, B, Ground

OWN, OTHERS = topic(A, "records"), topic(B, "records")
CONTROL = "$CONTROL/dynamic-security/v1"


# weight


@VERSIONS
@pytest.mark.parametrize("size", [MAX_WIRE_BYTES + 1_024, 1_000_000, 10_000_000])
def test_a_message_beyond_the_limit_ends_the_session(ground: Ground, size: int, version: int) -> None:
    assert answer(ground.session(version=version), "publish", OWN, b"\0" * size) == "cut"
    assert ground.got_in() == {}


def test_a_zip_bomb_is_refused_at_its_first_megabyte(ground: Ground) -> None:
    probe = ground.probe(A)
    line, _, _ = probe.sender.sends().payload.partition(b"\n")
    squeezer = zlib.compressobj(9)
    bomb = b"".join(squeezer.compress(b"\0" * 1_000_000) for _ in range(200)) + squeezer.flush()
    assert len(bomb) < MAX_WIRE_BYTES < 200_000_000
    tracemalloc.start()
    probe.delivers(probe.sender.raw(line + b"\n" + bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert probe.rejected == {1: "inflates_too_much"}
    assert peak < 10 * MAX_BODY_BYTES
    assert ground.got_in() == {"dead_letter": 1}


def test_what_was_captured_and_is_sent_again_is_absorbed(ground: Ground) -> None:
    probe = ground.probe(A)
    captured = [probe.sender.sends() for _ in range(10)]
    probe.delivers(*captured)
    thief = ground.session(client_id="another")  # with A's password: the worst case
    for message in captured * 20:
        thief.send(message.topic, message.payload)
    thief.ping()
    assert ground.got_in() == {"new": 10, "duplicate": 200}


def test_what_was_captured_of_another_is_kept_as_the_thief_s(ground: Ground) -> None:
    """It could have made it up as well: what a probe says is of its own home alone."""
    victim = ground.probe(B)
    message = victim.sender.sends()
    victim.delivers(message)
    line = ground.session()
    assert line.publish(message.topic, message.payload) == NOT_AUTHORIZED
    assert ground.got_in() == {"new": 1}
    assert line.publish(OWN, message.payload) == 0
    assert ground.got_in() == {"new": 1}
    victim.delivers()
    assert ground.got_in() == {"new": 1}


FLOOD = 10_000


@pytest.mark.parametrize(
    ("name", "qos", "count", "size", "outcomes"),
    [
        (OWN, 1, FLOOD, 200, {"dead_letter"}),
        (OWN, 0, FLOOD, 200, {"dead_letter"}),
        (OWN, 1, FLOOD // 20, 200_000, {"dead_letter"}),
        (topic(A, "state"), 1, FLOOD, 200, {"bad_state"}),
        (OTHERS, 1, FLOOD, 200, set()),
        (CONTROL, 1, FLOOD, 200, set()),
    ],
    ids=["own", "own, QoS 0", "own, large", "own state", "another's", "$CONTROL"],
)
def test_while_one_floods_another_s_records_arrive(
    ground: Ground, name: str, qos: int, count: int, size: int, outcomes: set[str]
) -> None:
    line = ground.session()
    packets = b"".join(line.packet(name, b"\0" * size, qos=qos) for _ in range(count // 10))
    sending = threading.Thread(target=line.sock.sendall, args=(packets * 10,))
    sending.start()
    for _ in range(5):
        ground.honest.delivers()
    sending.join(60)
    line.ping()
    assert ground.got_in().keys() - {"new"} == outcomes


def test_who_does_not_listen_is_not_read_any_more(ground: Ground) -> None:
    """Else the answers that it does not take would fill the broker's memory."""
    line = ground.session()
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.sock.settimeout(0.5)
    packets = memoryview(line.packet("x", b"") * 1_000_000)
    sent = 0
    try:
        while sent < len(packets):
            sent += line.sock.send(packets[sent:])  # each may wait that long, not all of them together
    except TimeoutError:
        pass
    assert sent < len(packets) / 2
    assert ground.got_in() == {}
