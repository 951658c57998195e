"""Do certificates say who speaks, and is everybody else kept out? On the real broker, and with the real programs."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from balise_agent.contract import topic
from balise_collector import broker
from balise_collector.broker import BrokerFiles
from balise_collector.demo.programs import AgentFiles, prepare_agents
from balise_collector.journal import Journal
from tests.collector.attacker import GRANTED, NOT_AUTHORIZED, Attacker
from tests.collector.certificates import DAY, Authority, Pair
from tests.collector.running import Mosquitto, balise, process
from tests.waiting import free_port, until

A, B = "a" * 16, "b" * 16
TAKEN = {0, 0x10}  # 0x10: nobody listens


@dataclass
class Ground:
    """A broker that asks for certificates, and who signs them."""

    files: BrokerFiles
    authority: Authority
    mosquitto: Mosquitto

    def line(self, pair: Pair | None, tls: ssl.SSLContext | None = None) -> Attacker:
        """A connection with that certificate. ConnectionError: the broker does not take it."""
        context = tls or trusting(self.authority)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return Attacker((self.files.host, self.files.port), tls=context)

    def is_refused(self, pair: Pair | None) -> bool:
        """Whether there is no session to be had with it. In TLS 1.3 a client learns it from its first answer."""
        try:
            with closing(self.line(pair)) as line:
                return line.connect(A, "x", client_id=A) != 0
        except ConnectionError:
            return True

    def reload(self) -> None:
        """As an operator does after a new list of revoked certificates."""
        log, running = self.files.directory / "log", self.mosquitto.process
        assert running is not None
        before = log.read_text().count("Reloading config")
        running.send_signal(signal.SIGHUP)
        until(lambda: log.read_text().count("Reloading config") > before)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.pem)
    context.check_hostname = False
    return context


@contextmanager
def started(folder: Path, *, with_crl: bool = False) -> Iterator[Ground]:
    authority = Authority(folder / "authority")
    pair, crl = authority.broker(), authority.revoke() if with_crl else None
    tls = broker.Tls(certfile=pair.cert, keyfile=pair.key, cafile=authority.pem, crlfile=crl)
    files = broker.init(folder / "data" / "broker", port=free_port(), tls=tls, persistence=False)
    broker.add_probes(files.dynsec, {A: "unused", B: "unused"})
    for name in (files.collector_username, files.fleet_username):
        own = authority.probe(name)
        shutil.copy(own.cert, files.directory / f"{name}.pem")
        shutil.copy(own.key, files.directory / f"{name}.key")
    with files.conf.open("a") as conf:
        conf.write("log_type information\n")  # it then says that it has read its files again
    mosquitto = Mosquitto(files)
    mosquitto.start()
    try:
        yield Ground(files, authority, mosquitto)
    finally:
        mosquitto.kill()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with started(tmp_path_factory.mktemp("tls")) as found:
        yield found


def test_a_certificate_s_name_is_the_name_whatever_else_is_said(ground: Ground) -> None:
    with closing(ground.line(ground.authority.probe(A))) as line:
        assert line.connect(B, "unused", client_id=B) == 0
        assert line.publish(topic(A, "records")) in TAKEN
        assert line.publish(topic(B, "records")) == NOT_AUTHORIZED
        assert line.subscribe(topic(A, "ack"), topic(B, "ack")) == [GRANTED, NOT_AUTHORIZED]


@pytest.mark.parametrize(
    ("begins", "ends"), [(-2 * DAY, -timedelta(seconds=5)), (timedelta(hours=1), DAY)], ids=["expired", "not yet valid"]
)
def test_a_certificate_out_of_its_time_is_refused(ground: Ground, begins: timedelta, ends: timedelta) -> None:
    assert ground.is_refused(ground.authority.probe(A, begins=begins, ends=ends))


def test_no_certificate_is_refused(ground: Ground) -> None:
    assert ground.is_refused(None)


def test_another_authority_s_certificate_is_refused_even_one_of_the_same_name(ground: Ground, tmp_path: Path) -> None:
    assert not ground.is_refused(ground.authority.probe(A))
    assert ground.is_refused(Authority(tmp_path / "foreign").probe(A))


def test_a_certificate_for_servers_is_no_probe_s(ground: Ground) -> None:
    assert ground.is_refused(ground.authority.broker())


@pytest.mark.parametrize("cn", ["+", "#", f"{A}/x", f"balise/v1/{A}", "é" * 8, "c" * 16])
def test_a_name_that_nobody_gave_a_role_connects_and_may_do_nothing(ground: Ground, cn: str) -> None:
    with closing(ground.line(ground.authority.probe(cn))) as line:
        assert line.connect() == 0
        for name in (topic(A, "records"), topic("c" * 16, "records"), "x"):
            assert line.publish(name) == NOT_AUTHORIZED
        assert line.subscribe("#", topic(A, "ack"), "$share/x/balise/v1/+/records") == [NOT_AUTHORIZED] * 3


def test_a_name_with_an_end_in_its_middle_is_refused(ground: Ground) -> None:
    assert ground.is_refused(ground.authority.probe(f"{A}\0.example"))


def version_only(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else this client itself would not offer 1.1
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_before_1_2_is_refused(ground: Ground) -> None:
    pair = ground.authority.probe(A)
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with closing(ground.line(pair, version_only(ground.authority, version))) as line:
            assert isinstance(line.sock, ssl.SSLSocket)
            assert (line.sock.version(), line.connect()) == (name, 0)
    old = version_only(ground.authority, ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ConnectionError, match="PROTOCOL_VERSION"):
        ground.line(pair, old)
    assert shakes_hands(old, ground.authority.broker()) == "TLSv1.1"  # this client can: it was the broker


def shakes_hands(client: ssl.SSLContext, pair: Pair) -> str | None:
    """The version that a server agrees on which takes any."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version = ssl.TLSVersion.TLSv1_1
    server.load_cert_chain(pair.cert, pair.key)
    near, far = socket.socketpair()
    with near, far:
        thread = threading.Thread(target=lambda: server.wrap_socket(far, server_side=True).close())
        thread.start()
        with client.wrap_socket(near) as line:
            version = line.version()
        thread.join(30)
    return version


