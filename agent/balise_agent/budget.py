"""How many bytes may tests move over a home's line, and how many have they moved?

Pure. `outbox_budget` keeps `Count`s a civil day and month, by kind of test, across restarts.

Rule 1: a test's bytes are counted before it begins: one that is killed has been paid for.
Rule 2: what a line may be charged is twice what the plan itself moves; where no contract is known, `UNKNOWN_DAY`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from balise_agent.net.throughput.shape import SHAPES

TIMES_THE_PLAN = 2.0
UNKNOWN_DAY, UNKNOWN_MONTH = 2_000_000_000, 60_000_000_000
MOST_DEMANDS = 6  # a day
FULL_FROM_BPS = 100_000_000
"""Below this contract a full test is never run: at 10 Mbit/s it would take the whole line for 26 s."""
MONTH_DAYS = 30
LIGHTS_A_DAY, LOADED_A_DAY = 4, 1
REASONS = ("line_busy", "gate_unknown", "budget", "line_down", "server_busy", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What the line should carry, in bit/s; None: not known."""

    down_bps: float | None = None
    up_bps: float | None = None

    @property
    def slower_bps(self) -> float:
        """Of both directions; what is not known is 0."""
        return min(self.down_bps or 0.0, self.up_bps or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Most bytes in a civil day and month."""

    day_bytes: int
    month_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Of one kind of test in one day or month."""

    planned: int = 0
    on_demand: int = 0
    run: int = 0
    aborted: int = 0
    bytes: int = 0
    line_busy: int = 0
    gate_unknown: int = 0
    budget: int = 0
    line_down: int = 0
    server_busy: int = 0
    off: int = 0

    @property
    def skipped(self) -> int:
        """All reasons together."""
        return sum(int(getattr(self, reason)) for reason in REASONS)


def cost(shape: str, contract: Contract) -> int:
    """Bytes that a test of that shape moves at most, both ways; a full one measures latency under load too."""
    seconds = SHAPES[shape].lasts_s + (SHAPES["loaded"].lasts_s if shape == "full" else 0.0)
    return round(((contract.down_bps or 0.0) + (contract.up_bps or 0.0)) * seconds / 8)


def bounds(contract: Contract, day_bytes: int | None = None, month_bytes: int | None = None, times: int = 1) -> Bounds:
    """What a home's tests may move; ``day_bytes`` and ``month_bytes``: what the operator set instead; ``times``: a test
    fills the line so often, once a target."""
    if contract.down_bps is None and contract.up_bps is None:
        usual = Bounds(day_bytes=UNKNOWN_DAY, month_bytes=UNKNOWN_MONTH)
    else:
        day = LIGHTS_A_DAY * cost("light", contract) + LOADED_A_DAY * cost("loaded", contract)
        full = cost("full", contract) if may_be_full(contract) else 0
        month = MONTH_DAYS * day + full * MONTH_DAYS / 7
        most = TIMES_THE_PLAN * times
        usual = Bounds(day_bytes=round(most * (day + full)), month_bytes=round(most * month))
    return Bounds(
        day_bytes=usual.day_bytes if day_bytes is None else day_bytes,
        month_bytes=usual.month_bytes if month_bytes is None else month_bytes,
    )


def may_be_full(contract: Contract) -> bool:
    """Whether the line is fast enough for a full test."""
    return (contract.down_bps or 0.0) >= FULL_FROM_BPS


def fits(limits: Bounds, day: Iterable[Count], month: Iterable[Count], bytes_: int) -> bool:
    """Whether so many bytes more are within the bounds. ``day``, ``month``: counts of every kind of test."""
    spent_day, spent_month = sum(c.bytes for c in day), sum(c.bytes for c in month)
    return spent_day + bytes_ <= limits.day_bytes and spent_month + bytes_ <= limits.month_bytes
