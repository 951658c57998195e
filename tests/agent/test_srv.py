"""Is a domain's SIP service found as RFC 3263 says?"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from balise_agent.net import dnsmsg, srv
from balise_agent.net.resolve import Address
from balise_agent.net.srv import Place, Srv

Zone = dict[tuple[str, int], list[bytes]]


def srv_data(priority: int, weight: int, port: int, target: str) -> bytes:
    return struct.pack("!HHH", priority, weight, port) + name(target)


def naptr_data(order: int, preference: int, service: str, replacement: str) -> bytes:
    texts = b"".join(bytes((len(text),)) + text.encode() for text in ("s", service, ""))
    return struct.pack("!HH", order, preference) + texts + name(replacement)


def name(text: str) -> bytes:
    return dnsmsg.encode_name(tuple(label.encode() for label in text.split(".") if label))


@contextmanager
def resolver(zone: Zone) -> Iterator[srv.Servers]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := sock.recvfrom(512))[0]:
                query = dnsmsg.decode_query(received[0])
                assert query is not None
                asked = b".".join(query.question.name).decode()
                rows = [
                    dnsmsg.Resource(owner=query.question.name, type=query.question.type, ttl_s=1, data=data)
                    for data in zone.get((asked, query.question.type), [])
                ]
                sock.sendto(dnsmsg.encode_answer(query, answers=rows), received[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield ((Address(family=socket.AF_INET, host="127.0.0.1"), sock.getsockname()[1]),)
        finally:
            sock.sendto(b"", sock.getsockname())
            thread.join()


def found(zone: Zone, transport: str, domain: str = "op.example") -> list[Place]:
    with resolver(zone) as servers:
        return asyncio.run(srv.places(domain, transport, servers, random.Random(1)))


UDP = ("_sip._udp.op.example", srv.TYPE_SRV)
TCP = ("_sip._tcp.op.example", srv.TYPE_SRV)


def test_servers_come_by_priority_with_their_ports() -> None:
    zone = {UDP: [srv_data(20, 0, 5062, "b.op.example"), srv_data(10, 0, 5061, "a.op.example")]}
    assert found(zone, "udp") == [
        Place(host="a.op.example", port=5061, transport="udp"),
        Place(host="b.op.example", port=5062, transport="udp"),
    ]


def test_naptr_says_which_transport_comes_first() -> None:
    zone = {
        ("op.example", srv.TYPE_NAPTR): [
            naptr_data(20, 0, "SIP+D2U", "_sip._udp.op.example"),
            naptr_data(10, 0, "SIP+D2T", "_sip._tcp.op.example"),
            naptr_data(5, 0, "SIPS+D2T", "_sips._tcp.op.example"),  # TLS is not spoken here
        ],
        UDP: [srv_data(1, 0, 5060, "u.op.example")],
        TCP: [srv_data(1, 0, 5060, "t.op.example")],
    }
    assert [(place.host, place.transport) for place in found(zone, "any")] == [
        ("t.op.example", "tcp"),
        ("u.op.example", "udp"),
    ]


def test_without_records_it_is_the_domain_itself() -> None:
    assert found({}, "tcp") == [Place(host="op.example", port=5060, transport="tcp")]
    assert srv.system_servers(Path("/nowhere")) == ()
    assert asyncio.run(srv.places("op.example", "udp", (), random.Random(1))) == [
        Place(host="op.example", port=5060, transport="udp")
    ]


def test_a_domain_that_says_it_has_no_such_service_is_not_asked_for_it() -> None:
    nowhere = [srv_data(0, 0, 0, ".")]
    assert found({UDP: nowhere}, "any") == []
    assert found({UDP: nowhere, TCP: [srv_data(0, 0, 5060, "t.op.example")]}, "any") == [
        Place(host="t.op.example", port=5060, transport="tcp")
    ]


def test_an_address_is_looked_up_nowhere() -> None:
    assert asyncio.run(srv.places("192.0.2.1", "any", (), random.Random(1))) == [
        Place(host="192.0.2.1", port=5060, transport="udp")
    ]


def test_those_of_one_priority_are_drawn_by_their_weights() -> None:
    rows = [Srv(priority=1, weight=weight, port=1, target=str(weight)) for weight in (10, 30, 60)]
    rng = random.Random(1)
    firsts = Counter(srv.in_order(rows, rng)[0].target for _ in range(3_000))
    for weight in (10, 30, 60):
        assert firsts[str(weight)] == pytest.approx(30 * weight, rel=0.15)


@pytest.mark.parametrize("cut", range(12, 60, 3))
def test_a_cut_answer_gives_what_is_whole(cut: int) -> None:
    query = dnsmsg.Query(ident=1, question=dnsmsg.Question(name=(b"a",), type=srv.TYPE_SRV))
    rows = [
        dnsmsg.Resource(owner=(b"a",), type=srv.TYPE_SRV, ttl_s=1, data=srv_data(1, 2, 3, target))
        for target in ("x.example", "y.example")
    ]
    whole = dnsmsg.encode_answer(query, answers=rows)
    assert [row.target for row in srv.srv_records(whole)] == ["x.example", "y.example"]
    assert srv.srv_records(whole[:cut]) == srv.srv_records(whole)[: len(srv.srv_records(whole[:cut]))]
