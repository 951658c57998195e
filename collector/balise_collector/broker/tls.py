"""How does a program of this machine speak TLS with the broker, and which certificate does it show?

Rule 1: the broker's certificate is at hand: exactly that one is taken, whatever name it bears and whoever signed it.
Rule 2: where clients show certificates, each program's own stands beside the passwords: collector.pem and
collector.key, fleet.pem and fleet.key; its CN is the program's name on the broker.
"""

from __future__ import annotations

import ssl

from balise_collector.broker.files import BrokerError, BrokerFiles


def client_tls(files: BrokerFiles, name: str) -> ssl.SSLContext | None:
    """TLS 1.2 or later, as that name; None where the broker speaks without. BrokerError: a file is of no use."""
    if files.certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load(context, files, name)
    return context


def _load(context: ssl.SSLContext, files: BrokerFiles, name: str) -> None:
    path = files.certfile
    try:
        context.load_verify_locations(path)
        if files.asks_certificates:
            path = files.directory / f"{name}.pem"
            if not path.exists():
                raise BrokerError(f"{path}: missing; the broker asks {name} for its certificate")
            context.load_cert_chain(path, files.directory / f"{name}.key")
    except OSError as exc:  # ssl.SSLError is one
        raise BrokerError(f"{path}: {exc}") from exc
