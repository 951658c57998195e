"""What does the target say to HTTP? One empty answer and one small object, to so many clients and no more.

What is for a throughput test goes to `throughput`.

Rule: any bytes are borne. What is no request is told so, what is slow, too long or too much is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import socket
import ssl
from dataclasses import dataclass, replace

from balise_collector.target.requests import Request, parse
from balise_collector.target.throughput import Stream, Throughput

MAX_HEAD_BYTES = 8_192
SMALL_BYTES = (
    10_240  # fits the first congestion window (RFC 6928: 10 segments): one round trip, whatever the line's rate
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one client, or all of them, may take of the web server."""

    connections: int = 512  # those above wait in the kernel's queue
    requests: int = 100  # on one connection
    request_s: float = 10.0  # for the TLS handshake, for each request with its answer, and for the end


LIMITS = Limits()

_UNREAD_PARTS = 64  # of 8 kB, then a reset is what it gets


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; ``close``: nothing more is read on this connection; ``holds``: that lease lives as it does."""

    data: bytes
    close: bool
    holds: str = ""


def answer_request(head: bytes) -> Answer:
    """The answer to a request's head, without its empty line; any bytes get one."""
    request = parse(head)
    if isinstance(request, bytes):
        return _answer(request, close=True)
    if request.length:
        return _answer(b"413 Content Too Large", close=True)  # nothing here takes a body
    if request.method not in (b"GET", b"HEAD"):
        return _answer(b"405 Method Not Allowed", b"Allow: GET, HEAD\r\n", close=request.close)
    return _found(request.path, head_only=request.method == b"HEAD", close=request.close)


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


async def accept(
    listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits, throughput: Throughput | None = None
) -> None:
    """Take connections, so many at once, those in their TLS handshake too. Throughput is for plain HTTP alone."""
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
                serving = _serve(sock, tls, limits) if tls else _serve_plain(sock, limits, throughput)
                connections.create_task(serving).add_done_callback(lambda _: free.release())
    finally:
        listener.close()


async def _bear(exc: OSError) -> None:
    """accept(2) reports a new connection's own errors too; where descriptors have run out, some will be given back."""
    if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        await asyncio.sleep(1)
    elif exc.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
        raise exc


async def _serve_plain(sock: socket.socket, limits: Limits, throughput: Throughput | None) -> None:
    """One connection without TLS, on its own socket: a stream's goes to a thread."""
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    try:
        for _ in range(limits.requests):
            async with asyncio.timeout(limits.request_s):
                head = await _read_head(sock, buffer)
                answer = _answer_plain(head, sock, throughput)
                if isinstance(answer, Answer):
                    await loop.sock_sendall(sock, answer.data)
            if throughput is not None and isinstance(answer, Stream):
                await throughput.run(answer, socket.socket(fileno=sock.detach()), len(buffer))
                return
            if throughput is not None and isinstance(answer, Answer) and answer.holds:
                await throughput.hold(answer.holds, sock)
                return
            if not isinstance(answer, Answer) or answer.close:
                break
        await _end(sock, limits)
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        return  # it was slow, too long or cut off: closed without a word
    finally:
        sock.close()


def _answer_plain(head: bytes, sock: socket.socket, throughput: Throughput | None) -> Answer | Stream:
    request = parse(head)
    if throughput is None or not isinstance(request, Request):
        return answer_request(head)
    told = throughput.answer(request, str(sock.getpeername()[0]))
    if told is None:
        return answer_request(head)
    if isinstance(told, Stream):
        return told
    # A body that is refused is not read either: the connection cannot go on.
    headers = b"Cache-Control: no-store\r\n" + told.headers
    answer = _answer(told.status, headers, told.body, close=request.close or request.length > 0)
    return answer if answer.close else replace(answer, holds=told.holds)


async def _read_head(sock: socket.socket, buffer: bytearray) -> bytes:
    """The next request's head without its empty line; what follows stays in the buffer."""
    loop = asyncio.get_running_loop()
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise asyncio.LimitOverrunError("a head without end", len(buffer))
        part = await loop.sock_recv(sock, MAX_HEAD_BYTES)
        if not part:
            raise EOFError
        buffer += part
    head = bytes(buffer[:end])
    del buffer[: end + 4]
    return head


async def _end(sock: socket.socket, limits: Limits) -> None:
    """Close so that the last answer arrives: bytes that were not read would make it a reset (RFC 9112 § 9.6)."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(limits.request_s):
            for _ in range(_UNREAD_PARTS):
                if not await loop.sock_recv(sock, MAX_HEAD_BYTES):
                    return


async def _serve(sock: socket.socket, tls: ssl.SSLContext, limits: Limits) -> None:
    """One connection over TLS, from its handshake to its end."""
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