def test_a_revoked_certificate_is_cut_and_comes_not_back(tmp_path: Path) -> None:
    """The list keeps out who comes, the role's end cuts who is there: it takes both."""
    with started(tmp_path, with_crl=True) as ground:
        pair = ground.authority.probe(A)
        with closing(ground.line(pair)) as line:
            assert line.connect() == 0
            ground.authority.revoke(pair)
            ground.reload()
            assert ground.is_refused(pair)
            assert not ground.is_refused(ground.authority.probe(B))
            assert line.publish(topic(A, "records")) in TAKEN  # the open one goes on
            assert broker.expel(ground.files, A)
            assert line.is_cut()


def test_without_a_list_a_revoked_certificate_comes_back_and_may_do_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as ground:
        pair = ground.authority.probe(A)
        for take in (broker.cut_off, broker.expel):
            with closing(ground.line(pair)) as line:
                assert line.connect() == 0
                assert line.publish(topic(A, "records")) in TAKEN
                assert take(ground.files, A)
                assert line.is_cut()
            with closing(ground.line(pair)) as line:
                assert line.connect() == 0
                assert line.publish(topic(A, "records")) == NOT_AUTHORIZED
                assert line.subscribe(topic(A, "ack")) == [NOT_AUTHORIZED]
                broker.readmit(ground.files, A)


def test_a_list_past_its_date_refuses_everybody(tmp_path: Path) -> None:
    with started(tmp_path, with_crl=True) as ground:
        pair = ground.authority.probe(A)
        assert not ground.is_refused(pair)
        ground.authority.revoke(ends=-timedelta(seconds=5))
        ground.reload()
        assert ground.is_refused(pair)


# the real programs


def agent_config(agent: AgentFiles, ground: Ground, pair: Pair) -> None:
    """An agent that measures itself each second, with its certificate and no password."""
    agent.folder.mkdir()
    agent.config.write_text(
        f"""\
[agent]
state_dir = "{agent.outbox.parent}"
batch_s = 1
clock = "trust"
[broker]
host = "127.0.0.1"
port = {ground.files.port}
ca_file = "{ground.authority.pem}"
cert_file = "{pair.cert}"
key_file = "{pair.key}"
[probe]
id = "{agent.probe}"
[box]
enabled = false
[host]
interval_s = 1
"""
    )


def kept(data: Path) -> int:
    """Messages in the collector's journal."""
    if not (data / "journal.db").exists():
        return 0
    with closing(Journal(data / "journal.db")) as journal:
        return journal.last_id()


def acknowledged(agent: AgentFiles) -> int:
    """Messages of the agent that the collector has said it keeps."""
    with closing(sqlite3.connect(agent.outbox)) as outbox:
        found: int = outbox.execute("SELECT count(*) FROM outbox WHERE acked IS NOT NULL").fetchone()[0]
    return found


def test_agent_and_collector_speak_tls_with_certificates_from_files(tmp_path: Path) -> None:
    with started(tmp_path) as ground:
        data = tmp_path / "data"
        (agent,) = prepare_agents(tmp_path, data, ground.files, 1)
        broker.admit(ground.files, {agent.probe: "unused"})  # it runs: the file alone would not tell it
        agent_config(agent, ground, ground.authority.probe(agent.probe))
        run = [sys.executable, "-m", "balise_agent.cli", "run", "--config", str(agent.config)]
        with (
            process(balise("serve", "--data", data, "--http-port", 0), tmp_path / "serve.log") as serve,
            process(run, tmp_path / "agent.log") as running,
        ):
            until(lambda: kept(data) >= 3 and acknowledged(agent) >= 3)
            for started_ in (running, serve):
                started_.send_signal(signal.SIGTERM)
                started_.wait(30)
        logs = (tmp_path / "serve.log").read_text() + (tmp_path / "agent.log").read_text()
        assert "broker_lost" not in logs, logs


def test_a_collector_without_its_certificate_says_which_file_is_missing(tmp_path: Path) -> None:
    with started(tmp_path) as ground:
        (ground.files.directory / "collector.pem").unlink()
        command = balise("serve", "--data", tmp_path / "data", "--http-port", 0)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"balise: {ground.files.directory}/collector.pem: missing; the broker asks collector for its certificate\n"
    )


def test_a_broker_with_another_certificate_is_not_believed(tmp_path: Path) -> None:
    """Whoever takes the broker's address gets no password and no record of the collector's."""
    with started(tmp_path) as ground:
        other = ground.authority.broker()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(other.cert, other.key)
        context = broker.client_tls(ground.files, "collector")
        assert context is not None
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=accept_once, args=(listening, server))
            thread.start()
            with (
                socket.create_connection(listening.getsockname()) as plain,
                pytest.raises(ssl.SSLCertVerificationError),
            ):
                context.wrap_socket(plain)
            thread.join(30)


def accept_once(listening: socket.socket, tls: ssl.SSLContext) -> None:
    sock, _ = listening.accept()
    with sock, pytest.raises(ssl.SSLError):
        tls.wrap_socket(sock, server_side=True)
