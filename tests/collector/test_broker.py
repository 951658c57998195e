"""Does the real broker let each do its own, and nothing else?"""

import json
import os
import pwd
import queue
import re
import shutil
import signal
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from balise_collector import broker
from balise_collector.broker import control
from tests.waiting import free_port, until

A, B, C = "a" * 16, "b" * 16, "c" * 16
DENIED = "Not authorized"
TAKEN = {"Success", "No matching subscribers"}
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "mosquitto"


@contextmanager
def running(files: broker.BrokerFiles) -> Iterator[subprocess.Popen[bytes]]:
    log = files.directory / "log"
    with log.open("wb") as out, subprocess.Popen([MOSQUITTO, "-c", files.conf], stderr=out) as process:
        try:
            until(lambda: process.poll() is not None or control.is_running(files))
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.terminate()


class Peer:
    """One MQTT connection whose answers are waited for."""

    def __init__(self, files: broker.BrokerFiles, user: str, password: str, client_id: str = "") -> None:
        self.answers: queue.Queue[Any] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.gone: queue.Queue[str] = queue.Queue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self.answers.put(str(reason))
        self.client.on_publish = lambda _c, _u, _m, reason, _p: self.answers.put(str(reason))
        self.client.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.put(str(reasons[0]))
        self.client.on_message = lambda _c, _u, m: self.messages.put((m.topic, bytes(m.payload)))
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.gone.put(str(reason))
        self.address = files.host, files.port

    def connect(self) -> str:
        self.client.connect(*self.address)
        self.client.loop_start()
        return str(self.answers.get(timeout=30))

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> str:
        self.client.publish(topic, payload, qos=1, retain=retain)
        return str(self.answers.get(timeout=30))

    def subscribe(self, topic: str) -> str:
        self.client.subscribe(topic, qos=1)
        return str(self.answers.get(timeout=30))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[broker.BrokerFiles]:
    files = broker.init(tmp_path_factory.mktemp("broker with a space"), port=free_port(), persistence=False)
    broker.add_probes(files.dynsec, {A: "secret of a", B: "secret of b"})
    with running(files):
        yield files


@pytest.fixture
def connect(live: broker.BrokerFiles, peers: ExitStack) -> Callable[..., Peer]:
    def connected(user: str, password: str | None = None, client_id: str = "") -> Peer:
        peer = Peer(live, user, password or f"secret of {user[0]}", client_id)
        peers.callback(peer.close)
        assert peer.connect() == "Success"
        return peer

    return connected


@pytest.fixture
def collector(live: broker.BrokerFiles, connect: Callable[..., Peer]) -> Peer:
    return connect(live.collector_username, live.collector_password_file.read_text().strip())


def test_a_probe_sends_records_and_state_to_the_collector(connect: Callable[..., Peer], collector: Peer) -> None:
    assert collector.subscribe("balise/v1/+/records") == "Granted QoS 1"
    assert collector.subscribe("balise/v1/+/state") == "Granted QoS 1"
    probe = connect(A)
    for topic in (f"balise/v1/{A}/records", f"balise/v1/{A}/state"):
        assert probe.publish(topic, b"mine") == "Success"
        assert collector.messages.get(timeout=30) == (topic, b"mine")


def test_a_probe_hears_its_acks_and_commands(connect: Callable[..., Peer], collector: Peer) -> None:
    probe = connect(A)
    for topic in (f"balise/v1/{A}/ack", f"balise/v1/{A}/cmd"):
        assert probe.subscribe(topic) == "Granted QoS 1"
        assert collector.publish(topic, b"yours") == "Success"
        assert probe.messages.get(timeout=30) == (topic, b"yours")


@pytest.mark.parametrize(
    "topic",
    [
        f"balise/v1/{B}/records",
        f"balise/v1/{B}/state",
        f"balise/v1/{A}/ack",
        f"balise/v1/{A}/cmd",
        f"balise/v1/{A}/records/more",
        "balise/v1",
        "anything",
        "$CONTROL/dynamic-security/v1",
    ],
)
def test_a_probe_publishes_nothing_else(connect: Callable[..., Peer], topic: str) -> None:
    assert connect(A).publish(topic) == DENIED


