"""How is one field of an hour written in few bytes, and read back exactly?

Rule 1: what comes out is what went in: 3 stays an int, 3.0 a float, -0.0 keeps its sign, absent stays absent.
Rule 2: the same values give the same bytes, so that merging what is there already changes nothing.

A column is its form, then the form's bytes. Integers are offsets from a base, of the values or of their differences,
whichever are smaller, in whole bytes, all first bytes first: what varies little then stands together for zlib.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec

from balise_agent.contract import Value

Column = Sequence[Value | None]
"""One field of each record in order of time; None: absent in that record."""

MAX_DECIMALS = 6  # a probe rounds to three; 2**53 at six still leaves nine digits before the point

_INT, _BOOL, _TEXT, _FLOAT, _MIXED = range(5)
_DECIMAL = 0x10  # + the number of decimals
_SPARSE = 0x80  # some are absent: which ones comes first

_EXACT = 2**53
"""Above it a float does not hold every integer, and a scaled one might not come back."""

_DIFFERENCES = 0x10
_WIDTH = 0x0F


class Bytes:
    """What is still to be read of a body."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes, all of them or ValueError."""
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise ValueError("a column ends early")
        self._at += count
        return taken

    def rest(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at


def encode(values: Column) -> bytes:
    """One column; the values are what `points.refusal` lets through."""
    present = [value for value in values if value is not None]
    form, body = _encode_present(present)
    if len(present) == len(values):
        return bytes((form,)) + body
    return bytes((form | _SPARSE,)) + encode_integers([value is not None for value in values]) + body


def decode(data: Bytes, count: int) -> list[Value | None]:
    """The column that stands next, of ``count`` records; ValueError where there is none."""
    form = data.take(1)[0]
    if not form & _SPARSE:
        return [*_decode_present(form, data, count)]
    there = decode_integers(data, count)
    present = iter(_decode_present(form & ~_SPARSE, data, sum(there)))
    return [next(present) if is_there else None for is_there in there]


def _encode_present(values: list[Value]) -> tuple[int, bytes]:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return _INT, encode_integers(values)  # type: ignore[arg-type]
    if kinds == {float}:
        return _encode_floats(values)  # type: ignore[arg-type]
    if kinds == {bool}:
        return _BOOL, encode_integers(values)  # type: ignore[arg-type]
    if kinds == {str}:
        return _TEXT, encode_texts(values)  # type: ignore[arg-type]
    body = msgspec.msgpack.encode(values)
    return _MIXED, _encode_size(len(body)) + body


def _decode_present(form: int, data: Bytes, count: int) -> Sequence[Value]:
    if form == _INT:
        return decode_integers(data, count)
    if _DECIMAL <= form <= _DECIMAL + MAX_DECIMALS:
        unit = 10 ** (form - _DECIMAL)
        return [value / unit for value in decode_integers(data, count)]
    if form == _BOOL:
        return [value == 1 for value in decode_integers(data, count)]
    if form == _TEXT:
        return decode_texts(data, count)
    if form == _FLOAT:
        return struct.unpack(f"<{count}d", _decode_planes(data, count, 8))
    if form == _MIXED:
        return _decode_mixed(data, count)
    raise ValueError(f"no column has the form {form}")


def _encode_floats(values: list[float]) -> tuple[int, bytes]:
    """As decimals where that is exact for each, which is what a probe's rounded figures are."""
    for decimals in range(MAX_DECIMALS + 1):
        scaled = _scaled(values, 10**decimals)
        if scaled is not None:
            return _DECIMAL + decimals, encode_integers(scaled)
    return _FLOAT, _encode_planes(struct.pack(f"<{len(values)}d", *values), 8)


def _scaled(values: list[float], unit: int) -> list[int] | None:
    scaled = []
    for value in values:
        if not abs(value * unit) < _EXACT:
            return None
        whole = round(value * unit)
        if whole / unit != value or (whole == 0 and math.copysign(1, value) < 0):
            return None
        scaled.append(whole)
    return scaled


def encode_texts(values: list[str]) -> bytes:
    words = list(dict.fromkeys(values))
    place = {word: index for index, word in enumerate(words)}
    dictionary = msgspec.msgpack.encode(words)
    return _encode_size(len(dictionary)) + dictionary + encode_integers([place[value] for value in values])


def decode_texts(data: Bytes, count: int) -> list[str]:
    words = msgspec.msgpack.decode(data.take(_decode_size(data)), type=list[str])
    return [words[index] for index in decode_integers(data, count)]


def _decode_mixed(data: Bytes, count: int) -> list[Value]:
    values = msgspec.msgpack.decode(data.take(_decode_size(data)), type=list[bool | int | float | str])
    if len(values) != count:
        raise ValueError("a mixed column of another length")
    return values


def encode_integers(values: Sequence[int]) -> bytes:
    differences = [b - a for a, b in pairwise(values)]
    if len(values) < 2 or _spread(differences) >= _spread(values):
        return _encode_offsets(values, 0)
    return _encode_offsets(differences, _DIFFERENCES, first=values[0])


def _encode_offsets(values: Sequence[int], mode: int, first: int | None = None) -> bytes:
    base = min(values, default=0)
    offsets = [value - base for value in values]
    width = (max(offsets, default=0).bit_length() + 7) // 8
    start = b"" if first is None else _encode_signed(first)
    planes = _encode_planes(struct.pack(f"<{len(offsets)}Q", *offsets), width)
    return bytes((mode | width,)) + start + _encode_signed(base) + planes


def decode_integers(data: Bytes, count: int) -> list[int]:
    mode = data.take(1)[0]
    if mode & _DIFFERENCES:
        first, base = _decode_signed(data), _decode_signed(data)
        return [*accumulate(_decode_offsets(data, count - 1, mode & _WIDTH, base), initial=first)]
    return _decode_offsets(data, count, mode & _WIDTH, _decode_signed(data))


def _decode_offsets(data: Bytes, count: int, width: int, base: int) -> list[int]:
    if width == 0:
        return [base] * count
    if width == 1:  # most of them: bytes are integers already
        return [base + offset for offset in data.take(count)]
    return [base + offset for offset in struct.unpack(f"<{count}Q", _decode_planes(data, count, width))]


def _spread(values: Sequence[int]) -> int:
    return max(values) - min(values)


def _encode_planes(words: bytes, width: int) -> bytes:
    """Of 8-byte words the ``width`` low bytes, all first bytes first."""
    return b"".join(words[index::8] for index in range(width))


def _decode_planes(data: Bytes, count: int, width: int) -> bytearray:
    if width > 8:
        raise ValueError(f"integers of {width} bytes")
    words = bytearray(8 * count)
    for index in range(width):
        words[index::8] = data.take(count)
    return words


def _encode_signed(value: int) -> bytes:
    return _encode_size(value << 1 if value >= 0 else (-value << 1) - 1)


def _decode_signed(data: Bytes) -> int:
    value = _decode_size(data)
    return value >> 1 if value & 1 == 0 else -((value + 1) >> 1)


def _encode_size(value: int) -> bytes:
    """LEB128: seven bits a byte, the low ones first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _decode_size(data: Bytes) -> int:
    value = shift = 0
    while True:
        byte = data.take(1)[0]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 63 bits")
