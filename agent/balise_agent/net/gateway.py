"""Which router does the default route lead to, and which addresses has a peer that may be that router?

The word ``gateway`` stands for it, so that one configuration fits a whole fleet. It is looked up at each question: a
box that was exchanged, or another network, is followed.

Rule 1: parsing is total: any text gives a next hop or None.
Rule 2: the address is for sending to and for nothing else: it stands in no record and no log.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from balise_agent.net.resolve import Address, literal, resolve

GATEWAY = "gateway"
HOST_PATTERN = r"[A-Za-z0-9_.:%-]{1,253}"
HOST_ALLOWED = "a host name, an address, or gateway"

_ROUTES, _ROUTES6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_UP, _BY_GATEWAY, _REJECT = 0x1, 0x2, 0x200  # RTF_* of linux/route.h
_LINK_LOCAL = re.compile("fe[89ab]")  # fe80::/10: only with its interface is it an address

# A default route is one whose destination and mask (length) are 0. Interface, destination, gateway, flags, two counts,
# metric, mask; an IPv4 address is printed as the integer that its four bytes are in this machine's memory.
_LINE = re.compile(
    r"^(?P<interface>\S+)[ \t]+0{8}[ \t]+(?P<hop>[0-9A-F]{8})[ \t]+(?P<flags>[0-9A-F]{4,8})[ \t]+\d{1,10}[ \t]+"
    r"\d{1,10}[ \t]+(?P<metric>\d{1,10})[ \t]+0{8}\b",
    re.ASCII | re.MULTILINE,
)
# Destination, its length, source, its length, next hop, metric, two counts, flags, interface.
_LINE6 = re.compile(
    r"^0{32} 00 [0-9a-f]{32} [0-9a-f]{2} (?P<hop>[0-9a-f]{32}) (?P<metric>[0-9a-f]{8}) [0-9a-f]{8} [0-9a-f]{8} "
    r"(?P<flags>[0-9a-f]{8}) +(?P<interface>\S+)$",
    re.ASCII | re.MULTILINE,
)

Route = tuple[int, str, str]
"""Metric, next hop and interface; the kernel takes the lowest metric."""


async def addresses_of(host: str) -> list[Address]:
    """Of the default route's router where ``host`` is ``gateway``, else as `resolve`; empty where there is none."""
    if host != GATEWAY:
        return await resolve(host)
    hop = next_hop(_text(_ROUTES), _text(_ROUTES6))
    address = None if hop is None else literal(hop)
    return [] if address is None else [address]


def no_address_reason(host: str) -> str:
    """Why `addresses_of` found none."""
    return "no_default_route" if host == GATEWAY else "resolve"


def way_out() -> tuple[str, str] | None:
    """Next hop and interface of the default route now."""
    return _way_out(_text(_ROUTES), _text(_ROUTES6), sys.byteorder)


def next_hop(routes: str, routes6: str, byteorder: Literal["little", "big"] = sys.byteorder) -> str | None:
    """The default route's next hop, from /proc/net/route and /proc/net/ipv6_route; IPv4's where both have one."""
    way = _way_out(routes, routes6, byteorder)
    return None if way is None else way[0]


def _way_out(routes: str, routes6: str, byteorder: Literal["little", "big"]) -> tuple[str, str] | None:
    for found in (_hops(routes, byteorder), _hops6(routes6)):
        best = min(found, key=lambda route: route[0], default=None)
        if best is not None:
            return best[1:]
    return None


def _hops(text: str, byteorder: Literal["little", "big"]) -> Iterator[Route]:
    for line in _LINE.finditer(text):
        if _leads(line["flags"]):
            packed = int(line["hop"], 16).to_bytes(4, byteorder)
            yield int(line["metric"]), socket.inet_ntop(socket.AF_INET, packed), line["interface"]


def _hops6(text: str) -> Iterator[Route]:
    for line in _LINE6.finditer(text):
        if _leads(line["flags"]):
            host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line["hop"]))
            scoped = f"{host}%{line['interface']}" if _LINK_LOCAL.match(line["hop"]) else host
            yield int(line["metric"], 16), scoped, line["interface"]


def _leads(flags: str) -> bool:
    """In use, and by a router: a line without one (PPP) has no next hop to ask."""
    return int(flags, 16) & (_UP | _BY_GATEWAY | _REJECT) == _UP | _BY_GATEWAY


def _text(path: Path) -> str:
    """Empty where the kernel has no such table: one without IPv6."""
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
