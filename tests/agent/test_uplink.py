"""Is each trap of paho's and of brokers' stepped around? On a real mosquitto, and on peers that misbehave."""

from __future__ import annotations

import json
import os
import queue
import random
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from balise_agent import codec, contract
from balise_agent.contract import Ack, Command, Config, Envelope, Presence
from balise_agent.uplink import (
    BACKOFF_S,
    FLAPPING,
    SETTLED_S,
    STUCK_S,
    WINDOW,
    Broker,
    Connected,
    Disconnected,
    Event,
    NotUnderstood,
    Published,
    Uplink,
    addresses,
    failures_after,
    pause_s,
    tls_context,
)
from balise_collector import broker as brokers
from tests.brokers import CONNECT, DISCONNECT, PUBLISH, Listener, Mosquitto, Peer, Session, mqtt_peer
from tests.waiting import PATIENCE_S, until

ID, OTHER = "k3v9q2xa7m", "otherprobe"
STREAM = "A" * 22
NOWHERE = "no-such-name.invalid"  # RFC 6761: it never resolves
PRESENCE = Presence(online=True, agent="1", boot="b", stream=STREAM)

E = TypeVar("E")


class Told:
    """What an uplink says, in order; ``think`` may do something about it in the uplink's own thread."""

    def __init__(self, think: Callable[[Event], None] = lambda _: None) -> None:
        self._think = think
        self.events: queue.Queue[Event] = queue.Queue()

    def __call__(self, event: Event) -> None:
        self.events.put(event)
        self._think(event)

    def next(self, kind: type[E]) -> E:
        """The next such event; others are passed over."""
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if isinstance(event, kind):
                return event

    def so_far(self) -> list[Event]:
        found = []
        while not self.events.empty():
            found.append(self.events.get())
        return found


def plain(port: int, **changes: Any) -> Broker:
    return replace(Broker(host="127.0.0.1", port=port, probe=ID, username=ID, password="right"), **changes)


class AtOnce(random.Random):
    """Draws the least, so that no test waits for a pause."""

    def uniform(self, a: float, b: float) -> float:
        return a


@contextmanager
def uplink(broker: Broker, told: Told, **more: Any) -> Iterator[Uplink]:
    made = Uplink(broker, PRESENCE, told, **({"rng": AtOnce()} | more))
    made.start()
    try:
        yield made
    finally:
        made.stop(0.3)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, {ID: "right"}) as server:
        yield server


@pytest.fixture
def peer() -> Iterator[Peer]:
    with mqtt_peer() as made:
        yield made


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    made = Listener(mosquitto.files)
    yield made
    made.close()


def batch(seq: int) -> bytes:
    envelope = Envelope(
        stream=STREAM, seq=seq, boot="b", ts_ms=1, sent_ms=0, chain="C" * 22, retention="raw_90d", previous=None
    )
    return codec.encode_batch(envelope, b"body")


def records(session: Session, count: int) -> list[int]:
    """Message ids of the next so many batches; presences are passed over and taken."""
    found: list[int] = []
    while len(found) < count:
        (packet,) = session.publishes(1)
        if packet.topic.endswith("/records"):
            found.append(packet.mid)
        else:
            session.puback(packet.mid)
    return found


def online(heard: bytes) -> bool:
    presence = codec.decode_presence(heard)
    assert isinstance(presence, Presence)
    return presence.online


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


# faults


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


# TLS


class Authority:
    """Signs certificates of servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._sign(self.name, self.key.public_key(), None))

    def issue(self, host: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate, secret = self.folder / "server.pem", self.folder / "server.key"
        certificate.write_bytes(self._sign(subject, key.public_key(), host))
        pem, plain_text = serialization.Encoding.PEM, serialization.NoEncryption()
        secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain_text))
        return certificate, secret

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, host: str | None) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(("certified", "expected"), [(NOWHERE, ""), ("elsewhere.invalid", "Hostname mismatch")])
def test_by_address_too_the_certificate_must_bear_the_broker_s_name(
    tmp_path: Path, certified: str, expected: str
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue(certified)
    server = Mosquitto(tmp_path, {ID: "right"}, tls=brokers.Tls(certfile=certificate, keyfile=key))
    told = Told()
    context = tls_context(NOWHERE, str(authority.file), None, None)
    with server, uplink(plain(server.port, host=NOWHERE, tls=context), told, last_good="127.0.0.1"):
        if expected:
            assert expected in told.next(Disconnected).reason
        else:
            assert told.next(Connected).address == "127.0.0.1"


def test_a_message_larger_than_a_tls_record_is_read_whole(tmp_path: Path) -> None:
    """What TLS has decrypted and paho not yet read shows in no select."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue(NOWHERE)
    server = Mosquitto(tmp_path, {ID: "right"}, tls=brokers.Tls(certfile=certificate, keyfile=key))
    told = Told()
    context = tls_context(NOWHERE, str(authority.file), None, None)
    with server, uplink(plain(server.port, host=NOWHERE, tls=context), told, last_good="127.0.0.1") as link:
        told.next(Connected)
        for id_ in range(200):
            link.publish(id_, batch(id_))
        assert [told.next(Published).id for _ in range(200)] == list(range(200))


@contextmanager
def old_server(files: tuple[Path, Path]) -> Iterator[int]:
    """Speaks TLS 1.1 and nothing newer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(*files)

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(1)
            except OSError:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)


def test_tls_before_1_2_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with old_server(authority.issue(NOWHERE)) as port:
        lax = ssl.create_default_context(cafile=str(authority.file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            lax.minimum_version = ssl.TLSVersion.TLSv1
        lax.set_ciphers("DEFAULT:@SECLEVEL=0")
        sock = socket.create_connection(("127.0.0.1", port))
        with lax.wrap_socket(sock, server_hostname=NOWHERE) as wrapped:
            assert wrapped.version() == "TLSv1.1"  # so it does speak, to who lets it
        told = Told()
        strict = tls_context(NOWHERE, str(authority.file), None, None)
        strict.set_ciphers("DEFAULT:@SECLEVEL=0")
        with uplink(plain(port, host=NOWHERE, tls=strict), told, last_good="127.0.0.1"):
            assert "SSLError" in told.next(Disconnected).reason


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
