"""Which pictures and sounds does the head-end send? Grey and silence, coded by hand: of no programme at all.

MPEG-2 video (ISO/IEC 13818-2) without reordering, 352 x 288 at 25 a second: an I picture and P pictures that repeat it.
User data (§ 6.2.2.2) that decoders pass over make a picture as large as a moving one: noise, so that no two datagrams
are equal. MPEG-1 audio layer II, 64 kbit/s, whose bit allocations are all zero.
"""

from __future__ import annotations

import random

ROWS = 18
I_BYTES, P_BYTES = 8_000, 2_400  # 0.5 Mbit/s of them together
_SEQUENCE = bytes.fromhex("000001b316012013ffffe018 000001b5148a00010080 000001b800080040")
_I_SLICE = bytes.fromhex("135" + 10 * "a529117294a445c" + "a529117294a4440")
_P_SLICE = bytes.fromhex("127048e0")
SOUND = bytes.fromhex("fffd44c4") + bytes(188)
_NOISE = bytes(random.Random("balise").choices(range(0x80, 0x100), k=2 * I_BYTES))  # no zero: no start code within


def picture(number: int, *, still: bool = False) -> bytes:
    """The picture of that number in its group; 0: a decoder can begin there. ``still``: as of a frozen
    source, without noise."""
    kind, slice_ = (2, _P_SLICE) if number else (1, _I_SLICE)
    # Temporal reference, type, no VBV delay; a P picture ends in the vector codes of MPEG-1, which are constant.
    head = (number << 22 | kind << 19 | 0xFFFF << 3).to_bytes(4, "big")
    if number:
        head = head[:3] + bytes([head[3] | 0b011, 0b1000_0000])
    extension = bytes.fromhex("000001b5 8ffff34180" if number == 0 else "000001b5 811ff34180")
    slices = b"".join(b"\x00\x00\x01" + bytes([row]) + slice_ for row in range(1, ROWS + 1))
    coded = (b"" if number else _SEQUENCE) + b"\x00\x00\x01\x00" + head + extension
    missing = 0 if still else (P_BYTES if number else I_BYTES) - len(coded) - len(slices) - 4
    noise = b"\x00\x00\x01\xb2" + _NOISE[number * 97 : number * 97 + missing] if missing > 0 else b""
    return coded + noise + slices
