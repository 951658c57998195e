"""What does an HLS playlist say?

RFC 8216, as much of it as a measurement needs: variants of a master playlist; of a media playlist where it stands, how
long its segments are and where they lie.

Rule 1: pure and bounded; any text gives a playlist, or what is wrong with it. What is not known is passed over
(§ 6.3.1).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

MOST_LINES = 20_000
MOST_DURATION_S = 3_600.0
_ATTRIBUTE = re.compile(r'([A-Z0-9-]{1,64})=("[^"]*"|[^",]*)')
_NUMBER = re.compile(r"[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,12})?|\.[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """``bps``: what it says it needs (BANDWIDTH)."""

    uri: str
    bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """``is_plain``: a transport stream that is neither encrypted nor a part of a file: it can be looked into."""

    uri: str
    duration_s: float
    discontinuity: bool = False
    is_plain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """Playlists to choose from."""

    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """``sequence``: number of the first segment; ``ended``: nothing more is to come."""

    target_s: float
    sequence: int = 0
    segments: tuple[Segment, ...] = ()
    ended: bool = False


def parse(text: str) -> Master | Media | str:
    """The playlist, or why it is none."""
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    if not lines or lines[0] != "#EXTM3U":
        return "it does not begin with #EXTM3U"
    if len(lines) > MOST_LINES:
        return f"it has more than {MOST_LINES} lines"
    if any(line.startswith("#EXT-X-STREAM-INF:") for line in lines):
        return _master(lines)
    return _media(lines)


def _master(lines: list[str]) -> Master | str:
    variants: list[Variant] = []
    bps: int | None = None
    for line in lines[1:]:
        if line.startswith("#EXT-X-STREAM-INF:"):
            said = attributes(line).get("BANDWIDTH", "")
            bps = int(said) if _NUMBER.fullmatch(said) else 0
        elif line and not line.startswith("#") and bps is not None:
            variants.append(Variant(uri=line, bps=bps))
            bps = None
    return Master(variants=tuple(variants)) if variants else "no variant has an address"


def _media(lines: list[str]) -> Media | str:
    reading = _Reading()
    for line in lines[1:]:
        if line.startswith("#"):
            reading.take_tag(*line.partition(":")[::2])
        elif line:
            reading.take_uri(line)
    target_s = reading.target_s or max((segment.duration_s for segment in reading.segments), default=0.0)
    if target_s <= 0:
        return "it says no duration"
    segments = tuple(reading.segments)
    return Media(target_s=target_s, sequence=reading.sequence, segments=segments, ended=reading.ended)


@dataclass(slots=True)
class _Reading:
    """What the lines so far have said."""

    target_s: float = 0.0
    sequence: int = 0
    ended: bool = False
    segments: list[Segment] = field(default_factory=list)
    _duration_s: float | None = None
    _discontinuity: bool = False
    _keyed: bool = False
    _mapped: bool = False
    _ranged: bool = False

    def take_tag(self, name: str, value: str) -> None:
        match name:
            case "#EXTINF":
                self._duration_s = _seconds(value.partition(",")[0])
            case "#EXT-X-TARGETDURATION":
                self.target_s = _seconds(value) or 0.0
            case "#EXT-X-MEDIA-SEQUENCE":
                self.sequence = int(value) if _NUMBER.fullmatch(value.strip()) else self.sequence
            case "#EXT-X-ENDLIST":
                self.ended = True
            case _:
                self._take_flag(name, value)

    def _take_flag(self, name: str, value: str) -> None:
        """What holds for the next segment, or from it on."""
        self._discontinuity |= name == "#EXT-X-DISCONTINUITY"
        self._mapped |= name == "#EXT-X-MAP"
        self._ranged |= name == "#EXT-X-BYTERANGE"
        if name == "#EXT-X-KEY":
            self._keyed = attributes(f"{name}:{value}").get("METHOD", "NONE") != "NONE"

    def take_uri(self, uri: str) -> None:
        # § 4.3.2.1 asks for a duration; players go on without.
        duration_s = self.target_s if self._duration_s is None else self._duration_s
        is_plain = not (self._keyed or self._mapped or self._ranged)
        found = Segment(uri=uri, duration_s=duration_s, discontinuity=self._discontinuity, is_plain=is_plain)
        self.segments.append(found)
        self._duration_s, self._discontinuity, self._ranged = None, False, False


def attributes(line: str) -> dict[str, str]:
    """Of a tag's attribute list (§ 4.2), without their quotes."""
    return {name: value.strip('"').strip() for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _seconds(text: str) -> float | None:
    found = float(text) if _DECIMAL.fullmatch(text := text.strip()) else math.nan
    return found if 0 <= found <= MOST_DURATION_S else None
