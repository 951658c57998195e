"""How is a batch of packets read, one after the other?

The engine where NumPy is absent, and of a single channel. Most packets carry payload, follow the one before them and
say nothing else: those are counted without a closer look. The other engine is held to the same results.
"""

from __future__ import annotations

from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.packet import HAS_PCR, NULL_PID, SIZE, has_pts, header
from balise_agent.net.mpegts.stream import Stream


def read(stream: Stream, data: bytes) -> None:
    """Whole packets, each with its sync byte."""
    counters, counts, reading = stream.continuity.of, stream.packets, stream.reading
    breaks: list[Break] = []
    index = stream.index
    for at in range(0, len(data), SIZE):
        second, fourth = data[at + 1], data[at + 3]
        pid = (second & 0x1F) << 8 | data[at + 2]
        counts[pid] += 1
        if fourth & 0xF0 == 0x10 and not second & 0xC0 and pid not in reading.psi_pids:  # payload, and nothing else
            counter = counters.get(pid)
            if counter is not None and (fourth - counter.last) & 15 == 1:
                counter.last, counter.packet, counter.index = fourth & 15, data[at : at + SIZE], index
                counter.repeats = 0
                index += 1
                continue
            if pid == NULL_PID:
                index += 1
                continue
        _closely(stream, index, data[at : at + SIZE], breaks)
        index += 1
    stream.end_batch(breaks, len(data) // SIZE)


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
