"""Which rate do the samples of a test make?

Pure. Rule 1: a figure is bytes between two moments over the time between them, both from the same clock, the
receiver's. Rule 2: samples that do not cover the whole window make no figure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from balise_agent.net.throughput.tcp_info import TcpInfo

MOST_MSS = 8_960
"""A jumbo frame's payload. Above it, the kernel merged segments of several sizes (loopback: 65,483) and received
segments x MSS reads 1.7 to 4.8 % too much."""

MERGED = 0.95
"""Segments carry at least what was received in order. Where they seem to carry less, several were handed to this kernel
as one and counted so: a virtual machine's network card does that."""

_SLACK_S = 0.05  # a last sample that comes so much before the window's end is as good as at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Bytes that had come by a moment, by stream."""

    at_s: float
    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kernel said of each stream at a moment; one that was not there yet is missing at the end."""

    at_s: float
    streams: tuple[TcpInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Samples, which counter they are of, and how far the two counters differ over the whole test."""

    samples: tuple[Sample, ...]
    counter: str  # segments or bytes
    gap_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One direction's figures; percentiles are of the rates between samples, 100 ms each."""

    bps: int
    p5_bps: int
    p95_bps: int
    bytes: int
    share_min: float
    share_max: float


def count(readings: Sequence[Reading]) -> Counted:
    """Bytes by received segments x MSS: ``bytes_received`` counts in order and jumps where a loss is filled, which at
    10 Mbit/s is -2.4 to +5.9 % of a window of 3 s."""
    if not readings:
        return Counted(samples=(), counter="segments", gap_ratio=0.0)
    last = readings[-1].streams
    segments = sum(info.data_segs_in * info.rcv_mss for info in last)
    received = sum(info.bytes_received for info in last)
    gap = abs(segments - received) / received if received else 0.0
    by_bytes = any(info.rcv_mss > MOST_MSS for info in last) or segments < MERGED * received

    def bytes_of(index: int, info: TcpInfo) -> int:
        # The last MSS for all: it reads 536 until data come and is the same once they do.
        return info.bytes_received if by_bytes else info.data_segs_in * last[index].rcv_mss

    samples = (
        Sample(at_s=r.at_s, streams=tuple(bytes_of(i, info) for i, info in enumerate(r.streams))) for r in readings
    )
    return Counted(
        samples=tuple(samples), counter="bytes" if by_bytes else "segments", gap_ratio=0.0 if by_bytes else gap
    )


def summarise(samples: Sequence[Sample], discard_s: float, duration_s: float) -> Summary | None:
    """The window's figures; None where the samples do not cover it or nothing came in it."""
    if not samples:
        return None
    start_s = samples[0].at_s + discard_s
    end_s = start_s + duration_s
    if samples[-1].at_s < end_s - _SLACK_S:
        return None
    end_s = min(end_s, samples[-1].at_s)
    inner = [s for s in samples if start_s < s.at_s < end_s]
    times = [start_s, *(s.at_s for s in inner), end_s]
    points = [_streams_at(samples, at_s) for at_s in times]
    totals = [sum(point) for point in points]
    moved = totals[-1] - totals[0]
    if moved <= 0:
        return None
    rates = sorted(
        (b - a) * 8 / (t - s) for (a, b), (s, t) in zip(pairwise(totals), pairwise(times), strict=True) if t > s
    )
    shares = [(b - a) / moved for a, b in zip(points[0], points[-1], strict=True)]
    return Summary(
        bps=round(moved * 8 / (end_s - start_s)),
        p5_bps=round(_rank(rates, 5)),
        p95_bps=round(_rank(rates, 95)),
        bytes=round(moved),
        share_min=min(shares),
        share_max=max(shares),
    )


def shut_share(sent: Sequence[Reading], discard_s: float) -> float | None:
    """Of the time after the discard, how much the sender waited for the receiver's window, over all streams."""
    return _grown(sent, discard_s, lambda info: info.rwnd_limited_us)


def idle_share(sent: Sequence[Reading], discard_s: float) -> float | None:
    """Of the time after the discard, how much the sender had nothing to send, over all streams."""
    busy = _grown(sent, discard_s, lambda info: info.busy_us)
    return None if busy is None else max(0.0, 1.0 - busy)


def on_the_link(info: TcpInfo, headers: int) -> int:
    """Bytes that came by a stream, with so many of headers a segment. While a loss is open, what came behind it is in
    the segments alone: 4 MB at 800 Mbit/s and 40 ms, which would be taken for another's."""
    return max(info.bytes_received, info.data_segs_in * info.rcv_mss) + info.data_segs_in * headers


def _grown(readings: Sequence[Reading], discard_s: float, us_of: Callable[[TcpInfo], int]) -> float | None:
    """How fast a time grew, as a share of the time that went by; None where the readings do not say."""
    kept = [r for r in readings if r.at_s >= readings[0].at_s + discard_s]
    if len(kept) < 2 or kept[-1].at_s <= kept[0].at_s or not kept[0].streams:
        return None
    streams = len(kept[0].streams)
    grown_us = sum(us_of(i) for i in kept[-1].streams[:streams]) - sum(us_of(i) for i in kept[0].streams)
    return grown_us / 1e6 / streams / (kept[-1].at_s - kept[0].at_s)


def _rank(ordered: list[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _streams_at(samples: Sequence[Sample], at_s: float) -> tuple[float, ...]:
    """Bytes by stream at any moment, in a straight line between two samples."""
    most = max(len(s.streams) for s in samples)
    right = min(bisect_left(samples, at_s, key=lambda s: s.at_s), len(samples) - 1)
    left = max(0, right - 1)
    a, b = samples[left], samples[right]
    part = 1.0 if b.at_s <= a.at_s else min(1.0, max(0.0, (at_s - a.at_s) / (b.at_s - a.at_s)))
    before = a.streams + (0,) * (most - len(a.streams))
    after = b.streams + (0,) * (most - len(b.streams))
    return tuple(x + (y - x) * part for x, y in zip(before, after, strict=True))
