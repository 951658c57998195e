"""What was seen of a home, minute by minute?

A day is 1,440 minutes of 32 bits, each bit something seen in that minute. Bits are only ever set: in which order they
come does not matter, nor how often.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

DAY_MIN = 1_440
MINUTE_MS = 60_000

ALIVE = 1 << 0  # the probe measured something
OUT_OK = 1 << 1  # a rung beyond the operator answered
OUT_LOST = 1 << 2  # one did not, at all
OP_OK = 1 << 3
OP_LOST = 1 << 4
LOSSY = 1 << 5  # a rung beyond the box lost more than a little
GW_LOSSY = 1 << 6  # so did the box itself
SLOW_RTT = 1 << 7  # round trips to the operator's target are long without a test
DNS_OK = 1 << 8
DNS_BAD = 1 << 9
TV_OK = 1 << 10
TV_BAD = 1 << 11
TEL_OK = 1 << 12  # registered
TEL_BAD = 1 << 13  # not registered
CALL_OK = 1 << 14
CALL_BAD = 1 << 15
SIP_OK = 1 << 16  # the server answers
SIP_BAD = 1 << 17
LINK_OK = 1 << 18  # the probe's link carries the contract
LINK_BAD = 1 << 19
RADIO_OK = 1 << 20
RADIO_BAD = 1 << 21
CLOCK_BAD = 1 << 22
LINE_UP = 1 << 23  # the probe's own ladder of echoes says so
LINE_DOWN = 1 << 24

REACHED = OUT_OK | OUT_LOST | OP_OK | OP_LOST
EXPLAINS = LOSSY | SLOW_RTT | CLOCK_BAD | RADIO_OK | RADIO_BAD
"""What may say that a bad sample near it is not the service's."""
AROUND_MIN = 10  # so many minutes later or earlier, at most
RADIO_MIN = 90  # and a radio so many minutes later: it is looked at seldom
CHUNK_MIN = 240  # looked through at once

NOBODY = array("I", bytes(4 * DAY_MIN))


class Cells:
    """One home's days. ``newest``: the last minute in which anything was seen, -1: none. ``explained``: of minutes that
    were asked for, whether something explains what was bad in them; forgotten where a bit of `EXPLAINS` is new."""

    __slots__ = ("_day", "_page", "changed", "explained", "newest", "pages")

    def __init__(self) -> None:
        self.pages: dict[int, array[int]] = {}
        self._day, self._page = -1, NOBODY
        self.newest = -1
        self.changed: set[int] = set()  # days that were written to since `saved`
        self.explained: dict[int, bool] = {}

    def see(self, ts_ms: int, bits: int) -> bool:
        """Sets bits in the minute of that date; False: all were set."""
        minute = ts_ms // MINUTE_MS
        day = minute // DAY_MIN
        if day != self._day:
            self._page = self.pages.get(day) or self._made(day)
            self._day = day
            self.changed.add(day)
        if minute > self.newest:
            self.newest = minute
        page, at = self._page, minute % DAY_MIN
        before = page[at]
        if before | bits == before:
            return False
        page[at] = before | bits
        if self.explained and bits & EXPLAINS & ~before:
            for near in range(minute - AROUND_MIN, minute + RADIO_MIN):
                self.explained.pop(near, None)
        return True

    def at(self, minute: int) -> int:
        """The bits of a minute since 1970."""
        page = self.pages.get(minute // DAY_MIN)
        return 0 if page is None else page[minute % DAY_MIN]

    def last(self, bits: int, minute: int, within: int) -> int:
        """The latest minute up to ``minute`` with one of these bits, at most ``within`` before it; -1: none has."""
        stop = max(minute - within, -1)
        minute = min(minute, self.newest)
        while minute > stop:
            day, at = divmod(minute, DAY_MIN)
            page = self.pages.get(day)
            base = minute - at
            if page is not None:
                if page[at] & bits:  # most often it is the very minute that is asked for
                    return minute
                low = max(stop - base, -1) + 1
                for before, seen in enumerate(page[low:at][::-1], 1):
                    if seen & bits:
                        return minute - before
            minute = base - 1
        return -1

    def row(self, bits: int, end: int, minute: int, within: int) -> tuple[int, bool]:
        """Backwards from before ``minute`` through minutes with one of ``bits``, at most ``within`` apart, to one that
        has a bit of ``end`` too: that one and True; else the earliest of them, or ``minute`` itself, and False."""
        last, at = minute, min(minute - 1, self.newest)
        while at >= max(last - within, 0):
            day, place = divmod(at, DAY_MIN)
            first = max(0, place + 1 - CHUNK_MIN)
            page = self.pages.get(day, NOBODY)
            for before, seen in enumerate(page[first : place + 1][::-1]):
                if seen & bits and at - before >= last - within:
                    if seen & end:
                        return at - before, True
                    last = at - before
            at -= place + 1 - first
        return last, False

    def seen(self, bits: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The minutes from ``first`` to ``last`` with one of these bits, and all bits of each."""
        for minute, page in self._slices(first, min(last, self.newest)):
            yield from [(at, seen) for at, seen in enumerate(page, minute) if seen & bits]

    def next(self, bits: int, minute: int, within: int) -> int:
        """The first minute from ``minute`` on with one of these bits, less than ``within`` after it; -1: none has."""
        return next((at for at, _ in self.seen(bits, minute, minute + within - 1)), -1)

    def share(self, bits: int, minute: int, within: int) -> float:
        """Of the minutes up to ``minute``, the share with one of these bits."""
        found = [page for _, page in self._slices(minute - within + 1, minute)]
        return sum([1 for page in found for seen in page if seen & bits]) / within

    def _slices(self, first: int, last: int) -> Iterator[tuple[int, array[int]]]:
        """What is known of these minutes, by day: a slice is ten times as fast as minutes one by one."""
        first = max(0, first)
        while first <= last:
            day, at = divmod(first, DAY_MIN)
            page = self.pages.get(day)
            if page is not None:
                yield first, page[at : at + last - first + 1]
            first += DAY_MIN - at

    def saved(self) -> None:
        """The changed days are kept elsewhere now."""
        self.changed.clear()
        self._day = -1

    def restore(self, day: int, page: array[int]) -> None:
        """A day that was kept elsewhere."""
        self.explained.clear()
        self.pages[day] = page
        last = next((at for at in range(DAY_MIN - 1, -1, -1) if page[at]), None)
        if last is not None:
            self.newest = max(self.newest, day * DAY_MIN + last)

    def drop_before(self, day: int) -> None:
        """Forgets days before that one."""
        for old in [d for d in self.pages if d < day]:
            del self.pages[old]
        self.explained.clear()
        self._day = -1

    def _made(self, day: int) -> array[int]:
        page = self.pages[day] = array("I", bytes(4 * DAY_MIN))
        return page
