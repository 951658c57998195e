"""Which voice does an offer or an answer describe?

RFC 4566, RFC 3264, for G.711 alone; RTCP by RFC 3605 and 5761, the source by RFC 5576. Pure.

Rule: decoding is total: any bytes give a description or None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_BYTES = 16_384
PCMU, PCMA = 0, 8
NAMES = {PCMU: "PCMU", PCMA: "PCMA"}

_MEDIA = re.compile(r"audio ([0-9]{1,5})(?:/[0-9]{1,3})? RTP/AVPF? ([0-9 ]{1,256})", re.ASCII)
_ADDRESS = re.compile(r"IN IP[46] ([0-9A-Za-z.:_-]{1,253})(?:/[0-9/]{1,8})?", re.ASCII)
_SSRC = re.compile(r"([0-9]{1,10})(?: .*)?", re.ASCII)
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One voice: where it is taken. ``codecs``: PCMA and PCMU by preference; ``rtcp_port`` 0: not said."""

    host: str
    port: int
    codecs: tuple[int, ...]
    rtcp_port: int = 0
    rtcp_mux: bool = False
    direction: str = "sendrecv"
    ssrc: int | None = None


@dataclass(slots=True)
class _Found:
    host: str = ""
    port: int = 0
    formats: list[int] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)


def encode(media: Media, session: int, version: int = 1) -> bytes:
    """An offer or an answer; ``session``: a number of its own (o=)."""
    family = "IP6" if ":" in media.host else "IP4"
    lines = [
        "v=0",
        f"o=- {session} {version} IN {family} {media.host}",
        "s=-",
        f"c=IN {family} {media.host}",
        "t=0 0",
        f"m=audio {media.port} RTP/AVP {' '.join(map(str, media.codecs))}",
        *(f"a=rtpmap:{codec} {NAMES[codec]}/8000" for codec in media.codecs),
        "a=ptime:20",
        f"a={media.direction}",
    ]
    lines += [f"a=rtcp:{media.rtcp_port}"] if media.rtcp_port else []
    lines += ["a=rtcp-mux"] if media.rtcp_mux else []
    lines += [f"a=ssrc:{media.ssrc} cname:balise"] if media.ssrc is not None else []
    return "\r\n".join(lines).encode() + b"\r\n"


def decode(data: bytes) -> Media | None:
    """The first voice in G.711 that is not refused (port 0); None: there is none."""
    if len(data) > MAX_BYTES:
        return None
    session, found = _read(data.decode("utf-8", "replace").splitlines())
    if found is None:
        return None
    codecs = tuple(number for number in found.formats if number in NAMES)
    host = found.host or session.host
    if not host or not codecs or not 0 < found.port <= 65_535:
        return None
    said = [*session.attributes, *found.attributes]
    return Media(
        host=host,
        port=found.port,
        codecs=codecs,
        rtcp_port=_rtcp_port(said),
        rtcp_mux="rtcp-mux" in said,
        direction=next((word for word in reversed(said) if word in _DIRECTIONS), "sendrecv"),
        ssrc=_ssrc(said),
    )


def _read(lines: list[str]) -> tuple[_Found, _Found | None]:
    """What stands before the first medium, and the first audio with what stands below it."""
    session = _Found()
    chosen: _Found | None = None
    current = session
    for line in lines:
        kind, _, told = line.partition("=")
        if kind == "m":
            if chosen is not None:
                break
            current, found = _Found(), _MEDIA.fullmatch(told.strip())
            if found is not None:
                chosen = current
                current.port = int(found[1])
                current.formats = [int(word) for word in found[2].split() if len(word) <= 3]
        elif kind == "c" and (address := _ADDRESS.fullmatch(told.strip())) is not None:
            current.host = address[1]
        elif kind == "a":
            current.attributes.append(told.strip())
    return session, chosen


def _rtcp_port(attributes: list[str]) -> int:
    told = next((text[5:].split(" ")[0] for text in attributes if text.startswith("rtcp:")), "")
    return int(told) if told.isascii() and told.isdigit() and len(told) <= 5 and int(told) <= 65_535 else 0


def _ssrc(attributes: list[str]) -> int | None:
    told = next((text[5:] for text in attributes if text.startswith("ssrc:")), "")
    found = _SSRC.fullmatch(told)
    return int(found[1]) if found is not None and int(found[1]) < 2**32 else None
