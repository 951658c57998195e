"""Do round trips hint that the line is idle?

For homes whose box does not tell how much it carries. Pure: echoes of the steady rung come in as they are answered or
lost; the hint is the median of the last 10 s against the 10th percentile of 24 h.

Rule 1: it is a hint: a call of 80 kbit/s, or a download on a fast line, moves no round trip. What rests on it says so.
Rule 2: with less than an hour behind it, it says nothing.
"""

from __future__ import annotations

from collections import Counter, deque

NOW_MS = 10_000
FEWEST_NOW = 4  # of the six that 1.5 s apart come in 10 s
RISE_US = 3_000
HOUR_MS = 3_600_000
HOURS = 24
GRAIN_US = 100
LOW = 0.10


class Hint:
    """The echoes of one rung."""

    def __init__(self) -> None:
        self._now: deque[tuple[int, int | None]] = deque(maxlen=64)
        self._hours: deque[tuple[int, Counter[int]]] = deque(maxlen=HOURS + 1)
        self._since_ms: int | None = None

    def answered(self, at_ms: int, rtt_us: int) -> None:
        """An echo came back."""
        self._now.append((at_ms, rtt_us))
        self._since_ms = at_ms if self._since_ms is None else min(self._since_ms, at_ms)
        hour = at_ms // HOUR_MS
        if not self._hours or self._hours[-1][0] != hour:
            self._hours.append((hour, Counter()))
        self._hours[-1][1][rtt_us // GRAIN_US] += 1

    def lost(self, at_ms: int) -> None:
        """An echo did not."""
        self._now.append((at_ms, None))

    def latest(self, at_ms: int) -> list[tuple[int, int | None]]:
        """The echoes of the last 10 s: when each was sent, and what it took; None: lost."""
        return [(sent_ms, rtt_us) for sent_ms, rtt_us in self._now if at_ms - sent_ms <= NOW_MS]

    def knows(self, at_ms: int) -> bool:
        """Whether there is an hour to compare with, and something to compare."""
        return self._low_us(at_ms) is not None and bool(self.latest(at_ms))

    def is_idle(self, at_ms: int) -> bool:
        """Whether round trips are as short as they are when nobody is there, and none is lost."""
        latest = self.latest(at_ms)
        answered = sorted(rtt for _, rtt in latest if rtt is not None)
        low_us = self._low_us(at_ms)
        if low_us is None or len(answered) < FEWEST_NOW or len(answered) < len(latest):
            return False
        return answered[len(answered) // 2] <= low_us + RISE_US

    def _low_us(self, at_ms: int) -> int | None:
        if self._since_ms is None or at_ms - self._since_ms < HOUR_MS:
            return None
        oldest = at_ms // HOUR_MS - HOURS
        counts: Counter[int] = sum((count for hour, count in self._hours if hour > oldest), Counter())
        left = LOW * counts.total()
        for grain in sorted(counts):
            left -= counts[grain]
            if left <= 0:
                return grain * GRAIN_US
        return None
