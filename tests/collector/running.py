"""Which real programs do these tests run, and what do they wait for?"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from balise_agent import codec, contract
from balise_agent.contract import Ack
from balise_collector import broker
from balise_collector.ingest import Incoming
from tests.waiting import until

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "mosquitto"


class Mosquitto:
    """The broker as a process that a test may kill and start again."""

    def __init__(self, files: broker.BrokerFiles) -> None:
        self.files = files
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.files.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", self.files.conf], stderr=log)
        until(self._answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.files.directory / "log").read_text()
        try:
            socket.create_connection((self.files.host, self.files.port), 1).close()
        except OSError:
            return False
        return True


class Probe:
    """A probe's session, MQTT v5: it publishes what it is given and remembers what it was told."""

    def __init__(self, files: broker.BrokerFiles, probe: str, password: str) -> None:
        self.acks: list[Ack] = []
        self.told: list[tuple[bytes, bool]] = []  # on cmd: payload, retained
        self.taken = 0  # PUBACKs
        self.ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(probe, password)
        self.client.reconnect_delay_set(1, 1)
        if files.certfile is not None:
            self.client.tls_set(str(files.certfile))
        topics = [(contract.topic(probe, "ack"), 1), (contract.topic(probe, "cmd"), 1)]
        self.client.on_connect = lambda client, *_: client.subscribe(topics)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_publish = self._published
        self.client.on_message = self._came
        self.will = contract.topic(probe, "state")
        self.files = files

    def __enter__(self) -> Probe:
        self.client.connect(self.files.host, self.files.port)
        self.client.loop_start()
        assert self.ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, *messages: Incoming, retain: bool = False) -> None:
        for message in messages:
            self.client.publish(message.topic, message.payload, 1, retain)

    def acknowledged(self) -> set[int]:
        """Sequence numbers that an ack says are committed."""
        return {n for ack in self.acks for low, high in ack.ranges for n in range(low, high + 1)}

    def _published(self, *_: object) -> None:
        self.taken += 1

    def _came(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith("/ack"):
            ack = codec.decode_ack(bytes(message.payload))
            assert isinstance(ack, Ack), ack
            self.acks.append(ack)
        else:
            self.told.append((bytes(message.payload), bool(message.retain)))


def balise(*arguments: object) -> list[str]:
    """The command line of `balise`."""
    return [sys.executable, "-m", "balise_collector.entry", *map(str, arguments)]


@contextmanager
def process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs until the test is over."""
    with log.open("ab") as out, subprocess.Popen(arguments, stdout=out, stderr=out) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended: a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int) -> set[int]:
    """Processes that this one started and theirs."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(path.parent.name)
            found |= {child, *children(child)}
    return found
