"""What does a SIP message say, and how is one written?

RFC 3261 §§ 7, 18.3, 20, 25. Pure.

Rule 1: decoding is total: any bytes give a message or None; what is longer than the bounds is none.
Rule 2: no value keeps a control character: what a peer wrote cannot add a line to a message of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_BYTES = 65_535  # a datagram's; RFC 3261 § 18.1.1 wants no more to be taken
MAX_HEADERS = 128
MAX_VALUE_CHARS = 4_096

Headers = tuple[tuple[str, str], ...]

_FIRST_REQUEST = re.compile(r"([A-Za-z0-9.!%*_+`'~-]{1,32}) ([^ ]{1,1024}) SIP/2\.0", re.ASCII)
_FIRST_RESPONSE = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.{0,256}))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"(?:^|\n)(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,6})[ \t]*(?:\r?\n|$)", re.IGNORECASE)

# RFC 3261 § 7.3.3
_COMPACT = {
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "s": "subject",
    "t": "to",
    "v": "via",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A question; header names in lower case when it was read."""

    method: str
    uri: str
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, provisional (1xx) or final."""

    code: int
    phrase: str
    headers: Headers
    body: bytes = b""

    @property
    def final(self) -> bool:
        """No other answer follows it."""
        return self.code >= 200


Message = Request | Response


def parse(data: bytes) -> Message | None:
    """One message, of a datagram or cut out of a stream; None where it is none, or its body is not whole."""
    if len(data) > MAX_BYTES:
        return None
    data = data.lstrip(b"\r\n")
    head, body = _cut(data)
    lines = _unfolded(head)
    headers = _headers(lines[1:])
    if headers is None:
        return None
    told = value(headers, "content-length")
    if told is not None:
        if not (told.isascii() and told.isdigit() and len(told) <= 6 and int(told) <= len(body)):
            return None
        body = body[: int(told)]
    return _message(lines[0], headers, body)


def frame(buffer: bytes | bytearray) -> tuple[bytes | None, int]:
    """Of a stream (RFC 3261 § 18.3): the first whole message, and how many bytes are done with. ValueError: it is lost.

    (None, n): more must come; n bytes of keep-alive (RFC 5626) can be dropped.
    """
    start = len(buffer) - len(bytes(buffer).lstrip(b"\r\n"))
    end = _HEAD_END.search(buffer, start)
    if end is None:
        if len(buffer) - start > MAX_BYTES:
            raise ValueError("a head without an end")
        return None, start
    length = _LENGTH.search(buffer, start, end.end())
    if length is None:
        raise ValueError("a message without its length on a stream")
    whole = end.end() + int(length[1])
    if whole - start > MAX_BYTES:
        raise ValueError("a message of more than 64 kB")
    return (bytes(buffer[start:whole]), whole) if len(buffer) >= whole else (None, start)


def encode(message: Message) -> bytes:
    """The message with its length."""
    if isinstance(message, Request):
        first = f"{message.method} {message.uri} SIP/2.0"
    else:
        first = f"SIP/2.0 {message.code} {message.phrase}"
    lines = [first, *(f"{name}: {_CONTROL.sub(' ', text)}" for name, text in message.headers)]
    lines.append(f"Content-Length: {len(message.body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + message.body


def reply(request: Request, code: int, phrase: str, extra: Headers = (), body: bytes = b"") -> Response:
    """The answer to a request (RFC 3261 § 8.2.6.2): its Vias, and who and what it was."""
    vias = tuple(("Via", text) for text in values(request.headers, "via"))
    rest = tuple((name, value(request.headers, name.lower()) or "") for name in ("From", "To", "Call-ID", "CSeq"))
    return Response(code=code, phrase=phrase, headers=(*vias, *rest, *extra), body=body)


def value(headers: Headers, name: str) -> str | None:
    """The first value of that name (lower case), or None."""
    return next((text for key, text in headers if key.lower() == name), None)


def values(headers: Headers, name: str) -> list[str]:
    """Every value of that name in order, those of one line apart (RFC 3261 § 7.3.1)."""
    return [part for key, text in headers if key.lower() == name for part in split(text)]


def split(text: str) -> list[str]:
    """What commas separate, outside of quotes and angle brackets."""
    parts, start, quoted, angle, escaped = [], 0, False, False, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char in "<>":
            angle = char == "<"
        elif char == "," and not angle:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def cseq(headers: Headers) -> tuple[int, str] | None:
    """Number and method of a message's CSeq."""
    number, _, method = (value(headers, "cseq") or "").partition(" ")
    method = method.strip()
    fine = number.isascii() and number.isdigit() and len(number) <= 10 and method
    return (int(number), method) if fine else None


def branch(headers: Headers) -> str | None:
    """The branch of the topmost Via: which transaction a response belongs to (RFC 3261 § 17.1.3)."""
    vias = values(headers, "via")
    found = re.search(r";\s*branch\s*=\s*([^\s;,]{1,256})", vias[0], re.IGNORECASE) if vias else None
    return None if found is None else found[1]


def _cut(data: bytes) -> tuple[str, bytes]:
    end = _HEAD_END.search(data)
    head, body = (data, b"") if end is None else (data[: end.start()], data[end.end() :])
    return head.decode("utf-8", "replace"), body


def _unfolded(head: str) -> list[str]:
    """Lines; one that begins with white space goes on with the line before it."""
    lines: list[str] = []
    for line in head.split("\n"):
        text = line.removesuffix("\r")
        if lines and text[:1] in (" ", "\t"):
            lines[-1] += " " + text.strip()
        else:
            lines.append(text)
    return lines


def _headers(lines: Iterable[str]) -> Headers | None:
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, text = line.partition(":")
        name = name.rstrip()
        if not colon or _NAME.fullmatch(name) is None or len(text) > MAX_VALUE_CHARS or len(found) == MAX_HEADERS:
            return None
        key = name.lower()
        found.append((_COMPACT.get(key, key), _CONTROL.sub(" ", text).strip()))
    return tuple(found)


def _message(first: str, headers: Headers, body: bytes) -> Message | None:
    asked = _FIRST_REQUEST.fullmatch(first)
    if asked is not None and _CONTROL.search(first) is None:
        return Request(method=asked[1], uri=asked[2], headers=headers, body=body)
    told = _FIRST_RESPONSE.fullmatch(first)
    if told is None:
        return None
    phrase = _CONTROL.sub(" ", told[2] or "")
    return Response(code=int(told[1]), phrase=phrase, headers=headers, body=body)
