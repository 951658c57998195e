"""Does the zone answer for every name in it, for no other, and never at length?"""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balise_agent.net import dnsmsg
from balise_agent.net.dnsmsg import Question, Resource
from balise_collector.target.dns import MAX_TTL_S, answer_query, make_zone

ZONE = make_zone("probe.example.net", ttl_s=30)
SHORTEST = make_zone("a")
A, AAAA, SOA, ANY, NS = dnsmsg.TYPE_A, dnsmsg.TYPE_AAAA, dnsmsg.TYPE_SOA, 255, 2


def query(name: str, kind: int = A, class_: int = 1) -> dnsmsg.Query:
    return dnsmsg.Query(ident=7, question=Question(name=tuple(name.encode().split(b".")), type=kind, class_=class_))


def asked(query: dnsmsg.Query) -> bytes:
    """Its bytes; `encode_query` asks for recursion and in version 0 alone."""
    data = bytearray(dnsmsg.encode_query(query.ident, query.question, edns_bytes=None if query.edns is None else 512))
    data[2] = query.opcode << 3 | query.rd
    if query.edns is not None:
        data[-5] = query.edns
    return bytes(data)


def said(query: dnsmsg.Query) -> bytes:
    answer = answer_query(asked(query), ZONE)
    assert answer is not None
    return answer


@pytest.mark.parametrize("edns", [None, 0])
@pytest.mark.parametrize("rd", [True, False])
@pytest.mark.parametrize(
    ("name", "ttl_s"),
    [("probe.example.net", 86_400), ("x7.probe.example.net", 30), ("a.b.PROBE.Example.net", 30)],
)
def test_every_name_in_the_zone_has_its_addresses(name: str, ttl_s: int, rd: bool, edns: int | None) -> None:
    for kind, data in ((A, bytes((192, 0, 2, 1))), (AAAA, bytes.fromhex("20010db8" + "0" * 23 + "1"))):
        question = query(name, kind)
        question = dnsmsg.Query(ident=7, question=question.question, rd=rd, edns=edns)
        record = Resource(owner=question.question.name, type=kind, ttl_s=ttl_s, data=data)
        assert said(question) == dnsmsg.encode_answer(question, authoritative=True, answers=[record])


@pytest.mark.parametrize("kind", [NS, SOA, 15, 16, 65, ANY])
def test_any_other_type_is_not_there_for_as_long_as_the_soa_says(kind: int) -> None:
    question = query("x7.probe.example.net", kind)
    soa = dnsmsg.make_soa(question.question, ZONE.name, 30)
    assert said(question) == dnsmsg.encode_answer(question, authoritative=True, authority=[soa])


def test_the_zone_says_its_own_soa() -> None:
    question = query("probe.example.net", SOA)
    soa = dnsmsg.make_soa(question.question, ZONE.name, 30)
    assert said(question) == dnsmsg.encode_answer(question, authoritative=True, answers=[soa])


@pytest.mark.parametrize(
    "question",
    [
        query("example.net"),
        query("net"),
        query("xprobe.example.net"),
        query("probe.example.net.org"),
        query("probe.example.net", class_=3),
        query("probe.example.net", class_=255),
        dnsmsg.Query(ident=7, question=Question(name=(), type=A)),
    ],
)
def test_what_is_not_of_the_zone_is_refused(question: dnsmsg.Query) -> None:
    assert said(question) == dnsmsg.encode_answer(question, rcode=dnsmsg.REFUSED)


def test_another_operation_is_not_implemented_and_another_version_is_said_to_be_bad() -> None:
    update = dnsmsg.Query(ident=7, question=query("probe.example.net").question, opcode=5)
    assert said(update) == dnsmsg.encode_answer(update, rcode=dnsmsg.NOTIMP)
    later = dnsmsg.Query(ident=7, question=query("probe.example.net").question, edns=1)
    assert said(later) == dnsmsg.encode_answer(later, rcode=dnsmsg.BADVERS)


def test_an_answer_gets_no_answer() -> None:
    assert answer_query(said(query("probe.example.net")), ZONE) is None


LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=4).map(tuple)
UNDER = st.sampled_from([(), (b"a",), (b"A",), ZONE.name])
DATA = st.builds(
    lambda head, name, kind, tail: head + dnsmsg.encode_name(name) + struct.pack("!HH", kind, 1) + tail,
    st.binary(min_size=2, max_size=2).map(lambda ident: ident + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"),
    st.builds(lambda labels, end: labels + end, LABELS, UNDER),
    st.sampled_from([A, AAAA, SOA, ANY, NS]),
    st.sampled_from([b"", b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"]),
)


@given(st.binary(max_size=600) | DATA)
@example(dnsmsg.encode_query(1, Question(name=(b"a",), type=AAAA)))
@example(dnsmsg.encode_query(1, Question(name=(b"a",), type=NS)))
@example(dnsmsg.encode_query(1, Question(name=(b"a",), type=NS), edns_bytes=512))
def test_any_bytes_get_a_whole_answer_or_none_of_512_bytes_and_three_times_their_own_at_most(data: bytes) -> None:
    for zone in (ZONE, SHORTEST):
        answer = answer_query(data, zone)
        if answer is not None:
            assert dnsmsg.decode_answer(answer) is not None
            assert answer[:2] == data[:2]
            assert len(answer) <= min(512, 3 * len(data))


@pytest.mark.parametrize(
    ("name", "addresses", "ttl_s", "word"),
    [
        ("", [], 0, "no domain name"),
        (".", [], 0, "no domain name"),
        ("a..b", [], 0, "no domain name"),
        ("example.net", ["192.0.2.1", "192.0.2.2"], 0, "second IPv4"),
        ("example.net", ["2001:db8::1", "2001:db8::1"], 0, "second IPv6"),
        ("example.net", ["host"], 0, "host"),
        ("example.net", [], MAX_TTL_S + 1, "0-60 s"),
        ("example.net", [], -1, "0-60 s"),
    ],
)
def test_a_zone_that_cannot_be_served_is_refused(name: str, addresses: list[str], ttl_s: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make_zone(name, addresses, ttl_s)


def test_a_family_without_an_address_is_not_there() -> None:
    question = query("x.probe.example.net", AAAA)
    zone = make_zone("Probe.Example.NET.", ["192.0.2.7"])
    answer = answer_query(asked(question), zone)
    soa = dnsmsg.make_soa(question.question, zone.name, 0)
    assert answer == dnsmsg.encode_answer(question, authoritative=True, authority=[soa])
