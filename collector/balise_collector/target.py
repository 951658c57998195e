"""What do probes measure against? A reflector of STAMP over UDP, and a web server of one small object.

Rule 1: an answer is never longer than its question over UDP: a forged sender gains nothing.
Rule 2: no address of a client is kept: a session is known by a hash that dies with the process.
Rule 3: any bytes are borne. What is not a question of ours is dropped, what is slow or too much is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import re
import socket
import ssl
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from balise_agent.net import stamp

STAMP_PORT = stamp.PORT
MAX_SESSIONS = 50_000  # 1,000 probes open one a minute each; 50,000 take 11 MB
SESSION_IDLE_NS = 300 * 1_000_000_000  # a probe's session is one window, 60 s: a pause of minutes is another's
MAX_HEAD_BYTES = 8_192
SMALL_BYTES = (
    10_240  # fits the first congestion window (RFC 6928: 10 segments): one round trip, whatever the line's rate
)

_DATAGRAMS_AT_ONCE = 64  # then the web server has its turn
_MAX_DATAGRAM_BYTES = 2_048
_ANCILLARY_BYTES = 256
_SO_TIMESTAMPNS = 35  # include/uapi/asm-generic/socket.h
_TIMESPEC = struct.Struct("@ll")
_IP_PKTINFO = 8  # linux/in.h
_IP_RECVTTL = 12
_BACKLOG = 1_024
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2048}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one client, or all of them, may take of the web server."""

    connections: int = 512  # those above wait in the kernel's queue
    requests: int = 100  # on one connection
    request_s: float = 10.0  # for the TLS handshake, for each request with its answer, and for the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where it listens."""

    http: int
    udp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; ``close``: nothing more is read on this connection."""

    data: bytes
    close: bool


async def serve_target(
    listen: str,
    http_port: int,
    udp_port: int,
    tls: ssl.SSLContext | None,
    stop: asyncio.Event,
    ready: Callable[[Ports], None],
    limits: Limits = Limits(),
) -> None:
    """Serve until ``stop``; port 0 lets the kernel choose, ``ready`` says which. ``::`` listens for IPv4 too."""
    with _bound(listen, http_port, socket.SOCK_STREAM) as web, _bound(listen, udp_port, socket.SOCK_DGRAM) as udp:
        web.listen(_BACKLOG)
        loop = asyncio.get_running_loop()
        loop.add_reader(udp, Reflector(udp).readable)
        accepting = asyncio.create_task(_accept(web, tls, limits))
        try:
            ready(Ports(http=web.getsockname()[1], udp=udp.getsockname()[1]))
            await _first_of(stop.wait(), accepting)
        finally:
            loop.remove_reader(udp)
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)


class Sessions:
    """How many packets came in each session: what tells a loss on the way here from one on the way back."""

    def __init__(self, most: int = MAX_SESSIONS, idle_ns: int = SESSION_IDLE_NS) -> None:
        self._most = most
        self._idle_ns = idle_ns
        self._seen: OrderedDict[int, tuple[int, int]] = (
            OrderedDict()
        )  # hash -> (packets, monotonic ns), longest idle first

    def __len__(self) -> int:
        return len(self._seen)

    def count(self, key: tuple[object, ...], now_ns: int) -> int:
        """The reflector's sequence number for the next answer: 0 in a new session (RFC 8762 § 4.3)."""
        hashed = hash(key)  # keyed by this process's own secret (PYTHONHASHSEED): it tells nobody an address
        self._forget(now_ns)
        packets, _ = self._seen.pop(hashed, (0, 0))
        self._seen[hashed] = (packets + 1, now_ns)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return packets & 0xFFFFFFFF

    def _forget(self, now_ns: int) -> None:
        while self._seen and next(iter(self._seen.values()))[1] < now_ns - self._idle_ns:
            self._seen.popitem(last=False)


class Reflector:
    """Answers the packets of STAMP senders on one UDP socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sessions = Sessions()

    def readable(self) -> None:
        """Answer what waits, some at a time."""
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data, ancillary, flags, source = self._sock.recvmsg(_MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error about an earlier answer
                continue
            packet = None if flags & socket.MSG_TRUNC else stamp.decode_sender(data)
            if packet is not None:
                self._reflect(packet, data[stamp.PACKET_BYTES :], ancillary, source)

    def _reflect(
        self,
        packet: stamp.SenderPacket,
        padding: bytes,
        ancillary: list[tuple[int, int, bytes]],
        source: tuple[str, int],
    ) -> None:
        sequence = self._sessions.count((*source[:2], packet.session), time.monotonic_ns())
        arrived_ns, ttl, asked_at = _read_ancillary(ancillary)
        answer = stamp.ReflectedPacket(
            sequence=sequence,
            time_ns=time.time_ns(),
            session=packet.session,
            received_ns=arrived_ns or time.time_ns(),
            sender_sequence=packet.sequence,
            sender_time_ns=packet.time_ns,
            sender_error=packet.error,
            sender_ttl=ttl,
        )
        with contextlib.suppress(OSError):  # a full buffer or a forged source: to lose an answer is what UDP may do
            self._sock.sendmsg([stamp.encode_reflected(answer), padding], asked_at, 0, source)


def answer_request(head: bytes) -> Answer:
    """The answer to a request's head, without its empty line; any bytes get one."""
    lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(lines[0])
    headers = [_HEADER.fullmatch(line) for line in lines[1:]]
    if request is None or None in headers:
        return _answer(b"400 Bad Request", close=True)
    named = {match[1].lower(): match[2].strip().lower() for match in headers if match}
    if b"transfer-encoding" in named or named.get(b"content-length", b"0") != b"0":
        return _answer(b"413 Content Too Large", close=True)  # nothing here takes a body
    if request[3] == b"1" and b"host" not in named:  # RFC 9112 § 3.2
        return _answer(b"400 Bad Request", close=True)
    close = request[3] == b"0" or b"close" in named.get(b"connection", b"")
    if request[1] not in (b"GET", b"HEAD"):
        return _answer(b"405 Method Not Allowed", b"Allow: GET, HEAD\r\n", close=close)
    return _found(request[2].partition(b"?")[0], head_only=request[1] == b"HEAD", close=close)


