"""What does the target say to HTTP? One empty answer and one small object, to so many clients and no more.

Rule: any bytes are borne. What is no request is told so, what is slow, too long or too much is closed.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
import socket
import ssl
from dataclasses import dataclass

MAX_HEAD_BYTES = 8_192
SMALL_BYTES = (
    10_240  # fits the first congestion window (RFC 6928: 10 segments): one round trip, whatever the line's rate
)

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2048}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one client, or all of them, may take of the web server."""

    connections: int = 512  # those above wait in the kernel's queue
    requests: int = 100  # on one connection
    request_s: float = 10.0  # for the TLS handshake, for each request with its answer, and for the end


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; ``close``: nothing more is read on this connection."""

    data: bytes
    close: bool


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


async def accept(listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits) -> None:
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
