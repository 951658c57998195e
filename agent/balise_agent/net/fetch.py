"""How does one GET go, step by step, and in which step does it fail?

On a connection of its own, split into dns, connect, tls, ttfb and total.

Rule 1: the certificate is always verified, by the system's authorities or by ``ca_file``.
Rule 2: a failure keeps the steps that were done before it. No redirect is followed: it often is the failure, a portal.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import SplitResult

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net.datagram import send_reason
from balise_agent.net.http1 import MAX_BODY_BYTES, Response, encode_get
from balise_agent.net.resolve import Address, literal, resolve

URL_PATTERN = r"https?://(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[!-~]{0,1024})?"

MOST_ADDRESSES = 3
"""Tried in turn, each for a quarter of the whole time (of 15 s: SYNs at 0, 1 and 3 s, RFC 6298)."""

_READ_BYTES = 16_384
_VERIFY_NOT_YET_VALID, _VERIFY_EXPIRED = 9, 10  # X509_V_ERR_* of OpenSSL
_VERIFY_WRONG_NAME = (62, 64)  # host name, address


def tls_reason(exc: ssl.SSLError, clock_ok: bool | None) -> str:
    """Why a handshake failed. A probe whose clock is not set must not blame the certificate's dates."""
    if not isinstance(exc, ssl.SSLCertVerificationError):
        return "tls_failed"
    if exc.verify_code in (_VERIFY_NOT_YET_VALID, _VERIFY_EXPIRED):
        if clock_ok is False:
            return "clock_unset"
        return "tls_expired" if exc.verify_code == _VERIFY_EXPIRED else "tls_not_yet_valid"
    return "tls_wrong_name" if exc.verify_code in _VERIFY_WRONG_NAME else "tls_untrusted"


class _FetchError(Exception):
    """A step failed; its reason is the message."""


class Fetch:
    """One exchange: ``fields`` grows step by step. ``clock_ok``: this machine's clock is right; None: it is not known.
    ``sink``: takes the body as it comes, ``most_bytes`` of it.
    """

    def __init__(
        self,
        url: SplitResult,
        ca_file: str | None,
        timeout_s: float,
        *,
        clock_ok: Callable[[], bool | None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        sink: Callable[[bytes], None] | None = None,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._sink, self._most_bytes = sink, most_bytes
        self.fields: dict[str, Value] = {}
        self._url = url
        self._host = url.hostname or ""
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._clock_ok, self._monotonic = clock_ok, monotonic

    async def outcome(self) -> Outcome:
        """Fetch, and say how it ended."""
        with self._timed("total_ms") as keep:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._steps()
            except TimeoutError:
                return failed("timeout")
            except _FetchError as exc:
                return failed(str(exc))
            keep()
        return OK if 200 <= int(self.fields["status"]) < 300 else failed("http_status")

    async def _steps(self) -> None:
        tls = self._tls() if self._url.scheme == "https" else None
        addresses = await self._resolved()
        with await self._connected(addresses) as sock:
            reader, writer = await self._secured(sock, tls)
            try:
                await self._exchanged(reader, writer)
            finally:
                writer.transport.abort()  # a close would wait for the peer's own

    def _tls(self) -> ssl.SSLContext:
        try:
            return _tls_context(
                self._ca_file, None if self._ca_file is None else Path(self._ca_file).stat().st_mtime_ns
            )
        except (OSError, ssl.SSLError) as exc:
            raise _FetchError("ca_unreadable") from exc

    async def _resolved(self) -> list[Address]:
        known = literal(self._host)
        if known is not None:
            return [known]
        with self._timed("dns_ms") as keep:
            addresses = await resolve(self._host)
            if not addresses:
                raise _FetchError("resolve")
            keep()
        return addresses[:MOST_ADDRESSES]

    async def _connected(self, addresses: list[Address]) -> socket.socket:
        """To the first address that takes it; ``connect_ms`` is that one's handshake."""
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        reason = "connect_timeout"
        for address in addresses:
            self.fields["af"] = address.af
            try:
                return await self._connected_to(address, port)
            except TimeoutError:
                reason = "connect_timeout"
            except OSError as exc:
                reason = "connect_refused" if exc.errno == errno.ECONNREFUSED else send_reason(exc)
        raise _FetchError(reason)

    async def _connected_to(self, address: Address, port: int) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._timed("connect_ms") as keep:
                async with asyncio.timeout(self._timeout_s / (MOST_ADDRESSES + 1)):
                    await asyncio.get_running_loop().sock_connect(sock, address.at(port))
                keep()
        except BaseException:
            sock.close()
            raise
        return sock

    async def _secured(
        self, sock: socket.socket, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if tls is None:
            return await asyncio.open_connection(sock=sock)
        try:
            with self._timed("tls_ms") as keep:
                streams = await asyncio.open_connection(
                    sock=sock, ssl=tls, server_hostname=self._host, ssl_handshake_timeout=2 * self._timeout_s
                )
                keep()
        except ssl.SSLError as exc:
            raise _FetchError(tls_reason(exc, self._clock_ok())) from exc
        except OSError as exc:  # reset or closed in the middle of the handshake
            raise _FetchError("tls_failed") from exc
        return streams

    async def _exchanged(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        response = Response(keep=self._sink is not None, most_bytes=self._most_bytes)
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            writer.write(encode_get(self._url.netloc, path))
            with self._timed("ttfb_ms") as keep:
                data = await reader.read(_READ_BYTES)
                if data:
                    keep()
            while data and response.fault is None and not response.complete:
                response.feed(data)
                self._hand_on(response)
                data = b"" if response.complete or response.fault else await reader.read(_READ_BYTES)
            response.end()
        except OSError as exc:
            raise _FetchError("reset") from exc
        if response.status is not None:
            self.fields["status"] = response.status
        if response.fault is not None:
            raise _FetchError(response.fault)
        self.fields["bytes"] = response.body_bytes

    def _hand_on(self, response: Response) -> None:
        if self._sink is not None and response.body:
            self._sink(bytes(response.body))
            response.body.clear()

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[Callable[[], None]]:
        """The time from here to the call of what it gives is the field ``name``."""
        start_s = self._monotonic()

        def keep() -> None:
            self.fields[name] = round((self._monotonic() - start_s) * 1_000, 3)

        yield keep


@functools.lru_cache(maxsize=8)
def _tls_context(ca_file: str | None, _mtime_ns: int | None) -> ssl.SSLContext:
    """Kept, since it is dear; a file that was replaced is read again."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    capath = ssl.get_default_verify_paths().capath
    if ca_file is not None:
        tls.load_verify_locations(cafile=ca_file)
    elif "SSL_CERT_FILE" not in os.environ and capath is not None and any(Path(capath).glob("*.0")):
        # By hash, each authority when it is needed: the one big file costs 28 ms of an EPYC core and 1 MB for good.
        tls.load_verify_locations(capath=capath)
    else:
        tls.load_default_certs()
    return tls
