"""What does the line carry when more is sent over UDP, and what does it lose when it is not full?

Each way 3 to 7 s under a lease of the target (`net/throughput/capacity`): it tells a slow line from a lossy one.

Rule 1: it fills the line, as `throughput` does: it runs by command, by `balise-agent once`, and behind a test that was
slow on a line that lost packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balise_agent.contract import Record
from balise_agent.probes.context import Context
from balise_agent.probes.throughput import MOST_BPS, ThroughputTarget, measure
from balise_agent.settings import Secret, choice, number, secret


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpCapacitySettings:
    """As `throughput` has them."""

    only: str = choice("both", ("both", "down", "up"))
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


async def run(settings: UdpCapacitySettings, context: Context) -> list[Record]:
    """One burst after the other."""
    asked: dict[str, Any] = {"only": settings.only}
    asked |= {"contract_down_bps": settings.contract_down_bps, "contract_up_bps": settings.contract_up_bps}
    asked["token"] = "" if settings.token is None else settings.token.reveal()
    return await measure("udp_capacity", settings.targets, asked, "burst", context)
