"""Who may have a heavy test? A token says for which segment, of which shape, until when; its HMAC says who made it.

`balise serve` and `balise target` share the key. The segment is a random label that stands for a PON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

MIN_KEY_BYTES = 32
ALLOWS = {"light": ("light", "loaded", "burst"), "full": ("light", "loaded", "burst", "full", "speedtest")}
"""Shapes that a token of a shape may ask for."""

MAX_TOKEN_CHARS = 256
SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")

_CONTEXT = b"balise throughput 1\0"  # the key signs nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token says."""

    segment: str
    shape: str
    expires_s: int


def make_token(key: bytes, grant: Grant) -> str:
    """ValueError: a segment or shape that no token can have, or a key that is too short."""
    if SEGMENT.fullmatch(grant.segment) is None:
        raise ValueError(f"{grant.segment!r} is no label of 1 to 64 of A-Z, a-z, 0-9, _ and -")
    if grant.shape not in ALLOWS:
        raise ValueError(f"{grant.shape!r} is not one of {', '.join(ALLOWS)}")
    said = f"{grant.segment}.{grant.shape}.{grant.expires_s}"
    return f"{said}.{_seal(key, said)}"


def read_token(key: bytes, token: str, now_s: float) -> Grant | None:
    """None: it is none of ours, or over."""
    said, _, seal = token.rpartition(".")
    parts = said.split(".")
    if len(token) > MAX_TOKEN_CHARS or len(parts) != 3 or not token.isascii():
        return None
    if not hmac.compare_digest(_seal(key, said), seal) or parts[1] not in ALLOWS or not parts[2].isdigit():
        return None
    grant = Grant(segment=parts[0], shape=parts[1], expires_s=int(parts[2]))
    return grant if now_s < grant.expires_s else None


def read_key(text: str) -> bytes:
    """A key file's: 32 bytes or more in base64url. ValueError: it is not."""
    try:
        padded = text.strip() + "=" * (-len(text.strip()) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True)  # else it passes over what is no base64
    except (binascii.Error, ValueError) as exc:
        raise ValueError("the key is not base64url") from exc
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes; {MIN_KEY_BYTES} are needed")
    return key


def _seal(key: bytes, said: str) -> str:
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes; {MIN_KEY_BYTES} are needed")
    digest = hmac.new(key, _CONTEXT + said.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
