"""Are the television channels sound: does one start soon, and does all of it come?

One channel at a time, ten seconds of it, by a plan that knows nothing of the household (`tv_plan`); in a process of
its own (`net/tv`). Channels over HTTP are another probe's.

Rule 1: never a hint of what the household watches: the same schedule and the same shape of record whether or not
somebody at home watches that channel. Times start at its first packet; how long the join took goes into the day's pool.
Rule 2: a sample takes a whole channel's rate from the line: never while somebody uses it, and inside the day's bytes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from balise_agent.channels import Channel
from balise_agent.contract import Outcome, Record, Value, failed
from balise_agent.net.throughput import child
from balise_agent.net.tv.leaving import MOST_S as LEAVE_S
from balise_agent.net.tv.sample import FIRST_S, START_S
from balise_agent.probes import tv_plan, tv_rates
from balise_agent.probes.context import Context
from balise_agent.probes.tv_plan import Kept, Plan, Watch
from balise_agent.settings import flag, number, text

log = logging.getLogger(__name__)

FILE = "tv.json"
COMMAND = (sys.executable, "-m", "balise_agent.net.tv")
_SLOW_START_S = 15.0  # of the child, on a machine that is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class TvSettings:
    """``interval_s``: how often it is looked whether a sample is due; ``every_s``: from one sample to the next, where
    not the plan's own. ``fastest_join_ms``: a join below it is left out of the day's pool. ``interface``: where groups
    are joined; "": by the routes. ``uhd``: those channels too. ``day_bytes``: most in a day, where not the plan's own.
    ``ungated``: of channels on this machine's loopback nobody asks whether the line is in use.
    """

    enabled: bool = flag(True)
    interval_s: float = number(30.0, low=1, high=86_400, unit="s")
    every_s: float | None = number(None, low=1, high=86_400, unit="s")
    listen_s: float = number(10.0, low=1, high=60, unit="s")
    fastest_join_ms: float = number(tv_plan.FASTEST_MS, low=0, high=1_000, unit="ms")
    day_bytes: int | None = number(None, low=0, high=1_000_000_000_000)
    contract_down_bps: float | None = number(None, low=1, high=1e11, unit="bit/s")
    uhd: bool = flag(False)
    interface: str = text("", pattern=r"[A-Za-z0-9_.-]{0,15}", allowed="the name of an interface")
    ungated: bool = flag(False)
    channels: tuple[Channel, ...] = ()

    @property
    def received(self) -> tuple[Channel, ...]:
        """Without those over HTTP."""
        return tuple(channel for channel in self.channels if channel.where.encap != "hls")


async def run(settings: TvSettings, context: Context) -> list[Record]:
    """The sample that is due, and what is told of a day that is over."""
    if not settings.received:
        return []
    return await _Turn(settings, context).take()


def plan_of(settings: TvSettings, context: Context) -> Plan:
    """What the schedule follows from."""
    return Plan(
        seed=context.identity,
        channels=settings.received,
        listen_s=settings.listen_s,
        down_bps=settings.contract_down_bps,
        every_s=settings.every_s,
        day_bytes=settings.day_bytes,
        uhd=settings.uhd,
    )


class _Turn:
    """One run: what is kept, and what was found."""

    def __init__(self, settings: TvSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        self._plan = plan_of(settings, context)
        # `once` without a configuration has no folder, and keeps nothing.
        self._folder = None if context.state_dir == Path("/") else context.state_dir
        self._kept = Kept() if self._folder is None else tv_plan.load(self._folder / FILE)

    async def take(self) -> list[Record]:
        """The day's turn, then the sample."""
        kept, over = tv_plan.today(self._kept, self._context.wall_s())
        records = [] if over is None else tv_plan.records_of(over, self._plan, self._context.now_bt_ms())
        watch = self._watch(kept)
        if watch is None:
            return [*records] if over is None or self._keep(kept) else []
        kept = tv_plan.taken(kept, watch)
        refused = await self._refused(kept, watch)
        if refused is not None:
            self._keep(tv_plan.refused(kept, refused))
            return records
        if not self._keep(tv_plan.begun(kept, watch)):
            return records  # what cannot be counted is not spent
        return [*records, *await self._sample(watch.channel)]

    def _watch(self, kept: Kept) -> Watch | None:
        wall_s = self._context.wall_s()
        if not self._context.asked:
            return tv_plan.due(self._plan, kept, wall_s)
        return tv_plan.due(self._plan, Kept(), wall_s)  # somebody wants it now

    async def _refused(self, kept: Kept, watch: Watch) -> str | None:
        if self._context.line_use is None or self._settings.ungated:
            return tv_plan.refusal(self._plan, kept, watch, "idle", None)
        use, by = await self._context.line_use()
        return tv_plan.refusal(self._plan, kept, watch, use, by)

    async def _sample(self, channel: Channel) -> list[Record]:
        where = channel.where
        spec = {"group": where.host, "port": where.port, "source": where.source or ""}
        spec |= {"listen_s": self._settings.listen_s, "interface": self._settings.interface}
        most_s = FIRST_S + max(START_S, self._settings.listen_s) + LEAVE_S + _SLOW_START_S
        outcome, told = await child.run(spec, most_s, COMMAND)
        self._pool(told)
        window = part(told, "window")
        self._suspect(channel.label, window)
        # Lists are often wrong about RTP: the packets tell.
        by_rtp = {"rtp": "rtp"}.get(str(window.get("loss_method")), "udp") if window else where.encap
        beside: dict[str, Value] = {"af": where.af, "encap": by_rtp}
        return [
            self._record("tv_zap", channel, outcome, {**beside, **part(told, "zap")}),
            self._record("tv_window", channel, outcome, {**beside, **window}),
        ]

    def _pool(self, told: Mapping[str, Value]) -> None:
        """Rule 1."""
        if "join.tried" not in told:
            return
        network_ms, leave_ms = (told.get(f"join.{name}_ms") for name in ("network", "leave"))
        self._keep(
            tv_plan.joined(
                self._kept,
                None if network_ms is None else float(network_ms),
                None if leave_ms is None else float(leave_ms),
                self._settings.fastest_join_ms,
            )
        )

    def _suspect(self, label: str, window: dict[str, Value]) -> None:
        bps = window.get("video_bps")
        if not isinstance(bps, int) or not window.get("valid") or self._folder is None:
            return
        rates, wall_s = tv_rates.load(self._folder / tv_rates.FILE), self._context.wall_s()
        suspected = tv_rates.is_suspected(rates, label, bps, wall_s)
        if suspected is not None:
            window["freeze_suspected"] = suspected
        labels = [channel.label for channel in self._settings.channels]
        try:
            tv_rates.save(self._folder / tv_rates.FILE, tv_rates.seen(rates, label, bps, wall_s, labels))
        except OSError as exc:
            log.warning("tv_rates_not_kept", extra={"why": exc.strerror})

    def _record(self, name: str, channel: Channel, outcome: Outcome, fields: Mapping[str, Value]) -> Record:
        if outcome.kind == "ok" and not fields.keys() - {"af", "encap"}:
            outcome = failed("child_failed")
        at_ms = self._context.now_bt_ms()
        return Record(measurement=name, target=channel.label, bt_ms=at_ms, outcome=outcome, fields=fields)

    def _keep(self, kept: Kept) -> bool:
        """Whether it is kept."""
        self._kept = kept
        try:
            if self._folder is not None:
                tv_plan.save(self._folder / FILE, kept)
        except OSError as exc:
            log.warning("tv_not_kept", extra={"why": exc.strerror})
            return False
        return True


def part(told: Mapping[str, Value], name: str) -> dict[str, Value]:
    """One record's fields of what the child told."""
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in told.items() if key.startswith(start)}
