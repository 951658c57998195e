"""Which probes are there?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from balise_agent.contract import Record
from balise_agent.probes import (
    box,
    dns,
    hls,
    host,
    loaded,
    reach,
    speedtest,
    throughput,
    tv,
    udp_capacity,
    voice,
    web,
    wifi,
)
from balise_agent.probes.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """``heavy``: fills the line, so one at a time; ``overlap``: runs that may be under way at once."""

    name: str
    settings: type[Any]
    run: Callable[[Any, Context], Awaitable[list[Record]]]
    heavy: bool = False
    overlap: int = 1


PROBES: dict[str, Probe] = {
    # A window waits up to 2 s for its stragglers while the next one has begun.
    "reach": Probe(name="reach", settings=reach.ReachSettings, run=reach.run, overlap=2),
    "dns": Probe(name="dns", settings=dns.DnsSettings, run=dns.run),
    "web": Probe(name="web", settings=web.WebSettings, run=web.run),
    "host": Probe(name="host", settings=host.HostSettings, run=host.run),
    "box": Probe(name="box", settings=box.BoxSettings, run=box.run),
    "wifi": Probe(name="wifi", settings=wifi.WifiSettings, run=wifi.run),
    "voice": Probe(name="voice", settings=voice.VoiceSettings, run=voice.run),
    "hls": Probe(name="hls", settings=hls.HlsSettings, run=hls.run, heavy=True),
    "tv": Probe(name="tv", settings=tv.TvSettings, run=tv.run, heavy=True),
    "throughput": Probe(name="throughput", settings=throughput.ThroughputSettings, run=throughput.run, heavy=True),
    "loaded": Probe(name="loaded", settings=loaded.LoadedSettings, run=loaded.run, heavy=True),
    "udp_capacity": Probe(
        name="udp_capacity", settings=udp_capacity.UdpCapacitySettings, run=udp_capacity.run, heavy=True
    ),
    "speedtest": Probe(name="speedtest", settings=speedtest.SpeedtestSettings, run=speedtest.run, heavy=True),
}
