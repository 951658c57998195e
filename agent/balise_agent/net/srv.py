"""Where is a domain's SIP service? NAPTR, then SRV, then the host itself.

RFC 3263 § 4, RFC 2782. The records are read here; the question is one of `dnsmsg`.

Rule 1: decoding is total: any bytes give records or none.
Rule 2: a host or a port that is given is taken as it is: only a bare domain is looked up.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from balise_agent.net import dnsmsg
from balise_agent.net.resolve import Address, literal

TYPE_SRV = 33
TYPE_NAPTR = 35
RESOLV_CONF = Path("/etc/resolv.conf")
TIMEOUT_S = 2.0
TRIES = 2
"""Each of the system's resolvers is asked twice, 2 s each: a SIP phone at home waits no longer."""

_SRV = struct.Struct("!HHH")
_NAPTR = struct.Struct("!HH")
_MOST_BYTES = 4_096
_MOST_RECORDS = 32
_MOST_SERVERS = 3  # MAXNS, resolv.conf(5)
_NAMESERVER = re.compile(r"^nameserver[ \t]+(\S{1,64})", re.MULTILINE)
_SERVICES = {"SIP+D2U": "udp", "SIP+D2T": "tcp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Srv:
    """One server of a service; ``target`` is empty where the service is decidedly not there (RFC 2782, ".")."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Naptr:
    """One way to a service: which, in which order, and the name to ask SRV of."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server to try: its name, its port, udp or tcp."""

    host: str
    port: int
    transport: str


Servers = tuple[tuple[Address, int], ...]
"""Resolvers and their ports."""


def srv_records(data: bytes) -> list[Srv]:
    """The SRV records of an answer."""
    found = []
    for start, end in dnsmsg.records_of(data, TYPE_SRV, _MOST_RECORDS):
        named = dnsmsg.read_name(data, start + _SRV.size) if end - start > _SRV.size else None
        if named is not None:
            priority, weight, port = _SRV.unpack_from(data, start)
            found.append(Srv(priority=priority, weight=weight, port=port, target=_dotted(named[0])))
    return found


def naptr_records(data: bytes) -> list[Naptr]:
    """The NAPTR records of an answer."""
    rows = (_naptr(data, start, end) for start, end in dnsmsg.records_of(data, TYPE_NAPTR, _MOST_RECORDS))
    return [row for row in rows if row is not None]


def in_order(records: Iterable[Srv], rng: random.Random) -> list[Srv]:
    """By priority; those of one priority drawn by their weights (RFC 2782)."""
    ordered: list[Srv] = []
    rows = list(records)
    for priority in sorted({row.priority for row in rows}):
        group = sorted((row for row in rows if row.priority == priority), key=lambda row: row.weight)
        while group:
            mark, total = rng.randint(0, sum(row.weight for row in group)), 0
            for row in group:
                total += row.weight
                if total >= mark:
                    break
            ordered.append(row)
            group.remove(row)
    return ordered


async def places(domain: str, transport: str, servers: Servers, rng: random.Random) -> list[Place]:
    """Servers to try in order; ``transport`` any: as NAPTR prefers, else SRV of both, UDP first. None at all: the
    domain says that it has no such service (RFC 2782, a target of ".")."""
    if literal(domain) is not None:
        return [Place(host=domain, port=5060, transport="udp" if transport == "any" else transport)]
    wanted = ("udp", "tcp") if transport == "any" else (transport,)
    services = [(f"_sip._{way}.{domain}", way) for way in wanted]
    if transport == "any":
        services = await _by_naptr(domain, servers, rng) or services
    found: list[Place] = []
    is_told = False
    for name, way in services:
        records = srv_records(await _ask(name, TYPE_SRV, servers, rng))
        is_told |= bool(records)
        found += [Place(host=row.target, port=row.port, transport=way) for row in in_order(records, rng) if row.target]
    return found if is_told else [Place(host=domain, port=5060, transport=wanted[0])]


def system_servers(path: Path = RESOLV_CONF) -> Servers:
    """The machine's own resolvers."""
    try:
        text = path.read_text("ascii", "replace")
    except OSError:
        return ()
    found = (literal(host) for host in _NAMESERVER.findall(text)[:_MOST_SERVERS])
    return tuple((address, 53) for address in found if address is not None)


async def _by_naptr(domain: str, servers: Servers, rng: random.Random) -> list[tuple[str, str]]:
    rows = naptr_records(await _ask(domain, TYPE_NAPTR, servers, rng))
    usable = [row for row in rows if row.flags.lower() == "s" and row.service.upper() in _SERVICES]
    ordered = sorted(usable, key=lambda row: (row.order, row.preference))
    return [(row.replacement, _SERVICES[row.service.upper()]) for row in ordered]


async def _ask(name: str, kind: int, servers: Servers, rng: random.Random) -> bytes:
    """The first whole answer, or nothing."""
    labels = dnsmsg.parse_name(name)
    if labels is None:
        return b""
    question = dnsmsg.Question(name=labels, type=kind)
    for _ in range(TRIES):
        for address, port in servers:
            data = await _exchange(address, port, rng.randrange(1 << 16), question)
            if data:
                return data
    return b""


async def _exchange(address: Address, port: int, ident: int, question: dnsmsg.Question) -> bytes:
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(address.at(port))
            sock.send(dnsmsg.encode_query(ident, question, edns_bytes=_MOST_BYTES))
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    data = await loop.sock_recv(sock, _MOST_BYTES)
                    answer = dnsmsg.decode_answer(data)
                    if answer is not None and answer.is_for(ident, question):
                        return data
    except (OSError, TimeoutError):
        return b""


def _naptr(data: bytes, start: int, end: int) -> Naptr | None:
    if end - start < _NAPTR.size:
        return None
    order, preference = _NAPTR.unpack_from(data, start)
    texts, offset = [], start + _NAPTR.size
    for _ in range(3):  # flags, service, expression
        if offset >= end or offset + 1 + data[offset] > end:
            return None
        texts.append(data[offset + 1 : offset + 1 + data[offset]].decode("ascii", "replace"))
        offset += 1 + data[offset]
    named = dnsmsg.read_name(data, offset)
    if named is None:
        return None
    return Naptr(order=order, preference=preference, flags=texts[0], service=texts[1], replacement=_dotted(named[0]))


def _dotted(name: dnsmsg.Name) -> str:
    return b".".join(name).decode("ascii", "replace")
