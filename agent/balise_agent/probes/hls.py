"""Does a channel over HTTP come in time to be played?

In a process of its own (`net/hls`), which reads it as a player does.

Rule 1: as with any channel, by `tv_plan`: the schedule knows nothing of the household, and no sample is taken while the
line is in use or beyond the day's bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from balise_agent.channels import Channel
from balise_agent.contract import Outcome, Record, Value
from balise_agent.net import child
from balise_agent.probes.access import access
from balise_agent.probes.context import Context
from balise_agent.probes.tv_plan import plan_of
from balise_agent.probes.tv_turn import Turn
from balise_agent.settings import flag, number, text

COMMAND = (sys.executable, "-m", "balise_agent.net.hls")
_SLOW_START_S = 15.0  # of the child, on a machine that is busy


@dataclass(frozen=True, slots=True, kw_only=True)
class HlsSettings:
    """``interval_s``: how often it is looked whether a sample is due; ``every_s``, ``day_bytes``: instead of the plan's
    own. ``timeout_s``: of one answer. ``ungated``: of a server on this machine nobody asks whether the line is in use.
    """

    enabled: bool = flag(True)
    interval_s: float = number(30.0, low=1, high=86_400, unit="s")
    every_s: float | None = number(None, low=1, high=86_400, unit="s")
    listen_s: float = number(20.0, low=1, high=120, unit="s")
    timeout_s: float = number(15.0, low=0.5, high=60, unit="s")
    day_bytes: int | None = number(None, low=0, high=1_000_000_000_000)
    contract_down_bps: float | None = number(None, low=1, high=1e11, unit="bit/s")
    uhd: bool = flag(False)
    ungated: bool = flag(False)
    ca_file: str | None = text(None, pattern=r"/[^\0]{1,255}", allowed="the path of a PEM file, from the root")
    channels: tuple[Channel, ...] = ()

    @property
    def fetched(self) -> tuple[Channel, ...]:
        """Those over HTTP."""
        return tuple(channel for channel in self.channels if channel.where.encap == "hls")


async def run(settings: HlsSettings, context: Context) -> list[Record]:
    """The sample that is due, or what is told of a day that is over."""
    if not settings.fetched:
        return []
    plan = plan_of(settings, settings.fetched, f"{context.identity}/hls")

    async def sample(channel: Channel) -> list[Record]:
        spec = {"url": channel.url, "most_bps": channel.rate_bps, "clock_ok": context.clock_ok()}
        spec |= {name: getattr(settings, name) for name in ("listen_s", "timeout_s", "ca_file")}
        # The last answer of all may have begun just before the end.
        most_s = settings.listen_s + 2 * settings.timeout_s + _SLOW_START_S
        outcome, told = await child.run(spec, most_s, COMMAND)
        return record(channel, outcome, told)

    def record(channel: Channel, outcome: Outcome, told: Mapping[str, Value]) -> list[Record]:
        link = access("", in_box=context.in_box())
        fields = {**told, **({} if link is None else {"access": link})}
        at_ms = context.now_bt_ms()
        return [Record(measurement="tv_hls", target=channel.label, bt_ms=at_ms, outcome=outcome, fields=fields)]

    turn = Turn(plan, context, "hls", ungated=settings.ungated)
    return await turn.take(sample, lambda channel, outcome: record(channel, outcome, {}))
