"""Who may talk to the broker, and how is it told? Its files, and probes added and revoked, whether it runs or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from balise_collector.broker import control, dynsec
from balise_collector.broker.dynsec import add_probe, add_probes, new_password, probes, revoke_probe
from balise_collector.broker.files import BrokerError, BrokerFiles, Tls, init, load
from balise_collector.broker.tls import client_tls

__all__ = [
    "BrokerError",
    "BrokerFiles",
    "Tls",
    "add_probe",
    "add_probes",
    "admit",
    "client_tls",
    "cut_off",
    "expel",
    "init",
    "load",
    "new_password",
    "probes",
    "readmit",
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
    return _both(files, probe, revoke_probe, control.revoke_probe)


def cut_off(files: BrokerFiles, probe: str) -> bool:
    """It may not speak, and its open connection is cut, until it is readmitted; False where it is not known."""
    return _both(files, probe, dynsec.cut_off, control.cut_off)


def readmit(files: BrokerFiles, probe: str) -> bool:
    """It may speak again, with the credential that it has; False where it is not known."""
    return _both(files, probe, dynsec.readmit, control.readmit)


def _both(
    files: BrokerFiles, probe: str, edit: Callable[[Path, str], bool], tell: Callable[[BrokerFiles, str], bool]
) -> bool:
    """The file where no broker runs; then the broker, where one runs or was started meanwhile."""
    found = False
    if not control.is_running(files):
        found = edit(files.dynsec, probe)
    if control.is_running(files):
        found = tell(files, probe) or found
    return found
