"""How do 1,000 probes load a broker, out of one cheap loop?

Each is a session of its own with MQTT v5, its credential, last will, subscriptions and presence, as an agent's is; what
it sends was made beforehand. One thread, epoll: on the same two cores as the broker and the collector, each
microsecond here is one that they do not get.

Rule 1: at most `WINDOW` messages of a session are unacknowledged, as at an agent. What ends one is the collector's ack,
or, against a peer that sends none, the broker's PUBACK.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from balise_agent import codec
from balise_agent.contract import Presence, topic
from balise_agent.uplink import WINDOW
from bench.messages import packet, text, varint

CONNECT_TIMEOUT_S = 20.0
KEEPALIVE_S = 40
_JOIN_S = 0.02  # how soon a session that has opened begins

_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 0x20, 0x30, 0x40, 0x90
_PINGREQ = packet(0xC0, b"")
_DISCONNECT = packet(0xE0, b"")

Hear = Callable[["Session", int, bytes], None]
"""What is done with a packet: its session, its first byte, and the rest of it."""


@dataclass(slots=True, eq=False)
class Session:
    """One probe's session. ``unsent``: packets still to go, in order; ``acked``: sequence numbers by the collector."""

    probe: str
    sock: socket.socket
    unsent: deque[bytes] = field(default_factory=deque)
    in_flight: int = 0
    acked: int = 0
    rejected: int = 0
    refused: int = 0  # PUBACKs that say no
    last_sent_s: float = 0.0
    _heard: bytes = b""
    _stuck: bytes = b""

    def fill(self) -> None:
        """Sends as much as the window allows, in one writing."""
        room = min(WINDOW - self.in_flight, len(self.unsent))
        if room > 0:
            self.in_flight += room
            self.write(b"".join([self.unsent.popleft() for _ in range(room)]))

    def write(self, data: bytes) -> None:
        """Sends; what the socket does not take now goes before the next."""
        data = self._stuck + data
        self.last_sent_s = time.monotonic()
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        self._stuck = data[sent:]

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """What came, packet by packet: first byte and the rest. ConnectionError: the broker closed."""
        try:
            came = self.sock.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not came:
            raise ConnectionError(f"{self.probe}: the broker closed the session")
        heard = self._heard + came
        at = 0
        while (found := _next_packet(heard, at)) is not None:
            first, start, end = found
            yield first, heard[start:end]
            at = end
        self._heard = heard[at:]


def connect(address: tuple[str, int], passwords: Mapping[str, str], tls: ssl.SSLContext | None = None) -> list[Session]:
    """Opens all sessions, one after the other; each is subscribed and has said that it is online."""
    return [open_one(address, probe, password, tls) for probe, password in passwords.items()]


def close(sessions: Sequence[Session]) -> None:
    """Ends all sessions in order."""
    for session in sessions:
        session.write(_DISCONNECT)
        session.sock.close()


def pour(
    sessions: Sequence[Session],
    *,
    acks: bool,
    until_s: float,
    joining: Callable[[], Sequence[Session] | None] = lambda: None,
) -> float:
    """Sends all that the sessions hold, as fast as windows open; returns when nothing is in flight: the monotonic time.

    ``acks``: the collector's acks open the window, else the broker's PUBACKs. ``joining``: sessions that have opened
    since it was asked last; None: no more will. TimeoutError: not all came until then.
    """
    hear = _hear_acks if acks else _hear_pubacks
    poll, by_fd = _watch(sessions)
    open_sessions = {session for session in sessions if session.unsent}
    for session in sessions:
        session.fill()
    look_s = 0.0
    while (joined := joining()) is not None or open_sessions:
        for session in joined or ():
            poll.register(session.sock, select.EPOLLIN)
            by_fd[session.sock.fileno()] = session
            open_sessions.add(session)
            session.fill()
        ready = poll.poll(_JOIN_S if joined is not None else 1.0)
        if (now_s := time.monotonic()) >= look_s:
            look_s = now_s + 1
            _ping_where_silent(by_fd.values(), now_s)
        if now_s > until_s:
            raise TimeoutError(f"{sum(s.in_flight + len(s.unsent) for s in open_sessions)} messages not acknowledged")
        for fd, _ in ready:
            session = by_fd[fd]
            for first, rest in session.packets():
                hear(session, first, rest)
            session.fill()
            if not session.in_flight:
                open_sessions.discard(session)
    return time.monotonic()


