"""How are the clock references of a batch read, PID by PID?

All of a PID's at once where none jumps, is damaged or comes twice; else one by one, as the plain engine does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.heads import DAMAGED, Array, Groups, Heads, by_pid, gaps
from balise_agent.net.mpegts.packet import DISCONTINUITY, HAS_PCR, NS_PER_TICK, PCR_WRAP, header
from balise_agent.net.mpegts.reading import MOST_POINTS, PCR_LIMITS_MS, TICKS_A_MS, Clock
from balise_agent.net.mpegts.steady import Rate, off, within
from balise_agent.net.mpegts.stream import Stream

_NS_A_MS = 1_000_000


class _Intervals(NamedTuple):
    """From each clock reference to the next, in packets and ticks; sorted by PID."""

    groups: Groups
    clocks: list[Clock]
    indices: Array
    values: Array
    packets: Array
    passed: Array
    lossy: Array


class _Sums(NamedTuple):
    """Of one PID's intervals. ``is_even``: all of them are of the rate that is known."""

    longest_ms: float
    above: int
    packets: int
    passed: int
    is_even: bool


def clocks(stream: Stream, heads: Heads, found: dict[int, Break | bool]) -> None:
    """The same as `Reading.clock` for each."""
    places = heads.adapted[heads.flags[heads.adapted] & HAS_PCR != 0]
    places = places[heads.packets[places, 4] >= 7]
    if not len(places):
        return
    places = places[np.argsort(heads.pids[places], kind="stable")]
    sound = heads.words[places] & DAMAGED == 0
    if again := [index - heads.index for index, what in found.items() if what is True]:
        sound &= ~np.isin(places, again)
    of = _intervals(stream, heads, places)
    sums, odd = _sums(of), _are_odd(of, sound & (heads.flags[places] & DISCONTINUITY == 0))
    # The PID whose clock dates packets goes first; where none does yet, it is the first that is sound.
    firsts = np.minimum.reduceat(np.where(sound, places, len(heads.words)), of.groups.starts).tolist()
    pids, dates = of.groups.pids, stream.timeline.dates
    for nth in sorted(range(len(pids)), key=lambda nth: (not dates(pids[nth]), firsts[nth])):
        if not odd[nth]:
            _follow(stream, of, nth, sums[nth])
            continue
        for place in places[of.groups.starts[nth] : of.groups.ends[nth]].tolist():
            packet, index = heads.packet(place), heads.index + place
            stream.reading.clock(index, header(packet), packet, found.get(index, False))


def _intervals(stream: Stream, heads: Heads, places: Array) -> _Intervals:
    groups, losses = by_pid(heads.pids[places]), stream.reading.losses
    clocks = [stream.reading.clocks.get(pid) or Clock() for pid in groups.pids]
    indices, values = places + heads.index, _pcrs(heads.packets[places, 6:12])
    own = zip(clocks, indices[groups.starts].tolist(), values[groups.starts].tolist(), strict=True)
    before = [(index, value) if one.last is None else (one.index, one.last) for one, index, value in own]
    packets = gaps(indices, groups.starts, [index for index, _ in before])
    passed = gaps(values, groups.starts, [value for _, value in before]) % PCR_WRAP
    lossy: Array = np.zeros(len(places), bool)
    if losses:
        lossy = np.searchsorted(losses, indices, "right") > np.searchsorted(losses, indices - packets, "right")
    return _Intervals(groups, clocks, indices, values, packets, passed, lossy)


def _are_odd(of: _Intervals, sound: Array) -> list[bool]:
    """Of each PID whether there is something about its clock that wants a closer look."""
    odd = (of.passed == 0) | (of.passed > PCR_LIMITS_MS[1] * TICKS_A_MS)
    odd[[start for start, clock in zip(of.groups.starts, of.clocks, strict=True) if clock.last is None]] = False
    return list(np.logical_or.reduceat(odd | ~sound, of.groups.starts).tolist())


