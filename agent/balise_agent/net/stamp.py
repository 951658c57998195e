"""What is on the wire between a STAMP sender and its reflector, and which way did a loss happen?

RFC 8762, unauthenticated, 44 bytes each way, with the session identifier of RFC 8972 § 3. Pure; both programs use it.

Rule 1: decoding is total: any bytes give a packet or None.
Rule 2: our sender never uses sequence number 0, as if its first packet had been lost. A reflector that counts for
itself is then always behind the sender's number; one that copies it is equal, and cannot tell the ways apart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

PORT = 862  # RFC 8762 § 4.1
PACKET_BYTES = 44
FIRST_SEQUENCE = 1  # rule 2
UNKNOWN_ERROR = 0x3FFF  # not synchronised, the largest error: no claim. RFC 4656 § 4.1.2 forbids a multiplier of 0

_NTP_EPOCH_S = 2_208_988_800  # 1900 to 1970
_ERA_S = 1 << 32
_SENDER = struct.Struct("!IQHH28x")
_REFLECTED = struct.Struct("!IQHHQIQH2xB3x")
_MUST_BE_ZERO = slice(16, PACKET_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderPacket:
    """RFC 8762 § 4.2.1. Times are UTC in ns; error estimates are raw (`encode_error`)."""

    sequence: int
    time_ns: int
    error: int = UNKNOWN_ERROR
    session: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectedPacket:
    """RFC 8762 § 4.3.1. ``sequence`` is the reflector's own count (stateful) or the sender's (stateless)."""

    sequence: int
    time_ns: int
    error: int = UNKNOWN_ERROR
    session: int = 0
    received_ns: int
    sender_sequence: int
    sender_time_ns: int
    sender_error: int
    sender_ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OneWay:
    """Losses whose direction is known; those after the last answer are in neither."""

    forward: int
    reverse: int


def encode_sender(packet: SenderPacket) -> bytes:
    """44 bytes."""
    return _SENDER.pack(packet.sequence, ntp(packet.time_ns), packet.error, packet.session)


def decode_sender(data: bytes) -> SenderPacket | None:
    """None where it is too short, or where what a sender leaves zero is not: such a packet was reflected once already,
    and to answer it would let two reflectors answer each other for ever. What follows byte 44 is padding."""
    if len(data) < PACKET_BYTES or any(data[_MUST_BE_ZERO]):
        return None
    sequence, sent, error, session = _SENDER.unpack_from(data)
    return SenderPacket(sequence=sequence, time_ns=unix_ns(sent), error=error, session=session)


def encode_reflected(packet: ReflectedPacket) -> bytes:
    """44 bytes."""
    return _REFLECTED.pack(
        packet.sequence,
        ntp(packet.time_ns),
        packet.error,
        packet.session,
        ntp(packet.received_ns),
        packet.sender_sequence,
        ntp(packet.sender_time_ns),
        packet.sender_error,
        packet.sender_ttl,
    )


def decode_reflected(data: bytes) -> ReflectedPacket | None:
    """None where it is too short or was never reflected; what follows byte 44 is padding."""
    if len(data) < PACKET_BYTES:
        return None
    sequence, sent, error, session, received, sender_sequence, sender_sent, sender_error, ttl = _REFLECTED.unpack_from(
        data
    )
    if not received:
        return None
    return ReflectedPacket(
        sequence=sequence,
        time_ns=unix_ns(sent),
        error=error,
        session=session,
        received_ns=unix_ns(received),
        sender_sequence=sender_sequence,
        sender_time_ns=unix_ns(sender_sent),
        sender_error=sender_error,
        sender_ttl=ttl,
    )


def ntp(unix: int) -> int:
    """ns since 1970 as a 64-bit NTP time (RFC 5905 § 6), rounded up so that `unix_ns` gives the same ns back."""
    seconds, nanoseconds = divmod(unix, 1_000_000_000)
    fraction = -(-(nanoseconds << 32) // 1_000_000_000)
    return ((seconds + _NTP_EPOCH_S) % _ERA_S) << 32 | fraction


def unix_ns(ntp_time: int) -> int:
    """ns since 1970; a time with its top bit clear is of the era after 2036-02-07 (RFC 4330 § 3)."""
    seconds, fraction = ntp_time >> 32, ntp_time & 0xFFFFFFFF
    if seconds < 1 << 31:
        seconds += _ERA_S
    return (seconds - _NTP_EPOCH_S) * 1_000_000_000 + (fraction * 1_000_000_000 >> 32)


def encode_error(error_s: float, *, synchronised: bool) -> int:
    """RFC 4656 § 4.1.2: S bit, scale, multiplier; error = multiplier * 2^-32 * 2^scale, never told too small."""
    units, scale = max(1, -int(-error_s * (1 << 32) // 1)), 0
    while units > 255 and scale < 63:
        units, scale = -(-units // 2), scale + 1
    return synchronised << 15 | scale << 8 | min(units, 255)


def decode_error(error: int) -> tuple[float, bool] | None:
    """Seconds, and whether its clock is synchronised to UTC; None: no claim (multiplier 0)."""
    multiplier, scale = error & 0xFF, error >> 8 & 0x3F
    return (multiplier * 2.0 ** (scale - 32), bool(error >> 15)) if multiplier else None


def one_way_loss(answers: Iterable[tuple[int, int]]) -> OneWay | None:
    """From (sender's sequence, reflector's sequence) of each answered echo of a session that began at `FIRST_SEQUENCE`.

    None where it cannot be derived: no answer, a stateless reflector, or one that began to count anew.
    """
    ordered = sorted(answers)
    if not ordered or any(reflected >= sent for sent, reflected in ordered):
        return None
    if any(later[1] <= earlier[1] for earlier, later in pairwise(ordered)):
        return None
    sent = ordered[-1][0] - FIRST_SEQUENCE + 1
    reached = ordered[-1][1] + 1
    return OneWay(forward=sent - reached, reverse=reached - len(ordered))
