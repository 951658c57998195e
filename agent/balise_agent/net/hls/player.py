"""How does a player fare with a channel over HTTP?

The playlist is read again and again (RFC 8216 § 6.3.4), each segment as it is published, into a buffer that is played
out. Each segment is looked into as a transport stream of its own.

Rule: a segment goes to the analyser as it comes and is never kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net import m3u8
from balise_agent.net.fetch import URL_PATTERN, Fetch
from balise_agent.net.m3u8 import Master, Media, Segment
from balise_agent.net.mpegts.analyser import Analyser

MOST_SEGMENT_BYTES = 50_000_000
FROM_THE_END = 3
"""A player begins three segments before the end of what is there (RFC 8216 § 6.3.3)."""

_MOST_PLAYLIST_BYTES = 262_144
_LEAST_WAIT_S = 0.1
_URL = re.compile(URL_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be played. ``most_bps``: of variants, none above it; ``timeout_s``: of one answer."""

    url: str
    most_bps: int
    listen_s: float
    timeout_s: float
    ca_file: str | None = None
    clock_ok: bool | None = None


async def play(asked: Asked, now_s: Callable[[], float] = time.monotonic) -> tuple[Outcome, dict[str, Value]]:
    """Outcome and fields of `tv_hls`."""
    return await _Player(asked, now_s).played()


class _PlaylistError(Exception):
    """There is no playlist; its reason is the message."""


@dataclass(slots=True)
class Buffer:
    """What a player would have in hand. Times are seconds of one clock; ``end_s``: when it would stand still."""

    end_s: float | None = None
    stall_s: float = 0.0
    stalls: int = 0

    def add(self, now_s: float, duration_s: float) -> None:
        """A segment came whole."""
        self.finish(now_s)
        self.end_s = (now_s if self.end_s is None else self.end_s) + duration_s

    def finish(self, now_s: float) -> None:
        """Played up to now: it may stand still, and nothing more need be waited for."""
        if self.end_s is not None and now_s > self.end_s:
            self.stall_s += now_s - self.end_s
            self.stalls += 1
            self.end_s = now_s


@dataclass(slots=True)
class _Found:
    """Of one sample."""

    http_errors: int = 0
    seq_jumps: int = 0
    discontinuities: int = 0
    segments: int = 0
    ratio: float = 0.0
    stale_s: float = 0.0
    cc_err: int = 0
    crc_err: int = 0
    looked_into: int = 0
    buffer: Buffer = field(default_factory=Buffer)


