"""Which brokers do the agent's tests talk to? A real mosquitto, and a peer that speaks MQTT v5 as the test wants."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from balise_collector import broker
from tests.waiting import PATIENCE_S, free_port, until

MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "mosquitto"


class Mosquitto:
    """The broker as an operator makes it, without persistence; a test may kill it and start it again."""

    def __init__(self, folder: Path, passwords: dict[str, str], tls: broker.Tls | None = None) -> None:
        self.files = broker.init(folder / "broker", port=free_port(), tls=tls, persistence=False)
        broker.add_probes(self.files.dynsec, passwords)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self.files.port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        log = self.files.directory / "log"
        with log.open("ab") as file:
            self.process = subprocess.Popen([MOSQUITTO, "-c", self.files.conf], stdout=file, stderr=file)
        process = self.process
        until(lambda: accepts(self.port) or process.poll() is not None, "the broker")
        assert process.poll() is None, log.read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message of the broker's."""

    topic: str
    payload: bytes
    retain: bool


class Listener:
    """The collector's session, without the collector: hears what probes send and may tell them something."""

    def __init__(self, files: broker.BrokerFiles, topics: tuple[str, ...] = ("records", "state")) -> None:
        self.came: queue.Queue[Heard] = queue.Queue()
        self._granted = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        self._client.username_pw_set(files.collector_username, files.collector_password_file.read_text().strip())
        self._client.on_connect = lambda client, *_: client.subscribe([(f"balise/v1/+/{kind}", 1) for kind in topics])
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = lambda _client, _data, message: self.came.put(
            Heard(topic=message.topic, payload=bytes(message.payload), retain=bool(message.retain))
        )
        self._client.connect(files.host, files.port)
        self._client.loop_start()
        assert self._granted.wait(PATIENCE_S)

    def next(self, kind: str) -> Heard:
        """The next message on such a topic; others are passed over."""
        while True:
            heard = self.came.get(timeout=PATIENCE_S)
            if heard.topic.endswith(f"/{kind}"):
                return heard

    def tell(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


# a peer by hand

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of MQTT v5. Of a PUBLISH also its topic, message id and payload."""

    kind: int
    body: bytes
    topic: str = ""
    mid: int = 0
    payload: bytes = b""


@dataclass(slots=True)
class Session:
    """One connection, seen from the broker's side."""

    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)

    def read(self, timeout_s: float = PATIENCE_S) -> Packet | None:
        """The next packet; None: the client hung up. TimeoutError: nothing comes."""
        self.sock.settimeout(timeout_s)
        try:
            first = self._take(1)[0]
            return parse(first, self._take(self._length()))
        except (EOFError, ConnectionError):
            return None

    def greet(self, code: int = 0, *, receive_maximum: int | None = None, aliases: int = 0, granted: int = 1) -> None:
        """Takes CONNECT and SUBSCRIBE and answers them."""
        connect = self.read()
        assert connect is not None
        assert connect.kind == CONNECT
        properties = b"" if receive_maximum is None else b"\x21" + struct.pack("!H", receive_maximum)
        properties += b"\x22" + struct.pack("!H", aliases) if aliases else b""
        self.send(0x20, bytes([0, code, len(properties)]) + properties)
        if code == 0:
            subscribe = self.read()
            assert subscribe is not None
            assert subscribe.kind == SUBSCRIBE
            self.send(0x90, subscribe.body[:2] + b"\0" + bytes([granted, granted]))

    def publishes(self, count: int) -> list[Packet]:
        """The next so many PUBLISH packets; pings are answered."""
        found: list[Packet] = []
        while len(found) < count:
            packet = self.read()
            assert packet is not None, f"hung up after {len(found)} of {count}"
            if packet.kind == PUBLISH:
                found.append(packet)
            elif packet.kind == PINGREQ:
                self.send(0xD0, b"")
        return found

    def until_ping(self) -> list[Packet]:
        """All that comes before the client has nothing more to say for a keep-alive, and says that."""
        found: list[Packet] = []
        while (packet := self.read()) is not None and packet.kind != PINGREQ:
            found.append(packet)
        assert packet is not None, "hung up"
        self.send(0xD0, b"")
        return found

    def puback(self, mid: int, code: int = 0) -> None:
        self.send(0x40, struct.pack("!HBB", mid, code, 0))

    def publish(self, topic: str, payload: bytes) -> None:
        """With QoS 0."""
        self.send(0x30, struct.pack("!H", len(topic)) + topic.encode() + b"\0" + payload)

    def send(self, first: int, body: bytes) -> None:
        length, digits = len(body), bytearray()
        while not digits or length:
            length, digit = divmod(length, 128)
            digits.append(digit | (0x80 if length else 0))
        self.sock.sendall(bytes([first]) + digits + body)

    def close(self) -> None:
        """Without a word, as a cut does."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _take(self, count: int) -> bytes:
        while len(self.buffer) < count:
            came = self.sock.recv(65_536)
            if not came:
                raise EOFError
            self.buffer += came
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def _length(self) -> int:
        value = shift = 0
        while (digit := self._take(1)[0]) & 0x80:
            value |= (digit & 0x7F) << shift
            shift += 7
        return value | digit << shift


def parse(first: int, body: bytes) -> Packet:
    kind = first >> 4
    if kind != PUBLISH:
        return Packet(kind=kind, body=body)
    at = 2 + struct.unpack_from("!H", body)[0]
    topic = body[2:at].decode()
    mid = 0
    if first & 0x06:
        (mid,) = struct.unpack_from("!H", body, at)
        at += 2
    at += 1 + body[at]  # properties of ours are short: one digit of length
    return Packet(kind=kind, body=body, topic=topic, mid=mid, payload=body[at:])


@dataclass(slots=True)
class Peer:
    """Where a client of the test's connects to; each connection is taken by `session`."""

    server: socket.socket
    taken: list[Session] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def session(self) -> Session:
        """The next connection."""
        self.server.settimeout(PATIENCE_S)
        self.taken.append(Session(self.server.accept()[0]))
        return self.taken[-1]


@contextmanager
def mqtt_peer() -> Iterator[Peer]:
    """Listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = Peer(server)
        try:
            yield peer
        finally:
            for session in peer.taken:
                session.close()
