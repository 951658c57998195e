"""How is a batch of packets read, all at once?

NumPy looks at every packet's header together; Python then looks at those that say what was not said before, and at
packets whose counter is in error. Below some 350 packets the plain engine is faster.
"""

from __future__ import annotations

import numpy as np

from balise_agent.net.mpegts import batch_starts, batch_tables, plain
from balise_agent.net.mpegts.batch_clocks import clocks
from balise_agent.net.mpegts.batch_times import Times
from balise_agent.net.mpegts.continuity import Break, Counter
from balise_agent.net.mpegts.heads import (
    COUNTER,
    DAMAGED,
    SCRAMBLED,
    Array,
    Heads,
    are_packets,
    first_words,
    heads,
    lookup,
)
from balise_agent.net.mpegts.packet import DISCONTINUITY, NULL_PID, RANDOM_ACCESS, SIZE, header
from balise_agent.net.mpegts.reading import Reading
from balise_agent.net.mpegts.stream import Stream

FEWEST = 350
_NEAREST = 256
_SI = lookup(batch_tables.SI_TABLES)

_Found = dict[int, Break | bool]


class Reader:
    """Where the step is looked for first, the headers are kept: of a file's bytes no other cost is as high as that they
    come from memory, and so once is enough."""

    def __init__(self) -> None:
        self._looked_at: tuple[bytes, Array] | None = None

    def are_packets(self, data: bytes) -> bool:
        """Whether each of so many has its sync byte."""
        self._looked_at = data, first_words(data)
        return are_packets(self._looked_at[1])

    def read(self, stream: Stream, data: bytes) -> None:
        """Few packets are read faster one by one."""
        looked_at, self._looked_at = self._looked_at, None
        if len(data) < FEWEST * SIZE:
            plain.read(stream, data)
        elif looked_at is not None and looked_at[0] is data:
            read(stream, data, looked_at[1])
        else:
            read(stream, data, first_words(data))


def read(stream: Stream, data: bytes, words: Array) -> None:
    """Whole packets, each with its sync byte; the same as `plain.read`."""
    batch = heads(data, words, stream.index)
    _count(stream, batch)
    found = _counters(stream, batch)
    breaks = sorted(one for one in found.values() if isinstance(one, Break))
    for one in breaks:
        if one.missing:
            stream.reading.lost_at(one.at)
    clocks(stream, batch, found)
    batch_tables.read_service_information(stream, batch, found)
    _events(stream, batch, found)
    stream.end_batch(breaks, len(batch.words))


def _count(stream: Stream, batch: Heads) -> None:
    for pid, (start, end) in batch.groups.items():
        stream.packets[pid] += end - start
    if batch.marks & SCRAMBLED:
        scrambled = batch.words & SCRAMBLED != 0
        for pid, packets in zip(*np.unique(batch.pids[scrambled], return_counts=True), strict=True):
            stream.scrambled[int(pid)] += int(packets)


def _counters(stream: Stream, batch: Heads) -> _Found:
    """What is not as it should be, by the packet's index: breaks and repeats."""
    found: _Found = {}
    wrong = _wrong(stream, batch)
    for nth, is_first in zip(wrong.tolist(), _begins_run(batch, wrong), strict=True):
        place = int(batch.order[nth])
        packet, index = batch.packet(place), batch.index + place
        if is_first:  # what is before it in its PID is right, and was not looked at
            _carry(stream, batch, int(batch.order[nth - 1]))
        what = stream.continuity.step(index, header(packet), packet)
        if what is not False:
            found[index] = what
    ends = {end for _, end in batch.groups.values()} - set((wrong + 1).tolist())
    for end in ends:
        _carry(stream, batch, int(batch.order[end - 1]))
    return found


