"""When did a datagram leave and arrive by the kernel's clock, and which router refused it?

The part that ping and STAMP share: one socket, its stamps and its error queue.

Rule 1: nothing polls. Answers and errors wait in the kernel until the event loop says that the socket is readable.
Rule 2: a stamp is wall time. It counts only while wall time and monotonic time agree; else the monotonic reading does.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

SO_TIMESTAMPNS = 35  # include/uapi/asm-generic/socket.h; Python's socket has none of these
SO_TIMESTAMPING = 37
IP_RECVERR = 11
IPV6_RECVERR = 25
MSG_ERRQUEUE = 0x2000

# SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE (linux/net_tstamp.h): the driver says when it took the
# datagram. A clock read before sendto() includes the system call: 3-5 us at rest on an EPYC core, more on a busy one.
_TX_STAMPS = 0x2 | 0x10

_ERRORS = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
_ORIGIN_ICMP, _ORIGIN_ICMP6, _ORIGIN_TIMESTAMPING = 2, 3, 4  # linux/errqueue.h
_EXTENDED_ERROR = struct.Struct("@IBBBxII")  # struct sock_extended_err; the router's address follows it

_TIMESPEC = struct.Struct("@ll")  # 8 bytes on 32-bit ARM; SO_TIMESTAMPING gives three, the software stamp first

STAMP_TOLERANCE_NS = 50_000_000
"""How far wall time may move against monotonic time in a round trip. NTP steps from 128 ms on; below it slews both."""

MOST_AT_ONCE = 64
"""Datagrams or errors read in one go: a flood gets its share of the loop and no more."""

_MAX_BYTES = 2048
_ANCILLARY_BYTES = 512

Ancillary = Iterable[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Both clocks just before sendto()."""

    wall_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A datagram, both clocks when it was read, and the kernel's stamp of its arrival (None: it gave none)."""

    data: bytes
    source: tuple[str, int]
    stamp_ns: int | None
    wall_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The kernel's stamp of a datagram that it sent; ``frame`` ends with the datagram's bytes."""

    frame: bytes
    stamp_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An ICMP error: the datagram that it quotes, perhaps cut, where that went, the router that sent it, its times.

    ``stamp_ns``, ``wall_ns`` and ``mono_ns`` are as an `Arrival` has them.
    """

    family: int
    type: int
    code: int
    router: str | None
    quoted: bytes
    destination: tuple[str, int]
    stamp_ns: int | None
    wall_ns: int
    mono_ns: int


