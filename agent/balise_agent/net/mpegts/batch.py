"""How is a batch of packets read, all at once?

NumPy looks at every packet's header together; Python then looks at those that say more, and at all packets of a PID
whose counter is in error anywhere in the batch. Below some 350 packets the plain engine is faster.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from balise_agent.net.mpegts.continuity import Break, Counter
from balise_agent.net.mpegts.packet import DISCONTINUITY, HAS_PCR, NULL_PID, PCR_WRAP, RANDOM_ACCESS, SIZE, header
from balise_agent.net.mpegts.reading import PCR_LIMITS_MS, PID_LIMIT_MS, PTS_LIMIT_MS, Interval, Reading
from balise_agent.net.mpegts.stream import Stream

FEWEST = 350
_PIDS = 1 << 13
_Array = Any  # of NumPy, whose types say nothing here


def read(stream: Stream, data: bytes) -> None:
    """Whole packets, each with its sync byte; the same as `plain.read`."""
    packets = np.frombuffer(data, np.uint8).reshape(-1, SIZE)
    second, fourth = packets[:, 1], packets[:, 3]
    pids = (second & 0x1F).astype(np.uint16) << 8 | packets[:, 2]
    flags = np.where((fourth & 0x20 != 0) & (packets[:, 4] > 0), packets[:, 5], 0)
    _count(stream, pids, fourth)
    found = _counters(stream, data, pids, fourth, flags)
    for one in found.values():
        if isinstance(one, Break) and one.missing:
            stream.reading.lost_at(one.at)
    _clocks(stream, data, packets, pids, flags, found)
    _events(stream, data, packets, pids, flags, found)
    stream.end_batch([one for one in found.values() if isinstance(one, Break)], len(packets))


def _count(stream: Stream, pids: _Array, fourth: _Array) -> None:
    counts = np.bincount(pids)
    for pid in np.flatnonzero(counts):
        stream.packets[int(pid)] += int(counts[pid])
    scrambled = np.bincount(pids[fourth > 0x3F])
    for pid in np.flatnonzero(scrambled):
        stream.scrambled[int(pid)] += int(scrambled[pid])


def _counters(stream: Stream, data: bytes, pids: _Array, fourth: _Array, flags: _Array) -> dict[int, Break | bool]:
    """What is not as it should be, by the packet's index: breaks and repeats."""
    order = np.argsort(pids, kind="stable")
    of, counters = pids[order], (fourth & 0x0F)[order]
    starts = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))
    ends = np.concatenate((starts[1:], [len(of)]))
    known = [stream.continuity.of.get(int(of[start])) for start in starts]
    before = np.empty_like(counters)
    before[1:] = counters[:-1]
    before[starts] = [0 if counter is None else counter.last for counter in known]
    wrong = (counters != (before + (fourth[order] & 0x10 != 0)) & 0x0F) & (flags[order] & DISCONTINUITY == 0)
    wrong[starts[[counter is None for counter in known]]] = False
    errors = np.concatenate(([0], np.cumsum(wrong)))
    found: dict[int, Break | bool] = {}
    for start, end, counter in zip(starts, ends, known, strict=True):
        pid = int(of[start])
        if pid == NULL_PID:
            continue
        if errors[end] > errors[start]:
            _carefully(stream, data, order[start:end], found)
        else:
            _carry(stream, data, pid, counter, int(order[end - 1]), int(counters[end - 1]))
    return found


def _carefully(stream: Stream, data: bytes, places: _Array, found: dict[int, Break | bool]) -> None:
    for place in places.tolist():
        packet = data[place * SIZE : place * SIZE + SIZE]
        index = stream.index + place
        what = stream.continuity.step(index, header(packet), packet)
        if what is not False:
            found[index] = what


def _carry(stream: Stream, data: bytes, pid: int, counter: Counter | None, place: int, last: int) -> None:
    """The last packet of a PID, copied: the batch's memory is used again."""
    packet, index = data[place * SIZE : place * SIZE + SIZE], stream.index + place
    if counter is None:
        stream.continuity.of[pid] = Counter(last, packet, index)
    else:
        counter.last, counter.packet, counter.index, counter.repeats = last, packet, index, 0


def _clocks(
    stream: Stream, data: bytes, packets: _Array, pids: _Array, flags: _Array, found: dict[int, Break | bool]
) -> None:
    """Clock references, PID by PID, the one that dates packets as it comes first."""
    places = np.flatnonzero((flags & HAS_PCR != 0) & (packets[:, 4] >= 7))
    if not len(places):
        return
    for pid in dict.fromkeys(pids[places].tolist()):
        mine = places[pids[places] == pid]
        if not _run(stream, pid, packets[mine], mine + stream.index, flags[mine], found):
            for place in mine.tolist():
                packet, index = data[place * SIZE : place * SIZE + SIZE], stream.index + place
                stream.reading.clock(index, header(packet), packet, found.get(index, False))


def _run(
    stream: Stream, pid: int, rows: _Array, indices: _Array, flags: _Array, found: dict[int, Break | bool]
) -> bool:
    """The clock references of a PID all at once; False: there is something about them that wants a closer look."""
    if stream.timeline.is_live or (rows[:, 1] & 0x80).any() or (flags & DISCONTINUITY).any():
        return False
    if found and any(found.get(index) is True for index in indices.tolist()):
        return False
    values = _pcrs(rows)
    clock = stream.reading.clocks.get(pid)
    if clock is None or clock.last is None:
        before, index = values[0], indices[0]
    else:
        before, index = clock.last, clock.index
    passed = np.diff(values, prepend=before) % PCR_WRAP
    packets = np.diff(indices, prepend=index)
    fresh = clock is None or clock.last is None
    if (passed[int(fresh) :] <= 0).any() or (passed > PCR_LIMITS_MS[1] * 27_000).any():
        return False
    stream.reading.run(pid, indices.tolist(), values.tolist(), passed.tolist(), packets.tolist())
    return True


