"""Which certificates does a test show? An authority of its own, and what it signs and takes back."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, in two files."""

    cert: Path
    key: Path
    serial: int


class Authority:
    """Keeps its files in a folder; ``pem`` is what others check by."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.pem, self.crl = folder, folder / f"{name}.pem", folder / f"{name}.crl"
        self._key, self._name, self._files = ec.generate_private_key(ec.SECP256R1()), _named(name), 0
        basic = x509.BasicConstraints(ca=True, path_length=0)
        builder = self._builder(self._name, self._key, -DAY, DAY).add_extension(basic, critical=True)
        self.pem.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def probe(self, cn: str, *, begins: timedelta = -DAY, ends: timedelta = DAY) -> Pair:
        """What a client shows; its CN is its name."""
        return self._issue(cn, ExtendedKeyUsageOID.CLIENT_AUTH, None, begins, ends)

    def broker(self) -> Pair:
        """What a broker on 127.0.0.1 shows."""
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self._issue("broker", ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names), -DAY, DAY)

    def revoke(self, *pairs: Pair, ends: timedelta = DAY) -> Path:
        """Its list of certificates that are not taken any more: these."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - 2 * DAY).next_update(now + ends)
        for pair in pairs:
            entry = x509.RevokedCertificateBuilder().serial_number(pair.serial).revocation_date(now - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        self.crl.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return self.crl

    def _issue(
        self,
        cn: str,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        begins: timedelta,
        ends: timedelta,
    ) -> Pair:
        key, self._files = ec.generate_private_key(ec.SECP256R1()), self._files + 1
        builder = self._builder(_named(cn), key, begins, ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        pair = Pair(
            cert=self.folder / f"{self._files}.pem", key=self.folder / f"{self._files}.key", serial=signed.serial_number
        )
        pair.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def _named(cn: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn, _validate=False)])
