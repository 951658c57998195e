"""Does `balise-agent check` tell what works from what does not? Against real peers on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balise_agent import doctor, outbox_rows, single
from balise_agent.config import AgentConfig, AgentSettings, BrokerSettings, ProbeSettings
from balise_agent.contract import Record
from balise_agent.doctor import Finding
from balise_agent.doctor_texts import CHECKS, LEVELS, TEXTS
from balise_agent.identity import Identity
from balise_agent.outbox import Outbox
from balise_agent.settings import Secret
from tests.waiting import free_port, until

ID = "k3v9q2xa7m"
NOW = datetime.now(UTC)


class FixedClock:
    def __init__(self, synchronised: bool | None = True) -> None:
        self._synchronised = synchronised

    def bt_ms(self) -> int:
        return 5_000

    def wall_ms(self) -> int:
        return 1_700_000_000_000

    def synchronised(self) -> bool | None:
        return self._synchronised


def verdict(found: Finding) -> tuple[str, str]:
    return found.level, found.code


# a broker


@contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[int]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "mosquitto is missing: deploy/setup-debian.sh installs it"
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), ID, "right"], check=True, capture_output=True)
    port = free_port()
    settings = [f"listener {port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}", *lines]
    settings += ["user root", "use_username_as_clientid true"]
    (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stdout=log, stderr=log)
    try:
        until(lambda: accepts(port) or broker.poll() is not None)
        assert broker.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        broker.terminate()
        broker.wait()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that does one thing with each connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def configured(state_dir: Path, broker: BrokerSettings) -> AgentConfig:
    return AgentConfig(agent=AgentSettings(state_dir=str(state_dir)), broker=broker, probe=ProbeSettings(id=ID))


def plain(port: int) -> BrokerSettings:
    return BrokerSettings(host="127.0.0.1", port=port, tls=False)


def me(word: str = "right") -> Identity:
    return Identity(probe=ID, boot="b", username=ID, password=Secret(word))


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (me(), ("ok", "mqtt_ok")),
        (me("wrong"), ("fault", "mqtt_refused")),
        (replace(me(), username="nobody0000"), ("fault", "mqtt_refused")),
        (Identity(probe=ID, boot="b"), ("fault", "mqtt_refused")),
    ],
)
def test_the_broker_takes_the_right_credentials_only(
    tmp_path: Path, identity: Identity, expected: tuple[str, str]
) -> None:
    with mosquitto(tmp_path) as port:
        assert verdict(doctor.check_mqtt(plain(port), identity)) == expected


def test_why_the_broker_refuses_is_said(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as port:
        assert doctor.check_mqtt(plain(port), me("wrong")).details == {"why": "Not authorized"}


def test_a_server_that_speaks_no_mqtt_is_no_broker() -> None:
    with peer(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert verdict(doctor.check_mqtt(plain(port), me(), timeout_s=2)) == ("fault", "mqtt_silent")


def test_a_server_that_says_nothing_is_given_up() -> None:
    release = threading.Event()
    with peer(lambda _: [release.wait(30)].clear()) as port:
        found = doctor.check_mqtt(plain(port), me(), timeout_s=0.3)
        release.set()
    assert (verdict(found), found.details) == (("fault", "mqtt_silent"), {"why": "no answer in time"})


def test_a_running_agents_session_is_left_alone(tmp_path: Path) -> None:
    lock = single.take(tmp_path)
    assert lock is not None
    with mosquitto(tmp_path) as port:
        assert verdict(doctor.check_broker(configured(tmp_path, plain(port)), me())[2]) == ("unknown", "mqtt_running")
        os.close(lock)


def test_the_network_is_told_from_the_broker() -> None:
    with peer(lambda _: None) as port:
        assert verdict(doctor.check_network("127.0.0.1", port)) == ("ok", "network_ok")
    found = doctor.check_network("127.0.0.1", port)
    assert (verdict(found), found.details["why"]) == (("fault", "network_fault"), "Connection refused")


def test_a_name_without_an_address_is_told_from_a_broker_that_is_down() -> None:
    assert verdict(doctor.check_network("no-such-name.invalid", 1883)) == ("fault", "network_unresolved")


def test_what_a_failed_step_hides_is_unknown(tmp_path: Path) -> None:
    found = doctor.check_broker(configured(tmp_path, plain(free_port())), me())
    assert [verdict(one) for one in found] == [
        ("fault", "network_fault"),
        ("unknown", "not_reached"),
        ("unknown", "not_reached"),
    ]


# certificates


class Authority:
    """A certificate authority of this test's own."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, None, NOW - timedelta(days=400), NOW + timedelta(days=400))
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, not_before: datetime, not_after: datetime) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, name, not_before, not_after)
        files = self.folder / "server.pem", self.folder / "server.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _sign(self, subject: str, key: Any, host: str | None, not_before: datetime, not_after: datetime) -> Any:
        issuer = self.certificate.subject if host else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@contextmanager
