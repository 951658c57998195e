"""What does a DNS question look like, and what does an answer say? The client's side, then the server's.

RFC 1035, with the OPT record of RFC 6891 where asked. Pure.

Rule 1: decoding is total: any bytes give a message or None.
Rule 2: a compression pointer goes backwards only, and a name has 255 bytes at most: no message makes the decoder loop.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

TYPE_A = 1
TYPE_SOA = 6
TYPE_AAAA = 28
CLASS_IN = 1
OPCODE_QUERY = 0
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)  # RFC 1035 § 4.1.1
BADVERS = 16  # RFC 6891 § 9; its upper bits are in the OPT record

_TYPE_OPT = 41
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SOA_TIMES = struct.Struct("!IIIII")
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100
_OPCODE_SHIFT = 11
_POINTER = 0xC000
_OPT_BYTES = 11
_SERVER_EDNS_BYTES = 1_232  # the largest query that a server says it takes: no fragments (DNS flag day 2020)
_MAX_NAME_BYTES = 255
_MAX_LABEL_BYTES = 63

Name = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One entry of the question section."""

    name: Name
    type: int
    class_: int = CLASS_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response. ``answers`` counts the records of the answer section that are really there."""

    ident: int
    rcode: int
    tc: bool
    questions: tuple[Question, ...]
    answers: int

    def is_for(self, ident: int, question: Question) -> bool:
        """The answer to that question and no other; letters of either case are the same (RFC 4343)."""
        return self.ident == ident and len(self.questions) == 1 and _folded(self.questions[0]) == _folded(question)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a server was asked. ``edns``: the version in the OPT record; None: there is no such record."""

    ident: int
    question: Question
    opcode: int = OPCODE_QUERY
    rd: bool = True
    edns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A record of an answer, in class IN. ``owner`` is the question's name or its end."""

    owner: Name
    type: int
    ttl_s: int
    data: bytes


def parse_name(text: str) -> Name | None:
    """``example.org`` as labels; None where it is no name: an empty or too long label, too long a whole, not ASCII."""
    try:
        labels = tuple(label.encode("ascii") for label in text.removesuffix(".").split("."))
    except UnicodeEncodeError:
        return None
    fine = all(1 <= len(label) <= _MAX_LABEL_BYTES for label in labels) and _name_bytes(labels) <= _MAX_NAME_BYTES
    return labels if fine else None


def encode_query(ident: int, question: Question, *, edns_bytes: int | None = None) -> bytes:
    """A query that asks for recursion; ``edns_bytes``: the largest answer over UDP, in an OPT record (None: no OPT)."""
    header = _HEADER.pack(ident, _RD, 1, 0, 0, 0 if edns_bytes is None else 1)
    query = header + encode_name(question.name) + _QUESTION.pack(question.type, question.class_)
    return query if edns_bytes is None else query + b"\0" + _RECORD.pack(_TYPE_OPT, edns_bytes, 0, 0)


def encode_name(name: Name) -> bytes:
    """Labels with their lengths, then the root."""
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def decode_answer(data: bytes) -> Answer | None:
    """None where it is no response, or its questions or answers are not whole. A truncated one (TC) may end early."""
    if len(data) < _HEADER.size:
        return None
    ident, flags, question_count, answer_count, _authority, _additional = _HEADER.unpack_from(data)
    read = _read_questions(data, question_count) if flags & _QR else None
    if read is None:
        return None
    questions, offset = read
    tc = bool(flags & _TC)
    present = _count_records(data, offset, answer_count)
    if present < answer_count and not tc:
        return None
    return Answer(ident=ident, rcode=flags & 0xF, tc=tc, questions=questions, answers=present)


def decode_query(data: bytes) -> Query | None:
    """None where it is no query of one question, or holds more than that and what stands after an OPT record.

    Of the additional section the first record is read: a resolver puts OPT there, and a signature comes last.
    """
    if len(data) < _HEADER.size:
        return None
    ident, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    read = None if flags & _QR or (questions, answers, authority) != (1, 0, 0) else _read_questions(data, 1)
    if read is None:
        return None
    (question,), end = read
    if end != _HEADER.size + _name_bytes(question.name) + _QUESTION.size:  # a pointer, with nothing to point to
        return None
    edns = _edns_version(data, end) if additional else None
    opcode = flags >> _OPCODE_SHIFT & 0xF
    return Query(ident=ident, question=question, opcode=opcode, rd=bool(flags & _RD), edns=edns)


