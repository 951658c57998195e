"""What is carried of a transport stream from one batch of packets to the next?"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from balise_agent.net.mpegts.continuity import Break, Continuity
from balise_agent.net.mpegts.reading import MOST_ERRORS, MOST_POINTS, Error, Reading
from balise_agent.net.mpegts.timeline import Timeline

_NEAR = 7  # packets in a datagram


class Stream:
    """Counts, counters, tables, clocks: all that the next packet is read with."""

    def __init__(self) -> None:
        self.index = 0  # of the next packet
        self.packets: Counter[int] = Counter()
        self.scrambled: Counter[int] = Counter()
        self.timeline = Timeline()
        self.continuity = Continuity()
        self.reading = Reading(self.timeline)
        self.local_missing = 0
        self.net_missing = 0
        self.local_breaks = 0
        self.loss_events = 0
        self.longest_missing = 0
        self._loss_index = -_NEAR
        self._missing_here = 0
        self._drops: list[int] = []

    def dropped_before(self, index: int) -> None:
        """The probe's own kernel dropped datagrams between this packet and the one before it."""
        self._drops.append(index)
        del self._drops[:-MOST_POINTS]

    def end_batch(self, breaks: Sequence[Break], packets: int) -> None:
        """Breaks of a batch in the order of their packets, whatever the engine found first."""
        for one in sorted(breaks):
            if bisect_right(self._drops, one.at) > bisect_right(self._drops, one.since):
                self.local_missing += one.missing
                self.local_breaks += 1
            else:
                self.net_missing += one.missing
                self._count(one)
                self.reading.mark(self.timeline.at(one.at))
                self._keep(one)
        self.reading.errors.sort()
        del self.reading.errors[MOST_ERRORS:]
        self.index += packets
        self.timeline.forget(self.index)
        self.reading.forget()

    def _count(self, one: Break) -> None:
        """Breaks of several PIDs within a datagram are one loss; of one that is longer, each PID tells a part."""
        if not one.missing:
            return
        if one.at - self._loss_index >= _NEAR:
            self.loss_events += 1
            self._missing_here = 0
        self._loss_index = one.at
        self._missing_here += one.missing
        self.longest_missing = max(self.longest_missing, self._missing_here)

    def _keep(self, one: Break) -> None:
        self.reading.errors.append(Error(one.at, one.pid, f"missing {one.missing}" if one.missing else "counter"))