def tls_peer(files: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)

    def shake_hands(connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.recv(1)
        except OSError:
            return

    with peer(shake_hands) as port:
        yield port


YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)
IN_A_YEAR = NOW + timedelta(days=366)


@pytest.mark.parametrize(
    ("name", "not_before", "not_after", "expected"),
    [
        ("localhost", YESTERDAY, IN_A_YEAR, ("ok", "tls_ok")),
        ("localhost", YESTERDAY, NOW + timedelta(days=10), ("warning", "tls_soon")),
        ("broker.example.net", YESTERDAY, IN_A_YEAR, ("fault", "tls_name")),
        ("localhost", NOW - timedelta(days=9), YESTERDAY, ("fault", "tls_dates")),
        ("localhost", TOMORROW, IN_A_YEAR, ("fault", "tls_dates")),
    ],
)
def test_a_certificate_is_checked_for_its_name_and_dates(
    tmp_path: Path, name: str, not_before: datetime, not_after: datetime, expected: tuple[str, str]
) -> None:
    authority = Authority(tmp_path)
    with tls_peer(authority.issue(name, not_before, not_after)) as port:
        broker = BrokerSettings(host="localhost", port=port, ca_file=str(authority.file))
        assert verdict(doctor.check_tls(broker, time.time())) == expected


def test_a_certificate_of_an_unknown_authority_is_told_from_a_wrong_name(tmp_path: Path) -> None:
    known, other = tmp_path / "known", tmp_path / "other"
    known.mkdir()
    other.mkdir()
    with tls_peer(Authority(other, "other authority").issue("localhost", YESTERDAY, IN_A_YEAR)) as port:
        broker = BrokerSettings(host="localhost", port=port, ca_file=str(Authority(known).file))
        assert verdict(doctor.check_tls(broker, time.time())) == ("fault", "tls_chain")


def test_a_port_without_tls_is_told_from_a_bad_certificate() -> None:
    with peer(lambda connection: connection.sendall(b"no\n")) as port:
        assert verdict(doctor.check_tls(BrokerSettings(host="localhost", port=port), time.time())) == (
            "fault",
            "tls_fault",
        )


def test_an_authority_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    broker = BrokerSettings(host="localhost", port=1, ca_file=str(tmp_path / "none"))
    assert verdict(doctor.check_tls(broker, time.time())) == ("fault", "tls_files")


@pytest.mark.parametrize(("host", "level"), [("127.0.0.1", "ok"), ("localhost", "ok"), ("192.0.2.1", "warning")])
def test_without_tls_only_this_machine_is_fine(host: str, level: str) -> None:
    assert verdict(doctor.check_tls(replace(plain(1), host=host), 0.0)) == (level, "tls_off")


def test_the_whole_way_over_tls_works(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost", YESTERDAY, IN_A_YEAR)
    with mosquitto(tmp_path, f"certfile {certificate}", f"keyfile {key}") as port:
        broker = BrokerSettings(host="localhost", port=port, ca_file=str(authority.file))
        assert [found.level for found in doctor.check_broker(configured(tmp_path, broker), me())] == ["ok", "ok", "ok"]


# this machine


@pytest.mark.parametrize(
    ("synchronised", "expected"),
    [(True, ("ok", "clock_ok")), (False, ("fault", "clock_off")), (None, ("unknown", "clock_unknown"))],
)
def test_the_clock_has_three_states(synchronised: bool | None, expected: tuple[str, str]) -> None:
    assert verdict(doctor.check_clock(FixedClock(synchronised))) == expected


def test_ping_sockets_are_tried_for_real() -> None:
    assert verdict(doctor.check_ping(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))) == ("ok", "ping_ok")


