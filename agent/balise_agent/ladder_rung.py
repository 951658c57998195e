"""What does one rung say, of the echoes that it answered and of those that it did not, and what the gateway?

Rule 1: a rung that has never answered says nothing: nobody knows whether it would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["gateway", "isp", "operator", "anycast", "dns", "web"]

LOST_IN_A_ROW = 3
"""Settled: three misses in a row of all external targets. One loss in a hundred makes three of them once in 10^6."""

SURE = 0.01
"""Chance that a rung which answers only some echoes (a router that limits its answers) is silent by that alone."""
MOST_IN_A_ROW = 20
HISTORY = 32
FEWEST = 8  # echoes before a share of answers means anything
SILENT_BY_HABIT = 0.1  # fewer answers than this in quiet times: its silence says nothing

PROMPT_MS = 500
"""A router without a way to a host refuses at once; one whose next hop is silent gives up after three requests 1 s
apart (ARP and ND alike), so of what it refuses then only a sixth is this young."""

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("gw", "gateway"),
    ("isp", "isp"),
    ("op", "operator"),
    ("any", "anycast"),
    ("dns", "dns"),
    ("web", "web"),
)


def kind_of(label: str) -> Kind | None:
    """Which rung a target is, by its label: gw, isp1, op, any1, …; None: it is measured and no part of the ladder."""
    name = label.rstrip("0123456789")
    return dict(_KINDS).get(name)


@dataclass(slots=True, kw_only=True)
class Rung:
    """One target as far as its echoes tell."""

    kind: Kind
    answered_ever: bool = False
    ok_ms: int | None = None  # when the latest answered echo was sent
    late_ms: int | None = None  # when the first of those was sent that are overdue since then
    late: int = 0
    lost: int = 0
    sure_ms: int | None = None  # when the latest of the losses was sent that make it silent
    calm: int = 0
    fast_ms: int | None = None  # since when it is asked faster for a miss of its own
    no_route: bool = False  # the probe itself had no way to send the last one
    history: int = 0  # a bit an echo in quiet times, the newest lowest; 1: answered
    asked: int = 0

    @property
    def external(self) -> bool:
        """It lies outside the home and answers by itself."""
        return self.kind in ("operator", "anycast")

    def remember(self, answered: bool) -> None:
        """One more echo of quiet times."""
        self.history = (self.history << 1 | answered) & ((1 << HISTORY) - 1)
        self.asked = min(self.asked + 1, HISTORY)

    def share(self, without: int = 0) -> float:
        """Of how many echoes it answers in quiet times; ``without``: the newest are left out."""
        asked = self.asked - without
        return 1.0 if asked < FEWEST else (self.history >> without).bit_count() / asked

    def enough(self) -> int | None:
        """How many losses in a row mean that it is silent; None: none do."""
        if self.kind not in ("gateway", "isp"):
            return LOST_IN_A_ROW
        share = self.share(without=min(self.lost, MOST_IN_A_ROW))  # the silence that is judged is no habit yet
        if share >= 1 - SURE ** (1 / LOST_IN_A_ROW):
            return LOST_IN_A_ROW
        if share < SILENT_BY_HABIT:
            return None
        return min(MOST_IN_A_ROW, math.ceil(math.log(SURE) / math.log(1 - share)))

    def answers(self, since_ms: int | None = None) -> bool | None:
        """True: it answered an echo sent since then."""
        enough = self.enough()
        if not self.answered_ever or enough is None:
            return None
        if self.lost >= enough:
            return False
        return True if self.ok_ms is not None and (since_ms is None or self.ok_ms >= since_ms) else None

    def forget(self) -> None:
        """Its silence so far counts no more."""
        self.late_ms, self.late, self.lost, self.sure_ms, self.no_route = None, 0, 0, None, False


@dataclass(slots=True, kw_only=True)
class Refusals:
    """What the gateway said of its way out since the last answer from outside."""

    no_network: bool = False
    at_once: int = 0
    late: int = 0

    def add(self, took_ms: int, *, no_network: bool) -> None:
        """One more, so long after the echo."""
        self.no_network |= no_network
        self.at_once += not no_network and took_ms < PROMPT_MS
        self.late += not no_network and took_ms >= PROMPT_MS

    @property
    def any(self) -> bool:
        """It speaks, so it is there."""
        return self.no_network or self.at_once + self.late > 0

    @property
    def no_way(self) -> bool | None:
        """One word of no network will do, for a router whose next hop is silent calls the host out of reach; Linux
        sends about one error in two seconds, and pages and names have their share of them. Of hosts, time tells."""
        return True if self.no_network or (self.at_once >= 2 and self.at_once > 2 * self.late) else None
