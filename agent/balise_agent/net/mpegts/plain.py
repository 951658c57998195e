"""How is a batch of packets read, one after the other?

The engine where NumPy is absent, and of a single channel. Most packets carry payload, follow the one before them and
say nothing else: those are counted without a closer look. The other engine is held to the same results.
"""

from __future__ import annotations

from balise_agent.net.mpegts.continuity import Break, Counter
from balise_agent.net.mpegts.packet import HAS_PCR, NULL_PID, SIZE, has_pts, header
from balise_agent.net.mpegts.stream import Stream

_DUE = tuple(0x10 | following & 15 for following in range(1, 17))


def read(stream: Stream, data: bytes) -> None:
    """Whole packets, each with its sync byte."""
    counters, counts, reading = stream.continuity.of, stream.packets, stream.reading
    breaks: list[Break] = []
    run: tuple[Counter, int] | None = None  # ordinary packets of one PID that follow each other: its counter, the first
    same, due, pid, index = (-1, -1), -1, NULL_PID, stream.index
    for second, third, fourth in zip(data[1::SIZE], data[2::SIZE], data[3::SIZE], strict=True):
        if fourth == due and (second, third) == same:
            due = _DUE[fourth & 15]
            index += 1
            continue
        if run is not None:
            counts[pid] += _end(*run, index, stream.index, data)
            run, due = None, -1
        pid = (second & 0x1F) << 8 | third
        is_ordinary = fourth & 0xF0 == 0x10 and not second & 0xC0 and pid not in reading.psi_pids
        if is_ordinary:  # payload, and nothing else
            counter = counters.get(pid)
            if counter is not None and (fourth - counter.last) & 15 == 1:
                run, same, due = (counter, index), (second, third), _DUE[fourth & 15]
                index += 1
                continue
        counts[pid] += 1
        if pid != NULL_PID or not is_ordinary:
            at = (index - stream.index) * SIZE
            _closely(stream, index, data[at : at + SIZE], breaks)
        index += 1
    if run is not None:
        counts[pid] += _end(*run, index, stream.index, data)
    stream.end_batch(breaks, len(data) // SIZE)


def _end(counter: Counter, first: int, index: int, start: int, data: bytes) -> int:
    """A run is over before this packet: how many it had."""
    at = (index - 1 - start) * SIZE
    counter.last, counter.packet, counter.index = data[at + 3] & 15, data[at : at + SIZE], index - 1
    counter.repeats = 0
    return index - first


def _closely(stream: Stream, index: int, packet: bytes, breaks: list[Break]) -> None:
    """All that a packet can say."""
    reading, head = stream.reading, header(packet)
    if head.scrambling:
        stream.scrambled[head.pid] += 1
    found = stream.continuity.step(index, head, packet)
    if isinstance(found, Break):
        breaks.append(found)
        if found.missing:
            reading.lost_at(index)
    if head.flags & HAS_PCR:
        reading.clock(index, head, packet, found)
    if reading.is_wanted(head):
        reading.take(index, head, packet, found)
    if head.starts and head.pid in reading.av_pids and not (head.damaged or head.scrambling or found is True):
        reading.begins(index, head.pid, has_pts=has_pts(packet[head.payload : SIZE]))
