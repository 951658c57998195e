"""Whose turn is it to fill a line?

Pure. Rule 1: one test a segment at a time: two homes of one PON would measure each other.
Rule 2: all running tests together, by what was contracted, take no more than 70 % of this target's interface.
Rule 3: a lease ends by itself: a probe that died holds up nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from balise_agent.net.throughput.shape import SHAPES

NIC_SHARE = 0.70
UNKNOWN_BPS = 1_000_000_000
"""Reserved where a probe does not say what its line has: the fastest common offer's."""
DRIVEN = {"burst": 1.5}
"""What a shape sends at most, of the contract: a burst over-drives the line."""
MOST_LEASES = 64
MORE_S = 15.0  # connects, the target's report, 200 ms of queue: beside the two directions themselves
RETRY_S = 900  # 10 to 20 min, which the probe spreads


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One test's turn, until ``ends_s`` on the table's clock."""

    id: str
    segment: str
    shape: str
    bps: float
    ends_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Not now: why, and after how many seconds to ask again."""

    why: str  # segment, interface, target
    retry_s: int


@dataclass(slots=True, kw_only=True)
class Leases:
    """The table. ``nic_bps`` None: what the interface has is not known, and rule 2 is not kept."""

    nic_bps: float | None = None
    running: dict[str, Lease] = field(default_factory=dict)

    def ask(
        self, lease_id: str, segment: str, shape: str, contract: tuple[float | None, float | None], now_s: float
    ) -> Lease | Busy:
        """A lease that is in the table from now on, or why not."""
        self.expire(now_s)
        bps = max((rate for rate in contract if rate is not None), default=UNKNOWN_BPS)
        bps *= DRIVEN.get(shape, 1.0)
        taken = sum(lease.bps for lease in self.running.values())
        same = [lease for lease in self.running.values() if lease.segment == segment]
        if same:
            return Busy(why="segment", retry_s=math.ceil(same[0].ends_s - now_s))
        if len(self.running) >= MOST_LEASES:
            return Busy(why="target", retry_s=RETRY_S)
        if self.nic_bps is not None and taken + bps > NIC_SHARE * self.nic_bps:
            return Busy(why="interface", retry_s=RETRY_S)
        ends_s = now_s + 2 * SHAPES[shape].lasts_s + MORE_S
        lease = Lease(id=lease_id, segment=segment, shape=shape, bps=bps, ends_s=ends_s)
        self.running[lease_id] = lease
        return lease

    def find(self, lease_id: str, now_s: float) -> Lease | None:
        """One that runs."""
        self.expire(now_s)
        return self.running.get(lease_id)

    def release(self, lease_id: str) -> None:
        """It is over."""
        self.running.pop(lease_id, None)

    def expire(self, now_s: float) -> None:
        """Drops what has ended."""
        for lease in [lease for lease in self.running.values() if lease.ends_s <= now_s]:
            del self.running[lease.id]
