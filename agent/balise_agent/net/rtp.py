"""What does an RTP packet say, and how many of a stream were lost, late or twice?

RFC 3550: the header (§ 5.1), sequence numbers that wrap (§ A.1), interarrival jitter (§ A.8, in the clock's units).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_HEADER = struct.Struct("!BBHII")
_NUMBERS = struct.Struct("!2xHI")
LEAST = _HEADER.size
SIMPLE = 0x80
"""First byte of a packet whose header is the shortest: no contributing source, no extension, no padding."""
_EXTENSION = struct.Struct("!HH")
_WRAP = 1 << 16
_HALF = _WRAP // 2


class Packet(NamedTuple):
    """A packet's header; ``start`` and ``end``: where its payload stands in the datagram."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    start: int
    end: int


def decode(data: bytes) -> Packet | None:
    """The header; None: it is no RTP of version 2, or says more than there is."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start = _HEADER.size + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + _EXTENSION.size:
            return None
        start += _EXTENSION.size + 4 * _EXTENSION.unpack_from(data, start)[1]
    end = len(data)
    if first & 0x20:
        padding = data[-1]
        if not padding:
            return None
        end -= padding
    if start > end:
        return None
    return Packet(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, start, end)


def numbers(data: bytes, at: int) -> tuple[int, int]:
    """Sequence number and timestamp of a packet there."""
    sequence, timestamp = _NUMBERS.unpack_from(data, at)
    return sequence, timestamp


def extend(sequence: int, near: int) -> int:
    """The sequence number without its wrap: the one that is nearest to ``near``, an extended one."""
    return near + (sequence - near + _HALF) % _WRAP - _HALF
