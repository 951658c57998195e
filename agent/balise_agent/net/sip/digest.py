"""How does a client answer a digest challenge, and has it answered right?

RFC 3261 § 22, RFC 7616, RFC 8760: MD5 and SHA-256, with qop=auth or without, and their -sess forms. Pure.

Rule: decoding is total: any text gives a challenge or None.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

_HASHES = {"md5": hashlib.md5, "sha-256": hashlib.sha256}
_MOST_CHARS = 4_096
_STRONGEST = ("sha-256", "md5")
_PAIR = re.compile(r'([A-Za-z0-9_-]{1,32})\s*=\s*("(?:[^"\\]|\\.){0,512}"|[^\s,"]{1,512})\s*(?:,|$)\s*', re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """``algorithm``: as it was written, empty where it was not; ``qop``: auth is offered."""

    realm: str
    nonce: str
    algorithm: str = ""
    qop: bool = False
    opaque: str | None = None
    stale: bool = False

    @property
    def hash_name(self) -> str:
        """md5 or sha-256, or another that is not known here."""
        return (self.algorithm or "MD5").lower().removesuffix("-sess")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who answers."""

    user: str
    password: str


def parse(text: str) -> Challenge | None:
    """Of a WWW-Authenticate or Proxy-Authenticate value; None: another scheme, or no realm or nonce."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "digest" or len(text) > _MOST_CHARS:
        return None
    pairs = _pairs(rest)
    if "realm" not in pairs or "nonce" not in pairs:
        return None
    offered = [word.strip().lower() for word in pairs.get("qop", "").split(",")]
    if pairs.get("qop") and "auth" not in offered:
        return None  # auth-int alone
    return Challenge(
        realm=pairs["realm"],
        nonce=pairs["nonce"],
        algorithm=pairs.get("algorithm", ""),
        qop="auth" in offered,
        opaque=pairs.get("opaque"),
        stale=pairs.get("stale", "").lower() == "true",
    )


def strongest(challenges: Iterable[Challenge | None]) -> Challenge | None:
    """The one to answer (RFC 8760 § 2.4); None: none of them is known here."""
    known = [c for c in challenges if c is not None and c.hash_name in _HASHES]
    return min(known, key=lambda c: _STRONGEST.index(c.hash_name), default=None)


def answer(challenge: Challenge, login: Login, method: str, uri: str, cnonce: str, count: int = 1) -> str:
    """The value of Authorization or Proxy-Authorization."""
    response = _response(challenge, login, method, uri, cnonce, count)
    parts = [
        f'username="{_quoted(login.user)}"',
        f'realm="{_quoted(challenge.realm)}"',
        f'nonce="{_quoted(challenge.nonce)}"',
        f'uri="{uri}"',
        f'response="{response}"',
    ]
    if challenge.algorithm:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.opaque is not None:
        parts.append(f'opaque="{_quoted(challenge.opaque)}"')
    if challenge.qop:
        parts += ["qop=auth", f"nc={count:08x}", f'cnonce="{cnonce}"']
    elif challenge.algorithm.lower().endswith("-sess"):
        parts.append(f'cnonce="{cnonce}"')
    return "Digest " + ", ".join(parts)


def is_right(text: str, challenge: Challenge, login: Login, method: str) -> bool:
    """Whether an Authorization or Proxy-Authorization value answers that challenge for that user."""
    scheme, _, rest = text.strip().partition(" ")
    pairs = _pairs(rest) if scheme.lower() == "digest" and len(text) <= _MOST_CHARS else {}
    count = pairs.get("nc", "1")
    if (pairs.get("nonce"), pairs.get("username")) != (challenge.nonce, login.user):
        return False
    if re.fullmatch("[0-9A-Fa-f]{1,8}", count) is None:
        return False
    cnonce = pairs.get("cnonce", "")
    expected = _response(challenge, login, method, pairs.get("uri", ""), cnonce, int(count, 16))
    return hmac.compare_digest(expected.encode(), pairs.get("response", "").encode())


def _pairs(text: str) -> dict[str, str]:
    return {found[1].lower(): _bare(found[2]) for found in _PAIR.finditer(text.strip())}


def _response(challenge: Challenge, login: Login, method: str, uri: str, cnonce: str, count: int) -> str:
    name = challenge.hash_name
    secret = _hash(name, f"{login.user}:{challenge.realm}:{login.password}")
    if challenge.algorithm.lower().endswith("-sess"):
        secret = _hash(name, f"{secret}:{challenge.nonce}:{cnonce}")
    asked = _hash(name, f"{method}:{uri}")
    if challenge.qop:
        return _hash(name, f"{secret}:{challenge.nonce}:{count:08x}:{cnonce}:auth:{asked}")
    return _hash(name, f"{secret}:{challenge.nonce}:{asked}")


def _hash(name: str, text: str) -> str:
    return _HASHES[name](text.encode()).hexdigest()


def _bare(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