@pytest.mark.parametrize(
    "topic",
    [
        "#",
        "+/+/+/+",
        f"balise/v1/{A}/+",
        f"balise/v1/{B}/ack",
        f"balise/v1/{B}/cmd",
        "balise/v1/+/ack",
        f"balise/v1/{A}/records",
        "$share/collector/balise/v1/+/records",
        f"$share/collector/balise/v1/{A}/ack",
        "$SYS/#",
        "$CONTROL/#",
    ],
)
def test_a_probe_subscribes_to_nothing_else(connect: Callable[..., Peer], topic: str) -> None:
    assert connect(A).subscribe(topic) == DENIED


@pytest.mark.parametrize("topic", [f"balise/v1/{A}/records", "balise/v1", "$CONTROL/dynamic-security/v1"])
def test_the_collector_publishes_acks_and_commands_alone(collector: Peer, topic: str) -> None:
    assert collector.publish(topic) == DENIED


@pytest.mark.parametrize("topic", ["#", "balise/v1/+/ack", "$share/x/balise/v1/+/records", "$CONTROL/#"])
def test_the_collector_subscribes_to_records_and_state_alone(collector: Peer, topic: str) -> None:
    assert collector.subscribe(topic) == DENIED


def test_the_fleet_service_cannot_read_records(live: broker.BrokerFiles, connect: Callable[..., Peer]) -> None:
    fleet = connect(live.fleet_username, live.fleet_password_file.read_text().strip())
    assert fleet.subscribe("balise/v1/+/records") == DENIED
    assert fleet.publish(f"balise/v1/{A}/ack") == DENIED


@pytest.mark.parametrize(("user", "password"), [(A, "wrong"), (A, ""), (C, "secret of c"), ("", "")])
def test_a_wrong_password_or_a_stranger_is_refused(
    live: broker.BrokerFiles, connect: Callable[..., Peer], peers: ExitStack, user: str, password: str
) -> None:
    honest = connect(A)
    thief = Peer(live, user, password, client_id=A)
    peers.callback(thief.close)
    assert thief.connect() == DENIED
    assert honest.publish(f"balise/v1/{A}/records") in TAKEN


def test_another_s_client_id_does_not_take_its_connection(connect: Callable[..., Peer]) -> None:
    honest = connect(A)
    assert connect(B, client_id=A).publish(f"balise/v1/{B}/state") in TAKEN
    assert honest.publish(f"balise/v1/{A}/state") in TAKEN
    assert honest.gone.empty()


def test_a_probe_is_added_and_revoked_while_the_broker_runs(live: broker.BrokerFiles, peers: ExitStack) -> None:
    broker.admit(live, {C: "first"})
    broker.admit(live, {C: "second"})
    probe = Peer(live, C, "second")
    peers.callback(probe.close)
    assert probe.connect() == "Success"
    assert probe.publish(f"balise/v1/{C}/records") in TAKEN
    assert C in broker.probes(live.dynsec)  # the broker has written it, for its next start
    assert broker.expel(live, C)
    assert probe.gone.get(timeout=30)
    again = Peer(live, C, "second")
    peers.callback(again.close)
    assert again.connect() == DENIED
    assert C not in broker.probes(live.dynsec)
    assert not broker.expel(live, C)


def test_more_probes_than_a_message_holds_are_all_told(live: broker.BrokerFiles) -> None:
    passwords = {f"many{n:04}": "x" for n in range(control.PROBES_A_MESSAGE * 2 + 1)}
    broker.admit(live, passwords)
    assert set(passwords) <= set(broker.probes(live.dynsec))
    for probe in passwords:
        assert probe in broker.probes(live.dynsec)


def test_a_probe_is_added_and_revoked_while_no_broker_runs(tmp_path: Path, peers: ExitStack) -> None:
    files = broker.init(tmp_path, port=free_port(), persistence=False)
    broker.admit(files, {A: "x", B: "x"})
    assert broker.expel(files, B)
    assert not broker.expel(files, B)
    with running(files):
        found = {}
        for probe in (A, B):
            peer = Peer(files, probe, "x")
            peers.callback(peer.close)
            found[probe] = peer.connect()
    assert found == {A: "Success", B: DENIED}


