"""Does a message that the broker took reach the journal once, whatever stops in between? On a real broker."""

from __future__ import annotations

import ipaddress
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balise_collector import broker
from balise_collector.broker import BrokerFiles, Tls
from balise_collector.ingest import Incoming, Ingest, Reply
from balise_collector.intake import Broker, Intake
from balise_collector.journal import Journal
from balise_collector.placement import Place, Placement
from balise_collector.serve import broker_of
from tests.collector.running import Mosquitto, Probe
from tests.collector.sender import NOW, Sender, row
from tests.waiting import free_port, until

PROBE, SECRET = "probe001", "secret"


def home(_probe: str, _ts_ms: int) -> Placement:
    return Place(home="home0001")


class ScriptedIngest(Ingest):
    """An ingest to which something happens: before its commit, or after it and before anything is answered."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, home, lambda: NOW)
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def take(self, batch: Sequence[Incoming]) -> list[Reply]:
        self.before()
        replies = super().take(batch)
        self.after()
        return replies


@dataclass
class Collector:
    """An intake in a thread of its own."""

    identity: Broker
    journal: Journal
    ingest: ScriptedIngest
    sessions: list[int] = field(default_factory=list)

    @contextmanager
    def runs(self) -> Iterator[Intake]:
        intake = Intake(self.identity, self.ingest, on_connected=lambda: self.sessions.append(1))
        thread = threading.Thread(target=intake.run)
        thread.start()
        try:
            yield intake
        finally:
            intake.stop()
            thread.join(30)
            assert not thread.is_alive()

    def kept(self) -> list[int]:
        with closing(sqlite3.connect(self.journal.path)) as db:
            return [seq for (seq,) in db.execute("SELECT seq FROM journal ORDER BY seq")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder = tmp_path_factory.mktemp("served")
    files = broker.init(folder / "broker", port=free_port(), persistence=False)
    broker.add_probes(files.dynsec, {PROBE: SECRET})
    running = Mosquitto(files)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def collector(server: Mosquitto, tmp_path: Path) -> Iterator[Collector]:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield Collector(broker_of(server.files.directory.parent), journal, ScriptedIngest(journal))


@pytest.fixture
def probe(server: Mosquitto) -> Iterator[Probe]:
    with Probe(server.files, PROBE, SECRET) as connected:
        yield connected


def burst(sender: Sender, count: int) -> list[Incoming]:
    return [sender.sends() for _ in range(count)]


def test_what_a_probe_sends_is_kept_and_its_ack_reaches_it(collector: Collector, probe: Probe) -> None:
    sender = Sender()
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        probe.send(*burst(sender, 50))
        until(lambda: probe.acknowledged() == {*range(1, 51)})
        until(lambda: intake.oldest_unacked_s is None)
    assert collector.kept() == [*range(1, 51)]
    assert {ack.stream for ack in probe.acks} == {sender.stream}


def test_messages_sent_while_the_collector_is_down_are_delivered_after(collector: Collector, probe: Probe) -> None:
    sender = Sender()
    with collector.runs() as intake:
        until(lambda: intake.is_open)
    probe.send(*burst(sender, 20))
    until(lambda: probe.taken == 20)
    assert collector.kept() == []
    with collector.runs():
        until(lambda: probe.acknowledged() == {*range(1, 21)})
    assert collector.kept() == [*range(1, 21)]


def test_nothing_is_answered_while_the_disk_refuses_and_then_all_is_kept_once(
    collector: Collector, probe: Probe
) -> None:
    def refuse() -> None:
        if not room.is_set():
            raise sqlite3.OperationalError("database or disk is full")

    room = threading.Event()
    collector.ingest.before = refuse
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        probe.send(*burst(Sender(), 5))
        until(lambda: not intake.disk_ok)
        assert intake.oldest_unacked_s is not None
        assert (probe.acks, collector.kept()) == ([], [])
        room.set()
        until(lambda: probe.acknowledged() == {*range(1, 6)})
        assert intake.disk_ok
    assert collector.kept() == [*range(1, 6)]


def test_what_was_not_committed_is_delivered_again_to_the_next_session(collector: Collector, probe: Probe) -> None:
    def die() -> None:
        seen.append(1)
        if len(seen) < 3:
            raise ConnectionResetError

    seen: list[int] = []
    collector.ingest.before = die
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        probe.send(*burst(Sender(), 5))
        until(lambda: probe.acknowledged() == {*range(1, 6)})
    assert len(collector.sessions) >= 3
    assert collector.kept() == [*range(1, 6)]


def test_what_was_committed_but_not_answered_comes_again_and_is_absorbed(collector: Collector, probe: Probe) -> None:
    def die() -> None:
        seen.append(1)
        if len(seen) == 1:
            raise ConnectionResetError

    seen: list[int] = []
    collector.ingest.after = die
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        probe.send(*burst(Sender(), 3))
        until(lambda: probe.acknowledged() == {1, 2, 3})
    assert collector.kept() == [1, 2, 3]
    assert collector.ingest.counts["duplicate"] >= 1


def test_a_stop_in_the_middle_of_a_burst_loses_nothing_and_answers_only_what_is_kept(
    collector: Collector, probe: Probe
) -> None:
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        probe.send(*burst(Sender(), 600))
        until(lambda: probe.acks)
    kept = {*collector.kept()}
    until(lambda: probe.taken == 600)
    assert probe.acknowledged() <= kept
    with collector.runs():
        until(lambda: len(collector.kept()) == 600)
    assert collector.kept() == [*range(1, 601)]


def test_a_broker_that_lost_every_session_is_joined_again(
    collector: Collector, probe: Probe, server: Mosquitto
) -> None:
    sender = Sender()
    with collector.runs() as intake:
        until(lambda: intake.is_open)
        server.kill()
        until(lambda: not intake.is_open)
        probe.ready.clear()
        server.start()
        until(lambda: intake.is_open)
        assert probe.ready.wait(30)
        probe.send(sender.sends())
        until(lambda: probe.acknowledged() == {1})
    assert len(collector.sessions) == 2


def test_presence_is_taken_with_its_last_word_and_a_cut_as_the_will(collector: Collector, server: Mosquitto) -> None:
    sender = Sender()
    cut = Probe(server.files, PROBE, SECRET)
    cut.client.will_set(cut.will, sender.says(online=False).payload, 1, retain=True)
    with collector.runs() as intake, cut:
        until(lambda: intake.is_open)
        cut.send(sender.says(online=True), retain=True)
        until(lambda: [online for online, _ in collector.journal.presences().values()] == [True])
        cut.client.socket().close()  # type: ignore[union-attr]
        until(lambda: [online for online, _ in collector.journal.presences().values()] == [False])


def test_a_configuration_is_published_retained_from_any_thread(collector: Collector, server: Mosquitto) -> None:
    with collector.runs() as intake:
        intake.publish(f"balise/v1/{PROBE}/cmd", b"one", retain=True)  # before there is a session
        until(lambda: intake.is_open)
        intake.publish(f"balise/v1/{PROBE}/cmd", b"two", retain=True)
        with Probe(server.files, PROBE, SECRET) as probe:
            until(lambda: (b"two", True) in probe.told or probe.told[-1:] == [(b"two", False)])
            intake.publish(f"balise/v1/{PROBE}/cmd", b"", retain=True)
            until(lambda: (b"", False) in probe.told)
        with Probe(server.files, PROBE, SECRET) as probe:
            intake.publish(f"balise/v1/{PROBE}/cmd", b"three")
            until(lambda: probe.told)
            assert probe.told == [(b"three", False)]


def test_publishing_and_stopping_never_wait_for_a_broker_that_is_not_there(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        nobody = Broker(host="127.0.0.1", port=free_port())
        intake = Intake(nobody, ScriptedIngest(journal))
        done = threading.Event()

        def publish() -> None:
            for _ in range(2_000):  # as many as there may be probes
                intake.publish("balise/v1/probe001/cmd", b"x", retain=True)
            intake.stop()
            intake.run()
            done.set()

        threading.Thread(target=publish, daemon=True).start()
        assert done.wait(30)


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        (PROBE, SECRET, "refused: the broker does not let this identity read the probes' topics"),
        (PROBE, "wrong", "refused: "),
        (None, None, "refused: "),
    ],
)
def test_a_broker_that_refuses_is_said_and_tried_again(
    collector: Collector, caplog: pytest.LogCaptureFixture, user: str | None, password: str | None, why: str
) -> None:
    there = collector.identity
    collector.identity = Broker(
        host=there.host, port=there.port, client_id="stranger", username=user, password=password
    )

    def said() -> list[str]:
        return [getattr(r, "why", "") for r in caplog.records if r.getMessage() == "broker_lost"]

    with caplog.at_level(logging.WARNING), collector.runs() as intake:
        until(lambda: len(said()) >= 2)
        assert not intake.is_open
    assert [text for text in said() if not text.startswith(why)] == []
    assert collector.sessions == []


def test_a_malformed_journal_ends_the_intake_without_an_answer(collector: Collector, probe: Probe) -> None:
    def break_() -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    collector.ingest.before = break_
    sender = Sender()
    intake = Intake(collector.identity, collector.ingest)
    thread = threading.Thread(target=intake.run)
    thread.start()
    until(lambda: intake.is_open)
    probe.send(sender.sends())
    thread.join(30)
    assert not thread.is_alive()
    assert intake.damaged
    assert probe.acks == []
    collector.ingest.before = lambda: None
    with collector.runs():
        until(lambda: probe.acknowledged() == {1})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime.now(UTC) - timedelta(days=1)).not_valid_after(
        datetime.now(UTC) + timedelta(days=1)
    )
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    tls = Tls(certfile=folder / "cert.pem", keyfile=folder / "key.pem")
    tls.certfile.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    tls.keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tls


def test_over_tls_large_messages_are_kept_as_well(certificate: Tls, tmp_path: Path) -> None:
    files: BrokerFiles = broker.init(tmp_path / "broker", port=free_port(), tls=certificate, persistence=False)
    broker.add_probes(files.dynsec, {PROBE: SECRET})
    running, sender = Mosquitto(files), Sender()
    running.start()
    try:
        with closing(Journal(tmp_path / "journal.db")) as journal:
            collector = Collector(broker_of(tmp_path), journal, ScriptedIngest(journal))
            with collector.runs() as intake, Probe(files, PROBE, SECRET) as probe:
                until(lambda: intake.is_open)
                rows = [row(n, "agent_event", k=f"e{n}", detail="é" * 250) for n in range(500)]
                probe.send(*(sender.sends(*rows) for _ in range(30)))
                until(lambda: probe.acknowledged() == {*range(1, 31)})
            assert collector.kept() == [*range(1, 31)]
    finally:
        running.kill()
