"""How much longer do round trips take while the line is full?

50 echoes a second during eight TCP streams under cubic, each way: BBR would keep the queue short and hide it.

Rule 1: it fills the line, as `throughput` does: when it may is `heavy`'s to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balise_agent.contract import Record
from balise_agent.net.throughput.shape import MOST_STREAMS
from balise_agent.probes.context import Context
from balise_agent.probes.throughput import MOST_BPS, ThroughputTarget, measure
from balise_agent.settings import Secret, choice, number, secret


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """As `throughput` has them."""

    only: str = choice("both", ("both", "down", "up"))
    streams: int | None = number(None, low=1, high=MOST_STREAMS)
    token: Secret | None = secret()
    contract_down_bps: float | None = number(None, low=1, high=MOST_BPS, unit="bit/s")
    contract_up_bps: float | None = number(None, low=1, high=MOST_BPS, unit="bit/s")
    targets: tuple[ThroughputTarget, ...] = ()

    @property
    def enabled(self) -> bool:
        """Never by an interval of its own, as `throughput`."""
        return False

    @property
    def interval_s(self) -> float:
        """Of no use while it is not enabled."""
        return 86_400.0


async def run(settings: LoadedSettings, context: Context) -> list[Record]:
    """One test after the other."""
    asked: dict[str, Any] = {"streams": settings.streams, "only": settings.only}
    asked |= {"contract_down_bps": settings.contract_down_bps, "contract_up_bps": settings.contract_up_bps}
    asked["token"] = "" if settings.token is None else settings.token.reveal()
    return await measure("loaded", settings.targets, asked, "loaded", context)
