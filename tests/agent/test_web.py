"""Is a fetch split into its steps, and does a failure name the step that failed?"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balise_agent.codec import check_record
from balise_agent.contract import OK, Outcome, Record, failed
from balise_agent.probes.context import Context
from balise_agent.probes.web import WebObject, WebSettings, run
from balise_agent.settings import build

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)
SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ALL_STEPS = {"af", "connect_ms", "tls_ms", "ttfb_ms", "total_ms", "status", "bytes"}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


class Authority:
    """A certificate authority of this test alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.pem"
        certificate = self._certificate("authority", self._key, NOW - DAY, NOW + DAY, None)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(
        self, name: str = "127.0.0.1", begins: datetime.timedelta = -DAY, ends: datetime.timedelta = DAY
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        certificate = self._certificate("server", key, NOW + begins, NOW + ends, address)
        pem = self._folder / f"{name}.pem"
        pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _certificate(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey,
        begins: datetime.datetime,
        ends: datetime.datetime,
        name: x509.GeneralName | None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
        )
        if name is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def says(*parts: bytes) -> Handler:
    """A peer that waits for a whole request, then says its parts and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return handle


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def fetch(
    handler: Handler,
    *,
    url: str = "http://127.0.0.1:{port}/small",
    tls: ssl.SSLContext | None = None,
    ca_file: Path | None = None,
    clock_ok: bool | None = True,
    timeout_s: float = 15,
) -> Record:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.Event()
        served.append(done)
        with contextlib.suppress(OSError, EOFError):
            await handler(reader, writer)
        with contextlib.suppress(OSError):
            writer.transport.abort() if tls else writer.close()
            await writer.wait_closed()
        done.set()

    async def both() -> list[Record]:
        server = await asyncio.start_server(closing, "127.0.0.1", 0, ssl=tls)
        async with server:
            port = server.sockets[0].getsockname()[1]
            records = await measure(url.format(port=port), ca_file, clock_ok, timeout_s)
            for done in served:
                await done.wait()
            return records

    served: list[asyncio.Event] = []

    (record,) = asyncio.run(both())
    return record


async def measure(
    url: str, ca_file: Path | None = None, clock_ok: bool | None = True, timeout_s: float = 15
) -> list[Record]:
    item, faults = build(
        WebObject, {"label": "target", "url": url} | ({"ca_file": str(ca_file)} if ca_file else {}), "web"
    )
    assert item is not None, faults
    context = Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: clock_ok,
        state_dir=Path("/"),
    )
    records = await run(WebSettings(timeout_s=timeout_s, objects=(item,)), context)
    assert [check_record(record) for record in records] == [None]
    return records


def steps(record: Record) -> set[str]:
    return set(record.fields)


def test_a_fetch_over_tls_has_all_its_steps(authority: Authority) -> None:
    record = fetch(says(SMALL), url="https://127.0.0.1:{port}/small", tls=authority.server(), ca_file=authority.file)
    assert (record.outcome, steps(record)) == (OK, ALL_STEPS)
    assert (record.fields["status"], record.fields["bytes"], record.fields["af"]) == (200, 5, 4)
    parts = [float(record.fields[name]) for name in ("connect_ms", "tls_ms", "ttfb_ms")]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= float(record.fields["total_ms"])


def test_a_name_has_its_step_and_plain_http_has_none_of_tls(authority: Authority) -> None:
    record = fetch(says(SMALL), url="http://localhost:{port}/?a=b")
    assert (record.outcome, steps(record)) == (OK, ALL_STEPS - {"tls_ms"} | {"dns_ms"})


def test_the_name_in_the_certificate_is_the_one_of_the_url(authority: Authority) -> None:
    tls = authority.server("localhost")
    record = fetch(says(SMALL), url="https://localhost:{port}/", tls=tls, ca_file=authority.file)
    assert record.outcome == OK


@pytest.mark.parametrize(
    ("certificate", "trusted", "clock_ok", "reason"),
    [
        ({}, False, True, "tls_untrusted"),
        ({"name": "other.example"}, True, True, "tls_wrong_name"),
        ({"name": "192.0.2.1"}, True, True, "tls_wrong_name"),
        ({"ends": -DAY / 2}, True, True, "tls_expired"),
        ({"ends": -DAY / 2}, True, None, "tls_expired"),
        ({"ends": -DAY / 2}, True, False, "clock_unset"),
        ({"begins": DAY / 2}, True, True, "tls_not_yet_valid"),
        ({"begins": DAY / 2}, True, False, "clock_unset"),
    ],
)
def test_a_certificate_is_refused_for_its_reason(
    authority: Authority, certificate: dict[str, object], trusted: bool, clock_ok: bool | None, reason: str
) -> None:
    tls = authority.server(**certificate)  # type: ignore[arg-type]
    ca_file = authority.file if trusted else None
    record = fetch(says(SMALL), url="https://127.0.0.1:{port}/", tls=tls, ca_file=ca_file, clock_ok=clock_ok)
    assert (record.outcome, steps(record)) == (failed(reason), {"af", "connect_ms"})


def test_a_peer_that_speaks_no_tls_is_a_failed_handshake() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    record = fetch(plain, url="https://127.0.0.1:{port}/")
    assert (record.outcome, steps(record)) == (failed("tls_failed"), {"af", "connect_ms"})


def test_a_peer_that_closes_in_the_handshake_is_a_failed_handshake() -> None:
    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    assert fetch(leaves, url="https://127.0.0.1:{port}/").outcome == failed("tls_failed")


@pytest.mark.parametrize(
    ("parts", "outcome", "status"),
    [
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), OK, 204),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc", b"\r\n0\r\n\r\n"), OK, 200),
        ((b"HTTP/1.1 200 OK\r\n\r\n", b"until the end"), OK, 200),
        (
            (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n",),
            failed("http_status"),
            302,
        ),
        ((b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",), failed("http_status"), 503),
        ((b"SMTP ready\r\n\r\n",), failed("bad_http"), None),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfive!",), failed("closed_early"), 200),
        ((), failed("closed_early"), None),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n",), failed("too_large"), 200),
        ((b"HTTP/1.1 200 OK\r\n\r\n", bytes(300_000)), failed("too_large"), 200),
    ],
)
def test_an_answer_is_judged_for_what_it_is(parts: tuple[bytes, ...], outcome: Outcome, status: int | None) -> None:
    record = fetch(says(*parts))
    assert (record.outcome, record.fields.get("status")) == (outcome, status)
    assert ("bytes" in record.fields) is (record.outcome == OK or outcome == failed("http_status"))


def test_a_peer_that_resets_the_connection_is_told_from_one_that_closes_it() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    assert fetch(resets).outcome == failed("reset")


def test_a_closed_port_refuses() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (record,) = asyncio.run(measure(f"http://127.0.0.1:{port}/"))
    assert (record.outcome, steps(record)) == (failed("connect_refused"), {"af"})


def test_a_full_queue_that_takes_no_connection_is_a_timeout_of_connecting() -> None:
    with socket.socket() as sock, contextlib.ExitStack() as stack:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        while True:  # until the queue is full
            client = stack.enter_context(socket.socket())
            client.settimeout(0.3)
            try:
                client.connect(sock.getsockname())
            except TimeoutError:
                break
        (record,) = asyncio.run(measure(f"http://127.0.0.1:{sock.getsockname()[1]}/", timeout_s=1))
    assert (record.outcome, steps(record)) == (failed("connect_timeout"), {"af"})


def test_a_name_that_does_not_resolve_fails_by_that() -> None:
    (record,) = asyncio.run(measure("http://a..b/"))
    assert (record.outcome, steps(record)) == (failed("resolve"), set())


def test_an_authority_file_that_is_none_fails_by_that(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for ca_file in (empty, tmp_path / "missing.pem"):
        (record,) = asyncio.run(measure("https://127.0.0.1:9/", ca_file))
        assert record.outcome == failed("ca_unreadable")


def test_a_peer_that_says_nothing_is_a_timeout() -> None:
    record = fetch(hangs, timeout_s=1)
    assert (record.outcome, steps(record)) == (failed("timeout"), {"af", "connect_ms"})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "http://",
        "http://u:p@a/",
        "http://a/ b",
        "http://a/\r\nX: y",
        "http://a:port/",
        "//a/",
        "http://a#b",
    ],
)
def test_settings_refuse_what_is_no_url_of_an_object(url: str) -> None:
    assert build(WebObject, {"label": "x", "url": url}, "web")[1]


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.example:8443/x?y=z&é"[:-1], "http://[::1]:80/", "http://192.0.2.1/"]
)
def test_settings_take_the_url_of_an_object(url: str) -> None:
    assert build(WebObject, {"label": "x", "url": url}, "web")[1] == []
