"""Is somebody using the line now?

Pure. Readings of the way out's byte counters (of the box, or of the interface where the agent lives in it) and of the
probe's own interface come in; a `Verdict` comes out. What others use is the difference of the two.

Rule 1: what cannot be told is `unknown`, never idle: a counter that stands still says nothing.
Rule 2: counters feed the verdict and go nowhere else.
Rule 3: a counter that does not see the probe's own test lies: it is trusted again after a test that it did see.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from balise_agent.budget import Contract

Use = Literal["idle", "busy", "unknown"]
By = Literal["box", "wan", "rtt"]
Quality = Literal["good", "stuck", "wrong", "none"]

BUSY_BPS, BUSY_SHARE = 500_000, 0.01
LOOK_S = 2.0
STANDS_STILL_S = 6.0
"""A home's line is never silent for so long, with an echo each 1.5 s; boxes that count each 5 s are found by it too."""
EVERY_S = 0.5
ABORT_TO_BPS = 50_000_000
"""At contracts up to this a test is ended at once when somebody needs the line; above it goes on and is marked."""

WRAP = 2**32
_ALL_ONES = WRAP - 1  # where some boxes' counters stick for good
_SHORT_S, _SHORT_TIMES = 1.0, 1.5
"""Over one second it takes half as much again: a call of 1.2 Mbit/s is then seen after 0.6 s instead of 0.8."""
_STEADY = 0.01
"""A ratio is learned from readings whose slack differs by less than this of the bytes between them."""
RATIOS = (0.95, 1.05)
"""Of what the way out counts of the probe's own bytes to what the probe does: other headers on the one, merged packets
on the other. It is learned from a test; until then it is taken for the most that it can be, or less: `presumed`."""
_SPARE = 0.6
"""Of the threshold: what a presumed ratio may count as others' where it is too small."""
_SEEN = 0.5  # of the probe's own bytes, at least so much must be in the box's counter
_ENOUGH_BYTES = 250_000  # of its own in `LOOK_S`, before that is asked: 1 Mbit/s
_FALLING = 0.5
"""Of a direction whose own rate just fell below this part: its queue is still on its way through the box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was seen, and by what. ``by``: None where nothing could be asked."""

    use: Use
    by: By | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bytes at one moment, down and up: of the way out, and of the probe itself.

    ``slack``: how far the two moments can be apart, in bytes: a box takes its time to answer, and a full line goes on.
    One that always takes as long is off by as much each time, which the difference of two readings does not show.
    """

    at_s: float
    wan: tuple[int, int]
    own: tuple[int, int] = (0, 0)
    slack: tuple[int, int] = (0, 0)


def threshold_bps(contract_bps: float | None) -> float:
    """More than this, of one direction, is use."""
    return max(BUSY_BPS, BUSY_SHARE * (contract_bps or 0.0))


def presumed(contract_bps: float | None) -> float:
    """The ratio of a way out that no test has taught: so much below the most that what is then wrongly counted as
    others' stays below the threshold. 0.05 of 10 Mbit/s would hide as much of a call as the threshold itself."""
    if not contract_bps:
        return RATIOS[1]
    return max(1.0, RATIOS[1] - _SPARE * threshold_bps(contract_bps) / contract_bps)


def is_aborted(contract: Contract) -> bool:
    """Whether a test of that line ends at once when the line is needed; where nothing is known, it does."""
    return contract.down_bps is None or contract.slower_bps <= ABORT_TO_BPS


def moved(before: int, after: int) -> int:
    """Bytes from one count to the next, of a counter of 32 bits (signed ones too) or of 64."""
    if max(before, after) >= WRAP:
        return max(0, after - before)
    return (after - before) % WRAP