def _wrong(stream: Stream, batch: Heads) -> Array:
    """Which in the batch's order do not have the counter that follows the one before in their PID."""
    words = batch.words.astype(np.uint8)[batch.order]
    counters, before = words & COUNTER, np.empty_like(words)
    before[1:] = counters[:-1]
    own = words >> 4 & 1  # a packet with payload counts
    for pid, (start, _) in batch.groups.items():
        counter = stream.continuity.of.get(pid)
        before[start] = int(words[start]) - int(own[start]) & COUNTER if counter is None else counter.last
    wrong = np.flatnonzero((counters - before - own) & COUNTER)
    if NULL_PID in batch.groups:  # the last PID
        wrong = wrong[: np.searchsorted(wrong, batch.groups[NULL_PID][0])]
    return wrong[batch.flags[batch.order[wrong]] & DISCONTINUITY == 0]


def _begins_run(batch: Heads, wrong: Array) -> list[bool]:
    """Of each: whether the one before it in its PID is in this batch, and right."""
    starts = {start for start, _ in batch.groups.values()}
    after = set((wrong + 1).tolist())
    return [nth not in starts and nth not in after for nth in wrong.tolist()]


def _carry(stream: Stream, batch: Heads, place: int) -> None:
    """A packet whose counter is right is the last one of its PID."""
    pid = int(batch.pids[place])
    if pid == NULL_PID:
        return
    packet, index, last = batch.packet(place), batch.index + place, int(batch.words[place]) & COUNTER
    counter = stream.continuity.of.get(pid)
    if counter is None:
        stream.continuity.of[pid] = Counter(last, packet, index)
    else:
        counter.last, counter.packet, counter.index, counter.repeats = last, packet, index, 0


def _events(stream: Stream, batch: Heads, found: _Found) -> None:
    """Hands over what is wanted, in order; what changes the wishes changes them from the next packet on."""
    reading, at, reach = stream.reading, 0, len(batch.words)
    dates = Times(stream.timeline)  # the batch's clocks are read: nothing changes it any more
    begun = batch_starts.begun(batch, [index - batch.index for index, what in found.items() if what is True])
    while at < len(batch.words):
        wishes, of = reading.wishes, batch_starts.wanted(reading)
        end, reach = min(len(batch.words), at + reach), reach * 2
        again = list(batch_tables.repeated(stream, batch, at, found))
        for place in _wanted(reading, batch, at, end, {one.pid for one in again}):
            packet, index = batch.packet(place), batch.index + place
            reading.take(index, header(packet), packet, found.get(index, False))
            if reading.wishes != wishes:
                end, reach = place + 1, max(_NEAREST, reach // 4)  # who changes them each packet costs no more
                break
        batch_tables.count(stream, batch, again, end, dates)
        first, last = np.searchsorted(begun, (at, end))
        batch_starts.begin(reading, batch, begun[first:last], of, dates)
        at = end


def _wanted(reading: Reading, batch: Heads, at: int, end: int, again: set[int]) -> list[int]:
    """Places of packets that say something beside their counter and the start of a PES packet."""
    words = batch.words[at:end]
    parts = [np.flatnonzero(words & DAMAGED) + at] if batch.marks & DAMAGED else []
    for pid in reading.psi_pids - batch_tables.SI_TABLES - again:
        places = batch.places(pid)
        parts.append(places[np.searchsorted(places, at) : np.searchsorted(places, end)])
    if reading.video_pids:
        places = batch.adapted[np.searchsorted(batch.adapted, at) : np.searchsorted(batch.adapted, end)]
        accessible = batch.flags[places] & RANDOM_ACCESS != 0
        parts.append(places[accessible & lookup(reading.video_pids)[batch.pids[places]]])
    if reading.scanned_pids:
        places = batch.starting[np.searchsorted(batch.starting, at) : np.searchsorted(batch.starting, end)]
        parts.append(places[lookup(reading.scanned_pids)[batch.pids[places]]])
    if not parts:
        return []
    places = np.unique(np.concatenate(parts))
    return list(places[~_SI[batch.pids[places]]].tolist())
