"""What does one transport packet say in its header and adaptation field? ISO/IEC 13818-1 § 2.4.3."""

from __future__ import annotations

from typing import NamedTuple

SIZE = 188
SYNC = 0x47
NULL_PID = 0x1FFF
PCR_HZ = 27_000_000
NS_PER_TICK = 1_000 / 27
PCR_WRAP = (1 << 33) * 300
PTS_WRAP = 1 << 33

# Flags of the adaptation field.
DISCONTINUITY, RANDOM_ACCESS, HAS_PCR = 0x80, 0x40, 0x10


class Header(NamedTuple):
    """``payload``: where it begins, SIZE where there is none; ``flags``: of the adaptation field, 0 without one."""

    pid: int
    damaged: bool  # transport_error_indicator
    starts: bool  # payload_unit_start_indicator
    scrambling: int
    has_payload: bool
    counter: int
    flags: int
    payload: int


def header(packet: bytes) -> Header:
    """Of 188 bytes; whatever they are, it is a header."""
    second, fourth = packet[1], packet[3]
    length = packet[4] if fourth & 0x20 else -1
    has_payload = bool(fourth & 0x10)
    return Header(
        (second & 0x1F) << 8 | packet[2],
        bool(second & 0x80),
        bool(second & 0x40),
        fourth >> 6,
        has_payload,
        fourth & 0x0F,
        packet[5] if length > 0 else 0,
        min(5 + length, SIZE) if has_payload else SIZE,
    )


def pcr(packet: bytes) -> int | None:
    """The programme clock reference in ticks of 27 MHz; None: there is none."""
    if not packet[3] & 0x20 or packet[4] < 7 or not packet[5] & HAS_PCR:
        return None
    base = int.from_bytes(packet[6:11]) >> 7
    return base * 300 + ((packet[10] & 1) << 8 | packet[11])


def ticks(later: int, earlier: int) -> int:
    """From one PCR to another, over the wrap."""
    return (later - earlier) % PCR_WRAP


def is_repeat(packet: bytes, previous: bytes) -> bool:
    """Whether it is the previous one again: equal but for the PCR, as § 2.4.3.3 allows once."""
    if packet == previous:
        return True
    if pcr(packet) is None or pcr(previous) is None:
        return False
    return packet[:6] == previous[:6] and packet[12:] == previous[12:]


def has_pts(payload: bytes) -> bool:
    """Whether a PES packet that begins here carries a presentation time (§ 2.4.3.7)."""
    return len(payload) > 13 and payload[:3] == b"\x00\x00\x01" and payload[6] >> 6 == 2 and bool(payload[7] & 0x80)