@dataclass(slots=True)
class Watch:
    """The last readings, and what they say. ``contract``: of the line; ``ratio``: down and up, as known so far."""

    contract: Contract
    quality: Quality = "none"
    ratio: tuple[float, float] = (RATIOS[1], RATIOS[1])
    _readings: deque[Reading] = field(default_factory=lambda: deque(maxlen=32))

    def add(self, reading: Reading) -> None:
        """One more; they come in order."""
        self._readings.append(reading)
        self._judge()
        self._learn()

    def look(self) -> Use | None:
        """Before a test: what the readings say so far; None: more are needed."""
        if len(self._readings) < 2:
            return None
        first, last = self._readings[0], self._readings[-1]
        span_s = last.at_s - first.at_s
        if self.quality == "wrong" or any(_is_stuck(a, b) for a, b in zip(first.wan, last.wan, strict=True)):
            self.quality = self.quality if self.quality == "wrong" else "stuck"
            return "unknown"
        others = _others(first, last, (1.0, 1.0))
        if any(rate > limit for rate, limit in zip(others, self._limits(), strict=True)) and span_s >= EVERY_S:
            return "busy" if span_s >= LOOK_S else None
        if span_s < LOOK_S:
            return None
        if first.wan == last.wan:
            if span_s < STANDS_STILL_S:
                return None
            self.quality = "stuck"
            return "unknown"
        self.quality = "good"
        return "idle"

    def during(self) -> Use:
        """While a test runs: whether somebody else uses the line over the last `LOOK_S`."""
        if self.quality in ("wrong", "stuck"):
            return "unknown"
        for span_s, times in ((LOOK_S, 1.0), (_SHORT_S, _SHORT_TIMES)):
            window = self._window(span_s)
            if window is None:
                continue
            others, falls, limits = _others(*window, self._ratio()), self._falls(), self._limits()
            if any(others[way] > times * limits[way] and not falls[way] for way in (0, 1)):
                return "busy"
        return "idle"

    def _limits(self) -> tuple[float, float]:
        return threshold_bps(self.contract.down_bps), threshold_bps(self.contract.up_bps)

    def _ratio(self) -> tuple[float, float]:
        first = presumed(self.contract.down_bps), presumed(self.contract.up_bps)
        down, up = (known if known < RATIOS[1] else guess for known, guess in zip(self.ratio, first, strict=True))
        return down, up

    def _window(self, span_s: float = LOOK_S) -> tuple[Reading, Reading] | None:
        """The latest reading, and the latest that is so much older."""
        last = self._readings[-1] if self._readings else None
        firsts = [r for r in self._readings if last is not None and last.at_s - r.at_s >= span_s - EVERY_S / 4]
        return None if last is None or not firsts else (firsts[-1], last)

    def _learn(self) -> None:
        """Others only ever add to what the way out counts: the least ratio is the true one."""
        window = self._window(_SHORT_S)
        if window is None:
            return
        found = list(self.ratio)
        for way in (0, 1):
            own = moved(window[0].own[way], window[1].own[way])
            if own >= _ENOUGH_BYTES and _unsteady(*window, way) <= _STEADY * own:
                seen = moved(window[0].wan[way], window[1].wan[way]) / own
                found[way] = max(RATIOS[0], min(found[way], seen))
        self.ratio = found[0], found[1]

    def _falls(self) -> tuple[bool, bool]:
        window = self._window()
        if window is None or len(self._readings) < 2:
            return False, False
        whole, latest = _rates(*window), _rates(self._readings[-2], self._readings[-1])
        return latest[0] < _FALLING * whole[0], latest[1] < _FALLING * whole[1]

    def _judge(self) -> None:
        window = self._window()
        if window is None:
            return
        for way in (0, 1):
            own = moved(window[0].own[way], window[1].own[way])
            if own >= _ENOUGH_BYTES:
                seen = moved(window[0].wan[way], window[1].wan[way])
                self.quality = "good" if seen >= _SEEN * own else "wrong"
                if self.quality == "wrong":
                    return


def _others(first: Reading, last: Reading, ratio: tuple[float, float]) -> tuple[float, float]:
    """Bit/s that are not the probe's, each way."""
    span_s = max(1e-3, last.at_s - first.at_s)
    rates = []
    for way in (0, 1):
        seen, own = moved(first.wan[way], last.wan[way]), moved(first.own[way], last.own[way])
        rates.append(max(0.0, seen - ratio[way] * own - _unsteady(first, last, way)) * 8 / span_s)
    return rates[0], rates[1]


def _unsteady(first: Reading, last: Reading, way: int) -> int:
    """Bytes by which the difference of two readings can be off."""
    return abs(last.slack[way] - first.slack[way])


def _rates(first: Reading, last: Reading) -> tuple[float, float]:
    """Bit/s that are the probe's own, each way."""
    span_s = max(1e-3, last.at_s - first.at_s)
    down, up = (moved(a, b) * 8 / span_s for a, b in zip(first.own, last.own, strict=True))
    return down, up


def _is_stuck(before: int, after: int) -> bool:
    return before == after == _ALL_ONES
