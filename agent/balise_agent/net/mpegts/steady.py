"""Is a stream's rate constant, and how many packets should then have come between two clock references?

A reference stands on a packet, so an interval of a constant rate has the packets that its time is worth, but for one.
An interval with fewer has lost some, null packets too, which no counter tells of.

Rule 1: the first intervals fix the rate by their median, which losses in some of them do not move.
"""

from __future__ import annotations

from statistics import median
from typing import Any

_FIRST = 64  # 1.3 to 2.5 s
_ROUNDING = 1.5  # packets
_FINE = 0.002  # of an interval's packets: what the median of rounded rates may be off
_MOST_ODD = 0.05  # of a rate that is constant
_LEAST_FIT = 0.25  # of those that lost something: at 5 % of loss half the intervals have some


_Sum = tuple[int, int, int]  # intervals, packets, ticks


def off(packets: Any, ticks: Any, nominal: Any) -> Any:
    """Packets more than an interval's time is worth; of one interval, or of an array of them."""
    return packets - ticks * nominal


def within(packets: Any) -> Any:
    """How far off is still the same rate."""
    return _ROUNDING + _FINE * packets


class Rate:
    """Of one clock. Intervals come in, in packets and ticks of 27 MHz."""

    def __init__(self) -> None:
        self._first: list[tuple[int, int, bool]] = []
        self._nominal = 0.0
        self._fit, self._short = [0, 0, 0], [0, 0, 0]  # intervals, packets, ticks
        self._odd = 0
        self._other = [0, 0]  # packets and ticks of all clean intervals

    @property
    def nominal(self) -> float:
        """Packets a tick that an interval is held to; 0: not fixed yet."""
        return self._nominal

    def add(self, packets: int, ticks: int, *, is_lossy: bool) -> None:
        """An interval; ``is_lossy``: a counter told that something is missing in it."""
        if ticks <= 0:
            return
        if not is_lossy:
            self._other[0] += packets
            self._other[1] += ticks
        if self._nominal:
            self._judge(packets, ticks, is_lossy=is_lossy)
            return
        self._first.append((packets, ticks, is_lossy))
        if len(self._first) == _FIRST:
            self._settle()

    def add_judged(self, fit: _Sum, short: _Sum, odd: int, clean: _Sum) -> None:
        """`add` of many at once, judged by `off` and `within` already; only once the rate is fixed."""
        for part, more in ((self._fit, fit), (self._short, short), (self._other, clean[1:])):
            part[:] = [one + other for one, other in zip(part, more, strict=True)]
        self._odd += odd

    @property
    def packets_a_tick(self) -> float:
        """0: not known."""
        _, packets, ticks = self._settled()._fit
        if not self.is_constant or not ticks:
            packets, ticks = self._other
        return packets / ticks if ticks else 0.0

    @property
    def is_constant(self) -> bool:
        """Whether so few intervals are odd, or have lost something, that the others tell."""
        now = self._settled()
        fit, short = now._fit[0], now._short[0]
        return fit >= 2 and now._odd <= _MOST_ODD * (fit + short + now._odd) and fit > _LEAST_FIT * short

    @property
    def missing(self) -> float:
        """Packets that should have come in the intervals that are too short; only of a constant rate."""
        now = self._settled()
        _, packets, ticks = now._short
        return max(0.0, ticks * self.packets_a_tick - packets)

    def _settled(self) -> Rate:
        """Itself, or what it comes to when no more intervals come; so it can be asked at any time."""
        if self._nominal or not self._first:
            return self
        made = Rate()
        made._first, made._other = list(self._first), list(self._other)
        made._settle()
        return made

    def _settle(self) -> None:
        clean = [packets / ticks for packets, ticks, is_lossy in self._first if not is_lossy]
        self._nominal = median(clean or [packets / ticks for packets, ticks, _ in self._first])
        first, self._first = self._first, []
        if self._nominal:
            for packets, ticks, is_lossy in first:
                self._judge(packets, ticks, is_lossy=is_lossy)

    def _judge(self, packets: int, ticks: int, *, is_lossy: bool) -> None:
        away, allowed = off(packets, ticks, self._nominal), within(packets)
        if is_lossy or away < -allowed:
            part = self._short
        elif away > allowed:
            self._odd += 1
            return
        else:
            part = self._fit
        for nth, more in enumerate((1, packets, ticks)):
            part[nth] += more
