"""What does the target say to DNS? It is the authority for one zone, in which every name exists.

So the `dns` probe's random names, which no cache can hold, have a server of ours; the zone's own name is the fixed one.

Rule 1: an answer has at most 512 bytes, and fewer than three times its question's: it adds 35 to the 19 or more of it.
Rule 2: total and bounded: any bytes get one answer or none, made of themselves and the zone.
Rule 3: nothing of a question is kept or logged.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from balise_agent.net import dnsmsg
from balise_collector.target.datagrams import answer, arrivals

DNS_PORT = 53
MAX_TTL_S = 60
ADDRESSES = ("192.0.2.1", "2001:db8::1")  # for documentation (RFC 5737, RFC 3849): nobody is called by them

_FIXED_TTL_S = 86_400  # the zone's own name: of 288 questions a day all but one find it in the resolver's cache
_TYPES = {4: dnsmsg.TYPE_A, 6: dnsmsg.TYPE_AAAA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """``name`` in lower case; ``data`` by type of record; ``ttl_s`` of every name below the zone's own."""

    name: dnsmsg.Name
    data: dict[int, bytes]
    ttl_s: int


def make_zone(name: str, addresses: Iterable[str] = ADDRESSES, ttl_s: int = 0) -> Zone:
    """ValueError: no domain name, no address, or two of one family."""
    labels = dnsmsg.parse_name(name.lower())
    if labels is None:
        raise ValueError(f"{name!r} is no domain name")
    if not 0 <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"{ttl_s} is not within 0-{MAX_TTL_S} s")
    data: dict[int, bytes] = {}
    for text in addresses:
        address = ipaddress.ip_address(text)
        if _TYPES[address.version] in data:
            raise ValueError(f"{text} is a second IPv{address.version} address: there is one answer a family")
        data[_TYPES[address.version]] = address.packed
    return Zone(name=labels, data=data, ttl_s=ttl_s)


def answer_query(data: bytes, zone: Zone) -> bytes | None:
    """The answer to a datagram, or None where it is no query."""
    query = dnsmsg.decode_query(data)
    if query is None:
        return None
    if query.opcode != dnsmsg.OPCODE_QUERY:
        return dnsmsg.encode_answer(query, rcode=dnsmsg.NOTIMP)
    if query.edns not in (None, 0):
        return dnsmsg.encode_answer(query, rcode=dnsmsg.BADVERS)
    question = query.question
    below = len(question.name) - len(zone.name)
    if question.class_ != dnsmsg.CLASS_IN or _folded(question.name[max(0, below) :]) != zone.name:
        return dnsmsg.encode_answer(query, rcode=dnsmsg.REFUSED)
    soa = dnsmsg.make_soa(question, zone.name, zone.ttl_s)
    if question.type in zone.data:
        ttl_s = zone.ttl_s if below else _FIXED_TTL_S
        record = dnsmsg.Resource(owner=question.name, type=question.type, ttl_s=ttl_s, data=zone.data[question.type])
    elif question.type == dnsmsg.TYPE_SOA and not below:
        record = soa
    else:
        return dnsmsg.encode_answer(query, authoritative=True, authority=(soa,))  # NODATA, RFC 2308 § 2.2
    return dnsmsg.encode_answer(query, authoritative=True, answers=(record,))


class Responder:
    """Answers for a zone on one UDP socket."""

    def __init__(self, sock: socket.socket, zone: Zone) -> None:
        self._sock = sock
        self._zone = zone

    def readable(self) -> None:
        """Answer what waits, some at a time."""
        for arrival in arrivals(self._sock):
            data = answer_query(arrival.data, self._zone)
            if data is not None:
                answer(self._sock, arrival, data)


def _folded(name: dnsmsg.Name) -> dnsmsg.Name:
    return tuple(label.lower() for label in name)