def test_a_kernel_that_refuses_ping_sockets_is_said_with_its_range(tmp_path: Path) -> None:
    (tmp_path / "range").write_text("1\t0\n")

    def refused() -> socket.socket:
        raise PermissionError(13, "Permission denied")

    found = doctor.check_ping(refused, tmp_path / "range")
    assert (verdict(found), found.details) == (("fault", "ping_refused"), {"why": "Permission denied", "range": "1 0"})


@pytest.mark.parametrize(
    ("free_mb", "expected"),
    [(300, ("ok", "state_ok")), (100, ("warning", "state_low")), (1, ("fault", "state_low"))],
)
def test_a_disk_has_room_or_not(tmp_path: Path, free_mb: int, expected: tuple[str, str]) -> None:
    assert verdict(doctor.check_state_dir(tmp_path, lambda _: free_mb * 2**20)) == expected
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    assert verdict(doctor.check_state_dir(tmp_path / "none")) == ("fault", "state_fault")
    (tmp_path / "file").touch()
    assert verdict(doctor.check_state_dir(tmp_path / "file")) == ("fault", "state_fault")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("4194304\n", ("ok", "buffers_ok")),
        ("212992\n", ("warning", "buffers_small")),
        ("?", ("unknown", "buffers_unknown")),
    ],
)
def test_receive_buffers_are_large_enough_or_not(tmp_path: Path, content: str, expected: tuple[str, str]) -> None:
    (tmp_path / "rmem_max").write_text(content)
    assert verdict(doctor.check_receive_buffers(tmp_path / "rmem_max")) == expected


# outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    path = tmp_path / "outbox.db"
    with closing(Outbox(path, boot="boot", clock=FixedClock())) as made:
        made.commit([Record(measurement="host", bt_ms=bt_ms) for bt_ms in (1000, 2000)], seal=True)
        made.commit([Record(measurement="host", bt_ms=3000)])
    return path


def test_a_whole_outbox_says_what_waits(outbox: Path) -> None:
    with closing(sqlite3.connect(outbox)) as db:
        waiting = sum(row.acked is None for row in outbox_rows.rows(db, "1")) + len(list(outbox_rows.pending_rows(db)))
    found = doctor.check_outbox(outbox)
    assert (verdict(found), found.details) == (("ok", "outbox_ok"), {"waiting": str(waiting)})
    assert waiting >= 2


def test_the_buffer_of_an_agent_that_has_it_to_itself_is_not_called_unreadable(tmp_path: Path) -> None:
    lock = single.take(tmp_path)
    assert lock is not None
    try:
        with closing(Outbox(tmp_path / "outbox.db", boot="boot", clock=FixedClock(), alone=True)):
            assert verdict(doctor.check_outbox(tmp_path / "outbox.db")) == ("ok", "outbox_in_use")
    finally:
        os.close(lock)


def test_an_agent_that_never_ran_has_no_outbox(tmp_path: Path) -> None:
    assert verdict(doctor.check_outbox(tmp_path / "outbox.db")) == ("ok", "outbox_none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", ["outbox", "pending"])
def test_an_altered_row_is_found_where_the_file_is_whole(outbox: Path, table: str) -> None:
    with closing(sqlite3.connect(outbox)) as db, db:
        db.execute(f"UPDATE {table} SET bt_ms = bt_ms + 8 WHERE id = (SELECT min(id) FROM {table})")  # noqa: S608 - the two names above
    found = doctor.check_outbox(outbox)
    assert (verdict(found), found.details) == (("fault", "outbox_damaged"), {"why": "1 rows"})


def test_a_file_that_is_no_database_is_damaged(outbox: Path) -> None:
    outbox.write_bytes(b"\x5a" * 8192)
    assert verdict(doctor.check_outbox(outbox)) == ("fault", "outbox_damaged")