def _pcrs(rows: _Array) -> _Array:
    """`packet.pcr` of each."""
    wide = rows[:, 6:12].astype(np.int64)
    base = wide[:, 0] << 25 | wide[:, 1] << 17 | wide[:, 2] << 9 | wide[:, 3] << 1 | wide[:, 4] >> 7
    return base * 300 + ((wide[:, 4] & 1) << 8 | wide[:, 5])


def _events(
    stream: Stream, data: bytes, packets: _Array, pids: _Array, flags: _Array, found: dict[int, Break | bool]
) -> None:
    """Hands over what is wanted, in order; what changes the wishes changes them from the next packet on."""
    reading, at, total = stream.reading, 0, len(pids)
    asked = packets[:, 1] & 0x80 != 0
    starts, accessible = packets[:, 1] & 0x40 != 0, flags & RANDOM_ACCESS != 0
    while at < total:
        wishes, end = reading.wishes, total
        sound = _lookup(reading.av_pids)
        part = pids[at:]
        wanted = asked[at:] | _lookup(reading.psi_pids)[part]
        if reading.video_pids:
            wanted |= accessible[at:] & _lookup(reading.video_pids)[part]
        if reading.scanned_pids:
            wanted |= starts[at:] & _lookup(reading.scanned_pids)[part]
        for place in (np.flatnonzero(wanted) + at).tolist():
            packet, index = data[place * SIZE : place * SIZE + SIZE], stream.index + place
            reading.take(index, header(packet), packet, found.get(index, False))
            if reading.wishes != wishes:
                end = place + 1
                break
        begun = np.flatnonzero(starts[at:end] & sound[pids[at:end]]) + at
        _begin(stream, packets, begun, pids, found)
        at = end


def _begin(stream: Stream, packets: _Array, begun: _Array, pids: _Array, found: dict[int, Break | bool]) -> None:
    """PES packets of videos and sounds that begin, PID by PID; the same as `Reading.begins` for each."""
    begun = begun[(packets[begun, 1] & 0x80 == 0) & (packets[begun, 3] < 0x40)]
    if found:
        repeats = [index - stream.index for index, what in found.items() if what is True]
        begun = begun[~np.isin(begun, repeats)]
    if not len(begun):
        return
    starts, base_ns, each_ns = map(np.asarray, stream.timeline.parts())
    indices = begun + stream.index
    part = np.maximum(np.searchsorted(starts, indices, "right") - 1, 0)
    times_ns = base_ns[part] + (indices - starts[part]) * each_ns[part]
    dated, of = _has_pts(packets, begun), pids[begun]
    for pid in np.unique(of).tolist():
        if pid in stream.reading.starts:
            mine = of == pid
            _begin_one(stream.reading, pid, indices[mine], times_ns[mine], dated[mine])


def _begin_one(reading: Reading, pid: int, indices: _Array, times_ns: _Array, dated: _Array) -> None:
    for place, passed_ms in _see(reading.starts[pid], times_ns, PID_LIMIT_MS):
        reading.gone(int(indices[place]), pid, passed_ms)
    if dated.any():
        _see(reading.pts.setdefault(pid, Interval()), times_ns[dated], PTS_LIMIT_MS)
    if pid in reading.video_pids:
        reading.firsts.setdefault("pes", float(times_ns[0]))


def _see(interval: Interval, times_ns: _Array, limit_ms: float) -> list[tuple[int, float]]:
    """`Interval.see` for each; which were later than the limit, and by how much."""
    last_ns = interval.last_ns
    before = np.concatenate(([times_ns[0] if last_ns is None else last_ns], times_ns[:-1]))
    passed_ms = (times_ns - before) / 1_000_000
    interval.last_ns = float(times_ns[-1])
    interval.count += len(times_ns)
    if last_ns is None:
        passed_ms[0] = 0.0
    if last_ns is not None or len(times_ns) > 1:
        interval.longest_ms = max(interval.longest_ms or 0.0, float(passed_ms.max()))
    return [(int(place), float(passed_ms[place])) for place in np.flatnonzero(passed_ms > limit_ms)]


def _has_pts(packets: _Array, places: _Array) -> _Array:
    """`packet.has_pts` of each packet's payload."""
    rows = packets[places]
    begins = np.where(rows[:, 3] & 0x20 != 0, 5 + rows[:, 4].astype(np.intp), 4)
    fits = (rows[:, 3] & 0x10 != 0) & (begins < SIZE - 13)
    begins, row = np.where(fits, begins, 0), np.arange(len(rows))
    is_pes = (rows[row, begins] == 0) & (rows[row, begins + 1] == 0) & (rows[row, begins + 2] == 1)
    return fits & is_pes & (rows[row, begins + 6] >> 6 == 2) & (rows[row, begins + 7] & 0x80 != 0)


def _lookup(pids: Collection[int]) -> _Array:
    found = np.zeros(_PIDS, bool)
    found[list(pids)] = True
    return found
