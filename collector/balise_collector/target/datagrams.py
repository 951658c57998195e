"""What came in on a UDP socket, when, and from which of our addresses does its answer leave?

Rule: an answer leaves from the address that was asked, or a connected client does not hear it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_AT_ONCE = 64  # then the web server has its turn
_MAX_BYTES = 2_048
_ANCILLARY_BYTES = 256
_SO_TIMESTAMPNS = 35  # include/uapi/asm-generic/socket.h
_TIMESPEC = struct.Struct("@ll")
_IP_PKTINFO = 8  # linux/in.h
_IP_RECVTTL = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One that came in whole. ``arrived_ns`` and ``ttl`` are 0 where the kernel did not tell."""

    data: bytes
    source: Any  # as socket has it: of two items (IPv4) or four
    arrived_ns: int
    ttl: int
    asked_at: list[tuple[int, int, bytes]]


def arrivals(sock: socket.socket) -> Iterator[Datagram]:
    """What waits, some at a time; one that is too long is dropped."""
    for _ in range(_AT_ONCE):
        try:
            data, ancillary, flags, source = sock.recvmsg(_MAX_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error about an earlier answer
            continue
        if not flags & socket.MSG_TRUNC:
            arrived_ns, ttl, asked_at = _read_ancillary(ancillary)
            yield Datagram(data=data, source=source, arrived_ns=arrived_ns, ttl=ttl, asked_at=asked_at)


def answer(sock: socket.socket, to: Datagram, data: bytes) -> None:
    """Sent once; to lose an answer is what UDP may do."""
    with contextlib.suppress(OSError):  # a full buffer or a forged source
        sock.sendmsg([data], to.asked_at, 0, to.source)


def asked_address(sock: socket.socket, arrival: Datagram) -> tuple[Any, ...]:
    """Which of this socket's addresses it was sent to, as the socket's family has it."""
    host, port, *more = sock.getsockname()
    for level, _, payload in arrival.asked_at:
        if level == socket.IPPROTO_IP:
            host = socket.inet_ntop(socket.AF_INET, payload[4:8])
        else:
            host = socket.inet_ntop(socket.AF_INET6, payload[:16])
    if sock.family == socket.AF_INET:
        return host, port
    return host if ":" in host else f"::ffff:{host}", port, 0, arrival.source[3] if more else 0


def ask_for_ancillary(sock: socket.socket) -> None:
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