def prepare(sock: socket.socket) -> socket.socket:
    """The same socket, non-blocking, with kernel stamps both ways and ICMP errors in its error queue."""
    sock.setblocking(False)
    _try_option(sock, socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    _try_option(sock, socket.SOL_SOCKET, SO_TIMESTAMPING, _TX_STAMPS)
    return ask_for_errors(sock)


def ask_for_errors(sock: socket.socket) -> socket.socket:
    """The same socket, told of every ICMP error: without this a connected one hears of closed ports only (ip(7))."""
    if sock.family == socket.AF_INET6:
        _try_option(sock, socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        _try_option(sock, socket.IPPROTO_IP, IP_RECVERR, 1)
    return sock


def send(sock: socket.socket, data: bytes, address: tuple[str, int] | tuple[str, int, int, int]) -> Sent:
    """Sent now; OSError where the probe itself has no way to send."""
    sent = Sent(wall_ns=time.time_ns(), mono_ns=time.monotonic_ns())
    try:
        sock.sendto(data, address)
    except OSError:
        # An ICMP error of an earlier datagram is reported by the next call, whichever that is (ip(7), IP_RECVERR), and
        # that call does nothing else. It stays in the queue; a fault of this sending comes back at the second try.
        sent = Sent(wall_ns=time.time_ns(), mono_ns=time.monotonic_ns())
        sock.sendto(data, address)
    return sent


def arrivals(sock: socket.socket) -> list[Arrival]:
    """What waits to be read, `MOST_AT_ONCE` at most."""
    found = []
    for _ in range(MOST_AT_ONCE):
        try:
            data, ancillary, _flags, source = sock.recvmsg(_MAX_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            break
        except OSError:  # a pending ICMP error, as in send(); the queue has it
            continue
        stamp = stamp_ns(ancillary)
        arrival = Arrival(
            data=data, source=source[:2], stamp_ns=stamp, wall_ns=time.time_ns(), mono_ns=time.monotonic_ns()
        )
        found.append(arrival)
    return found


def reports(sock: socket.socket) -> list[Departure | Refusal]:
    """What waits in the error queue: when datagrams left, and which were refused."""
    found: list[Departure | Refusal] = []
    for _ in range(MOST_AT_ONCE):
        try:
            data, ancillary, _flags, address = sock.recvmsg(_MAX_BYTES, _ANCILLARY_BYTES, MSG_ERRQUEUE)
        except OSError:  # empty: EAGAIN
            break
        report = decode_report(data, ancillary, address, wall_ns=time.time_ns(), mono_ns=time.monotonic_ns())
        if report is not None:
            found.append(report)
    return found


def decode_report(
    data: bytes, ancillary: Ancillary, address: object, *, wall_ns: int, mono_ns: int
) -> Departure | Refusal | None:
    """One message of the error queue, read then; None where it is neither a stamp nor an ICMP error."""
    ancillary = list(ancillary)
    payload = next((p for level, kind, p in ancillary if (level, kind) in _ERRORS), b"")
    if len(payload) < _EXTENDED_ERROR.size:
        return None
    _errno, origin, icmp_type, code, _info, _data = _EXTENDED_ERROR.unpack_from(payload)
    stamp = stamp_ns(ancillary)
    if origin == _ORIGIN_TIMESTAMPING and stamp is not None:
        return Departure(frame=data, stamp_ns=stamp)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    family = socket.AF_INET6 if origin == _ORIGIN_ICMP6 else socket.AF_INET
    router = _offender(payload[_EXTENDED_ERROR.size :])
    return Refusal(
        family=family,
        type=icmp_type,
        code=code,
        router=router,
        quoted=data,
        destination=_host_and_port(address),
        stamp_ns=stamp,
        wall_ns=wall_ns,
        mono_ns=mono_ns,
    )


def stamp_ns(ancillary: Ancillary) -> int | None:
    """The kernel's stamp in ns of CLOCK_REALTIME; None where there is none or it is 0."""
    for level, kind, payload in ancillary:
        ours = level == socket.SOL_SOCKET and kind in (SO_TIMESTAMPNS, SO_TIMESTAMPING)
        if ours and len(payload) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(payload)
            if seconds or nanoseconds:
                return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return None


def round_trip_ns(sent: Sent, departed_ns: int | None, arrival: Arrival | Refusal) -> tuple[int, bool]:
    """Round trip, and whether the kernel stamped what came: then a loop that was late to read costs nothing."""
    by_monotonic = arrival.mono_ns - sent.mono_ns
    by_wall = arrival.wall_ns - sent.wall_ns
    stamp = arrival.stamp_ns
    if stamp is None or abs(by_wall - by_monotonic) > STAMP_TOLERANCE_NS:
        return by_monotonic, False
    left_ns = departed_ns if departed_ns is not None and sent.wall_ns <= departed_ns <= stamp else sent.wall_ns
    if not left_ns <= stamp <= arrival.wall_ns:
        return by_monotonic, False
    return stamp - left_ns, True


def refusal_reason(family: int, icmp_type: int, code: int) -> str:
    """What an ICMP error says, as the reason of a failure."""
    if family == socket.AF_INET6:
        known = _REASONS_ICMP6.get((icmp_type, code)) or _REASONS_ICMP6.get((icmp_type, None))
    else:
        known = _REASONS_ICMP.get((icmp_type, code)) or _REASONS_ICMP.get((icmp_type, None))
    return known or "unreachable"


def send_reason(exc: OSError) -> str:
    """Why the probe itself could not send, or what a connected socket was told."""
    return _REASONS_ERRNO.get(exc.errno or 0, "send_failed")


# RFC 792, RFC 1122 § 3.2.2.1, RFC 1812 § 5.2.7.1; None: any other code of that type
_REASONS_ICMP: dict[tuple[int, int | None], str] = {
    (3, 0): "unreachable_net",
    (3, 1): "unreachable_host",
    (3, 2): "unreachable_protocol",
    (3, 3): "unreachable_port",
    (3, 4): "packet_too_big",
    (3, 6): "unreachable_net",
    (3, 7): "unreachable_host",
    (3, 9): "prohibited",
    (3, 10): "prohibited",
    (3, 13): "prohibited",
    (3, None): "unreachable",
    (11, None): "ttl_exceeded",
}

# RFC 4443 § 3
_REASONS_ICMP6: dict[tuple[int, int | None], str] = {
    (1, 0): "unreachable_net",
    (1, 1): "prohibited",
    (1, 3): "unreachable_host",
    (1, 4): "unreachable_port",
    (1, 5): "prohibited",
    (1, 6): "prohibited",
    (1, None): "unreachable",
    (2, None): "packet_too_big",
    (3, None): "ttl_exceeded",
}

_REASONS_ERRNO = {
    errno.ENETUNREACH: "no_route",
    errno.ENETDOWN: "no_route",
    errno.EADDRNOTAVAIL: "no_route",
    errno.EHOSTUNREACH: "unreachable_host",
    errno.ECONNREFUSED: "unreachable_port",
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",
    errno.EMSGSIZE: "packet_too_big",
}


def _try_option(sock: socket.socket, level: int, option: int, value: int) -> None:
    """Set, where this kernel has it: without it the agent's own clocks are the reading and an error is a silence."""
    try:
        sock.setsockopt(level, option, value)
    except OSError as exc:
        if exc.errno not in (errno.ENOPROTOOPT, errno.EINVAL, errno.EPERM):
            raise


def _offender(sockaddr: bytes) -> str | None:
    """SO_EE_OFFENDER: a sockaddr_in or sockaddr_in6, or AF_UNSPEC."""
    if len(sockaddr) < 8:
        return None
    (family,) = struct.unpack_from("@H", sockaddr)
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return None


def _host_and_port(address: object) -> tuple[str, int]:
    match address:
        case (str(host), int(port), *_):
            return host, port
        case _:
            return "", 0
