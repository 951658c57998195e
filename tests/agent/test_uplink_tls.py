"""With whom does the uplink speak over TLS, and what does TLS change for it?"""

from __future__ import annotations

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from balise_agent.uplink import (
    Connected,
    Disconnected,
    Published,
    tls_context,
)
from balise_collector import broker as brokers
from tests.agent.uplink_ground import (
    ID,
    NOWHERE,
    Told,
    batch,
    plain,
    uplink,
)
from tests.brokers import Mosquitto
from tests.waiting import PATIENCE_S


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