def test_a_file_edited_beside_a_running_broker_is_not_read_even_on_sighup(tmp_path: Path, peers: ExitStack) -> None:
    """Why `admit` talks to a running broker. Should this fail with a later mosquitto, editing would do."""
    files = broker.init(tmp_path, port=free_port(), persistence=False)
    with files.conf.open("a") as conf:
        conf.write("log_type information\n")
    with running(files) as process:
        broker.add_probe(files.dynsec, A, "x")
        process.send_signal(signal.SIGHUP)
        until(lambda: "Reloading config" in (files.directory / "log").read_text())
        peer = Peer(files, A, "x")
        peers.callback(peer.close)
        assert peer.connect() == DENIED
        broker.admit(files, {B: "x"})
        assert broker.probes(files.dynsec) == [B]


def test_whose_messages_the_broker_refuses_is_found_as_the_page_says(tmp_path: Path, peers: ExitStack) -> None:
    """By the kernel's count of its connection, and by the broker's log at the level that one switches on for it."""
    page = (Path(__file__).parents[2] / "docs/operating.md").read_text()
    (most_bytes,) = re.findall(r"^ss .*$", page, re.MULTILINE)
    files = broker.init(tmp_path, port=free_port(), persistence=False)
    broker.add_probes(files.dynsec, {A: "x", B: "x"})
    log = files.directory / "log"
    with running(files) as process:
        others = {probe: Peer(files, probe, "x") for probe in (A, B)}
        for peer in others.values():
            peers.callback(peer.close)
            assert peer.connect() == "Success"
        for _ in range(50):
            assert others[A].publish(f"balise/v1/{B}/records", b"x" * 1_000) == DENIED
        command = ["bash", "-c", most_bytes.replace("8883", str(files.port))]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        count, address = found[-1].split()
        assert int(count) > 50_000
        assert f"New client connected from {address} as {A} " in log.read_text()
        with files.conf.open("a") as conf:
            conf.write("log_type debug\n")
        process.send_signal(signal.SIGHUP)

        def is_said() -> bool:
            others[A].publish(f"balise/v1/{B}/records", b"x")
            return f"Denied PUBLISH from {A} " in log.read_text()

        until(is_said)


def test_a_second_init_keeps_probes_and_passwords_and_takes_the_new_address(tmp_path: Path) -> None:
    first = broker.init(tmp_path, port=1883)
    broker.add_probe(first.dynsec, A, "x")
    before = first.dynsec.read_text(), first.collector_password_file.read_text()
    second = broker.init(tmp_path, port=1884, listen="::1")
    assert (second.dynsec.read_text(), second.collector_password_file.read_text()) == before
    assert (second.host, second.port) == ("::1", 1884)
    assert broker.load(tmp_path) == second


def test_secrets_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    files = broker.init(tmp_path, port=1883)
    broker.add_probe(files.dynsec, A, "the secret")
    for path in (files.dynsec, files.collector_password_file, files.fleet_password_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert "the secret" not in files.dynsec.read_text()


def test_the_broker_runs_as_who_it_says_and_owns_its_files_after_an_edit() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)  # whoever made it, others can reach it
        files = broker.init(Path(name) / "broker", port=free_port())
        broker.add_probe(files.dynsec, A, "x")
        said = next(line for line in files.conf.read_text().splitlines() if line.startswith("user ")).split()[1]
        assert files.dynsec.stat().st_uid == pwd.getpwnam(said).pw_uid
        with running(files) as process:
            assert Path(f"/proc/{process.pid}").stat().st_uid == pwd.getpwnam(said).pw_uid
            broker.admit(files, {B: "x"})
        assert broker.probes(files.dynsec) == [A, B]


def test_a_broker_out_of_its_user_s_reach_runs_as_who_made_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    files = broker.init(tmp_path / "broker", port=1883)
    assert f"\nuser {pwd.getpwuid(os.geteuid()).pw_name}\n" in files.conf.read_text()


