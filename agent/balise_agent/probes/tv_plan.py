"""Which channel is watched when, and what is told of a day of it?

Pure, but for the file that keeps it over restarts. A probe watches on its own: one channel at a time, in an order that
its identity draws anew for each round of the list.

Rule 1: never a hint of what the household watches. Channel and moment follow from identity, list, contract and wall
clock alone, whatever was received before; a sample that was refused is not made up for.
Rule 2: how long a join took leaves the probe once a day, over all channels together. One that was suspiciously fast
(somebody at home may watch that channel) is left out on the probe, and nothing says so: it is counted like any other.
So is a leave that the line did not follow.
Rule 3: bytes are counted before a sample begins; what the gate refused, or ended half-way, is a count of the day,
without time or channel.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from balise_agent.channels import Channel
from balise_agent.contract import Record, Value
from balise_agent.durable_file import replace as replace_file

DAY_S = 86_400
OFTEN_S, SELDOM_S = 300.0, 3_600.0
OFTEN_FROM_BPS = 50_000_000
"""At contracts up to this, and where none is known, one sample an hour: television may share the line."""

FASTEST_MS = 5.0
"""A join below it is left out: a group that the line already carries comes in less (reference figure on loopback 0.46);
nothing that crosses an access network and its querier does."""
SLOWEST_LEAVE_MS = 5_000.0
ZAP_S, LEAVE_S = 8.0, 2.0
"""Most that a zap is waited for, and what still comes after a leave (IGMP's last-member time): both are paid for."""
TIMES_THE_PLAN = 2
LEAST_JOINS = 10
"""Of fewer the percentiles of a day would each be a join of its own."""
_MOST_KEPT = 1_000
REASONS = ("line_busy", "gate_unknown", "budget", "line_down", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is drawn from. ``down_bps``: contracted, or None; ``every_s``, ``day_bytes``: instead of the usual."""

    seed: str
    channels: tuple[Channel, ...]
    listen_s: float
    down_bps: float | None = None
    every_s: float | None = None
    day_bytes: int | None = None
    uhd: bool = False

    @property
    def watched(self) -> tuple[Channel, ...]:
        """Those that are in the plan, whatever the order of the list."""
        return tuple(sorted((c for c in self.channels if self.uhd or not c.uhd), key=lambda channel: channel.label))

    @property
    def period_s(self) -> float:
        """From one sample to the next."""
        often = self.down_bps is not None and self.down_bps > OFTEN_FROM_BPS
        return self.every_s or (OFTEN_S if often else SELDOM_S)

    @property
    def limit_bytes(self) -> int:
        """Most in a day; a month is thirty of them."""
        if self.day_bytes is not None:
            return self.day_bytes
        mean = sum(map(self.cost, self.watched)) / max(1, len(self.watched))
        return round(TIMES_THE_PLAN * mean * DAY_S / self.period_s)

    def cost(self, channel: Channel) -> int:
        """Bytes that a sample of it takes at most."""
        return round(channel.rate_bps / 8 * (ZAP_S + self.listen_s + LEAVE_S))


class Chosen(Protocol):
    """What the settings of either probe say of its plan."""

    @property
    def listen_s(self) -> float: ...
    @property
    def contract_down_bps(self) -> float | None: ...
    @property
    def every_s(self) -> float | None: ...
    @property
    def day_bytes(self) -> int | None: ...
    @property
    def uhd(self) -> bool: ...


def plan_of(chosen: Chosen, channels: tuple[Channel, ...], seed: str) -> Plan:
    """What the schedule follows from."""
    return Plan(
        seed=seed,
        channels=channels,
        listen_s=chosen.listen_s,
        down_bps=chosen.contract_down_bps,
        every_s=chosen.every_s,
        day_bytes=chosen.day_bytes,
        uhd=chosen.uhd,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One sample to be."""

    channel: Channel
    slot: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``slot``: the last that was taken, -1: none; ``day``: UTC, in days since 1970; ``under_way``: the slot's sample
    has begun, and nobody said how it ended; ``joins_ms``, ``leaves_ms``: of the day, in no order of time."""

    slot: int = -1
    day: int = -1
    planned: int = 0
    run: int = 0
    aborted: int = 0
    under_way: bool = False
    bytes: int = 0
    joined: int = 0
    unanswered: int = 0
    joins_ms: tuple[float, ...] = ()
    leaves_ms: tuple[float, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)


def slot_of(plan: Plan, wall_s: float) -> int:
    """Which slot of the grid it is; its phase is the probe's own, so that 1,000 do not join at once."""
    return math.floor(wall_s / plan.period_s + random.Random(f"{plan.seed}/tv").random())


def channel_of(plan: Plan, slot: int) -> Channel:
    """The channel of a slot: each once a round."""
    watched = plan.watched
    round_, place = divmod(slot, len(watched))
    order = random.Random(f"{plan.seed}/tv/{round_}").sample(watched, len(watched))
    return order[place]


def due(plan: Plan, kept: Kept, wall_s: float) -> Watch | None:
    """What is to be watched now; None: nothing yet."""
    if not plan.watched:
        return None
    slot = slot_of(plan, wall_s)
    if slot == kept.slot:
        return None
    channel = channel_of(plan, slot)
    return Watch(channel=channel, slot=slot, bytes=plan.cost(channel))


def taken(kept: Kept, watch: Watch) -> Kept:
    """Its slot is over, whatever becomes of it."""
    return replace(kept, slot=watch.slot, planned=kept.planned + 1)


def refusal(plan: Plan, kept: Kept, watch: Watch, use: str, by: str | None) -> str | None:
    """Why it is not watched; None: it is. ``use``, ``by``: what the gate says, as `Context.line_use`."""
    if kept.bytes + watch.bytes > plan.limit_bytes:
        return "budget"
    if use == "busy":
        return "line_busy"
    return "gate_unknown" if use == "unknown" and by is None else None


def refused(kept: Kept, reason: str) -> Kept:
    """One that was not watched."""
    return replace(kept, skipped={**kept.skipped, reason: kept.skipped.get(reason, 0) + 1})


def begun(kept: Kept, watch: Watch) -> Kept:
    """One more is watched: one that is killed has been paid for."""
    return replace(kept, run=kept.run + 1, bytes=kept.bytes + watch.bytes, under_way=True)


def ended(kept: Kept) -> Kept:
    """Its records say how."""
    return replace(kept, under_way=False)


def aborted(kept: Kept) -> Kept:
    """It was ended half-way, and has no record: somebody needed the line, or nothing is to be measured."""
    return replace(kept, run=kept.run - 1, aborted=kept.aborted + 1, under_way=False)


def joined(kept: Kept, join_ms: float | None, leave_ms: float | None, fastest_ms: float = FASTEST_MS) -> Kept:
    """How a join and its leave went; None: no packet came, or nobody waited for the last one."""
    if join_ms is None:
        return replace(kept, unanswered=kept.unanswered + 1)
    joins, leaves = kept.joins_ms, kept.leaves_ms
    if join_ms >= fastest_ms and len(joins) < _MOST_KEPT:
        joins = tuple(sorted((*joins, round(join_ms, 3))))  # sorted: their order would be that of the channels
    if leave_ms is not None and leave_ms < SLOWEST_LEAVE_MS and len(leaves) < _MOST_KEPT:
        leaves = tuple(sorted((*leaves, round(leave_ms, 3))))
    return replace(kept, joined=kept.joined + 1, joins_ms=joins, leaves_ms=leaves)


def today(kept: Kept, wall_s: float) -> tuple[Kept, Kept | None]:
    """The day's counts, and those of a day that is over, if anything was planned in it."""
    day = int(wall_s // DAY_S)
    if kept.day == day:
        return kept, None
    return Kept(slot=kept.slot, day=day, under_way=kept.under_way), kept if kept.planned else None


def records_of(over: Kept, plan: Plan, kind: str, bt_ms: int) -> list[Record]:
    """What is told of a day that is over. ``kind``: tv or hls."""
    fields: dict[str, Value] = {"day": over.day, "planned": over.planned, "run": over.run, "aborted": over.aborted}
    fields |= {"skipped": sum(over.skipped.values())}
    fields |= {f"skipped_{reason}": over.skipped.get(reason, 0) for reason in REASONS}
    fields |= {"bytes": over.bytes, "budget_bytes": plan.limit_bytes}
    records = [Record(measurement="heavy_day", target=kind, bt_ms=bt_ms, fields=fields)]
    if over.joined or over.unanswered:
        pool: dict[str, Value] = {"n": over.joined, "failed": over.unanswered}
        if len(over.joins_ms) >= LEAST_JOINS:
            pool["zap_network_p50_ms"] = _rank(over.joins_ms, 0.5)
            pool["zap_network_p95_ms"] = _rank(over.joins_ms, 0.95)
        if len(over.leaves_ms) >= LEAST_JOINS:
            pool["leave_p95_ms"] = _rank(over.leaves_ms, 0.95)
        records.append(Record(measurement="tv_join", bt_ms=bt_ms, fields=pool))
    return records


def load(path: Path) -> Kept:
    """What the file says; where there is none, or it is damaged, a fresh start."""
    try:
        told = json.loads(path.read_text("utf-8"))
        numbers = {name: int(told[name]) for name in _NUMBERS}
        return Kept(
            **numbers,
            aborted=int(told.get("aborted", 0)),
            under_way=told.get("under_way") is True,
            joins_ms=_times(told["joins_ms"]),
            leaves_ms=_times(told["leaves_ms"]),
            skipped={reason: int(told["skipped"].get(reason, 0)) for reason in REASONS if reason in told["skipped"]},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Kept()


def save(path: Path, kept: Kept) -> None:
    """OSError: it could not be kept."""
    told: dict[str, object] = {name: getattr(kept, name) for name in _NUMBERS}
    told |= {"aborted": kept.aborted, "under_way": kept.under_way}
    told |= {"joins_ms": kept.joins_ms, "leaves_ms": kept.leaves_ms, "skipped": dict(kept.skipped)}
    replace_file(path, json.dumps(told).encode())


_NUMBERS = ("slot", "day", "planned", "run", "bytes", "joined", "unanswered")


def _times(values: Iterable[object]) -> tuple[float, ...]:
    return tuple(sorted(float(str(value)) for value in values))[:_MOST_KEPT]


def _rank(ordered: Sequence[float], p: float) -> float:
    return ordered[max(0, math.ceil(p * len(ordered)) - 1)]
