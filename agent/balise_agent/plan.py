"""When does each probe start?

Each has a grid on the monotonic clock: its interval, and a first start that a seed offsets by a fraction of it.

Rule 1: what runs when follows from the seed, the intervals and the start alone.
Rule 2: after a district's power comes back, 1,000 probes do not act together: the seed is the probe's own.
Rule 3: a slot missed by a suspend or an overload is not made up for: the grid goes on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The starts of one probe: ``first_s + k * interval_s`` on the monotonic clock."""

    first_s: float
    interval_s: float

    def next_after(self, now_s: float) -> float:
        """The first start later than ``now_s``."""
        if now_s < self.first_s:
            return self.first_s
        start_s = self.first_s + (math.floor((now_s - self.first_s) / self.interval_s) + 1) * self.interval_s
        return start_s if start_s > now_s else start_s + self.interval_s  # rounding may land on now_s itself

    def is_missed(self, start_s: float, now_s: float) -> bool:
        """Whether it is too late for a start: half way to the next, it would only disturb that."""
        return now_s - start_s > self.interval_s / 2


def slots(name: str, interval_s: float, seed: str, start_s: float) -> Slots:
    """The starts of the probe of that name when the agent starts at ``start_s``."""
    fraction = random.Random(f"{seed}/{name}").random()
    return Slots(first_s=start_s + fraction * interval_s, interval_s=interval_s)


def plan(intervals_s: Mapping[str, float], seed: str, start_s: float) -> dict[str, Slots]:
    """The starts of each probe."""
    return {name: slots(name, interval_s, seed, start_s) for name, interval_s in intervals_s.items()}
