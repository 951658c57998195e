"""What passes paho by, and what is left to it?"""

from __future__ import annotations

import socket
import struct

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from balise_collector.fast_lane import LaneClient, LaneSocket, split
from balise_collector.ingest import Incoming

CONNACK = bytes([0x20, 2, 0, 0])
PINGRESP = bytes([0xD0, 0])


def publish(message: Incoming, retain: bool = False) -> bytes:
    """A PUBLISH of MQTT 3.1.1."""
    topic = message.topic.encode()
    mid = struct.pack("!H", message.mid) if message.mid else b""
    rest = struct.pack("!H", len(topic)) + topic + mid + message.payload
    length, out = len(rest), bytearray()
    while True:
        out.append(length & 127 | (128 if length > 127 else 0))
        length >>= 7
        if not length:
            return bytes([0x30 | (2 if message.mid else 0) | retain, *out]) + rest


MESSAGES = [
    Incoming("balise/v1/probe001/records", b"short", 1),
    Incoming("balise/v1/probe001/records", b"x" * 200, 65_535),
    Incoming("balise/v1/probe002/state", b"", 0),
    Incoming("balise/v1/probe003/records", b"y" * 20_000, 300),
]
STREAM = CONNACK + publish(MESSAGES[0]) + publish(MESSAGES[1], retain=True) + PINGRESP + b"".join(
    publish(message) for message in MESSAGES[2:]
)  # fmt: skip


def test_messages_are_taken_out_and_the_rest_is_left_in_its_order() -> None:
    assert split(STREAM) == (MESSAGES, CONNACK + PINGRESP, b"")


def test_the_beginning_of_a_packet_is_kept_for_the_next_reading() -> None:
    for cut in (1, 2, 5, len(STREAM) - 1):
        messages, others, rest = split(STREAM[:cut])
        more, more_others, nothing = split(rest + STREAM[cut:])
        assert (messages + more, others + more_others, nothing) == (MESSAGES, CONNACK + PINGRESP, b"")


@given(st.lists(st.integers(1, 700)))
def test_however_it_is_cut_the_same_messages_come(sizes: list[int]) -> None:
    found: list[Incoming] = []
    others = rest = b""
    at = 0
    for size in [*sizes, len(STREAM)]:
        messages, more, rest = split(rest + STREAM[at : at + size])
        found, others, at = found + messages, others + more, at + size
    assert (found, others, rest) == (MESSAGES, CONNACK + PINGRESP, b"")


@given(st.binary(max_size=300))
def test_any_bytes_give_messages_or_a_value_error(data: bytes) -> None:
    try:
        messages, others, rest = split(data)
    except ValueError:
        return
    assert len(others) + len(rest) + sum(len(m.payload) for m in messages) <= len(data)


def test_a_message_that_nobody_asked_for_ends_the_session() -> None:
    with pytest.raises(ValueError, match="QoS 2"):
        split(bytes([0x34, 7]) + b"\0\1t\0\1xx")


def test_what_is_written_leaves_at_a_flush_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lane = LaneSocket(ours)
        lane.setblocking(False)
        assert lane.send(b"PUBLISH") == 7
        lane.puback([1, 65_535])
        assert lane.flush()
        assert theirs.recv(100) == b"PUBLISH" + bytes([0x40, 2, 0, 1]) + bytes([0x40, 2, 255, 255])


@pytest.mark.parametrize("count", [0, 100, 105, 20_000])
def test_what_is_published_is_a_message_of_qos_0(count: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lane = LaneSocket(ours)
        lane.publish("balise/v1/probe001/ack", b"a" * count)
        assert lane.flush()
        message = Incoming("balise/v1/probe001/ack", b"a" * count)
        assert theirs.recv(100_000) == publish(message)
        assert split(publish(message)) == ([message], b"", b"")


def test_what_the_socket_does_not_take_is_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lane = LaneSocket(ours)
        lane.setblocking(False)
        sent = b"z" * 4_000_000
        lane.send(sent)
        assert not lane.flush()
        came = bytearray()
        while len(came) < len(sent):
            came += theirs.recv(1 << 20)
            lane.flush()
        assert bytes(came) == sent


def test_nothing_there_is_none_and_an_end_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        lane = LaneSocket(ours)
        lane.setblocking(False)
        assert lane.read() is None
        theirs.close()
        with pytest.raises(ConnectionError):
            lane.read()


def test_paho_still_makes_its_socket_where_the_lane_takes_it_over() -> None:
    """The one private method of paho's that is used: should it go, this says so."""
    connected: list[bool] = []
    client = LaneClient(CallbackAPIVersion.VERSION2, client_id="collector", protocol=mqtt.MQTTv311)
    client.on_connect = lambda *_: connected.append(True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.connect("127.0.0.1", server.getsockname()[1])
        lane = client.lane()
        assert lane is not None
        assert lane.flush()
        peer, _ = server.accept()
        with peer:
            assert peer.recv(100)[:8] == bytes([0x10, 21, 0, 4]) + b"MQTT"
            peer.sendall(CONNACK + publish(MESSAGES[0]))
            came = lane.read()
            while came is None:
                came = lane.read()
            assert came == MESSAGES[:1]
            assert lane.has_for_paho
            assert client.loop_read() == mqtt.MQTT_ERR_SUCCESS
            assert connected == [True]
            client.disconnect()
        lane.close()
