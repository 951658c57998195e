"""Is each trap of paho's and of brokers' stepped around? On a real mosquitto, and on peers that misbehave."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from balise_agent import codec, contract
from balise_agent.contract import Ack, Command, Config, Presence
from balise_agent.uplink import (
    WINDOW,
    Connected,
    Disconnected,
    NotUnderstood,
    Published,
)
from tests.agent.uplink_ground import (
    ID,
    STREAM,
    Told,
    batch,
    online,
    plain,
    records,
    uplink,
)
from tests.brokers import CONNECT, PUBLISH, Listener, Mosquitto, Peer

# the window


def test_what_has_no_puback_never_exceeds_the_window(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port, keepalive_s=1), told) as link:
        session = peer.session()
        session.greet()
        told.next(Connected)
        for id_ in range(1, 101):
            assert link.publish(id_, batch(id_))
        first = session.publishes(WINDOW)
        assert session.until_ping() == []  # presence and nine batches
        session.puback(first[3].mid)
        session.puback(first[4].mid)
        assert [packet.kind for packet in session.until_ping()] == [PUBLISH, PUBLISH]


def test_a_ping_is_sent_only_where_nothing_was_for_a_keep_alive(peer: Peer) -> None:
    told, now_s = Told(), [0.0]
    with uplink(plain(peer.port, keepalive_s=1), told, monotonic=lambda: now_s[0]) as link:
        session = peer.session()
        session.greet()
        told.next(Connected)
        link.publish(1, batch(1))
        session.puback(*records(session, 1))
        assert select.select([session.sock], [], [], 1.5)[0] == []  # paho by itself would ping after 1 s
        now_s[0] = 1.0
        assert session.until_ping() == []


@pytest.mark.parametrize("aliases", [0, 10])
def test_a_broker_that_keeps_topics_hears_that_of_batches_once_a_session(peer: Peer, aliases: int) -> None:
    told, topic = Told(), contract.topic(ID, "records")
    with uplink(plain(peer.port, keepalive_s=1), told) as link:
        for _ in range(2):
            session = peer.session()
            session.greet(aliases=aliases)
            told.next(Connected)
            for id_ in (1, 2, 3):
                assert link.publish(id_, batch(id_))
            batches = [packet for packet in session.until_ping() if packet.payload in map(batch, (1, 2, 3))]
            assert [packet.topic for packet in batches] == [topic, *[("" if aliases else topic)] * 2]
            session.close()


def test_a_broker_that_takes_fewer_at_once_gets_fewer(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port, keepalive_s=1), told) as link:
        session = peer.session()
        session.greet(receive_maximum=3)
        told.next(Connected)
        for id_ in range(1, 21):
            link.publish(id_, batch(id_))
        assert len(session.until_ping()) == 3


def test_a_new_session_is_not_flooded_with_what_the_last_one_left(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port, keepalive_s=1), told) as link:
        first = peer.session()
        first.greet()
        told.next(Connected)
        for id_ in range(1, 501):
            link.publish(id_, batch(id_))
        first.publishes(WINDOW)
        first.close()
        second = peer.session()
        second.greet()
        told.next(Connected)
        assert [packet.topic for packet in second.until_ping()] == [contract.topic(ID, "state")]
        assert link.publish(501, batch(501))
        assert [packet.topic for packet in second.until_ping()] == [contract.topic(ID, "records")]


def test_without_a_session_nothing_is_taken(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port), told) as link:
        session = peer.session()
        assert not link.publish(1, batch(1))
        session.close()
        told.next(Disconnected)
        assert not link.publish(1, batch(1))


# ids of messages


def test_a_puback_of_an_earlier_session_s_message_is_not_taken_for_one_of_this(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port), told) as link:
        first = peer.session()
        first.greet()
        told.next(Connected)
        link.publish(7, batch(7))
        (old_mid,) = records(first, 1)
        first.close()  # a broker restarted without state: nobody knows that message any more
        told.next(Disconnected)
        second = peer.session()
        second.greet()
        told.next(Connected)
        second.puback(old_mid)
        link.publish(8, batch(8))
        (new_mid,) = records(second, 1)
        second.puback(new_mid)
        assert told.next(Published).id == 8


def test_a_broker_killed_and_started_without_state_gets_messages_again(mosquitto: Mosquitto) -> None:
    told = Told()
    with uplink(plain(mosquitto.port), told) as link:
        told.next(Connected)
        mosquitto.kill()
        told.next(Disconnected)
        mosquitto.start()
        hearing = Listener(mosquitto.files)
        told.next(Connected)
        link.publish(1, batch(1))
        assert told.next(Published) == Published(id=1, reason=None)
        assert hearing.next("records").payload == batch(1)
        hearing.close()


# what a PUBACK says


def test_a_puback_says_when_nobody_listens(mosquitto: Mosquitto) -> None:
    told = Told()
    with uplink(plain(mosquitto.port), told) as link:
        told.next(Connected)
        link.publish(3, batch(3))
        assert told.next(Published) == Published(id=3, reason="No matching subscribers")


def edit_role(server: Mosquitto, dropped: str) -> None:
    """Takes a right from the probe's role, before the broker starts."""
    document = json.loads(server.files.dynsec.read_text())
    for role in document["roles"]:
        if role["rolename"] == f"probe-{ID}":
            role["acls"] = [acl for acl in role["acls"] if acl["topic"] != contract.topic(ID, dropped)]  # type: ignore[arg-type]
    server.files.dynsec.write_text(json.dumps(document))


