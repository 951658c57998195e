"""What can a client send to a broker that no decent MQTT library lets out?

MQTT 3.1.1 and 5 by hand, over a socket that blocks: names, flags, lengths and properties are sent as they are given.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

TIMEOUT_S = 30.0
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 2, 3, 4, 9, 13, 14
GRANTED, NOT_AUTHORIZED, PACKET_TOO_LARGE = 0x01, 0x87, 0x95

Name = str | bytes

VERSIONS = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of the broker: its type, and all after its length."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """A last will."""

    topic: Name
    payload: bytes = b"will"
    retain: bool = False


class Attacker:
    """One connection. ``version``: 4 is 3.1.1, 5 is 5. What the broker hangs up on raises ConnectionError."""

    def __init__(self, address: tuple[str, int], *, version: int = 5, tls: ssl.SSLContext | None = None) -> None:
        self.version = version
        self.sock = socket.create_connection(address, TIMEOUT_S)
        if tls is not None:
            with _tls_alerts_as_hanging_up():
                self.sock = tls.wrap_socket(self.sock)
        self._mid = 0

    def close(self) -> None:
        """Without a goodbye: a last will is sent."""
        self.sock.close()

    def connect(
        self,
        user: Name | None = None,
        password: Name | None = None,
        *,
        client_id: Name = "",
        will: Will | None = None,
        clean: bool = True,
        properties: bytes = b"",
    ) -> int:
        """The reason code of the CONNACK."""
        flags = 0x02 * clean | 0x80 * (user is not None) | 0x40 * (password is not None)
        parts = [text(client_id)]
        if will is not None:
            flags |= 0x04 | 0x08 | 0x20 * will.retain
            parts += [b"\0" * (self.version == 5), text(will.topic), text(will.payload)]
        parts += [text(name) for name in (user, password) if name is not None]
        head = text("MQTT") + bytes([self.version, flags]) + struct.pack("!H", 40)
        self.write(0x10, head + self._properties(properties) + b"".join(parts))
        return self.wait(CONNACK).body[1]

    def publish(
        self, topic: Name, payload: bytes = b"x", *, retain: bool = False, alias: int | None = None, mid: int = 0
    ) -> int:
        """Sends with QoS 1; the reason code of the PUBACK. 3.1.1 has none: 0."""
        self.send(topic, payload, retain=retain, alias=alias, mid=mid)
        body = self.wait(PUBACK).body
        return body[2] if len(body) > 2 else 0

    def send(
        self,
        topic: Name,
        payload: bytes = b"x",
        *,
        qos: int = 1,
        retain: bool = False,
        alias: int | None = None,
        mid: int = 0,
    ) -> None:
        """A PUBLISH, whose answer is not waited for."""
        self.sock.sendall(self.packet(topic, payload, qos=qos, retain=retain, alias=alias, mid=mid))

    def packet(
        self,
        topic: Name,
        payload: bytes = b"x",
        *,
        qos: int = 1,
        retain: bool = False,
        alias: int | None = None,
        mid: int = 0,
    ) -> bytes:
        """The bytes of a PUBLISH."""
        self._mid = self._mid % 65_535 + 1
        number = struct.pack("!H", mid or self._mid) if qos else b""
        properties = b"" if alias is None else struct.pack("!BH", 0x23, alias)
        return packed(0x30 | qos << 1 | retain, text(topic) + number + self._properties(properties) + payload)

    def subscribe(self, *filters: Name, qos: int = 1) -> list[int]:
        """The reason codes of the SUBACK."""
        wanted = b"".join(text(filter_) + bytes([qos]) for filter_ in filters)
        self._mid = self._mid % 65_535 + 1
        self.write(0x82, struct.pack("!H", self._mid) + self._properties(b"") + wanted)
        body = self.wait(SUBACK).body
        return list(body[2 + (self.version == 5) :])

    def ping(self) -> list[Packet]:
        """All that came before the broker's answer to a ping: it answers in order."""
        self.write(0xC0, b"")
        found = []
        while (packet := self.read()).kind != PINGRESP:
            found.append(packet)
        return found

    def wait(self, kind: int) -> Packet:
        """The next packet of that kind."""
        while (packet := self.read()).kind != kind:
            if packet.kind == DISCONNECT:
                raise ConnectionError(f"the broker hangs up: {packet.body.hex()}")
        return packet

    def read(self) -> Packet:
        """The next packet."""
        first = self._exactly(1)[0]
        length, shift = 0, 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return Packet(kind=first >> 4, body=self._exactly(length))

    def is_cut(self) -> bool:
        """Reads on until the broker hangs up; TimeoutError: it does not."""
        try:
            while True:
                self.read()
        except ConnectionError:
            return True

    def write(self, first: int, body: bytes) -> None:
        """Any packet."""
        with _tls_alerts_as_hanging_up():
            self.sock.sendall(packed(first, body))

    def _properties(self, properties: bytes) -> bytes:
        return varint(len(properties)) + properties if self.version == 5 else b""

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            with _tls_alerts_as_hanging_up():
                came = self.sock.recv(count - len(found))
            if not came:
                raise ConnectionError("the broker hangs up")
            found += came
        return found


@contextmanager
def _tls_alerts_as_hanging_up() -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as exc:
        raise ConnectionError(f"the broker hangs up: {exc}") from exc


def text(value: Name) -> bytes:
    """A string as it stands in a packet, whatever is in it; one too long for its length is cut."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return struct.pack("!H", min(len(raw), 65_535)) + raw[:65_535]


def packed(first: int, body: bytes) -> bytes:
    """A packet of that first byte."""
    return bytes([first]) + varint(len(body)) + body


def varint(number: int) -> bytes:
    """A length: seven bits a byte, the lowest first."""
    found = bytearray()
    while True:
        number, low = divmod(number, 128)
        found.append(low | 0x80 * (number > 0))
        if not number:
            return bytes(found)


def answer(line: Attacker, call: str, *arguments: object, **options: object) -> object:
    """What the broker says to it: "cut" where it hangs up."""
    try:
        return getattr(line, call)(*arguments, **options)
    except ConnectionError:
        return "cut"
