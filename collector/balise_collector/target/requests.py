"""What does a request's head ask for?

Pure and total: any bytes are a `Request` or the status that they get.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2048}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_MOST_PAIRS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``close``: the client wants no other on this connection. ``length``: of its body."""

    method: bytes
    path: bytes
    query: bytes
    length: int
    close: bool

    def pairs(self) -> Mapping[str, str]:
        """The query's names and values, the last of each; empty where it is none."""
        try:
            return dict(parse_qsl(self.query.decode("ascii"), max_num_fields=_MOST_PAIRS))
        except ValueError:
            return {}


def parse(head: bytes) -> Request | bytes:
    """A head without its empty line as a request, or the status line's end of what it gets instead."""
    lines = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(lines[0])
    headers = [_HEADER.fullmatch(line) for line in lines[1:]]
    if request is None or None in headers:
        return b"400 Bad Request"
    named = {match[1].lower(): match[2].strip().lower() for match in headers if match}
    length = named.get(b"content-length", b"0")
    if b"transfer-encoding" in named or _LENGTH.fullmatch(length) is None:
        return b"413 Content Too Large"  # a body of unknown length is more than anything here takes
    if request[3] == b"1" and b"host" not in named:  # RFC 9112 § 3.2
        return b"400 Bad Request"
    path, _, query = request[2].partition(b"?")
    close = request[3] == b"0" or b"close" in named.get(b"connection", b"")
    return Request(method=request[1], path=path, query=query, length=int(length), close=close)
