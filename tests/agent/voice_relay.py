"""A way between a caller and a reflector that loses, delays and repeats voice by a seed, and counts what it did."""

from __future__ import annotations

import heapq
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_PORT = re.compile(rb"m=audio (\d+) ")


@dataclass(slots=True, kw_only=True)
class Way:
    """One direction: shares of packets, and what became of them."""

    loss: float = 0.0
    twice: float = 0.0
    delay_s: float = 0.0
    late: tuple[int, float] | None = None  # each so manyth is that much later
    heard: list[bytes] | None = None  # what came
    dies: threading.Event | None = None  # from then on nothing passes, SIP neither
    seen: int = 0
    lost: int = 0

    def passes(self, rng: random.Random) -> list[float]:
        """The delays of the copies that go on."""
        self.seen += 1
        if self.dies is not None and self.dies.is_set():
            self.lost += 1
            return []
        if rng.random() < self.loss:
            self.lost += 1
            return []
        more_s = self.late[1] if self.late is not None and self.seen % self.late[0] == 0 else 0.0
        return [self.delay_s + more_s] * (2 if rng.random() < self.twice else 1)


@dataclass(slots=True, kw_only=True)
class Relay:
    """``port``: where the caller speaks SIP to."""

    port: int = 0
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)


@contextmanager
def relay(target_port: int, up: Way, down: Way, seed: int = 1) -> Iterator[Relay]:
    """SIP passes as it is, but for the ports, so that all of the call comes this way."""
    found = Relay(up=up, down=down)
    running = _Running(target_port, found, seed)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield found
    finally:
        running.over.set()
        thread.join()
        running.close()


class _Running:
    def __init__(self, target_port: int, found: Relay, seed: int) -> None:
        self.over = threading.Event()
        self._found, self._rng = found, random.Random(seed)
        self._target = ("127.0.0.1", target_port)
        self._outer, self._inner, self._near, self._far = (_socket() for _ in range(4))
        found.port = self._outer.getsockname()[1]
        self._caller: tuple[str, int] | None = None
        self._talker: tuple[str, int] | None = None
        self._voice: tuple[str, int] | None = None
        self._queue: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._number = 0

    def close(self) -> None:
        for sock in (self._outer, self._inner, self._near, self._far):
            sock.close()

    def run(self) -> None:
        while not self.over.is_set():
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, sock, data, to = heapq.heappop(self._queue)
                sock.sendto(data, to)
            moved = [self._sip_up(), self._sip_down(), self._voice_up(), self._voice_down()]
            if not any(moved):
                time.sleep(0.0005)

    def _sip_up(self) -> bool:
        got = _take(self._outer)
        dead = self._found.up.dies is not None and self._found.up.dies.is_set()
        if got is not None and not dead:
            data, self._caller = got
            self._inner.sendto(data, self._target)
        return got is not None

    def _sip_down(self) -> bool:
        got = _take(self._inner)
        if got is not None and self._caller is not None:
            data, port = got[0], _PORT.search(got[0])
            if port is not None:
                self._voice = ("127.0.0.1", int(port[1]))
                here = str(self._near.getsockname()[1]).encode()
                head, _, body = _PORT.sub(b"m=audio " + here + b" ", data).partition(b"\r\n\r\n")
                outer = self._outer.getsockname()[1]
                head = re.sub(rb"(Contact: <sip:[a-z]+@127\.0\.0\.1:)\d+", rb"\g<1>%d" % outer, head)
                head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
                data = head + b"\r\n\r\n" + body
            self._outer.sendto(data, self._caller)
        return got is not None

    def _voice_up(self) -> bool:
        got = _take(self._near)
        if got is not None and self._voice is not None:
            data, self._talker = got
            if self._found.up.heard is not None:
                self._found.up.heard.append(data)
            self._pass(self._found.up, self._far, data, self._voice)
        return got is not None

    def _voice_down(self) -> bool:
        got = _take(self._far)
        if got is not None and self._talker is not None:
            self._pass(self._found.down, self._near, got[0], self._talker)
        return got is not None

    def _pass(self, way: Way, sock: socket.socket, data: bytes, to: tuple[str, int]) -> None:
        if 192 <= data[1] <= 223:
            return  # RTCP: the reflector has none
        for delay_s in way.passes(self._rng):
            self._number += 1
            heapq.heappush(self._queue, (time.monotonic() + delay_s, self._number, sock, data, to))


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def _take(sock: socket.socket) -> tuple[bytes, tuple[str, int]] | None:
    try:
        return sock.recvfrom(4_096)
    except OSError:
        return None
