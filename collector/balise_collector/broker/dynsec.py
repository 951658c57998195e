"""Who may do what on the broker: mosquitto's dynamic-security file.

Rule 1: all is denied that no role allows; a probe's role names its own topics in full: no wildcard can widen it.
Rule 2: this file is edited only while no broker runs on it. mosquitto 2.0.11 reads it at start alone (measured: SIGHUP
leaves it unread) and writes all of it anew at the next change it is told of, so that an edit beside it would be undone;
`control.py` tells a running broker.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balise_agent.contract import Topic, is_probe_id, topic

ITERATIONS = 101
"""The plug-in's own figure, which it also uses for what it is told. Iterations protect a password that could be
guessed; ours are 32 random bytes, which no number of guesses finds, while the broker's one thread pays for each
iteration at every connection of a thousand probes that come back together."""

CONTROL_TOPIC = "$CONTROL/dynamic-security/v1"
COLLECTOR = "collector"
FLEET = "fleet"
"""No probe can have these names: `probes add` draws 16 letters, and `probe_client` refuses them."""

Json = dict[str, Any]


def new_password() -> str:
    """32 random bytes, as 43 characters of base64url."""
    return secrets.token_urlsafe(32)


def probe_role(probe: str) -> Json:
    """It sends its own records and state, and hears its own acks and commands: nothing else."""
    sends: tuple[Topic, ...] = ("records", "state")
    hears: tuple[Topic, ...] = ("ack", "cmd")
    allowed = [_allow("publishClientSend", topic(probe, kind)) for kind in sends]
    return {
        "rolename": role_name(probe),
        "acls": allowed + [_allow("subscribeLiteral", topic(probe, kind)) for kind in hears],
    }


def role_name(probe: str) -> str:
    return f"probe-{probe}"


def probe_client(probe: str, password: str) -> Json:
    """As the plug-in's `createClient` takes it, with the password in clear."""
    if not is_probe_id(probe) or probe in {COLLECTOR, FLEET}:
        raise ValueError(f"{probe!r} is no probe id: 8 to 32 of a-z and 0-9, and not {COLLECTOR}")
    return {"username": probe, "password": password, "roles": [{"rolename": role_name(probe)}]}


def create(path: Path, *, collector_password: str, fleet_password: str) -> None:
    """A file with the collector and the fleet service, and no probe yet."""
    heard = [_allow("subscribePattern", f"balise/v1/+/{kind}") for kind in ("records", "state")]
    heard.append(_allow("subscribeLiteral", topic(COLLECTOR, "ack")))  # its own marks (intake.py)
    sent = [_allow("publishClientSend", f"balise/v1/+/{kind}") for kind in ("ack", "cmd")]
    # The default does not reach $CONTROL: without publishClientReceive 2.0.11 answers nobody (measured).
    control = [
        _allow(acl, "$CONTROL/dynamic-security/#")
        for acl in ("publishClientSend", "publishClientReceive", "subscribePattern")
    ]
    document = {
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [_stored_client(COLLECTOR, collector_password), _stored_client(FLEET, fleet_password)],
        "groups": [],
        "roles": [{"rolename": COLLECTOR, "acls": heard + sent}, {"rolename": FLEET, "acls": control}],
    }
    _write(path, document)


def add_probes(path: Path, passwords: Mapping[str, str]) -> None:
    """Give each probe its role and its password, a known one anew; one writing for all."""
    with _edited(path) as document:
        clients = {client["username"]: client for client in document["clients"]}
        roles = {role["rolename"]: role for role in document["roles"]}
        for probe, password in passwords.items():
            clients[probe] = _hashed(probe_client(probe, password))
            roles[role_name(probe)] = probe_role(probe)
        document["clients"], document["roles"] = list(clients.values()), list(roles.values())


def add_probe(path: Path, probe: str, password: str) -> None:
    add_probes(path, {probe: password})


def revoke_probe(path: Path, probe: str) -> bool:
    """Take role and password away; False where it had none."""
    with _edited(path) as document:
        kept = [client for client in document["clients"] if client["username"] != probe]
        found = len(kept) < len(document["clients"])
        document["clients"] = kept
        document["roles"] = [role for role in document["roles"] if role["rolename"] != role_name(probe)]
    return found


def cut_off(path: Path, probe: str) -> bool:
    """It may not connect, and one that shows a certificate, which the plug-in lets in all the same, may do nothing;
    its password is kept. False where it is not known."""
    return _set(path, probe, {"disabled": True, "roles": []})


def readmit(path: Path, probe: str) -> bool:
    """As before it was cut off; False where it is not known."""
    return _set(path, probe, {"disabled": False, "roles": [{"rolename": role_name(probe)}]})


def probes(path: Path) -> list[str]:
    """The probes that have a credential, in the file's order."""
    known = [client["username"] for client in json.loads(path.read_text())["clients"]]
    return [name for name in known if name not in {COLLECTOR, FLEET}]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One at a time changes this file or tells its broker; it is released by the system when the process ends."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _set(path: Path, probe: str, values: Json) -> bool:
    with _edited(path) as document:
        found = [client for client in document["clients"] if client["username"] == probe]
        for client in found:
            client.update(values)
    return bool(found)


def _allow(acltype: str, filter_: str) -> Json:
    return {"acltype": acltype, "topic": filter_, "allow": True}


def _stored_client(name: str, password: str) -> Json:
    return _hashed({"username": name, "password": password, "roles": [{"rolename": name}]})


def _hashed(client: Json) -> Json:
    """The plug-in stores PBKDF2 of SHA-512, 64 bytes, over a salt of 12."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", client["password"].encode(), salt, ITERATIONS, 64)
    return client | {
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
    }


@contextmanager
def _edited(path: Path) -> Iterator[Json]:
    """The document, written back as a whole; a second editor waits its turn."""
    with alone(path):
        document = json.loads(path.read_text())
        yield document
        _write(path, document)


def _write(path: Path, document: Json) -> None:
    """Whole or not at all, readable by whoever could read it before and nobody else."""
    fresh = path.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        before = path.stat()
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, before.st_uid, before.st_gid)
    fresh.rename(path)
