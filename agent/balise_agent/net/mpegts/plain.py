"""How is a batch of packets read, one after the other?

The engine where NumPy is absent: 3 million packets a second, 0.2 % of a core for one channel. The other one is held
to the same results.
"""

from __future__ import annotations

from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.packet import HAS_PCR, SIZE, has_pts, header
from balise_agent.net.mpegts.stream import Stream


def read(stream: Stream, data: bytes) -> None:
    """Whole packets, each with its sync byte."""
    reading, continuity, first = stream.reading, stream.continuity, stream.index
    breaks: list[Break] = []
    for at in range(0, len(data), SIZE):
        packet, index = data[at : at + SIZE], first + at // SIZE
        head = header(packet)
        stream.packets[head.pid] += 1
        if head.scrambling:
            stream.scrambled[head.pid] += 1
        found = continuity.step(index, head, packet)
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
    stream.end_batch(breaks, len(data) // SIZE)
