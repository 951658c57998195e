"""Is the router there by ARP or neighbour discovery, where it answers no echo?

One dump of the kernel's neighbour table over netlink (rtnetlink(7)), which needs no right. An entry that is merely
kept says nothing: it counts when it was confirmed lately, or when the kernel asked and gave up.

Rule 1: parsing is total: any bytes give neighbours or none.
Rule 2: an address is compared and kept nowhere; a link-layer address is not even read.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30  # linux/rtnetlink.h
_REQUEST_DUMP = 0x001 | 0x300  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_DONE, _NLMSG_ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg of linux/neighbour.h
_ATTRIBUTE = struct.Struct("=HH")
_CACHE = struct.Struct("=IIII")  # struct nda_cacheinfo: confirmed, used, updated, in 1/100 s ago
_NDA_DST, _NDA_CACHEINFO = 1, 3
_TICKS = 100.0  # USER_HZ

INCOMPLETE, REACHABLE, FAILED = 0x01, 0x02, 0x20  # NUD_*; what lies between them waits for an answer

_MOST_BYTES = 32_768  # netlink's own largest message
_MOST_MESSAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entry. ``confirmed_s``: how long ago the peer was last known to be there; None: the kernel did not say."""

    host: str
    index: int  # of its interface
    state: int
    confirmed_s: float | None

    def alive(self, within_s: float) -> bool | None:
        """True: confirmed within that time; False: asked and silent; None: neither is known."""
        if self.state & (INCOMPLETE | FAILED):
            return False
        fresh = self.confirmed_s is not None and self.confirmed_s <= within_s
        return True if self.state & REACHABLE and fresh else None


def is_alive(host: str, within_s: float) -> bool | None:
    """Whether the kernel knows that host to be on a link of ours; None: it does not know either way."""
    bare, _, interface = host.partition("%")
    found = [n for n in neighbours() if n.host == bare and (not interface or _name(n.index) == interface)]
    said = [n.alive(within_s) for n in found]
    return next((answer for answer in (True, False) if answer in said), None)


def neighbours() -> list[Neighbour]:
    """The kernel's table now; empty where it cannot be asked."""
    found: list[Neighbour] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(0.5)  # the kernel answers within the call; a loop must not hang on a bug of ours
            sock.send(_request())
            for _ in range(_MOST_MESSAGES):
                more, done = parse(sock.recv(_MOST_BYTES))
                found += more
                if done:
                    break
    except OSError:
        return found
    return found


def parse(data: bytes) -> tuple[list[Neighbour], bool]:
    """The neighbours in one netlink datagram, and whether it was the last."""
    found: list[Neighbour] = []
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or not _HEADER.size <= length <= len(data):
            return found, True
        neighbour = _neighbour(data[_HEADER.size : length]) if kind == _RTM_NEWNEIGH else None
        if neighbour is not None:
            found.append(neighbour)
        data = data[_aligned(length) :]
    return found, False


def _request() -> bytes:
    body = _NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, _REQUEST_DUMP, 1, 0) + body


def _neighbour(body: bytes) -> Neighbour | None:
    if len(body) < _NEIGHBOUR.size:
        return None
    family, index, state, _flags, _type = _NEIGHBOUR.unpack_from(body)
    values = dict(_attributes(body[_NEIGHBOUR.size :]))
    length = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    address = values.get(_NDA_DST, b"")
    if length is None or len(address) != length:
        return None
    cache = values.get(_NDA_CACHEINFO, b"")
    confirmed_s = _CACHE.unpack_from(cache)[0] / _TICKS if len(cache) >= _CACHE.size else None
    return Neighbour(host=socket.inet_ntop(family, address), index=index, state=state, confirmed_s=confirmed_s)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
