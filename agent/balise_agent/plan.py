"""When does each probe start?

Each has a grid on the monotonic clock: its interval, and an offset that a seed draws. Those of one agent have the same
second of the minute, nearly: then one commit holds what all of them measured, and the card is written to once a minute
instead of twice and more. Those of five minutes take a minute each.

Rule 1: what runs when follows from the seed, the intervals and the start alone.
Rule 2: after a district's power comes back, 1,000 probes do not act together: the seed is the probe's own.
Rule 3: a slot missed by a suspend or an overload is not made up for: the grid goes on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

STEP_S = 60.0
APART_S = 0.3  # they do not start in the same instant; a commit waits longer than this for company (`writer`)


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
    """The starts of the probe of that name when the agent starts at ``start_s``, whatever it was before."""
    step_s = min(interval_s, STEP_S)
    moment_s = random.Random(seed).random() * STEP_S % step_s
    rng = random.Random(f"{seed}/{name}")
    apart_s = rng.random() * min(APART_S, step_s / 10)
    offset_s = moment_s + apart_s + rng.randrange(max(1, int(interval_s // step_s))) * step_s
    return Slots(first_s=start_s + (offset_s - start_s) % interval_s, interval_s=interval_s)


def plan(intervals_s: Mapping[str, float], seed: str, start_s: float) -> dict[str, Slots]:
    """The starts of each probe."""
    return {name: slots(name, interval_s, seed, start_s) for name, interval_s in intervals_s.items()}