def _sums(of: _Intervals) -> list[_Sums]:
    starts = of.groups.starts
    nominal = np.repeat([clock.rate.nominal for clock in of.clocks], np.diff([*starts, len(of.indices)]))
    fits = np.abs(off(of.packets, of.passed, nominal)) <= within(of.packets)
    columns = (
        np.maximum.reduceat(of.passed, starts) / TICKS_A_MS,
        np.add.reduceat(of.passed > PCR_LIMITS_MS[0] * TICKS_A_MS, starts, dtype=np.intp),
        np.add.reduceat(of.packets, starts),
        np.add.reduceat(of.passed, starts),
        np.logical_and.reduceat(fits & ~of.lossy & (nominal > 0), starts),
    )
    return [_Sums(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]


def _follow(stream: Stream, of: _Intervals, nth: int, sums: _Sums) -> None:
    """A PID's clock goes on as it should."""
    pid, clock, start, end = of.groups.pids[nth], of.clocks[nth], of.groups.starts[nth], of.groups.ends[nth]
    count, is_first = end - start, clock.last is None
    indices, values, passed = of.indices[start:end], of.values[start:end], of.passed[start:end]
    stream.reading.clocks[pid] = clock
    stream.reading.firsts.setdefault("pcr", stream.timeline.at(int(indices[0])))
    _date(stream, pid, indices, values, passed)
    clock.count += count
    clock.last, clock.index = int(values[-1]), int(indices[-1])
    if stream.timeline.is_live:
        _points(stream, clock, indices, passed)
    if count == is_first:
        return
    clock.longest_ms = max(clock.longest_ms or 0.0, sums.longest_ms)
    clock.above[0] += sums.above
    if sums.is_even:
        fit = (count, sums.packets, sums.passed)
        clock.rate.add_judged(fit, (0, 0, 0), 0, fit)
    else:
        _rate(clock.rate, of.packets[start:end], passed, of.lossy[start:end])


def _pcrs(rows: Array) -> Array:
    """`packet.pcr` of each: of its six bytes."""
    wide = rows.astype(np.int64)
    base = wide[:, 0] << 25 | wide[:, 1] << 17 | wide[:, 2] << 9 | wide[:, 3] << 1 | wide[:, 4] >> 7
    return base * 300 + ((wide[:, 4] & 1) << 8 | wide[:, 5])


def _date(stream: Stream, pid: int, indices: Array, values: Array, passed: Array) -> None:
    """`Timeline.clock` of each: one after the other, as a running sum does too."""
    timeline = stream.timeline
    if timeline.is_live or not timeline.follows(pid):
        return
    if timeline.last_index is None:
        timeline.clock(int(indices[0]), pid, int(values[0]), jumps=False)
        indices, values, passed = indices[1:], values[1:], passed[1:]
    before = timeline.last_index
    if before is None or not len(values):
        return
    lengths_ns = passed * NS_PER_TICK
    base_ns = np.cumsum(np.append(timeline.at(before), lengths_ns))[1:]
    each_ns = lengths_ns / gaps(indices, [0], [before])
    timeline.turn(pid, indices.tolist(), base_ns.tolist(), each_ns.tolist(), int(values[-1]))


def _points(stream: Stream, clock: Clock, indices: Array, passed: Array) -> None:
    """Of a live stream arrivals are compared with the clock."""
    elapsed_ms = np.cumsum(np.append(clock.elapsed_ms, passed / TICKS_A_MS))[1:]
    clock.elapsed_ms = float(elapsed_ms[-1])
    room = MOST_POINTS - len(clock.points)
    for index, at_ms in zip(indices[:room].tolist(), elapsed_ms.tolist(), strict=False):
        clock.points.append((at_ms, stream.timeline.at(index) / _NS_A_MS))


def _rate(rate: Rate, packets: Array, ticks: Array, lossy: Array) -> None:
    """`Rate.add` of each."""
    nth = 0
    while not rate.nominal and nth < len(ticks):
        rate.add(int(packets[nth]), int(ticks[nth]), is_lossy=bool(lossy[nth]))
        nth += 1
    if nth == len(ticks):
        return
    packets, ticks, lossy = packets[nth:], ticks[nth:], lossy[nth:]
    away, allowed = off(packets, ticks, rate.nominal), within(packets)
    short = lossy | (away < -allowed)
    odd = ~short & (away > allowed)
    parts = (~(short | odd), short, ~lossy)
    sums = [(int(one.sum()), int(packets[one].sum()), int(ticks[one].sum())) for one in parts]
    rate.add_judged(sums[0], sums[1], int(odd.sum()), sums[2])
