"""What do a probe and `balise target` say to each other in a burst of UDP?

To the port of the STAMP reflector, so that no second one is opened. The probe says hello under its lease; the target
answers with a cookie. Down: with it the probe asks for a rate, again each 50 ms, and the target sends at that rate
until it is asked for another or no longer asked. Up: with it the probe asks to be counted, then sends; the target says
each 50 ms what has come by then.

Rule 1: a target that is not asked any more is silent at once: nobody's line is filled by a probe that died.
Rule 2: hello is as long as its answer, and only who got the cookie is sent more: a forged sender fills no line.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CONTROL_BYTES = 64
DATA_BYTES = 1_222  # RFC 9097's default: whole through PPPoE, DS-Lite and a VPN
HEADERS = {4: 28, 6: 48}  # of IP and UDP, which count where a line's rate does
COOKIE_BYTES = 16
LEASE_CHARS = 22
MOST_BPS = 10e9

ASK_EVERY_S = 0.05
COUNTED_EVERY_S = 0.05
SILENCE_S = 0.25  # of the probe, after which the target stops

HELLO, COOKIE, PACE, DATA, METER, COUNTED = 1, 2, 3, 4, 5, 6

_CONTROLS = (HELLO, COOKIE, PACE, METER)
_MAGIC = b"BlsU"
_U32 = 0xFFFFFFFF
_CONTROL = struct.Struct(f"!4sB3x{LEASE_CHARS}s{COOKIE_BYTES}sIQ6x")
_HEAD = struct.Struct("!4sB3xIII")
_COUNTED = struct.Struct("!4sB3xIIIIIIQ24x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """HELLO, COOKIE, PACE or METER; ``rate_bps``: of IP packets, 0: none."""

    kind: int
    lease: str
    cookie: bytes = bytes(COOKIE_BYTES)
    step: int = 0
    rate_bps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What has come by a moment of the receiver's clock: of all steps, and of the latest one.

    ``highest``: the latest packet's number; ``late``: behind one that was sent after it; ``dropped``: by the socket.
    """

    at_s: float
    all: int = 0
    step: int = 0
    packets: int = 0
    highest: int = 0
    late: int = 0
    dropped: int = 0


def encode_control(control: Control) -> bytes:
    """Of `CONTROL_BYTES`."""
    lease = control.lease.encode("ascii")
    return _CONTROL.pack(_MAGIC, control.kind, lease, control.cookie, control.step, control.rate_bps)


def decode_control(data: bytes) -> Control | None:
    """None: it is none."""
    if len(data) != CONTROL_BYTES:
        return None
    magic, kind, lease, cookie, step, rate_bps = _CONTROL.unpack(data)
    if magic != _MAGIC or kind not in _CONTROLS or not lease.isascii() or rate_bps > MOST_BPS:
        return None
    return Control(kind=kind, lease=lease.decode("ascii"), cookie=cookie, step=step, rate_bps=rate_bps)


def encode_seen(seen: Seen) -> bytes:
    """Of `CONTROL_BYTES`: what the target tells of a burst upwards."""
    numbers = (seen.step, seen.all, seen.packets, seen.highest, seen.late, seen.dropped)
    return _COUNTED.pack(_MAGIC, COUNTED, *(number & _U32 for number in numbers), round(seen.at_s * 1e6))


def decode_seen(data: bytes) -> Seen | None:
    """None: it is none."""
    if len(data) != CONTROL_BYTES:
        return None
    magic, kind, step, everything, packets, highest, late, dropped, at_us = _COUNTED.unpack(data)
    if magic != _MAGIC or kind != COUNTED:
        return None
    return Seen(
        at_s=at_us / 1e6, all=everything, step=step, packets=packets, highest=highest, late=late, dropped=dropped
    )


def put_head(packets: bytearray, at: int, step: int, sequence: int, skipped: int) -> None:
    """Writes a packet's head; ``skipped``: packets that the target should have sent by now and could not."""
    _HEAD.pack_into(packets, at, _MAGIC, DATA, step, sequence & _U32, skipped & _U32)


def read_head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Step, sequence and skipped; None: it is no packet of a burst."""
    if len(data) - at < DATA_BYTES:
        return None
    magic, kind, step, sequence, skipped = _HEAD.unpack_from(data, at)
    return (step, sequence, skipped) if magic == _MAGIC and kind == DATA else None
