"""What do the two ends of a voice tell each other of how it arrives?

RFC 3550 § 6.4: sender and receiver reports, with the names that go along. Pure.

Rule: decoding is total: any bytes give reports or none, `MOST_REPORTS` of one datagram at most.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_REPORTS = 8
MOST_BLOCKS = 31  # five bits count them

_SR, _RR, _SDES = 200, 201, 202
_HEAD = struct.Struct("!BBH")
_SENDER = struct.Struct("!IIIII")
_BLOCK = struct.Struct("!IIIIII")
_NTP_EPOCH_S = 2_208_988_800  # 1970 in NTP's era 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Of a sender report: its clocks at one moment, and what it has sent until then."""

    ntp: int  # 32.32 bits
    rtp_time: int
    packets: int
    payload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """How one source arrives at who reports. ``lost``: since the start, below 0 with duplicates; times: 16.16 bits."""

    ssrc: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    last_sr: int
    since_sr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report of one source."""

    ssrc: int
    sender: Sender | None
    blocks: tuple[Block, ...]


def encode(report: Report, name: bytes = b"balise") -> bytes:
    """A compound packet: the report, then the source's name (§ 6.1 wants both)."""
    blocks = b"".join(_encode_block(block) for block in report.blocks)
    sent = report.sender
    kind, info = (_RR, b"") if sent is None else (_SR, _encode_sender(sent))
    body = report.ssrc.to_bytes(4) + info + blocks
    item = report.ssrc.to_bytes(4) + bytes((1, len(name))) + name + b"\0"
    item += bytes(-len(item) % 4)
    return _packet(kind, len(report.blocks), body) + _packet(_SDES, 1, item)


def decode(data: bytes) -> list[Report]:
    """The reports of a compound packet; what is not whole ends it."""
    found: list[Report] = []
    offset = 0
    while offset + _HEAD.size <= len(data) and len(found) < MOST_REPORTS:
        first, kind, words = _HEAD.unpack_from(data, offset)
        end = offset + 4 * (words + 1)
        if first >> 6 != 2 or end > len(data):
            break
        if kind in (_SR, _RR):
            report = _report(data[offset + _HEAD.size : end], first & 0x1F, sender=kind == _SR)
            found += [] if report is None else [report]
        offset = end
    return found


def ntp(wall_ns: int) -> int:
    """UTC in ns since 1970 as NTP has it, 32.32 bits."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return (seconds + _NTP_EPOCH_S & 0xFFFFFFFF) << 32 | (rest << 32) // 1_000_000_000


def middle(ntp_time: int) -> int:
    """The 16.16 bits of it that reports repeat."""
    return ntp_time >> 16 & 0xFFFFFFFF


def round_trip_ms(block: Block, arrived_ntp: int) -> float | None:
    """§ 6.4.1: arrival - last SR - delay since it; None: it has heard no SR of ours, or the clocks say nonsense."""
    if block.last_sr == 0:
        return None
    units = (middle(arrived_ntp) - block.last_sr - block.since_sr) & 0xFFFFFFFF
    return units * 1_000 / 65_536 if units < 60 << 16 else None


def _report(body: bytes, count: int, *, sender: bool) -> Report | None:
    start = 24 if sender else 4
    if len(body) < start + count * _BLOCK.size:
        return None
    sent = None
    if sender:
        high, low, rtp_time, packets, payload_bytes = _SENDER.unpack_from(body, 4)
        sent = Sender(ntp=high << 32 | low, rtp_time=rtp_time, packets=packets, payload_bytes=payload_bytes)
    blocks = tuple(_block(body, start + index * _BLOCK.size) for index in range(count))
    return Report(ssrc=int.from_bytes(body[:4]), sender=sent, blocks=blocks)


def _block(body: bytes, offset: int) -> Block:
    ssrc, loss, highest, jitter, last_sr, since_sr = _BLOCK.unpack_from(body, offset)
    lost = loss & 0xFFFFFF
    return Block(
        ssrc=ssrc,
        fraction=loss >> 24,
        lost=lost - (1 << 24) if lost & 0x800000 else lost,
        highest=highest,
        jitter=jitter,
        last_sr=last_sr,
        since_sr=since_sr,
    )


def _encode_block(block: Block) -> bytes:
    loss = block.fraction << 24 | max(-(1 << 23), min((1 << 23) - 1, block.lost)) & 0xFFFFFF
    return _BLOCK.pack(block.ssrc, loss, block.highest, block.jitter, block.last_sr, block.since_sr)


def _encode_sender(sent: Sender) -> bytes:
    return _SENDER.pack(sent.ntp >> 32, sent.ntp & 0xFFFFFFFF, sent.rtp_time, sent.packets, sent.payload_bytes)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, kind, len(body) // 4) + body
