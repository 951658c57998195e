"""What does a DNS question look like, and what does an answer say?

RFC 1035, with the OPT record of RFC 6891 where asked. Pure.

Rule 1: decoding is total: any bytes give a message or None.
Rule 2: a compression pointer goes backwards only, and a name has 255 bytes at most: no message makes the decoder loop.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

TYPE_A = 1
TYPE_AAAA = 28
CLASS_IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)  # RFC 1035 § 4.1.1

_TYPE_OPT = 41
_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_RD, _QR, _TC = 0x0100, 0x8000, 0x0200
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


def decode_query(data: bytes) -> tuple[int, Question] | None:
    """Identifier and question of a query with one question, or None."""
    if len(data) < _HEADER.size:
        return None
    ident, flags, question_count, *_rest = _HEADER.unpack_from(data)
    read = None if flags & _QR or question_count != 1 else _read_questions(data, 1)
    return None if read is None else (ident, read[0][0])


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
