"""How do SIP messages come and go: over one UDP socket, or one TCP connection?

Rule 1: what waits is bounded; what is no message is passed over, and costs nothing that stays.
Rule 2: times are the kernel's where it gives them: a loop that is late to read, a long system call, cost nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from balise_agent.net import datagram
from balise_agent.net.resolve import Address
from balise_agent.net.sip.message import MAX_BYTES, Message, frame, parse

CONNECT_TIMEOUT_S = 8.0  # as `voice`'s own timeout

_MOST_WAITING = 256
_MOST_SENT = 8  # requests whose departure is awaited
_ANCILLARY_BYTES = 512
_AT_ONCE = 64
_OLDEST_STAMP_S = 0.05  # an older one says that wall time was set meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message and when it came (monotonic), or why the channel is of no use: ``fault``, as a reason."""

    message: Message | None = None
    at_s: float = 0.0
    source: Any = None  # as the socket has it
    fault: str | None = None


class Channel(Protocol):
    """What a user agent needs of either."""

    reliable: bool
    transport: str
    local: tuple[str, int]
    inbox: asyncio.Queue[Arrived]

    def send(self, data: bytes, to: Address, port: int) -> None:
        """OSError: it cannot."""

    def left_s(self, data: bytes) -> float | None:
        """When those bytes left last, by the kernel; None: it did not say."""

    def close(self) -> None:
        """Nothing comes in any more."""


class UdpChannel:
    """A socket on the address that the way to the peer leaves from."""

    reliable = False
    transport = "UDP"

    def __init__(self, peer: Address, port: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.inbox: asyncio.Queue[Arrived] = asyncio.Queue(_MOST_WAITING)
        self._sent: dict[bytes, tuple[datagram.Sent, float | None]] = {}
        self._sock = datagram.prepare(socket.socket(peer.family, socket.SOCK_DGRAM))
        try:
            self._sock.bind((own_address(peer, port), 0))
        except OSError:
            self._sock.close()
            raise
        self.local: tuple[str, int] = self._sock.getsockname()[:2]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._readable)

    def send(self, data: bytes, to: Address, port: int) -> None:
        self._sent[data] = (datagram.send(self._sock, data, to.at(port)), None)
        while len(self._sent) > _MOST_SENT:
            del self._sent[next(iter(self._sent))]

    def left_s(self, data: bytes) -> float | None:
        return self._sent[data][1] if data in self._sent else None

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, source = self._sock.recvmsg(MAX_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError:  # a pending ICMP error: the queue has it
                continue
            message = parse(data)
            if message is not None:
                _put(self.inbox, Arrived(message=message, at_s=self._came_s(ancillary), source=source))
        for report in datagram.reports(self._sock):
            if isinstance(report, datagram.Refusal):
                reason = datagram.refusal_reason(report.family, report.type, report.code)
                _put(self.inbox, Arrived(fault=reason, source=report.destination))
            else:
                self._departed(report)

    def _departed(self, report: datagram.Departure) -> None:
        for data, (sent, _) in self._sent.items():
            after_s = (report.stamp_ns - sent.wall_ns) / 1e9
            if 0 <= after_s < _OLDEST_STAMP_S and report.frame.endswith(data):
                self._sent[data] = (sent, sent.mono_ns / 1e9 + after_s)
                return

    def _came_s(self, ancillary: datagram.Ancillary) -> float:
        stamp, now_s = datagram.stamp_ns(ancillary), self._clock()
        age_s = 0.0 if stamp is None else (time.time_ns() - stamp) / 1e9
        return now_s - age_s if 0 <= age_s < _OLDEST_STAMP_S else now_s


class TcpChannel:
    """A connection; all that is sent goes over it, to the nearest proxy."""

    reliable = True
    transport = "TCP"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Callable[[], float]) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self.inbox: asyncio.Queue[Arrived] = asyncio.Queue(_MOST_WAITING)
        self.local: tuple[str, int] = writer.get_extra_info("sockname")[:2]
        self._source = writer.get_extra_info("peername")
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, peer: Address, port: int, clock: Callable[[], float]) -> TcpChannel:
        """OSError, TimeoutError: there is no connection."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*peer.at(port)[:2], limit=MAX_BYTES)
        return cls(reader, writer, clock)

    def send(self, data: bytes, to: Address, port: int) -> None:  # noqa: ARG002 - there is one way
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(data)

    def left_s(self, data: bytes) -> float | None:  # noqa: ARG002 - of a stream nobody says
        return None

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        buffer = bytearray()
        fault = "closed_early"
        try:
            while part := await self._reader.read(MAX_BYTES):
                buffer += part
                self._take(buffer)
        except ValueError:  # what follows cannot be told apart any more
            fault = "bad_sip"
        except OSError:
            fault = "reset"
        _put(self.inbox, Arrived(fault=fault, source=self._source))

    def _take(self, buffer: bytearray) -> None:
        while True:
            data, done = frame(buffer)
            del buffer[:done]
            if data is None:
                return
            message = parse(data)
            if message is not None:
                _put(self.inbox, Arrived(message=message, at_s=self._clock(), source=self._source))


def own_address(peer: Address, port: int) -> str:
    """Where the way to the peer leaves from; OSError where there is none. Nothing is sent."""
    with socket.socket(peer.family, socket.SOCK_DGRAM) as sock:
        sock.connect(peer.at(port))
        return str(sock.getsockname()[0])


def _put(inbox: asyncio.Queue[Arrived], arrived: Arrived) -> None:
    with contextlib.suppress(asyncio.QueueFull):  # rule 1
        inbox.put_nowait(arrived)