def test_the_limits_of_the_contract_are_the_broker_s(tmp_path: Path) -> None:
    conf = broker.init(tmp_path, port=1883).conf.read_text().splitlines()
    for line in ("max_packet_size 263168", "max_keepalive 300", "allow_anonymous false", "persistence true"):
        assert line in conf
    assert not [line for line in conf if "acl_file" in line or ("#" in line and not line.startswith("#"))]


@pytest.mark.parametrize("probe", ["short", "+", "a/b/c/d/e/f", "UPPERCASE", "collector", "x" * 33])
def test_a_name_that_is_no_probe_id_gets_no_role(tmp_path: Path, probe: str) -> None:
    files = broker.init(tmp_path, port=1883)
    before = files.dynsec.read_text()
    with pytest.raises(ValueError, match="no probe id"):
        broker.add_probe(files.dynsec, probe, "x")
    assert files.dynsec.read_text() == before


def test_no_broker_and_another_s_broker_are_said(tmp_path: Path, live: broker.BrokerFiles) -> None:
    with pytest.raises(broker.BrokerError, match="balise broker init"):
        broker.load(tmp_path / "nowhere")
    other = broker.init(tmp_path, port=live.port)
    with pytest.raises(broker.BrokerError, match="refuses fleet"):
        broker.admit(other, {A: "x"})


def test_an_interrupted_edit_leaves_the_file_whole_and_the_next_one_goes_through(tmp_path: Path) -> None:
    files = broker.init(tmp_path, port=1883)
    files.dynsec.with_suffix(".fresh").write_text("half a docu")
    broker.add_probe(files.dynsec, A, "x")
    assert json.loads(files.dynsec.read_text())["clients"][-1]["username"] == A


def issue(folder: Path, name: str, issuer: str | None = None) -> None:
    """name.pem and name.key, signed by itself or by another made before."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer or name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    signer = key
    if issuer:
        loaded = serialization.load_pem_private_key((folder / f"{issuer}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    (folder / f"{name}.pem").write_bytes(
        certificate.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    issue(folder, "authority")
    for name in ("broker.example", "fleet", A, B):
        issue(folder, name, "authority")
    return folder


def over_tls(peer: Peer, folder: Path, name: str | None) -> Peer:
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    context.check_hostname = False
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    peer.client.tls_set_context(context)
    return peer


def test_a_certificate_s_name_is_who_a_probe_is(tmp_path: Path, certificates: Path, peers: ExitStack) -> None:
    pair = {"certfile": certificates / "broker.example.pem", "keyfile": certificates / "broker.example.key"}
    tls = broker.Tls(**pair, cafile=certificates / "authority.pem")
    files = broker.init(tmp_path / "broker", port=free_port(), tls=tls)
    with running(files):
        with pytest.raises(broker.BrokerError, match=r"fleet\.pem: missing"):
            broker.admit(files, {A: "unused"})
        for name in ("fleet.pem", "fleet.key"):
            shutil.copy(certificates / name, files.directory)
        broker.admit(files, {A: "unused", B: "unused"})
        probe = over_tls(Peer(files, B, "unused"), certificates, A)
        peers.callback(probe.close)
        assert probe.connect() == "Success"
        assert probe.publish(f"balise/v1/{B}/records") == DENIED
        assert probe.publish(f"balise/v1/{A}/records") in TAKEN
        nobody = over_tls(Peer(files, A, "unused"), certificates, None)
        peers.callback(nobody.close)
        nobody.client.connect(files.host, files.port)
        nobody.client.loop_start()
        assert nobody.gone.get(timeout=30)
        assert nobody.answers.empty()


def test_passwords_go_over_tls_where_no_certificate_is_asked(
    tmp_path: Path, certificates: Path, peers: ExitStack
) -> None:
    pair = {"certfile": certificates / "broker.example.pem", "keyfile": certificates / "broker.example.key"}
    files = broker.init(tmp_path / "broker", port=free_port(), tls=broker.Tls(**pair))
    with running(files):
        broker.admit(files, {A: "secret"})
        for password, answer in (("secret", "Success"), ("wrong", DENIED)):
            peer = over_tls(Peer(files, A, password), certificates, None)
            peers.callback(peer.close)
            assert peer.connect() == answer
