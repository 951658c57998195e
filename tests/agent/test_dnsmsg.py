"""Is a DNS answer read for what it says, whatever its bytes are?"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import dnsmsg
from balise_agent.net.dnsmsg import Answer, Query, Question, Resource

QUESTION = Question(name=(b"www", b"example", b"org"), type=dnsmsg.TYPE_A)
NAME = b"\x03www\x07example\x03org\x00"
ASKED = NAME + b"\x00\x01\x00\x01"
POINTER = b"\xc0\x0c"
RECORD = POINTER + struct.pack("!HHIH", 1, 1, 300, 4) + bytes((192, 0, 2, 1))
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=5).map(tuple)


def answer(*, flags: int = 0x8180, count: int = 1, section: bytes = RECORD, ident: int = 0x1234) -> bytes:
    return struct.pack("!HHHHHH", ident, flags, 1, count, 0, 0) + ASKED + section


def test_a_query_is_laid_out_as_in_rfc_1035() -> None:
    header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    assert dnsmsg.encode_query(0x1234, QUESTION) == header + ASKED


def test_a_query_with_edns_has_one_more_record() -> None:
    plain, edns = dnsmsg.encode_query(1, QUESTION), dnsmsg.encode_query(1, QUESTION, edns_bytes=1232)
    assert edns[12:] == plain[12:] + b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
    assert edns[10:12] == b"\x00\x01"


@given(st.integers(0, 65_535), LABELS, st.integers(0, 65_535), st.one_of(st.none(), st.integers(512, 4096)))
def test_a_query_is_read_back(ident: int, name: tuple[bytes, ...], kind: int, edns: int | None) -> None:
    question = Question(name=name, type=kind)
    fits = len(dnsmsg.encode_name(name)) <= 255
    expected = Query(ident=ident, question=question, edns=None if edns is None else 0) if fits else None
    assert dnsmsg.decode_query(dnsmsg.encode_query(ident, question, edns_bytes=edns)) == expected


def test_an_answer_is_read_whole_or_not_at_all() -> None:
    whole = answer()
    expected = Answer(ident=0x1234, rcode=0, tc=False, questions=(QUESTION,), answers=1)
    assert [dnsmsg.decode_answer(whole[:size]) for size in range(len(whole))] == [None] * len(whole)
    assert dnsmsg.decode_answer(whole) == expected
    assert dnsmsg.decode_answer(whole + b"trailing") == expected


def test_a_truncated_answer_may_end_early_and_counts_what_is_there() -> None:
    cut = dnsmsg.decode_answer(answer(flags=0x8380, count=3, section=RECORD + RECORD[:7]))
    assert cut == Answer(ident=0x1234, rcode=0, tc=True, questions=(QUESTION,), answers=1)


def test_an_error_keeps_its_code() -> None:
    refused = dnsmsg.decode_answer(answer(flags=0x8182, count=0, section=b""))
    assert refused is not None
    assert (refused.rcode, refused.answers) == (dnsmsg.SERVFAIL, 0)


def test_an_answer_is_for_its_own_question_alone() -> None:
    read = dnsmsg.decode_answer(answer().replace(b"example", b"eXAMPLE", 1))
    assert read is not None
    assert read.is_for(0x1234, QUESTION)
    assert not read.is_for(0x1235, QUESTION)
    assert not read.is_for(0x1234, Question(name=QUESTION.name, type=dnsmsg.TYPE_AAAA))
    assert not read.is_for(0x1234, Question(name=(b"other",), type=dnsmsg.TYPE_A))


def test_a_query_is_no_answer_and_an_answer_no_query() -> None:
    assert dnsmsg.decode_answer(dnsmsg.encode_query(1, QUESTION)) is None
    assert dnsmsg.decode_query(answer()) is None


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param(b"\xc0\x21", id="to itself"),
        pytest.param(b"\x01a\xc0\x21", id="to before itself, and so again"),
        pytest.param(b"\xc0\xff", id="forwards"),
        pytest.param(b"\xff\xff", id="past the end"),
        pytest.param(b"\x40aaaa", id="a reserved label type"),
    ],
)
def test_a_name_that_loops_or_leaves_the_message_is_refused(owner: bytes) -> None:
    assert len(answer(section=b"")) == 0x21  # where the owner stands
    assert dnsmsg.decode_answer(answer(section=owner + RECORD[2:])) is None


def test_a_name_of_more_than_255_bytes_is_refused_even_by_pointers() -> None:
    chain = NAME + b"".join(b"\x3f" + b"a" * 63 + b"\xc0" + bytes((at,)) for at in (0, 17, 83, 149))
    assert dnsmsg.read_name(chain, 17) is not None
    assert dnsmsg.read_name(chain, 149) is not None
    assert dnsmsg.read_name(chain, 215) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.org", (b"example", b"org")),
        ("example.org.", (b"example", b"org")),
        ("", None),
        ("a..b", None),
        ("a" * 64, None),
        (".".join(["a" * 63] * 4), None),
        ("é.org", None),
    ],
)
def test_a_text_is_a_name_or_none(text: str, name: tuple[bytes, ...] | None) -> None:
    assert dnsmsg.parse_name(text) == name


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: answer(count=3, section=tail))))
def test_no_bytes_make_a_decoder_raise(data: bytes) -> None:
    assert isinstance(dnsmsg.decode_answer(data), Answer | None)
    assert isinstance(dnsmsg.decode_query(data), Query | None)


NAMES = LABELS.filter(lambda name: 0 < len(dnsmsg.encode_name(name)) <= 255)
QUERIES = st.builds(
    Query,
    ident=st.integers(0, 65_535),
    question=st.builds(Question, name=NAMES, type=st.integers(0, 65_535), class_=st.integers(0, 65_535)),
    opcode=st.integers(0, 15),
    rd=st.booleans(),
    edns=st.none() | st.just(0),
)
RESOURCES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 65_535), st.integers(0, 2**31), st.binary(max_size=50))
)


@given(QUERIES, st.integers(0, 15), RESOURCES, st.integers(0, 3))
def test_what_a_server_says_is_what_a_client_reads(
    query: Query, rcode: int, resources: list[tuple[int, int, int, bytes]], in_authority: int
) -> None:
    name = query.question.name
    made = [Resource(owner=name[cut:], type=kind, ttl_s=ttl_s, data=data) for cut, kind, ttl_s, data in resources]
    answers, authority = made[in_authority:], made[:in_authority]
    data = dnsmsg.encode_answer(query, rcode=rcode, answers=answers, authority=authority)
    expected = Answer(ident=query.ident, rcode=rcode, tc=False, questions=(query.question,), answers=len(answers))
    assert dnsmsg.decode_answer(data) == expected
    assert dnsmsg.decode_query(data) is None


def test_an_answer_is_laid_out_as_in_rfc_1035() -> None:
    query = Query(ident=0x1234, question=QUESTION, edns=0)
    address = Resource(owner=QUESTION.name, type=dnsmsg.TYPE_A, ttl_s=300, data=bytes((192, 0, 2, 1)))
    opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
    header = b"\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x01"
    assert dnsmsg.encode_answer(query, authoritative=True, answers=[address]) == header + ASKED + RECORD + opt


def test_an_owner_is_a_pointer_to_where_the_questions_name_ends_with_it() -> None:
    soa = dnsmsg.make_soa(QUESTION, (b"example", b"org"), 60)
    data = dnsmsg.encode_answer(Query(ident=1, question=QUESTION), authority=[soa])
    owner = dnsmsg.read_name(data, 12 + len(ASKED))
    assert owner is not None
    assert owner[0] == (b"example", b"org")
    primary = dnsmsg.read_name(data, owner[1] + 10)
    assert primary is not None
    assert primary[0] == (b"example", b"org")
    assert data[primary[1] :] == b"\x00" + struct.pack("!IIIII", 1, 86_400, 3_600, 604_800, 60)


def test_a_version_that_is_not_known_is_said_in_the_opt_record() -> None:
    data = dnsmsg.encode_answer(Query(ident=1, question=QUESTION, edns=1), rcode=dnsmsg.BADVERS)
    assert (data[3] & 0xF, data[-6]) == (0, 1)


def test_a_query_has_one_question_written_out_and_nothing_else_before_its_opt_record() -> None:
    whole = dnsmsg.encode_query(1, QUESTION, edns_bytes=1232)
    assert dnsmsg.decode_query(whole) == Query(ident=1, question=QUESTION, edns=0)
    for at in (5, 7, 9):  # questions, answers, authority: one more
        assert dnsmsg.decode_query(whole[:at] + bytes((whole[at] + 1,)) + whole[at + 1 :]) is None
    assert dnsmsg.decode_query(b"\x00" + whole[1:12] + b"\xc0\x00" + ASKED[-4:]) is None
    signed = dnsmsg.decode_query(dnsmsg.encode_query(1, QUESTION)[:11] + b"\x01" + ASKED + NAME + b"\x00\xfa\x00\xff")
    assert signed == Query(ident=1, question=QUESTION)


@given(st.integers(0, 43))
def test_a_query_is_read_whole_or_not_at_all(size: int) -> None:
    whole = dnsmsg.encode_query(1, QUESTION, edns_bytes=1232)
    read = dnsmsg.decode_query(whole[:size])
    assert read is None if size < 12 + len(ASKED) else read is not None
