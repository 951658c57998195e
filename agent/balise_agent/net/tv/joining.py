"""How does a socket join a channel, and what does the kernel say beside each datagram?

Rule 1: a socket of its own for each channel: a group that another socket of this machine joined is not ours
(IP_MULTICAST_ALL off, bound to the group), and `igmp_max_memberships` (20) counts by socket.
Rule 2: the source is checked here too: below IGMPv3 a join of one source is a join of all.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from typing import NamedTuple

from balise_agent.net.tv.address import Address

RECEIVE_BYTES = 1 << 20  # 1.2 s of 8 Mbit/s: a datagram of 1,316 bytes costs 2,304
SLOT_BYTES = 2048
ANCILLARY_BYTES = 128

# include/uapi/asm-generic/socket.h and linux/in.h, in6.h; Python 3.11 has none of them.
SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
_MCAST_JOIN_GROUP, _MCAST_LEAVE_GROUP, _MCAST_JOIN_SOURCE, _MCAST_LEAVE_SOURCE = 42, 45, 46, 47
_SK_MEMINFO_DROPS = 8
_SK_MEMINFO = struct.Struct("@9I")
_DROPS = struct.Struct("@I")
_TIMESPEC = struct.Struct("@ll")
_DROPS_BYTES, _TIMESPEC_BYTES = _DROPS.size, _TIMESPEC.size
SOL_SOCKET = int(socket.SOL_SOCKET)  # looked up for each datagram
_POINTER_BYTES = struct.calcsize("@P")
_STORAGE_BYTES = 128  # struct sockaddr_storage


class Told(NamedTuple):
    """Beside a datagram: its arrival, wall time in ns (None: no stamp), and drops so far of its socket."""

    stamp_ns: int | None
    drops: int | None


class Joined:
    """A channel's socket. `join` is apart from making it, for a zap's time begins there."""

    def __init__(self, address: Address, interface: str = "") -> None:
        """OSError: there is no such interface, or the port is somebody's."""
        self.address = address
        self._index = socket.if_nametoindex(interface) if interface else 0
        family = socket.AF_INET if address.af == 4 else socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._prepare()
        except OSError:
            self.socket.close()
            raise

    def join(self) -> None:
        """OSError: no route to the group, or no memory."""
        if self.address.is_multicast:
            self._member(_MCAST_JOIN_SOURCE if self.address.source else _MCAST_JOIN_GROUP)

    def leave(self) -> None:
        """Explicitly: a line that does not notice stays full."""
        if self.address.is_multicast:
            self._member(_MCAST_LEAVE_SOURCE if self.address.source else _MCAST_LEAVE_GROUP)

    def drops(self) -> int:
        """Datagrams that this socket's queue had no room for; also those after the last that was read."""
        raw = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _SK_MEMINFO.size)
        return int(_SK_MEMINFO.unpack(raw)[_SK_MEMINFO_DROPS]) if len(raw) == _SK_MEMINFO.size else 0

    def is_wanted(self, source: str) -> bool:
        """Rule 2."""
        return not self.address.source or source.partition("%")[0] == self.address.source

    def close(self) -> None:
        self.socket.close()

    def _prepare(self) -> None:
        told = self.socket
        told.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        told.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        with contextlib.suppress(PermissionError):  # past net.core.rmem_max, where this user may
            told.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
        for option in (SO_TIMESTAMPNS, SO_RXQ_OVFL):
            told.setsockopt(socket.SOL_SOCKET, option, 1)
        if self.address.is_multicast:
            with contextlib.suppress(OSError):  # IPv6: since Linux 4.20
                told.setsockopt(self._level, _IP_MULTICAST_ALL if self.address.af == 4 else _IPV6_MULTICAST_ALL, 0)
        scope = self._index if self._is_of_a_link else 0
        place = (self.address.group, self.address.port)
        told.bind(place if self.address.af == 4 else (*place, 0, scope))

    @property
    def _level(self) -> int:
        return socket.IPPROTO_IP if self.address.af == 4 else socket.IPPROTO_IPV6

    @property
    def _is_of_a_link(self) -> bool:
        """fe80::/10, and groups of an interface or a link: ffX1::/16, ffX2::/16 (RFC 4291 § 2.7)."""
        group = ipaddress.ip_address(self.address.group) if self.address.af == 6 else None
        return group is not None and (group.is_link_local or (group.is_multicast and group.packed[1] & 15 in (1, 2)))

    def _member(self, option: int) -> None:
        """struct group_req, group_source_req: ifindex, then addresses at the alignment of a pointer."""
        request = struct.pack("@I", self._index).ljust(max(4, _POINTER_BYTES), b"\0")
        request += _storage(self.address.group)
        if self.address.source:
            request += _storage(self.address.source)
        self.socket.setsockopt(self._level, option, request)


def told(ancillary: list[tuple[int, int, bytes]]) -> Told:
    """What stands beside a datagram."""
    stamp_ns = drops = None
    for level, kind, data in ancillary:
        if level != SOL_SOCKET:
            continue
        if kind == SO_TIMESTAMPNS and len(data) == _TIMESPEC_BYTES:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            stamp_ns = seconds * 1_000_000_000 + nanoseconds
        elif kind == SO_RXQ_OVFL and len(data) == _DROPS_BYTES:
            (drops,) = _DROPS.unpack(data)
    return Told(stamp_ns, drops)


def _storage(text: str) -> bytes:
    """struct sockaddr_storage."""
    address = ipaddress.ip_address(text)
    if address.version == 4:
        made = struct.pack("@H2x", socket.AF_INET) + address.packed
    else:
        made = struct.pack("@H6x", socket.AF_INET6) + address.packed
    return made.ljust(_STORAGE_BYTES, b"\0")
