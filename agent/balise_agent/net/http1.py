"""What is asked and answered in one HTTP/1.1 exchange?

RFC 9112. Pure, as much of it as a measurement needs: one GET, and an answer that is read as it comes.

Rule 1: decoding is total and bounded: bytes make `Response` go on, be complete, or name what is wrong.
"""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 16_384  # browsers and servers hold between 8 and 64 kB
MAX_BODY_BYTES = 262_144  # a measured object is small; more would be a throughput test without its gate

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_MAX_LINE_BYTES = 1_024  # of a chunk's size or a trailer


def encode_get(host: str, path: str) -> bytes:
    """A GET of a connection that carries nothing else; host and path are of a URL that was checked."""
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: balise", "Accept: */*")
    return ("\r\n".join((*lines, "Accept-Encoding: identity", "Connection: close")) + "\r\n\r\n").encode("ascii")


class Response:
    """An answer while it comes. After each `feed`, look at ``fault`` and ``complete``."""

    __slots__ = ("_buffer", "_chunked", "_keep", "_left", "_most", "_state", "body", "body_bytes", "fault", "status")

    def __init__(self, *, keep: bool = False, most_bytes: int = MAX_BODY_BYTES) -> None:
        """``keep``: the body is wanted, not only its length; who takes it meanwhile empties ``body``."""
        self._most = most_bytes
        self.status: int | None = None
        self.body, self._keep = bytearray(), keep
        self.body_bytes = 0
        self.fault: str | None = None  # bad_http, too_large, closed_early
        self._buffer = bytearray()
        self._state = "head"  # head, body, chunk, data, data_end, trailer, done
        self._chunked = False
        self._left: int | None = None  # bytes of the body or chunk still to come; None: until the end of the stream

    @property
    def complete(self) -> bool:
        """Nothing more is to come."""
        return self._state == "done" and self.fault is None

    def feed(self, data: bytes) -> None:
        """The next bytes; what follows a complete answer is ignored."""
        if self.fault is None and self._state != "done":
            self._buffer += data
            while self.fault is None and self._step():
                pass

    def end(self) -> None:
        """The stream has ended: right for an answer without a length, else a fault."""
        if self._state == "body" and self._left is None and self.fault is None:
            self._state = "done"
        elif self._state != "done" and self.fault is None:
            self.fault = "closed_early"

    def _step(self) -> bool:
        """One part of the answer taken from the buffer; False where more bytes are needed or nothing is left to do."""
        if self._state == "head":
            return self._take_head()
        if self._state in ("body", "data"):
            return self._take_data()
        return self._state != "done" and self._take_line()

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self.fault = "too_large"
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._read_head(head.split(b"\r\n"))
        return True

    def _read_head(self, lines: list[bytes]) -> None:
        status = _STATUS_LINE.fullmatch(lines[0])
        headers = [_HEADER.fullmatch(line) for line in lines[1:]]
        if status is None or None in headers:
            self.fault = "bad_http"
            return
        code = int(status[1])
        if code < 200:  # RFC 9110 § 15.2: interim, the answer follows
            return
        self.status = code
        named = [(match[1].lower(), match[2]) for match in headers if match]
        self._frame(code, {value for name, value in named if name == b"content-length"}, named)

    def _frame(self, code: int, lengths: set[bytes], headers: list[tuple[bytes, bytes]]) -> None:
        """Where the body ends: RFC 9112 § 6.3."""
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if code in (204, 304):
            self._state = "done"
        elif codings:
            self._state, self._chunked = "chunk", True
            self.fault = None if codings == [b"chunked"] else "bad_http"
        elif not lengths:
            self._state = "body"
        elif len(lengths) == 1 and _LENGTH.fullmatch(length := lengths.pop()):
            self._expect("body", int(length))
        else:
            self.fault = "bad_http"

    def _expect(self, state: str, size: int) -> None:
        self._state, self._left = state, size
        if self.body_bytes + size > self._most:
            self.fault = "too_large"
        elif size == 0:
            self._data_ended()

    def _take_data(self) -> bool:
        taken = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        if self._keep:
            self.body += self._buffer[:taken]
        del self._buffer[:taken]
        self.body_bytes += taken
        if self.body_bytes > self._most:
            self.fault = "too_large"
        if self._left is None:
            return False
        self._left -= taken
        if self._left == 0:
            self._data_ended()
        return self._left == 0

    def _data_ended(self) -> None:
        self._state = "data_end" if self._chunked else "done"

    def _take_line(self) -> bool:
        """A chunk's size, the line end after its data, or a trailer."""
        end = self._buffer.find(b"\r\n", 0, _MAX_LINE_BYTES + 2)
        if end < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                self.fault = "bad_http"
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._state == "chunk":
            self._read_size(line)
        elif self._state == "data_end":
            self._state, self.fault = "chunk", "bad_http" if line else None
        elif not line:
            self._state = "done"
        return True

    def _read_size(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            self.fault = "bad_http"
        elif size := int(match[1], 16):
            self._expect("data", size)
        else:
            self._state = "trailer"
