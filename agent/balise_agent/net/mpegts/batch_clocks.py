"""How are the clock references of a batch read, PID by PID?

All of a PID's at once where none jumps, is damaged or comes twice; else one by one, as the plain engine does.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.heads import DAMAGED, Array, Heads, gaps
from balise_agent.net.mpegts.packet import DISCONTINUITY, HAS_PCR, NS_PER_TICK, PCR_WRAP, header
from balise_agent.net.mpegts.reading import MOST_POINTS, PCR_LIMITS_MS, TICKS_A_MS, Clock
from balise_agent.net.mpegts.steady import Rate, off, within
from balise_agent.net.mpegts.stream import Stream

_NS_A_MS = 1_000_000


def clocks(stream: Stream, heads: Heads, found: dict[int, Break | bool]) -> None:
    """The same as `Reading.clock` for each."""
    places = heads.adapted[heads.flags[heads.adapted] & HAS_PCR != 0]
    places = places[heads.packets[places, 4] >= 7]
    if not len(places):
        return
    again = [index - heads.index for index, what in found.items() if what is True]
    sound = heads.words[places] & DAMAGED == 0
    if again:
        sound &= ~np.isin(places, again)
    of, dates = heads.pids[places], stream.timeline.dates
    # The PID whose clock dates packets goes first; where none does yet, it is the first that is sound.
    for pid in sorted(dict.fromkeys([*of[sound].tolist(), *of.tolist()]), key=lambda pid: not dates(pid)):
        mine = of == pid
        if not (sound[mine].all() and _run(stream, pid, heads, places[mine])):
            for place in places[mine].tolist():
                packet, index = heads.packet(place), heads.index + place
                stream.reading.clock(index, header(packet), packet, found.get(index, False))


def _run(stream: Stream, pid: int, heads: Heads, places: Array) -> bool:
    """False: there is something about them that wants a closer look."""
    if (heads.flags[places] & DISCONTINUITY).any():
        return False
    clock = stream.reading.clocks.get(pid) or Clock()
    values, indices, is_first = _pcrs(heads.packets[places, 6:12]), places + heads.index, clock.last is None
    passed = gaps(values, values[0] if clock.last is None else clock.last) % PCR_WRAP
    if (passed[int(is_first) :] == 0).any() or (passed > PCR_LIMITS_MS[1] * TICKS_A_MS).any():
        return False
    stream.reading.clocks[pid] = clock
    stream.reading.firsts.setdefault("pcr", stream.timeline.at(int(indices[0])))
    _date(stream, pid, indices, values, passed)
    since = np.append(indices[0] if is_first else clock.index, indices[:-1])
    clock.count += len(indices)
    clock.last, clock.index = int(values[-1]), int(indices[-1])
    _points(stream, clock, indices, passed)
    if len(passed) > is_first:
        kept = slice(int(is_first), None)
        _passed(clock, indices[kept], since[kept], passed[kept], stream.reading.losses)
    return True


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
    each_ns = lengths_ns / gaps(indices, before)
    timeline.turn(pid, indices.tolist(), base_ns.tolist(), each_ns.tolist(), int(values[-1]))


def _points(stream: Stream, clock: Clock, indices: Array, passed: Array) -> None:
    """Only of a live stream are arrivals compared with the clock."""
    elapsed_ms = np.cumsum(np.append(clock.elapsed_ms, passed / TICKS_A_MS))[1:]
    clock.elapsed_ms = float(elapsed_ms[-1])
    if stream.timeline.is_live:
        room = MOST_POINTS - len(clock.points)
        for index, at_ms in zip(indices[:room].tolist(), elapsed_ms.tolist(), strict=False):
            clock.points.append((at_ms, stream.timeline.at(index) / _NS_A_MS))


def _passed(clock: Clock, indices: Array, since: Array, passed: Array, losses: list[int]) -> None:
    """How long each interval took, and whether something was lost in it."""
    passed_ms = passed / TICKS_A_MS
    clock.longest_ms = max(clock.longest_ms or 0.0, float(passed_ms.max()))
    clock.above[0] += int((passed_ms > PCR_LIMITS_MS[0]).sum())
    lossy: Array = np.zeros(len(passed), bool)
    if losses and bisect_right(losses, int(indices[-1])) > bisect_right(losses, int(since[0])):
        lossy = np.searchsorted(losses, indices, "right") > np.searchsorted(losses, since, "right")
    _rate(clock.rate, indices - since, passed, lossy)


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
