"""Which router is the first beyond the gateway? Learned by a trace, once a day.

Rule 1: its address stays on the probe; what is told is a hash of it.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import closing
from dataclasses import dataclass

from balise_agent.contract import Value, token
from balise_agent.net.resolve import Address
from balise_agent.net.trace import Trace, Way

TRACE_MS = 86_400_000  # settled: learned daily,
TRACE_AGAIN_MS = 600_000  # and tried again where it failed, or where the hop has gone silent
SILENT_HOP = 0.1  # of its echoes answered

First = tuple[int, str]
"""How far away it is, and its address."""


@dataclass(slots=True, kw_only=True)
class Learned:
    """The first hop beyond the gateway, and when it was looked for (boot clock of this boot; 0: not in it)."""

    host: str | None = None
    gateway: str | None = None  # hop 1 as it names itself in its errors
    tried_ms: int = 0
    fine: bool = False

    def is_due(self, now_ms: int, share: float | None) -> bool:
        """Whether it is looked for now; ``share``: of the hop's echoes that were answered."""
        if self.tried_ms == 0:
            return True
        fine = self.fine and (share is None or share >= SILENT_HOP)
        return now_ms - self.tried_ms >= (TRACE_MS if fine else TRACE_AGAIN_MS)

    def take(self, way: Way, first: First | None) -> dict[str, Value | None]:
        """What a trace found, as a record has it."""
        before, self.fine = self.host, first is not None
        self.gateway = way.routers[0] if way.routers else None
        fields: dict[str, Value | None] = {"hops": way.length}
        if first is not None:
            self.host = first[1]
            changed = None if before is None else first[1] != before
            fields |= {"isp1_hop": first[0], "isp1_ip_hash": hop_hash(first[1]), "changed": changed}
        return fields


async def trace(address: Address, rng: random.Random) -> tuple[Way, First | None] | None:
    """The way there, and the first hop beyond the gateway; None: this user may not ask."""
    try:
        tracing = Trace(address, rng)
    except PermissionError:
        return None
    with closing(tracing):
        way = await tracing.way()
        return way, await tracing.first_beyond(way)


def hop_hash(host: str) -> str:
    """A router's address as a name: the same in every home, so that homes behind one router can be told."""
    return token(hashlib.sha256(b"balise path " + host.encode()).digest()[:8])
