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
from balise_agent.net import child
from balise_agent.net.tv.times import most_s
from balise_agent.probes import tv_plan, tv_rates
from balise_agent.probes.access import access
from balise_agent.probes.context import Context
from balise_agent.probes.tv_turn import Turn
from balise_agent.settings import flag, number, text

log = logging.getLogger(__name__)

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
    """The sample that is due, or what is told of a day that is over."""
    if not settings.received:
        return []
    plan = tv_plan.plan_of(settings, settings.received, context.identity)
    turn = Turn(plan, context, "tv", ungated=settings.ungated)
    sampling = _Sampling(settings, context, turn)
    return await turn.take(sampling.sample, sampling.unmeasured)


class _Sampling:
    """How a channel of this list is sampled, and what is kept of it."""

    def __init__(self, settings: TvSettings, context: Context, turn: Turn) -> None:
        self._settings, self._context, self._turn = settings, context, turn

    async def sample(self, channel: Channel) -> list[Record]:
        where = channel.where
        spec = {"group": where.host, "port": where.port, "source": where.source or ""}
        spec |= {"listen_s": self._settings.listen_s, "interface": self._settings.interface}
        outcome, told = await child.run(spec, most_s(self._settings.listen_s) + _SLOW_START_S, COMMAND)
        self._pool(told)
        window = part(told, "window")
        self._suspect(channel.label, window)
        # Lists are often wrong about RTP: the packets tell.
        by_rtp = {"rtp": "rtp"}.get(str(window.get("loss_method")), "udp") if window else where.encap
        return self._records(channel, outcome, by_rtp, part(told, "zap"), window)

    def unmeasured(self, channel: Channel, outcome: Outcome) -> list[Record]:
        return self._records(channel, outcome, channel.where.encap, {}, {})

    def _records(
        self, channel: Channel, outcome: Outcome, encap: str, zap: dict[str, Value], window: dict[str, Value]
    ) -> list[Record]:
        beside: dict[str, Value] = {"af": channel.where.af, "encap": encap}
        link = access(self._settings.interface, in_box=self._context.in_box())
        beside |= {} if link is None else {"access": link}
        return [
            self._record("tv_zap", channel, outcome if zap else _failed(outcome), {**beside, **zap}),
            self._record("tv_window", channel, outcome if window else _failed(outcome), {**beside, **window}),
        ]

    def _record(self, name: str, channel: Channel, outcome: Outcome, fields: Mapping[str, Value]) -> Record:
        at_ms = self._context.now_bt_ms()
        return Record(measurement=name, target=channel.label, bt_ms=at_ms, outcome=outcome, fields=fields)

    def _pool(self, told: Mapping[str, Value]) -> None:
        """Rule 1."""
        if "join.tried" not in told:
            return
        network_ms, leave_ms = (told.get(f"join.{name}_ms") for name in ("network", "leave"))
        self._turn.kept = tv_plan.joined(
            self._turn.kept,
            None if network_ms is None else float(network_ms),
            None if leave_ms is None else float(leave_ms),
            self._settings.fastest_join_ms,
        )

    def _suspect(self, label: str, window: dict[str, Value]) -> None:
        bps, folder = window.get("video_bps"), self._context.state_dir
        if not isinstance(bps, int) or not window.get("valid") or folder == Path("/"):
            return
        rates, wall_s = tv_rates.load(folder / tv_rates.FILE), self._context.wall_s()
        suspected = tv_rates.is_suspected(rates, label, bps, wall_s)
        if suspected is not None:
            window["freeze_suspected"] = suspected
        labels = [channel.label for channel in self._settings.channels]
        try:
            tv_rates.save(folder / tv_rates.FILE, tv_rates.seen(rates, label, bps, wall_s, labels))
        except OSError as exc:
            log.warning("tv_rates_not_kept", extra={"why": exc.strerror})


def _failed(outcome: Outcome) -> Outcome:
    """A sample that went well and says nothing of this record did not go well."""
    return failed("child_failed") if outcome.kind == "ok" else outcome


def part(told: Mapping[str, Value], name: str) -> dict[str, Value]:
    """One record's fields of what the child told."""
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in told.items() if key.startswith(start)}