class _Player:
    """One channel, for `listen_s`."""

    def __init__(self, asked: Asked, now_s: Callable[[], float]) -> None:
        self._asked, self._now_s = asked, now_s
        self._fields: dict[str, Value] = {}
        self._found = _Found()
        self._start_s = now_s()
        self._next: int | None = None
        self._changed_s = self._start_s

    async def played(self) -> tuple[Outcome, dict[str, Value]]:
        """How it went."""
        outcome: Outcome = OK
        try:
            await self._play()
        except _PlaylistError as exc:
            outcome = failed(str(exc))
        return outcome, {**self._fields, "playlist_ok": outcome.kind == "ok", **self._figures()}

    def _figures(self) -> dict[str, Value]:
        found = self._found
        fields: dict[str, Value] = {"http_errors": found.http_errors, "segments": found.segments}
        if "playlist_ttfb_ms" not in self._fields:
            return fields
        fields |= {"listened_s": round(self._since_s(), 3), "stale_s": round(found.stale_s, 3)}
        fields |= {"seq_jumps": found.seq_jumps, "discontinuities": found.discontinuities}
        if found.segments:
            fields |= {"segment_dl_ratio_max": round(found.ratio, 4), "stall_s": round(found.buffer.stall_s, 3)}
            fields["stall_count"] = found.buffer.stalls
        if found.looked_into:
            fields |= {"cc_err": found.cc_err, "psi_crc_err": found.crc_err}
        return fields

    async def _play(self) -> None:
        media, url = await self._started()
        while True:
            fresh = self._fresh(media)
            now_s = self._now_s()
            self._changed_s = now_s if fresh else self._changed_s
            for segment in fresh:
                await self._take(segment, url)
                if self._is_over():
                    break
            if self._is_over() or media.ended:
                break
            wait_s = media.target_s if fresh else media.target_s / 2  # § 6.3.4
            wait_s = max(_LEAST_WAIT_S, now_s + wait_s - self._now_s())
            await asyncio.sleep(min(wait_s, max(0.0, self._asked.listen_s - self._since_s())))
            again = await self._playlist(url)
            media = again if isinstance(again, Media) else media
            if not self._is_fresh(media):
                self._found.stale_s = max(self._found.stale_s, self._now_s() - self._changed_s)
            if self._is_over():
                break
        self._found.buffer.finish(self._now_s())

    async def _started(self) -> tuple[Media, str]:
        """The media playlist to begin with, and its address."""
        url = self._asked.url
        first = await self._playlist(url, is_first=True)
        if isinstance(first, Master):
            bounded = [variant for variant in first.variants if variant.bps <= self._asked.most_bps]
            chosen = max(bounded, key=lambda v: v.bps) if bounded else min(first.variants, key=lambda v: v.bps)
            self._fields["variant_bps"] = chosen.bps
            url = urljoin(url, chosen.uri)
            first = await self._playlist(url, is_first=True)
        if not isinstance(first, Media):
            raise _PlaylistError("bad_playlist")
        behind = 0 if first.ended else max(0, len(first.segments) - FROM_THE_END)
        self._next = first.sequence + behind
        return first, url

    async def _playlist(self, url: str, *, is_first: bool = False) -> Master | Media | None:
        """None: it cannot be had now. _PlaylistError: nor could it at the start."""
        body = bytearray()
        fetch, outcome = await self._get(url, body)
        if fetch is not None and "playlist_ttfb_ms" not in self._fields and "ttfb_ms" in fetch.fields:
            self._fields |= {"playlist_ttfb_ms": fetch.fields["ttfb_ms"], "af": fetch.fields["af"]}
        if outcome.kind != "ok":
            if is_first:
                raise _PlaylistError(outcome.reason or "bad_playlist")
            return None
        found = m3u8.parse(body.decode("utf-8", "replace"))
        if isinstance(found, str):
            if is_first:
                raise _PlaylistError("bad_playlist")
            return None
        return found

    async def _get(self, url: str, into: bytearray | Analyser) -> tuple[Fetch | None, Outcome]:
        """A playlist may lead anywhere: only to where a channel may be."""
        if not _may_be_fetched(url):
            return None, failed("bad_playlist")
        is_segment, asked = isinstance(into, Analyser), self._asked
        fetch = Fetch(
            urlsplit(url),
            asked.ca_file,
            asked.timeout_s,
            clock_ok=lambda: asked.clock_ok,
            monotonic=self._now_s,
            sink=into.feed if isinstance(into, Analyser) else into.extend,
            most_bytes=MOST_SEGMENT_BYTES if is_segment else _MOST_PLAYLIST_BYTES,
        )
        outcome = await fetch.outcome()
        self._found.http_errors += fetch.fields.get("status", 200) not in (200, 206)
        return fetch, outcome

    def _is_fresh(self, media: Media) -> bool:
        return self._next is not None and media.sequence + len(media.segments) > self._next

    def _fresh(self, media: Media) -> list[Segment]:
        """What was not yet taken; what is gone already is a jump."""
        if self._next is None:
            return list(media.segments)
        jump = media.sequence - self._next
        if jump > 0:
            self._found.seq_jumps += jump
            self._next = media.sequence
        fresh = media.segments[max(0, self._next - media.sequence) :]
        return list(fresh)

    async def _take(self, segment: Segment, playlist: str) -> None:
        """One segment: how long it took, and what is in it. An analyser of its own: counters begin anew with each."""
        self._next = (self._next or 0) + 1
        self._found.discontinuities += segment.discontinuity
        analyser = Analyser("plain")
        start_s = self._now_s()
        _, outcome = await self._get(urljoin(playlist, segment.uri), analyser)
        now_s = self._now_s()
        if outcome.kind != "ok":
            return
        self._found.segments += 1
        if self._found.segments == 1:
            self._fields["startup_ms"] = round(1_000 * self._since_s(), 3)
        if segment.duration_s > 0:
            self._found.ratio = max(self._found.ratio, (now_s - start_s) / segment.duration_s)
        self._found.buffer.add(now_s, segment.duration_s)
        self._look_into(segment, analyser)

    def _look_into(self, segment: Segment, analyser: Analyser) -> None:
        if not segment.is_plain:
            return
        analyser.finish()
        indicators = analyser.report().indicators
        self._found.looked_into += 1
        self._found.cc_err += int(indicators.get("cc_err", 0))
        self._found.crc_err += int(indicators.get("psi_crc_err", 0))

    def _since_s(self) -> float:
        return self._now_s() - self._start_s

    def _is_over(self) -> bool:
        return self._since_s() >= self._asked.listen_s


def _may_be_fetched(url: str) -> bool:
    return _URL.fullmatch(url) is not None
