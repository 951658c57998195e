"""Who may talk to the broker, and how is it told? Its files, and probes added and revoked, whether it runs or not."""

from __future__ import annotations

from collections.abc import Mapping

from balise_collector.broker import control
from balise_collector.broker.dynsec import add_probe, add_probes, new_password, probes, revoke_probe
from balise_collector.broker.files import BrokerError, BrokerFiles, Tls, init, load

__all__ = [
    "BrokerError",
    "BrokerFiles",
    "Tls",
    "add_probe",
    "add_probes",
    "admit",
    "expel",
    "init",
    "load",
    "new_password",
    "probes",
    "revoke_probe",
]


def admit(files: BrokerFiles, passwords: Mapping[str, str]) -> None:
    """Give each probe its role and password: the broker is told if it runs, else its file is edited."""
    if not control.is_running(files):
        add_probes(files.dynsec, passwords)
    if control.is_running(files):  # or started meanwhile, perhaps on the file as it was
        control.add_probes(files, passwords)


def expel(files: BrokerFiles, probe: str) -> bool:
    """Take them away, and cut an open connection; False where the probe had none."""
    found = False
    if not control.is_running(files):
        found = revoke_probe(files.dynsec, probe)
    if control.is_running(files):
        found = control.revoke_probe(files, probe) or found
    return found
