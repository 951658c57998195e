"""How many bits a second does the line carry, each way?

Four TCP streams, or eight, under BBR against `balise target`, in a process of its own (`net/throughput`).

Rule 1: a test fills the line. When it may is `heavy`'s to say; `balise-agent once` runs it by hand.
Rule 2: address families and roles of targets are series of their own, never mixed.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from balise_agent.contract import Record, failed
from balise_agent.net import child
from balise_agent.net.resolve import Address, resolve
from balise_agent.net.throughput.dialogue import ANSWER_S, CONNECT_S
from balise_agent.net.throughput.shape import MOST_STREAMS, SHAPES, Shape
from balise_agent.probes.context import Context
from balise_agent.settings import Secret, choice, flag, number, secret, series_label, text

HTTP_PORT = 80
MOST_BPS = 1e11
COMMAND = (sys.executable, "-m", "balise_agent.net.throughput")

_FAMILIES = {"4": (socket.AF_INET,), "6": (socket.AF_INET6,), "both": (socket.AF_INET, socket.AF_INET6)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputTarget:
    """One `balise target`. ``af`` any: the family that the system prefers; both: a test each."""

    label: str = series_label(dots=False)
    url: str = text(
        pattern=r"http://(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?/?",
        allowed="the http URL of a target, without a path",
    )
    role: str = choice("operator", ("operator", "offnet", "any"))
    af: str = choice("any", ("any", "4", "6", "both"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputSettings:
    """``contract_*``: what the line should have, for `limited_by`; ``loaded``: a full test measures that too."""

    shape: str = choice("light", ("light", "full"))
    only: str = choice("both", ("both", "down", "up"))
    streams: int | None = number(None, low=1, high=MOST_STREAMS)
    loaded: bool = flag(True)
    token: Secret | None = secret()
    contract_down_bps: float | None = number(None, low=1, high=MOST_BPS, unit="bit/s")
    contract_up_bps: float | None = number(None, low=1, high=MOST_BPS, unit="bit/s")
    targets: tuple[ThroughputTarget, ...] = ()

    @property
    def enabled(self) -> bool:
        """Never by an interval of its own: `heavy` asks first whether the line is in use."""
        return False

    @property
    def interval_s(self) -> float:
        """Of no use while it is not enabled."""
        return 86_400.0


async def run(settings: ThroughputSettings, context: Context) -> list[Record]:
    """One test after the other; of a full one, latency under load behind it; of one that loss held back, a burst."""
    asked: dict[str, Any] = {"streams": settings.streams, "only": settings.only}
    asked |= {"contract_down_bps": settings.contract_down_bps, "contract_up_bps": settings.contract_up_bps}
    asked["token"] = "" if settings.token is None else settings.token.reveal()
    records = await measure("throughput", settings.targets, asked, settings.shape, context)
    if settings.shape == "full" and settings.loaded:
        records += await measure("loaded", settings.targets, asked, "loaded", context)
    lossy = {record.target for record in records if record.fields.get("limited_by") == "loss"}
    for target in settings.targets:
        if any(name.partition(".")[0] == target.label for name in lossy):
            records += await measure("udp_capacity", (target,), asked, "burst", context)
    return records


async def tested(spec: Mapping[str, Any], shape: str) -> child.Result:
    """Outcome and fields of one test."""
    return await child.run(spec, most_s(SHAPES[shape]), COMMAND)


def most_s(shape: Shape) -> float:
    """How long a test of both directions can take: every step of it at its own time-out, and a slow start."""
    return 2 * shape.lasts_s + 6 * (CONNECT_S + ANSWER_S)


async def measure(
    kind: str, targets: Iterable[ThroughputTarget], asked: Mapping[str, Any], shape: str, context: Context
) -> list[Record]:
    """A record of that kind for each target and address family; its series is ``LABEL.v4`` or ``LABEL.v6``."""
    records = []
    for target in targets:
        url = urlsplit(target.url)
        addresses = _chosen(await resolve(url.hostname or ""), target.af)
        for address in addresses:
            spec = dict(asked) | {"kind": kind, "role": target.role, "peer": _peer(address, url.port, url.netloc)}
            spec |= {"shape": shape} if kind == "throughput" else {}
            outcome, fields = await tested(spec, shape)
            name = f"{target.label}.v{address.af}"
            records.append(
                Record(measurement=kind, bt_ms=context.now_bt_ms(), target=name, outcome=outcome, fields=fields)
            )
        if not addresses:
            at_ms = context.now_bt_ms()
            records.append(Record(measurement=kind, bt_ms=at_ms, target=target.label, outcome=failed("resolve")))
    return records


def _chosen(addresses: list[Address], af: str) -> list[Address]:
    """The first of each family that is wanted."""
    wanted: Iterable[int] = _FAMILIES.get(af) or [a.family for a in addresses[:1]]
    firsts = (next((a for a in addresses if a.family == family), None) for family in wanted)
    return [address for address in firsts if address is not None]


def _peer(address: Address, port: int | None, name: str) -> dict[str, Any]:
    return {"family": int(address.family), "address": list(address.at(port or HTTP_PORT)), "name": name}