def test_a_puback_says_when_it_is_not_allowed(tmp_path: Path) -> None:
    server = Mosquitto(tmp_path, {ID: "right"})
    edit_role(server, "records")
    told = Told()
    with server, uplink(plain(server.port), told) as link:
        told.next(Connected)
        link.publish(4, batch(4))
        assert told.next(Published) == Published(id=4, reason="Not authorized")


def test_a_subscription_that_is_not_granted_ends_the_session_and_says_so(tmp_path: Path) -> None:
    server = Mosquitto(tmp_path, {ID: "right"})
    edit_role(server, "ack")
    told = Told()
    with server, uplink(plain(server.port), told):
        assert "hear its acks" in told.next(Disconnected).reason


# what is told to the probe


def test_a_retained_configuration_comes_with_the_session(mosquitto: Mosquitto, listener: Listener) -> None:
    config = Config(version=5, plan={"batch_s": 30})
    listener.tell(contract.topic(ID, "cmd"), codec.encode_config(config), retain=True)
    told = Told()
    with uplink(plain(mosquitto.port), told):
        assert told.next(Config) == config


def test_acks_commands_and_what_is_neither_are_told_apart(mosquitto: Mosquitto, listener: Listener) -> None:
    ack = Ack(stream=STREAM, ranges=((1, 3),), rejected=((4, "bad_body"),))
    command = Command(id="c1", kind="pause", expires_ms=5, args={"seconds": 3})
    told = Told()
    with uplink(plain(mosquitto.port), told):
        listener.next("state")  # said after it subscribed
        listener.tell(contract.topic(ID, "ack"), codec.encode_ack(ack))
        assert told.next(Ack) == ack
        listener.tell(contract.topic(ID, "cmd"), codec.encode_command(command))
        assert told.next(Command) == command
        listener.tell(contract.topic(ID, "cmd"), b"{")
        assert told.next(NotUnderstood).refusal.name == "bad_control"


# presence


def test_the_broker_says_offline_for_an_agent_that_was_killed(mosquitto: Mosquitto, listener: Listener) -> None:
    program = f"""
import time
from balise_agent.contract import Presence
from balise_agent.uplink import Broker, Uplink
broker = Broker(host="127.0.0.1", port={mosquitto.port}, probe="{ID}", username="{ID}", password="right")
presence = Presence(online=True, agent="1", boot="b", stream="{STREAM}")
Uplink(broker, presence, lambda event: None).start()
while True:
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as child:
        assert online(listener.next("state").payload)
        os.kill(child.pid, signal.SIGKILL)
        assert not online(listener.next("state").payload)
    late = Listener(mosquitto.files)
    heard = late.next("state")
    late.close()
    assert (heard.retain, online(heard.payload)) == (True, False)


def test_a_proper_stop_sends_what_was_handed_over_and_then_says_offline(
    mosquitto: Mosquitto, listener: Listener
) -> None:
    told = Told()
    with uplink(plain(mosquitto.port), told) as link:
        told.next(Connected)
        assert online(listener.next("state").payload)
        for id_ in range(1, WINDOW):
            link.publish(id_, batch(id_))
    assert [listener.next("records").payload for _ in range(1, WINDOW)] == [batch(id_) for id_ in range(1, WINDOW)]
    assert not online(listener.next("state").payload)
    assert told.so_far()[-1] == Disconnected(reason="Normal disconnection")


def test_what_the_probe_says_of_itself_is_said_anew_when_it_changes(mosquitto: Mosquitto, listener: Listener) -> None:
    told = Told()
    with uplink(plain(mosquitto.port), told) as link:
        told.next(Connected)
        listener.next("state")
        link.announce(Presence(online=True, agent="1", boot="b", stream=STREAM, config=9))
        presence = codec.decode_presence(listener.next("state").payload)
        assert isinstance(presence, Presence)
        assert presence.config == 9


def test_a_stop_does_not_wait_for_a_broker_that_says_nothing(peer: Peer) -> None:
    told = Told()
    with uplink(plain(peer.port), told) as link:
        session = peer.session()
        connect = session.read()
        assert connect is not None
        assert connect.kind == CONNECT
        link.stop(0.1)
        assert not link.alive()
