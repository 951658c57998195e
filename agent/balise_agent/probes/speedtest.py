"""What does speedtest-cli say of the line, for who knows its figure?

Indicative: a series of its own, which no figure of a contract is made of. In a process of its own, which takes up to
192 MB. The extra `speedtest` installs it.

Rule 1: it fills the line for up to 20 s: it runs by `balise-agent once` and by command, through the gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from balise_agent.contract import Record
from balise_agent.probes.context import Context
from balise_agent.probes.throughput import ThroughputTarget, measure, tested
from balise_agent.settings import Secret, choice, flag, secret

PUBLIC = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestSettings:
    """``public``: against the nearest of its own servers too, whom this tells the home's address."""

    only: str = choice("both", ("both", "down", "up"))
    token: Secret | None = secret()
    public: bool = flag(False)
    targets: tuple[ThroughputTarget, ...] = ()

    @property
    def enabled(self) -> bool:
        """Never by an interval of its own, as `throughput`."""
        return False

    @property
    def interval_s(self) -> float:
        """Of no use while it is not enabled."""
        return 86_400.0


async def run(settings: SpeedtestSettings, context: Context) -> list[Record]:
    """One test after the other."""
    asked: dict[str, Any] = {"only": settings.only}
    asked["token"] = "" if settings.token is None else settings.token.reveal()
    records = await measure("speedtest", settings.targets, asked, "speedtest", context)
    if settings.public:
        spec = {"kind": "speedtest", "only": settings.only, "peer": None}
        outcome, fields = await tested(spec, "speedtest")
        at_ms = context.now_bt_ms()
        records.append(Record(measurement="speedtest", bt_ms=at_ms, target=PUBLIC, outcome=outcome, fields=fields))
    return records
