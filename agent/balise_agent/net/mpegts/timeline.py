"""When did a packet come?

Of a live stream each datagram has its arrival. Of a file nobody knows: its own clock tells, from one PCR of its first
PCR PID to the next, and between them each packet takes as long as the last ones did.

Rule 1: the same packets have the same times, whatever the cuts between batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from balise_agent.net.mpegts.packet import NS_PER_TICK, ticks

_FARTHEST_S = 10  # between two PCRs; above it the clock jumped


class Timeline:
    """From an index of a packet to ns since the first, on whatever clock there is."""

    def __init__(self) -> None:
        self._starts: list[int] = [0]
        self._base_ns: list[float] = [0.0]
        self._each_ns: list[float] = [0.0]
        self._live = False
        self._origin_ns = 0
        self._pcr: tuple[int, int, int] | None = None  # PID, index, value of the last one

    @property
    def is_live(self) -> bool:
        """Whether arrivals are known."""
        return self._live

    def arrived(self, index: int, arrival_ns: int) -> None:
        """Packets from here on came then."""
        if not self._live:
            self._live, self._origin_ns = True, arrival_ns
        self._turn(index, float(arrival_ns - self._origin_ns), 0.0)

    def arrived_run(self, index: int, each: int, arrivals_ns: Sequence[int]) -> None:
        """`arrived` for each of datagrams of so many packets."""
        self.arrived(index, arrivals_ns[0])
        origin_ns, more = self._origin_ns, len(arrivals_ns) - 1
        self._starts += range(index + each, index + each * (more + 1), each)
        self._base_ns += [float(arrival_ns - origin_ns) for arrival_ns in arrivals_ns[1:]]
        self._each_ns += [0.0] * more

    def clock(self, index: int, pid: int, value: int, *, jumps: bool) -> None:
        """A PCR of the stream."""
        if self._live or (self._pcr is not None and self._pcr[0] != pid):
            return
        if self._pcr is not None:
            _, before, last = self._pcr
            passed = ticks(value, last)
            base_ns = self.at(index)
            if not jumps and index > before and 0 < passed <= _FARTHEST_S * 27_000_000:
                each_ns = passed * NS_PER_TICK / (index - before)
                base_ns = self.at(before) + passed * NS_PER_TICK
                self._turn(index, base_ns, each_ns)
        self._pcr = (pid, index, value)

    def follows(self, pid: int) -> bool:
        """Whether this PID's clock is the one that dates packets."""
        return not self._live and (self._pcr is None or self._pcr[0] == pid)

    def dates(self, pid: int) -> bool:
        """Whether it is this PID's clock already."""
        return self._pcr is not None and self._pcr[0] == pid

    @property
    def last_index(self) -> int | None:
        """Of the last PCR that dates packets; None: there was none."""
        return None if self._pcr is None else self._pcr[1]

    def turn(self, pid: int, indices: list[int], base_ns: list[float], each_ns: list[float], value: int) -> None:
        """`clock` for many that follow the last one, what they come to worked out already. ``value``: of the last."""
        self._starts += indices
        self._base_ns += base_ns
        self._each_ns += each_ns
        self._pcr = (pid, indices[-1], value)

    def at(self, index: int) -> float:
        """In ns."""
        if index >= self._starts[-1]:
            return self._base_ns[-1] + (index - self._starts[-1]) * self._each_ns[-1]
        part = max(0, bisect_right(self._starts, index) - 1)
        return self._base_ns[part] + (index - self._starts[part]) * self._each_ns[part]

    def parts(self) -> tuple[list[int], list[float], list[float]]:
        """Where each part begins, its first packet's time and how long each takes: `at` for many at once."""
        return self._starts, self._base_ns, self._each_ns

    def forget(self, index: int) -> None:
        """Nothing before this index will be asked for, the last PCR's packet aside."""
        oldest = index if self._pcr is None else min(index, self._pcr[1])
        part = bisect_right(self._starts, oldest) - 1
        if part > 0:
            for parts in (self._starts, self._base_ns, self._each_ns):
                del parts[:part]

    def _turn(self, index: int, base_ns: float, each_ns: float) -> None:
        if index == self._starts[-1]:
            self._base_ns[-1], self._each_ns[-1] = base_ns, each_ns
            return
        self._starts.append(index)
        self._base_ns.append(base_ns)
        self._each_ns.append(each_ns)