def _found(path: bytes, *, head_only: bool, close: bool) -> Answer:
    if path == b"/ping":
        return _answer(b"204 No Content", b"Cache-Control: no-store\r\n", close=close)
    if path == b"/small":
        kind = b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n"
        return _answer(b"200 OK", kind, _SMALL, close=close, head_only=head_only)
    return _answer(b"404 Not Found", close=close)


def _answer(status: bytes, headers: bytes = b"", body: bytes = b"", *, close: bool, head_only: bool = False) -> Answer:
    length = b"" if status.startswith(b"204") else b"Content-Length: %d\r\n" % len(body)  # RFC 9110 § 8.6
    connection = b"Connection: close\r\n" if close else b""
    head = b"HTTP/1.1 %s\r\n%s%s%s\r\n" % (status, length, headers, connection)
    return Answer(data=head if head_only else head + body, close=close)


# The same bytes each time, which nothing on the way can compress.
_SMALL = b"".join(hashlib.sha256(b"balise %d" % i).digest() for i in range(SMALL_BYTES // 32))


async def _accept(listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits) -> None:
    """Take connections, so many at once, those in their TLS handshake too."""
    loop = asyncio.get_running_loop()
    free = asyncio.Semaphore(limits.connections)
    try:
        async with asyncio.TaskGroup() as connections:
            while True:
                await free.acquire()
                try:
                    sock, _source = await loop.sock_accept(listener)
                except OSError as exc:
                    free.release()
                    await _bear(exc)
                    continue
                connections.create_task(_serve(sock, tls, limits)).add_done_callback(lambda _: free.release())
    finally:
        listener.close()


async def _bear(exc: OSError) -> None:
    """accept(2) reports a new connection's own errors too; where descriptors have run out, some will be given back."""
    if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        await asyncio.sleep(1)
    elif exc.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
        raise exc


async def _serve(sock: socket.socket, tls: ssl.SSLContext | None, limits: Limits) -> None:
    """One connection, from its handshake to its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        async with asyncio.timeout(limits.request_s):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls)
        try:
            await _converse(reader, asyncio.StreamWriter(transport, protocol, reader, loop), limits)
        finally:
            transport.abort()
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        return  # it was slow, too long, cut off, or no TLS: closed without a word


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
    for _ in range(limits.requests):
        async with asyncio.timeout(limits.request_s):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = answer_request(head[:-4])
            writer.write(answer.data)
            await writer.drain()
        if answer.close:
            break
    writer.close()
    async with asyncio.timeout(limits.request_s):
        await writer.wait_closed()


def _bound(listen: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(listen, port, type=kind, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _ask_for_ancillary(sock)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _ask_for_ancillary(sock: socket.socket) -> None:
    """With each datagram: when it came, with which TTL, and to which of our addresses: its answer leaves from there."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def _read_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int, list[tuple[int, int, bytes]]]:
    """Arrival in ns and TTL, 0 where not told, and what makes the answer leave from the address that was asked."""
    arrived_ns = ttl = 0
    asked_at: list[tuple[int, int, bytes]] = []
    for level, kind, payload in ancillary:
        match level, kind:
            case (socket.SOL_SOCKET, _) if kind == _SO_TIMESTAMPNS and len(payload) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(payload)
                arrived_ns = int(seconds) * 1_000_000_000 + int(nanoseconds)
            case (socket.IPPROTO_IP, socket.IP_TTL) | (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT):
                ttl = struct.unpack_from("@i", payload)[0] & 0xFF
            case (socket.IPPROTO_IP, _) if kind == _IP_PKTINFO:
                asked_at = [(level, kind, bytes(4) + payload[4:8] + bytes(4))]  # any interface, this source
            case (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                asked_at = [(level, kind, payload[:16] + bytes(4))]
    return arrived_ns, ttl, asked_at


async def _first_of(stopped: Awaitable[object], serving: asyncio.Task[None]) -> None:
    """Until it is told to stop, or serving ends by a fault, which is raised."""
    stopping = asyncio.ensure_future(stopped)
    try:
        await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if serving.done():
        serving.result()
