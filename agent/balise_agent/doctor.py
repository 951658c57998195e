"""Why does this agent not work? (`balise-agent check`)

Each check looks at one thing for real, and finds ok, warning, fault or unknown; what that means in words is in
`doctor_texts`.

Rule 1: a running agent is not disturbed: its files are only read, and no second session is opened with its credentials
(the broker knows a probe by its user name, so that the second would end the first).
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import ssl
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from balise_agent import durable_file, single
from balise_agent.clock import Clock
from balise_agent.config import AgentConfig, BrokerSettings, ConfigError, load
from balise_agent.doctor_texts import CHECKS, LEVELS, TEXTS, Lang
from balise_agent.identity import Identity, identify

Level = Literal["ok", "warning", "fault", "unknown"]

TIMEOUT_S = 5.0  # a round trip over a bad line is 1 s; a TLS handshake takes a few
SOON_DAYS = 14
MB = 2**20
OUTBOX_MB = 256  # what the outbox may grow to
LEAST_MB = 8
GOOD_RECEIVE_BYTES = MB  # 1.2 s of an 8 Mbit/s channel

_PING_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_NAME_CODES = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH (openssl/x509_vfy.h)
_DATE_CODES = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found: a code of `doctor_texts`, and what stands in its sentence."""

    check: str
    level: Level
    code: str
    details: dict[str, str] = field(default_factory=dict)

    def text(self, lang: Lang) -> tuple[str, str]:
        """The sentence, and what to do: nothing where it works."""
        says, todo = TEXTS[self.code][lang]
        return says.format_map(self.details), "" if self.level == "ok" else todo.format_map(self.details)


def examine(path: Path, clock: Callable[[AgentConfig | None], Clock]) -> list[Finding]:
    """All checks, in an order in which the first fault most often explains the later ones."""
    config, found = check_config(path)
    findings = [found]
    if config is None:
        return [*findings, check_clock(clock(None)), check_ping(), check_receive_buffers()]
    identity, found = check_credentials(config)
    findings += [found, check_clock(clock(config)), *check_broker(config, identity), check_ping()]
    findings += [check_state_dir(config.state_dir), check_receive_buffers()]
    return [*findings, check_outbox(config.state_dir / "outbox.db")]


def check_config(path: Path) -> tuple[AgentConfig | None, Finding]:
    """Whether the file is a configuration, and its secrets are hidden."""
    try:
        config = load(path)
    except ConfigError as exc:
        return None, _fault("config", "config_fault", faults="\n".join(exc.faults), path=str(path))
    if config.broker.password is not None and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return config, Finding(check="config", level="warning", code="config_open", details={"path": str(path)})
    return config, _ok("config", "config_ok")


def check_credentials(config: AgentConfig) -> tuple[Identity | None, Finding]:
    """Whether the agent can say who it is."""
    try:
        identity = identify(config)
    except ConfigError as exc:
        return None, _fault("credentials", "credentials_fault", why=str(exc))
    return identity, _ok("credentials", "credentials_ok", probe=identity.probe)


def check_clock(clock: Clock) -> Finding:
    """Whether measurements can be dated."""
    synchronised = clock.synchronised()
    if synchronised is None:
        return Finding(check="clock", level="unknown", code="clock_unknown")
    return _ok("clock", "clock_ok") if synchronised else _fault("clock", "clock_off")


def check_broker(config: AgentConfig, identity: Identity | None) -> list[Finding]:
    """The way to the broker, step by step; what a failed step hides is unknown."""
    network = check_network(config.broker.host, config.broker.port)
    if network.level != "ok":
        return [network, _not_reached("tls"), _not_reached("mqtt")]
    tls = check_tls(config.broker, time.time())
    if tls.level == "fault" or identity is None:
        return [network, tls, _not_reached("mqtt")]
    if single.is_taken(config.state_dir):
        return [network, tls, Finding(check="mqtt", level="unknown", code="mqtt_running")]
    return [network, tls, check_mqtt(config.broker, identity)]