def test_a_running_agents_outbox_is_only_read(outbox: Path) -> None:
    with closing(Outbox(outbox, boot="boot", clock=FixedClock())) as running:
        before = running.stream, running.next_id
        assert doctor.check_outbox(outbox).level == "ok"
        running.commit([Record(measurement="host", bt_ms=4000)], seal=True)
        assert running.stream == before[0]


# all of it


def written(folder: Path, port: int, word: str = "right") -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[agent]\nstate_dir = "{folder}"\n[probe]\nid = "{ID}"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {port}\ntls = false\nusername = "{ID}"\npassword = "{word}"\n'
    )
    path.chmod(0o600)
    return path


def test_where_all_works_nothing_is_a_fault(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as port:
        findings = doctor.examine(written(tmp_path, port), lambda _: FixedClock())
    assert {found.check for found in findings} == set(CHECKS)
    assert [
        found.code for found in findings if found.level != "ok" and found.check not in ("ping", "buffers", "disk")
    ] == []


def test_a_wrong_password_is_the_one_fault_and_is_not_shown(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as port:
        findings = doctor.examine(written(tmp_path, port, "hunter2"), lambda _: FixedClock())
    assert [found.code for found in findings if found.level == "fault" and found.check not in ("ping", "disk")] == [
        "mqtt_refused"
    ]
    assert doctor.has_fault(findings)
    assert "hunter2" not in doctor.as_text(findings, "en") + json.dumps(doctor.as_json(findings, "fr"))


def test_a_bad_configuration_is_told_with_all_its_faults_and_the_machine_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[reach]\ninterval_s = 0\n")
    findings = doctor.examine(tmp_path / "agent.toml", lambda _: FixedClock())
    assert [found.check for found in findings] == ["config", "clock", "ping", "buffers"]
    assert doctor.as_text(findings, "en").splitlines()[:5] == [
        "FAULT      configuration  The configuration cannot be used:",
        "                          broker.host: missing",
        "                          probe.id: missing",
        "                          reach.interval_s: 0 is not within 1-3600 s",
        f"                          -> Correct these lines of {tmp_path}/agent.toml.",
    ]


def test_a_password_in_a_file_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path, 1)
    path.chmod(0o644)
    assert verdict(doctor.check_config(path)[1]) == ("warning", "config_open")


def test_a_credential_file_at_fault_leaves_the_broker_unasked(tmp_path: Path) -> None:
    path = written(tmp_path, 1)
    path.write_text(path.read_text().replace('password = "right"', f'password_file = "{tmp_path}/none"'))
    codes = {found.check: found.code for found in doctor.examine(path, lambda _: FixedClock())}
    assert codes["credentials"] == "credentials_fault"
    assert codes["mqtt"] == "not_reached"


# texts


class AnyDetail(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


@pytest.mark.parametrize("code", TEXTS)
def test_each_finding_is_said_in_both_languages_with_the_same_details(code: str) -> None:
    assert set(TEXTS[code]) == {"en", "fr"}
    named = {}
    for lang, (says, todo) in TEXTS[code].items():
        assert says
        named[lang] = {word for word in (says + todo).format_map(AnyDetail()).split("<") if ">" in word}
    assert {word.split(">")[0] for word in named["en"]} == {word.split(">")[0] for word in named["fr"]}


def test_each_code_of_the_checks_has_its_text() -> None:
    source = Path(doctor.__file__).read_text()
    unused = [code for code in TEXTS if f'"{code}"' not in source]
    assert unused == []
    assert set(LEVELS) == {"ok", "warning", "fault", "unknown"}


def test_a_finding_says_what_to_do_under_it() -> None:
    found = Finding(check="clock", level="fault", code="clock_off")
    assert doctor.as_text([found], "fr").splitlines() == [
        "DÉFAUT     horloge        L'horloge n'est pas synchronisée : "
        "les mesures sont gardées, mais envoyées seulement une fois datées.",
        f"{'':<25} -> Démarrer un service de temps (systemd-timesyncd, chrony) et lui ouvrir ses serveurs (UDP 123).",
    ]