def pace(
    sessions: Sequence[Session],
    start_s: Mapping[str, float],
    every_s: float,
    until_s: float,
    seal: Callable[[str], bytes],
) -> list[float]:
    """Each session sends one message each ``every_s`` from its start on; seconds from before its sealing to its ack.

    ``seal`` makes the packet when it is due. A session that was silent for a keep-alive pings, as an agent's does.
    """
    poll, by_fd = _watch(sessions)
    by_probe = {session.probe: session for session in sessions}
    due = deque(sorted((at_s, probe) for probe, at_s in start_s.items()))
    sent_s: dict[str, deque[float]] = defaultdict(deque)  # of each, the oldest first: acks come in that order
    took_s: list[float] = []
    sent, look_s = 0, 0.0
    while (due and due[0][0] < until_s) or len(took_s) < sent:
        now_s = time.monotonic()
        if now_s > until_s + CONNECT_TIMEOUT_S:
            raise TimeoutError(f"{sent - len(took_s)} messages not acknowledged")
        while due and due[0][0] <= now_s and due[0][0] < until_s:
            at_s, probe = due.popleft()
            due.append((at_s + every_s, probe))
            sent += 1
            sent_s[probe].append(time.monotonic())
            by_probe[probe].write(seal(probe))
        if now_s >= look_s:
            look_s = now_s + 1
            _ping_where_silent(sessions, now_s)
        for fd, _ in poll.poll(max(0.0, min(0.25, due[0][0] - time.monotonic()))):
            session = by_fd[fd]
            for first, rest in session.packets():
                before = session.acked
                _hear_acks(session, first, rest)
                ages_s = (time.monotonic() - sent_s[session.probe].popleft() for _ in range(session.acked - before))
                took_s.extend(ages_s)
    return took_s


def _ping_where_silent(sessions: Iterable[Session], now_s: float) -> None:
    for session in sessions:
        if now_s - session.last_sent_s >= KEEPALIVE_S:
            session.write(_PINGREQ)


def _hear_acks(session: Session, first: int, rest: bytes) -> None:
    if first & 0xF0 == _PUBACK:
        session.refused += len(rest) > 2 and rest[2] >= 0x80
    elif first & 0xF0 == _PUBLISH:
        topic_end = 2 + int.from_bytes(rest[:2])
        if first & 0x06:
            session.write(bytes([_PUBACK, 2]) + rest[topic_end : topic_end + 2])
        if rest.endswith(b"/ack", 0, topic_end):
            _count(session, json.loads(rest[rest.index(b"{", topic_end) :]))


def _count(session: Session, said: Mapping[str, Any]) -> None:
    count = sum(last - first + 1 for first, last in said["a"])
    session.rejected += len(said.get("rej", ()))
    session.acked += count
    session.in_flight -= count


def _hear_pubacks(session: Session, first: int, rest: bytes) -> None:
    if first & 0xF0 == _PUBACK:
        session.in_flight -= 1
        session.refused += len(rest) > 2 and rest[2] >= 0x80


def _watch(sessions: Sequence[Session]) -> tuple[select.epoll, dict[int, Session]]:
    poll = select.epoll()
    for session in sessions:
        poll.register(session.sock, select.EPOLLIN)
    return poll, {session.sock.fileno(): session for session in sessions}


def open_one(address: tuple[str, int], probe: str, password: str, tls: ssl.SSLContext | None) -> Session:
    """Subscribed, and has said that it is online. OSError: it cannot be opened."""
    sock = socket.create_connection(address, CONNECT_TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname=address[0])
    session = Session(probe=probe, sock=sock)
    sock.sendall(_connect_packet(probe, password))
    _await(session, _CONNACK, lambda rest: rest[1] == 0)
    filters = b"".join(text(topic(probe, kind)) + b"\x01" for kind in ("ack", "cmd"))
    sock.sendall(packet(0x82, struct.pack("!HB", 1, 0) + filters))
    _await(session, _SUBACK, lambda rest: rest[-2:] == b"\x01\x01")
    sock.sendall(_state_packet(probe))
    _await(session, _PUBACK, lambda rest: len(rest) == 2 or rest[2] < 0x80)
    sock.setblocking(False)
    return session


def _connect_packet(probe: str, password: str) -> bytes:
    """CONNECT of version 5: clean start, last will retained with QoS 1, user name and password."""
    flags = 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
    will = varint(0) + text(topic(probe, "state")) + text(_presence(online=False))
    head = text("MQTT") + bytes([5, flags]) + struct.pack("!H", KEEPALIVE_S) + varint(0)
    return packet(0x10, head + text(probe) + will + text(probe) + text(password))


def _state_packet(probe: str) -> bytes:
    return packet(0x33, text(topic(probe, "state")) + struct.pack("!H", 65_535) + varint(0) + _presence(True).encode())


def _presence(online: bool) -> str:
    presence = Presence(online=online, agent="bench", boot="A" * 22, stream="A" * 22)
    return codec.encode_presence(presence).decode()


def _await(session: Session, kind: int, is_fine: Callable[[bytes], bool]) -> None:
    """Reads until a packet of that kind comes. ConnectionError: it says no."""
    while True:
        for first, rest in session.packets():
            if first & 0xF0 == kind:
                if not is_fine(rest):
                    raise ConnectionError(f"{session.probe}: the broker answered {first:#x} {rest.hex()}")
                return


def _next_packet(data: bytes, at: int) -> tuple[int, int, int] | None:
    """First byte, start and end of the rest; None where the packet is not all there."""
    length = shift = 0
    for i in range(at + 1, min(at + 5, len(data))):
        byte = data[i]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            end = i + 1 + length
            return (data[at], i + 1, end) if end <= len(data) else None
    return None