def check_network(host: str, port: int, timeout_s: float = TIMEOUT_S) -> Finding:
    """Whether the broker's port takes a TCP connection."""
    where = {"host": host, "port": str(port)}
    try:
        with socket.create_connection((host, port), timeout_s):
            return _ok("network", "network_ok", **where)
    except socket.gaierror as exc:
        return _fault("network", "network_unresolved", why=str(exc.strerror), **where)
    except OSError as exc:
        return _fault("network", "network_fault", why=exc.strerror or str(exc), **where)


def check_tls(broker: BrokerSettings, now_s: float, timeout_s: float = TIMEOUT_S) -> Finding:
    """Whether the broker's certificate is for its name, from a known authority and valid now."""
    if not broker.tls:
        local = broker.host in ("localhost", "::1") or broker.host.startswith("127.")
        return Finding(check="tls", level="ok" if local else "warning", code="tls_off")
    try:
        context = _context(broker)
    except (OSError, ssl.SSLError) as exc:
        return _fault("tls", "tls_files", why=str(exc))
    try:
        with (
            socket.create_connection((broker.host, broker.port), timeout_s) as sock,
            context.wrap_socket(sock, server_hostname=broker.host) as wrapped,
        ):
            until_s = ssl.cert_time_to_seconds(str((wrapped.getpeercert() or {})["notAfter"]))
    except ssl.SSLCertVerificationError as exc:
        return _fault("tls", _certificate_code(exc), why=exc.verify_message, host=broker.host)
    except OSError as exc:
        return _fault("tls", "tls_fault", why=exc.strerror or str(exc))
    days = int((until_s - now_s) // 86_400)
    soon = days < SOON_DAYS
    code, level = ("tls_soon", "warning") if soon else ("tls_ok", "ok")
    return Finding(check="tls", level=level, code=code, details={"days": str(days)})  # type: ignore[arg-type]


def check_mqtt(broker: BrokerSettings, identity: Identity, timeout_s: float = TIMEOUT_S) -> Finding:
    """Whether the broker opens a session for this probe's credentials."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    answers: list[Any] = []
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=identity.probe,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    client.connect_timeout = timeout_s
    if identity.username is not None:
        client.username_pw_set(identity.username, None if identity.password is None else identity.password.reveal())
    if broker.tls:
        client.tls_set_context(_context(broker))
    why = _first_answer(client, broker, answers, time.monotonic() + timeout_s)
    if not answers:
        return _fault("mqtt", "mqtt_silent", why=why)
    refused = answers[0].is_failure
    return _fault("mqtt", "mqtt_refused", why=answers[0].getName()) if refused else _ok("mqtt", "mqtt_ok")


def check_ping(open_socket: Callable[[], socket.socket] | None = None, range_file: Path = _PING_RANGE) -> Finding:
    """Whether echo requests can be sent without root."""
    try:
        (open_socket or _ping_socket)().close()
    except OSError as exc:
        shown = " ".join(range_file.read_text().split()) if range_file.exists() else "?"
        return _fault("ping", "ping_refused", why=exc.strerror or str(exc), range=shown)
    return _ok("ping", "ping_ok")


def check_state_dir(
    path: Path, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """Whether the state can be written, made durable, and has room."""
    probe = path / f".check-{os.getpid()}"
    try:
        durable_file.replace(probe, b"balise-agent check\n")
        durable_file.remove(probe)
        free_mb = free_bytes(path) // MB
    except OSError as exc:
        return _fault("disk", "state_fault", path=str(path), why=exc.strerror or str(exc))
    details = {"path": str(path), "free_mb": str(free_mb), "need_mb": str(OUTBOX_MB)}
    if free_mb >= OUTBOX_MB:
        return _ok("disk", "state_ok", **details)
    return Finding(check="disk", level="warning" if free_mb >= LEAST_MB else "fault", code="state_low", details=details)


def check_receive_buffers(path: Path = _RMEM_MAX) -> Finding:
    """Whether a socket may hold what comes while the agent is busy."""
    try:
        most = int(path.read_text())
    except (OSError, ValueError) as exc:
        return Finding(check="buffers", level="unknown", code="buffers_unknown", details={"why": str(exc)})
    fine = most >= GOOD_RECEIVE_BYTES
    code, level = ("buffers_ok", "ok") if fine else ("buffers_small", "warning")
    return Finding(check="buffers", level=level, code=code, details={"bytes": str(most)})  # type: ignore[arg-type]


def check_outbox(path: Path) -> Finding:
    """Whether the file and each of its rows are as they were written."""
    from balise_agent.outbox_rows import pending_rows, rows

    if not path.exists():
        return _ok("outbox", "outbox_none")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT_S)) as db:
            result = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            sealed, pending = list(_states(rows(db, "1"))), list(_states(pending_rows(db)))
    except sqlite3.OperationalError as exc:  # locked, or not to be read by this user
        if single.is_taken(path.parent):
            return _ok("outbox", "outbox_in_use")
        return Finding(check="outbox", level="unknown", code="outbox_unknown", details={"why": str(exc)})
    except sqlite3.DatabaseError as exc:
        return _fault("outbox", "outbox_damaged", why=str(exc))
    damaged = sum(state == "damaged" for state in (*sealed, *pending))
    if result != "ok" or damaged:
        return _fault("outbox", "outbox_damaged", why=str(result) if result != "ok" else f"{damaged} rows")
    return _ok("outbox", "outbox_ok", waiting=str(sum(state == "waiting" for state in (*sealed, *pending))))


def has_fault(findings: list[Finding]) -> bool:
    """Whether something does not work."""
    return any(found.level == "fault" for found in findings)


def as_text(findings: list[Finding], lang: Lang) -> str:
    """For reading: a line a check, under it a line for each fault of a file, and what to do."""
    lines = []
    for found in findings:
        says, todo = found.text(lang)
        first, *more = says.splitlines()
        lines.append(f"{LEVELS[found.level][lang]:<10} {CHECKS[found.check][lang]:<14} {first}")
        lines += [f"{'':<25} {line}" for line in more]
        if todo:
            lines.append(f"{'':<25} -> {todo}")
    return "\n".join(lines)


def as_json(findings: list[Finding], lang: Lang) -> dict[str, Any]:
    """For programs."""
    rows = []
    for found in findings:
        says, todo = found.text(lang)
        row = {"check": found.check, "level": found.level, "code": found.code, "says": says, "do": todo}
        rows.append(row | {"details": found.details})
    return {"fault": has_fault(findings), "checks": rows}


def _ok(check: str, code: str, **details: str) -> Finding:
    return Finding(check=check, level="ok", code=code, details=details)


def _fault(check: str, code: str, **details: str) -> Finding:
    return Finding(check=check, level="fault", code=code, details=details)


def _not_reached(check: str) -> Finding:
    return Finding(check=check, level="unknown", code="not_reached")


def _context(broker: BrokerSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=broker.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.cert_file is not None:
        context.load_cert_chain(broker.cert_file, broker.key_file)
    return context


def _certificate_code(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in _NAME_CODES:
        return "tls_name"
    return "tls_dates" if exc.verify_code in _DATE_CODES else "tls_chain"


def _first_answer(client: Any, broker: BrokerSettings, answers: list[Any], until_s: float) -> str:
    """Drives the client until the broker's answer, or says why there is none."""
    try:
        client.connect(broker.host, broker.port, keepalive=broker.keepalive_s, clean_start=True)
        while not answers and time.monotonic() < until_s:
            if client.loop(0.1) != 0:
                return "it closed the connection"
        client.disconnect()
    except (OSError, ValueError) as exc:
        return str(exc)
    finally:
        if (sock := client.socket()) is not None:
            sock.close()
    return "no answer in time"


def _ping_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)


def _states(found: Any) -> Any:
    for row in found:
        acked = getattr(row, "is_acked", lambda: False)()
        yield "damaged" if not row.whole() else "acked" if acked else "waiting"
