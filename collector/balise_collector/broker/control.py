"""How is a running broker told of a probe? By the plug-in's own topic, as the fleet service.

Rule 1: few probes a message. The broker writes its file anew at each command and serves nobody meanwhile (2.0.11 with
1,000 probes: 10 ms each); hundreds are better added before it starts.
"""

from __future__ import annotations

import json
import queue
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from balise_collector.broker import dynsec
from balise_collector.broker.files import BrokerError, BrokerFiles
from balise_collector.broker.tls import client_tls

ANSWER_S = 30.0  # a batch takes its broker 0.4 s at 1,000 probes
PROBES_A_MESSAGE = 20
_RESPONSE = f"{dynsec.CONTROL_TOPIC}/response"
_ABSENT = {"Client not found", "Role not found"}

Inbox = queue.Queue[Any]


def is_running(files: BrokerFiles) -> bool:
    """Does anything listen at its address?"""
    try:
        socket.create_connection((files.host, files.port), timeout=ANSWER_S).close()
    except ConnectionRefusedError:
        return False
    except OSError as exc:
        raise BrokerError(f"broker {files.host}:{files.port}: {exc}") from exc
    return True


def add_probes(files: BrokerFiles, passwords: Mapping[str, str]) -> None:
    """As `dynsec.add_probes`; a probe that was known is cut off and comes back with its new password."""
    probes = list(passwords.items())
    with dynsec.alone(files.dynsec), _connected(files) as (client, inbox):
        for start in range(0, len(probes), PROBES_A_MESSAGE):
            some = probes[start : start + PROBES_A_MESSAGE]
            _tell(client, inbox, [command for name, password in some for command in _add(name, password)])


def revoke_probe(files: BrokerFiles, probe: str) -> bool:
    """As `dynsec.revoke_probe`; its open connection is cut."""
    with dynsec.alone(files.dynsec), _connected(files) as (client, inbox):
        answers = _tell(client, inbox, _remove(probe))
    return "error" not in answers[0]


def cut_off(files: BrokerFiles, probe: str) -> bool:
    """As `dynsec.cut_off`; its open connection is cut. A second time cuts again."""
    role = {"username": probe, "rolename": dynsec.role_name(probe)}
    commands = [{"command": "disableClient", "username": probe}, {"command": "removeClientRole", **role}]
    with dynsec.alone(files.dynsec), _connected(files) as (client, inbox):
        return "error" not in _tell(client, inbox, commands)[0]


def readmit(files: BrokerFiles, probe: str) -> bool:
    """As `dynsec.readmit`. Removed first: 2.0.11 refuses to add a role that is there."""
    role = {"username": probe, "rolename": dynsec.role_name(probe)}
    commands = [
        {"command": "removeClientRole", **role},
        {"command": "addClientRole", **role},
        {"command": "enableClient", "username": probe},
    ]
    with dynsec.alone(files.dynsec), _connected(files) as (client, inbox):
        return "error" not in _tell(client, inbox, commands)[2]


def _add(probe: str, password: str) -> list[dict[str, Any]]:
    """Removed first: a role of an earlier try would be in the way, and removing what is not there writes nothing."""
    return [
        *_remove(probe),
        {"command": "createRole", **dynsec.probe_role(probe)},
        {"command": "createClient", **dynsec.probe_client(probe, password)},
    ]


def _remove(probe: str) -> list[dict[str, Any]]:
    return [
        {"command": "deleteClient", "username": probe},
        {"command": "deleteRole", "rolename": dynsec.role_name(probe)},
    ]


def _tell(client: mqtt.Client, inbox: Inbox, commands: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    client.publish(dynsec.CONTROL_TOPIC, json.dumps({"commands": commands}), qos=1)
    answers: list[dict[str, str]] = json.loads(_next(inbox))["responses"]
    refused = [a for a in answers if "error" in a and a["error"] not in _ABSENT]
    if refused:
        raise BrokerError(f"the broker refuses {refused[0]['command']}: {refused[0]['error']}")
    return answers


@contextmanager
def _connected(files: BrokerFiles) -> Iterator[tuple[mqtt.Client, Inbox]]:
    """Connected and subscribed to the answers. What comes is put in order: connected, subscribed, then each answer."""
    inbox: Inbox = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
    client.username_pw_set(files.fleet_username, files.fleet_password_file.read_text().strip())
    if (context := client_tls(files, files.fleet_username)) is not None:
        client.tls_set_context(context)
    client.on_connect = lambda _c, _u, _f, reason, _p: inbox.put(reason)
    client.on_subscribe = lambda _c, _u, _m, reasons, _p: inbox.put(reasons[0])
    client.on_message = lambda _c, _u, message: inbox.put(message.payload)
    client.on_disconnect = lambda _c, _u, _f, reason, _p: inbox.put(BrokerError(f"the broker hung up: {reason}"))
    try:
        client.connect(files.host, files.port)
    except OSError as exc:
        raise BrokerError(f"broker {files.host}:{files.port}: {exc}") from exc
    client.loop_start()
    try:
        _granted(inbox, files)
        client.subscribe(_RESPONSE, qos=1)
        _granted(inbox, files)
        yield client, inbox
    finally:
        client.disconnect()
        client.loop_stop()


def _granted(inbox: Inbox, files: BrokerFiles) -> None:
    reason = _next(inbox)
    if reason.is_failure:
        raise BrokerError(
            f"broker {files.host}:{files.port} refuses {files.fleet_username}: {reason}; "
            f"is it the one of {files.directory}, started since `balise broker init`?"
        )


def _next(inbox: Inbox) -> Any:
    try:
        item = inbox.get(timeout=ANSWER_S)
    except queue.Empty:
        raise BrokerError(f"the broker does not answer within {ANSWER_S:.0f} s") from None
    if isinstance(item, BrokerError):
        raise item
    return item
