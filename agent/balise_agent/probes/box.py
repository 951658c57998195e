"""How is the box's own way out, and how much does it carry now?

Where the probe stands behind the box (``placement`` lan), the box is asked over UPnP; where the agent lives in the box,
its WAN interface is read. The record says how the way out is; how much it carries is for the gate alone.

Rule 1: byte counters, and what follows from them about the household, are in no record and no log.
Rule 2: a box that does not speak is looked for again after `AGAIN_S`, not at each question.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from balise_agent.contract import OK, Record, Value, failed
from balise_agent.net import gateway, upnp
from balise_agent.net.resolve import Address
from balise_agent.probes.context import Context
from balise_agent.settings import choice, flag, number, text

AGAIN_S = 600.0
SYS = Path("/sys/class/net")

Bytes = tuple[int, int]
"""Down and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSettings:
    """``host``: the box; ``ssdp_port``: where it hears searches. Where ``placement`` is box, ``wan_interface`` is read,
    and while a test runs ``lan_interface``: what the home uses passes both, the test itself only the first."""

    enabled: bool = flag(True)
    interval_s: float = number(300.0, low=1, high=86_400, unit="s")
    placement: str = choice("lan", ("lan", "box"))
    wan_interface: str | None = text(None, pattern=r"[A-Za-z0-9_.-]{1,15}", allowed="the name of an interface")
    lan_interface: str | None = text(None, pattern=r"[A-Za-z0-9_.-]{1,15}", allowed="the name of an interface")
    host: str = text(gateway.GATEWAY, pattern=gateway.HOST_PATTERN, allowed=gateway.HOST_ALLOWED)
    ssdp_port: int = number(upnp.SSDP[1], low=1, high=65_535)


class Box:
    """The box of this home, as long as the agent runs. ``counters_are``: what the gate found of its counters."""

    def __init__(self) -> None:
        self.counters_are = "none"
        self._igd: upnp.Igd | None = None
        self._sought_s = -AGAIN_S
        self._seeking = asyncio.Lock()

    async def bytes(self, settings: BoxSettings) -> Bytes | None:
        """What its way out has carried so far; None: nobody tells."""
        if settings.placement == "box":
            return interface_bytes(settings.wan_interface or _interface())
        igd = await self.igd(settings)
        found = None if igd is None else await upnp.counters(igd)
        if found is None:
            self._igd = None  # another address, perhaps, or it was switched off
        return found

    async def of_others(self, settings: BoxSettings) -> Bytes | None:
        """As `bytes`, while a test runs: where the agent lives in the box, what left it towards the home and back."""
        if settings.placement == "lan":
            return await self.bytes(settings)
        home = None if settings.lan_interface is None else interface_bytes(settings.lan_interface)
        return None if home is None else (home[1], home[0])

    async def igd(self, settings: BoxSettings) -> upnp.Igd | None:
        """The box that speaks, found once and kept."""
        async with self._seeking:
            address = await _router(settings)
            if self._igd is not None and self._igd.address != address:
                self._igd, self._sought_s = None, -AGAIN_S
            if self._igd is None and address is not None and time.monotonic() - self._sought_s >= AGAIN_S:
                self._sought_s = time.monotonic()
                self._igd = await upnp.find(address, settings.ssdp_port)
                if self._igd is not None:
                    self._sought_s = -AGAIN_S  # it speaks: after a hiccup it is looked for at once
            return self._igd


async def run(settings: BoxSettings, context: Context) -> list[Record]:
    """One record of how the box's way out is."""
    box = context.box or Box()
    fields: dict[str, Value | None] = {"counters": box.counters_are}
    outcome = OK
    if settings.placement == "box":
        carrier = (await asyncio.to_thread(_carrier, settings.wan_interface or _interface())) or None
        fields |= {"via": "interface", "link_up": carrier}
    elif (igd := await box.igd(settings)) is None:
        outcome = failed("no_upnp" if await _router(settings) is not None else gateway.no_address_reason(settings.host))
    else:
        told = await upnp.status(igd)
        fields |= {"via": "upnp", "wan_status": told.wan, "wan_uptime_s": told.uptime_s, "link_up": told.link_up}
        outcome = OK if told.wan is not None or told.link_up is not None else failed("no_answer")
    known = {name: value for name, value in fields.items() if value is not None}
    return [Record(measurement="box", bt_ms=context.now_bt_ms(), outcome=outcome, fields=known)]


def interface_bytes(interface: str, folder: Path = SYS) -> Bytes | None:
    """What an interface received and sent; None: there is none."""
    try:
        down, up = (
            int((folder / interface / "statistics" / name).read_text("ascii")) for name in ("rx_bytes", "tx_bytes")
        )
    except (OSError, ValueError):
        return None
    return down, up


def own_bytes() -> Bytes | None:
    """What the probe's own interface received and sent."""
    return interface_bytes(_interface())


def _carrier(interface: str) -> bool | None:
    try:
        return (SYS / interface / "carrier").read_text("ascii").strip() == "1"
    except OSError:
        return None


def _interface() -> str:
    way = gateway.way_out()
    return "-" if way is None else way[1]


async def _router(settings: BoxSettings) -> Address | None:
    return next(iter(await gateway.addresses_of(settings.host)), None)
