"""Can a decoder start here? The first bytes of a PES packet's payload tell, where the stream does not say so itself.

MPEG-2: a sequence header (ISO/IEC 13818-2, 0xB3). H.264: a NAL unit of type 5 or 7. HEVC: of type 16 to 21.
"""

from __future__ import annotations

_STARTS = b"\x00\x00\x01"


def is_start(codec: str, payload: bytes) -> bool:
    """Whether the payload of a packet that begins a PES packet holds the start of a picture that needs no other."""
    at = payload.find(_STARTS, 9)
    while 0 <= at < len(payload) - 3:
        unit = payload[at + 3]
        if codec == "mpeg2" and unit == 0xB3:
            return True
        if codec == "h264" and unit & 0x1F in (5, 7):
            return True
        if codec == "hevc" and 16 <= unit >> 1 & 0x3F <= 21:
            return True
        at = payload.find(_STARTS, at + 3)
    return False
