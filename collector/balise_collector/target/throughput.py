"""What does the target say to a throughput test, and to LibreSpeed's clients?

Rule 1: no stream without a lease, no lease without a token; a target that is open listens on loopback alone.
Rule 2: an address is answered with where that is what was asked (`/getIP.php`), and kept nowhere.
Rule 3: streams are so many, so large and so long, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from balise_agent.net.throughput.dialogue import encode_report
from balise_agent.net.throughput.shape import MOST_BYTES, MOST_STREAMS, SHAPES
from balise_agent.net.throughput.streams import Payload
from balise_collector.target.bulk import Streams
from balise_collector.target.leases import Busy, Leases
from balise_collector.target.requests import Request
from balise_collector.target.tokens import ALLOWS, Grant, read_token

ROLES = ("operator", "offnet")
MOST_BULK = 256  # streams at once: of 64 tests, 4 each
STREAM_MORE_S = 3.0
GONE_S = 0.25  # how often a lease's connection is looked at, and how long after its end its streams have for theirs
CHUNK_BYTES = 1 << 20  # of LibreSpeed's ckSize
DEFAULT_CHUNKS, MOST_CHUNKS = 4, 1_024  # as its own server has them

MINI = b"/mini/"
"""Where speedtest-cli finds its "mini" server: below it the lease, then its own paths."""
MOST_MINI = 64  # its requests a direction: 40 GETs, 51 POSTs
RANDOM_BYTES = {
    350: 245_388,
    500: 505_544,
    750: 1_118_012,
    1000: 1_986_284,
    1500: 4_468_241,
    2000: 7_907_740,
    2500: 12_407_926,
    3000: 17_816_816,
    3500: 24_262_167,
    4000: 31_625_365,
}
"""Sizes of its pictures, as its own servers have them."""

_RANDOM = re.compile(rb"random([0-9]{3,4})x\1\.jpg")
_OPEN = Grant(segment="open", shape="full", expires_s=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer: the status line's end, headers and body. ``holds``: the lease that lives as this connection does."""

    status: bytes
    body: bytes = b""
    headers: bytes = b""
    holds: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A connection that is a stream from now on: what takes its socket."""

    streams: Streams
    size: int
    down: bool
    cc: str
    fill: bool
    says: bytes = b"%d"

    def take(self, sock: socket.socket, early: int, ended: Callable[[], None]) -> None:
        """``early``: bytes of the body that were read with the head."""
        if self.down:
            self.streams.send(sock, self.size, self.cc, ended, fill=self.fill)
        else:
            self.streams.receive(sock, self.size, early, ended, self.says)


@dataclass(slots=True, kw_only=True)
class Throughput:
    """The throughput side of one target. ``key`` None: of one that is open. ``udp_port``: of its reflector."""

    key: bytes | None
    role: str = "operator"
    leases: Leases = field(default_factory=Leases)
    udp_port: int = 0
    monotonic: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
    payload: Payload = field(default_factory=Payload)
    running: int = 0
    _streams: dict[str, Streams] = field(default_factory=dict)
    _taken: dict[tuple[str, bool], int] = field(default_factory=dict)

    def answer(self, request: Request, source: str) -> Told | Stream | None:
        """None: the request is for another part of the target."""
        match request.method, request.path:
            case b"POST", b"/lease":
                return self._lease(request.pairs())
            case b"POST", b"/release":
                return self._release(request.pairs())
            case b"GET", b"/report":
                return self._report(request.pairs())
            case b"GET", b"/garbage":
                return self._stream(request.pairs(), _whole(request.pairs().get("bytes")), down=True)
            case b"GET", b"/garbage.php":
                chunks = _whole(request.pairs().get("ckSize"))
                chunks = DEFAULT_CHUNKS if chunks is None or chunks < 1 else min(chunks, MOST_CHUNKS)
                return self._stream(request.pairs(), chunks * CHUNK_BYTES, down=True)
            case b"POST", b"/upload" | b"/empty.php":
                return self._stream(request.pairs(), request.length, down=False)
            case b"GET", b"/empty.php":
                return Told(status=b"200 OK")
            case method, path if path.startswith(MINI):
                return self._mini(method, path.removeprefix(MINI), request.length)
            case b"GET", b"/getIP.php":
                return _json({"processedString": source.removeprefix("::ffff:"), "rawIspInfo": ""})
        return None

    async def run(self, stream: Stream, sock: socket.socket, early: int) -> None:
        """Until the stream is over; it has the socket."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def ended() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(over.set)

        self.running += 1
        try:
            stream.take(sock, early, ended)
            await over.wait()
        finally:
            self.running -= 1
            if not over.is_set():
                stream.streams.stop()

    async def hold(self, lease_id: str, sock: socket.socket) -> None:
        """Until that connection or its lease ends; a lease whose connection has ended is over when its streams are.

        A connection that a box on the way forgot ends no test that still runs.
        """
        while self._runs(lease_id) and not await _is_over(sock):
            pass
        await asyncio.sleep(GONE_S)
        while self._runs(lease_id) and self._is_streaming(lease_id):  # noqa: ASYNC110 - streams end in threads
            await asyncio.sleep(GONE_S)
        self.leases.release(lease_id)
        self._forget()

    def _runs(self, lease_id: str) -> bool:
        return self.leases.find(lease_id, self.monotonic()) is not None

    def _is_streaming(self, lease_id: str) -> bool:
        streams = self._streams.get(lease_id)
        return streams is not None and streams.is_open

    def close(self) -> None:
        """Ends what runs."""
        for streams in self._streams.values():
            streams.stop()
        self._streams.clear()
        self.leases.running.clear()

    def _lease(self, asked: Mapping[str, str]) -> Told:
        grant = _OPEN if self.key is None else read_token(self.key, asked.get("token", ""), self.wall_s())
        if grant is None:
            return _refused(b"403 Forbidden", "token")
        shape = asked.get("shape", "")
        if shape not in SHAPES:
            return _refused(b"400 Bad Request", "shape")
        if shape not in ALLOWS[grant.shape]:
            return _refused(b"403 Forbidden", "shape")
        contract = (_rate(asked.get("down_bps")), _rate(asked.get("up_bps")))
        given = self.leases.ask(secrets.token_urlsafe(16), grant.segment, shape, contract, self.monotonic())
        self._forget()
        if isinstance(given, Busy):
            return _refused(b"429 Too Many Requests", given.why, b"Retry-After: %d\r\n" % given.retry_s)
        told = _json({"lease": given.id, "role": self.role, "udp_port": self.udp_port})
        return replace(told, holds=given.id if asked.get("hold") == "1" else "")

    def _mini(self, method: bytes, path: bytes, length: int) -> Told | Stream:
        """speedtest-cli's paths, under a lease for it."""
        name, _, rest = path.partition(b"/")
        lease = self.leases.find(name.decode("ascii"), self.monotonic())
        if lease is None or lease.shape != "speedtest":
            return _refused(b"403 Forbidden", "lease")
        asked = {"lease": lease.id}
        picture = _RANDOM.fullmatch(rest.removeprefix(b"speedtest/"))
        match method, rest:
            case b"GET", b"":
                return Told(status=b"200 OK", body=b"Balise\n")
            case b"GET", b"speedtest/upload.php":
                return Told(status=b"200 OK", body=b"size=500\n")
            case b"GET", b"speedtest/latency.txt":
                return Told(status=b"200 OK", body=b"test=test\n")
            case b"POST", b"speedtest/upload.php":
                stream = self._stream(asked, length, down=False)
                return replace(stream, says=b"size=%d") if isinstance(stream, Stream) else stream
            case b"GET", _ if picture is not None and int(picture[1]) in RANDOM_BYTES:
                return self._stream(asked, RANDOM_BYTES[int(picture[1])], down=True)
        return Told(status=b"404 Not Found")

    def _release(self, asked: Mapping[str, str]) -> Told:
        self.leases.release(asked.get("lease", ""))
        self._forget()
        return _json({})

    def _report(self, asked: Mapping[str, str]) -> Told:
        lease = self.leases.find(asked.get("lease", ""), self.monotonic())
        if lease is None:
            return _refused(b"403 Forbidden", "lease")
        streams = self._streams.get(lease.id)
        if streams is None or asked.get("direction") not in ("down", "up"):
            return _refused(b"400 Bad Request", "direction")
        report = streams.report(asked["direction"])
        return Told(status=b"200 OK", headers=b"Content-Type: application/json\r\n", body=encode_report(report))

    def _stream(self, asked: Mapping[str, str], size: int | None, *, down: bool) -> Told | Stream:
        if size is None or size < 0:
            return _refused(b"400 Bad Request", "bytes")
        if size > MOST_BYTES:
            return _refused(b"413 Content Too Large", "bytes")
        if self.running >= MOST_BULK:
            return _refused(b"503 Service Unavailable", "streams", b"Retry-After: 60\r\n")
        streams = self._streams_of(asked.get("lease"), down=down)
        if isinstance(streams, Told):
            return streams
        return Stream(streams=streams, size=size, down=down, cc=asked.get("cc", ""), fill=asked.get("fill") == "1")

    def _streams_of(self, lease_id: str | None, *, down: bool) -> Streams | Told:
        if lease_id is None:
            if self.key is not None:
                return _refused(b"403 Forbidden", "lease")
            return Streams(self.payload, SHAPES["full"].lasts_s + STREAM_MORE_S, self.leases.nic_bps)
        lease = self.leases.find(lease_id, self.monotonic())
        if lease is None:
            return _refused(b"403 Forbidden", "lease")
        taken = self._taken.get((lease_id, down), 0)
        if taken >= (MOST_MINI if lease.shape == "speedtest" else MOST_STREAMS):
            return _refused(b"403 Forbidden", "streams")
        self._taken[lease_id, down] = taken + 1
        lasts_s = SHAPES[lease.shape].lasts_s + STREAM_MORE_S
        return self._streams.setdefault(lease_id, Streams(self.payload, lasts_s, self.leases.nic_bps))

    def _forget(self) -> None:
        """Ends the streams of leases that are over."""
        for lease_id in [lease_id for lease_id in self._streams if lease_id not in self.leases.running]:
            self._streams.pop(lease_id).stop()
        for key in [key for key in self._taken if key[0] not in self.leases.running]:
            del self._taken[key]


async def _is_over(sock: socket.socket) -> bool:
    """Whether a connection on which nothing is to come has ended within `GONE_S`; bytes end it too."""
    try:
        async with asyncio.timeout(GONE_S):
            await asyncio.get_running_loop().sock_recv(sock, 1)
    except TimeoutError:
        return False
    except OSError:  # reset: its process was killed
        return True
    return True


def _json(told: Mapping[str, object]) -> Told:
    return Told(status=b"200 OK", headers=b"Content-Type: application/json\r\n", body=json.dumps(told).encode())


def _refused(status: bytes, why: str, headers: bytes = b"") -> Told:
    told = _json({"refused": why})
    return Told(status=status, headers=told.headers + headers, body=told.body)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 15 else None


def _rate(text: str | None) -> float | None:
    """A contract's rate in bit/s as the probe says it."""
    try:
        rate = float(text or "")
    except ValueError:
        return None
    return rate if 0 < rate < 1e12 else None