def records_of(data: bytes, kind: int, most: int) -> list[tuple[int, int]]:
    """Where the data of an answer's records of that type begin and end, ``most`` of them; of no answer none."""
    if len(data) < _HEADER.size:
        return []
    _ident, flags, question_count, answer_count, _authority, _additional = _HEADER.unpack_from(data)
    read = _read_questions(data, question_count) if flags & _QR else None
    found: list[tuple[int, int]] = []
    offset = len(data) if read is None else read[1]
    for _ in range(answer_count):
        named = read_name(data, offset)
        if named is None or named[1] + _RECORD.size > len(data) or len(found) == most:
            break
        type_, _class, _ttl, size = _RECORD.unpack_from(data, named[1])
        start = named[1] + _RECORD.size
        offset = start + size
        if type_ == kind and offset <= len(data):
            found.append((start, offset))
    return found


def encode_answer(
    query: Query,
    *,
    rcode: int = NOERROR,
    authoritative: bool = False,
    answers: Sequence[Resource] = (),
    authority: Sequence[Resource] = (),
) -> bytes:
    """The answer, with the question as it was asked, letter by letter, and an OPT record where it had one."""
    flags = _QR | query.opcode << _OPCODE_SHIFT | _AA * authoritative | _RD * query.rd | rcode & 0xF
    has_opt = query.edns is not None
    header = _HEADER.pack(query.ident, flags, 1, len(answers), len(authority), int(has_opt))
    question = encode_name(query.question.name) + _QUESTION.pack(query.question.type, query.question.class_)
    records = b"".join(_encode_resource(record, query.question) for record in (*answers, *authority))
    opt = b"\0" + _RECORD.pack(_TYPE_OPT, _SERVER_EDNS_BYTES, rcode >> 4 << 24, 0) if has_opt else b""
    return header + question + records + opt


def make_soa(question: Question, zone: Name, ttl_s: int) -> Resource:
    """The zone's start of authority, which says how long an absence counts (RFC 2308); there is no secondary."""
    primary, mailbox = _pointer(question, zone), encode_name(())
    times = _SOA_TIMES.pack(1, 86_400, 3_600, 604_800, ttl_s)  # serial, refresh, retry, expire, minimum
    return Resource(owner=zone, type=TYPE_SOA, ttl_s=ttl_s, data=primary + mailbox + times)


def _encode_resource(record: Resource, question: Question) -> bytes:
    head = _RECORD.pack(record.type, CLASS_IN, record.ttl_s, len(record.data))
    return _pointer(question, record.owner) + head + record.data


def _pointer(question: Question, name: Name) -> bytes:
    """To where the question's name, which follows the header, ends with ``name``."""
    before = question.name[: len(question.name) - len(name)]
    return (_POINTER | _HEADER.size + _name_bytes(before) - 1).to_bytes(2)


def _edns_version(data: bytes, offset: int) -> int | None:
    if len(data) < offset + _OPT_BYTES or data[offset] != 0:
        return None
    kind, _payload, extended, _data_bytes = _RECORD.unpack_from(data, offset + 1)
    return extended >> 16 & 0xFF if kind == _TYPE_OPT else None


def read_name(data: bytes, offset: int) -> tuple[Name, int] | None:
    """The name at ``offset`` and where what follows it begins; None where there is no whole name."""
    labels: list[bytes] = []
    after: int | None = None
    limit, size = offset, 1
    while offset < len(data):
        length = data[offset]
        if length == 0:
            return tuple(labels), offset + 1 if after is None else after
        if length >= 0xC0:
            if offset + 1 >= len(data):
                return None
            after = offset + 2 if after is None else after
            offset = (length & 0x3F) << 8 | data[offset + 1]
            if offset >= limit:  # rule 2
                return None
            limit = offset
            continue
        size += 1 + length
        end = offset + 1 + length
        if length > _MAX_LABEL_BYTES or size > _MAX_NAME_BYTES or end > len(data):
            return None
        labels.append(data[offset + 1 : end])
        offset = end
    return None


def _read_questions(data: bytes, count: int) -> tuple[tuple[Question, ...], int] | None:
    questions, offset = [], _HEADER.size
    for _ in range(count):
        named = read_name(data, offset)
        if named is None or named[1] + _QUESTION.size > len(data):
            return None
        kind, class_ = _QUESTION.unpack_from(data, named[1])
        questions.append(Question(name=named[0], type=kind, class_=class_))
        offset = named[1] + _QUESTION.size
    return tuple(questions), offset


def _count_records(data: bytes, offset: int, count: int) -> int:
    """How many of ``count`` records are whole."""
    for present in range(count):
        named = read_name(data, offset)
        if named is None or named[1] + _RECORD.size > len(data):
            return present
        *_rest, data_bytes = _RECORD.unpack_from(data, named[1])
        offset = named[1] + _RECORD.size + data_bytes
        if offset > len(data):
            return present
    return count


def _name_bytes(name: Name) -> int:
    return 1 + sum(1 + len(label) for label in name)


def _folded(question: Question) -> tuple[Name, int, int]:
    return tuple(label.lower() for label in question.name), question.type, question.class_
