"""What can break, where, and what does it do?

One table, `KINDS`. A fault's effect is a change of a home's `Condition`; several faults are applied one after the
other, so that they combine.

Rule 1: an effect is physics: it says what is broken, never what anybody would think of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Service = Literal["internet", "television", "telephone", "probe"]
Shows = Literal["cut", "window", "dns", "rate", "tv", "register", "call", "link", "never"]
"""By which of the probe's measurements a fault can be seen from inside; ``cut``: by echoes, to a second."""

FAST_ETHERNET_BPS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The state of all that a home's probe depends on. The defaults are a home in which nothing is wrong."""

    mains: bool = True  # the building's electricity, for box and probe
    strip: bool = True  # the tenant's
    probe_power: bool = True
    agent: bool = True
    box_power: bool = True
    box: bool = True  # it forwards and answers
    light: bool = True
    core: bool = True
    upstream: bool = True
    dns: bool = True
    target: bool = True
    target_rate: float = 1.0
    loss: float = 0.0
    queue_us: int = 0
    rate: float = 1.0  # of the contract
    bloat_us: int = 0
    fast_ethernet: bool = False
    wifi_weak: float = 0.0
    bad_channels: frozenset[str] = frozenset()
    multicast: bool = True
    registrar: bool = True
    registered: bool = True
    audio: bool = True
    uplink: bool = True  # the probe's messages get out
    clock_ms: int = 0
    broker: bool = True
    collector: bool = True
    store: bool = True

    @property
    def has_box(self) -> bool:
        """The box has current."""
        return self.mains and self.strip and self.box_power

    @property
    def line(self) -> bool:
        """The way to the operator's network is whole."""
        return self.has_box and self.box and self.light and self.core

    @property
    def watches(self) -> bool:
        """An agent measures."""
        return self.mains and self.strip and self.probe_power and self.agent

    @property
    def reports(self) -> bool:
        """An agent's session with the broker can be open."""
        return self.watches and self.line and self.uplink and self.broker


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. ``number``: its place in the script; ``strength``: what it means is the kind's; ``ordinary``: it is
    daily life, nobody's fault. ``cause``: None is the kind's own."""

    number: int
    kind: str
    place: str
    start_ms: int
    end_ms: int
    strength: float = 1.0
    channels: tuple[str, ...] = ()
    declared: bool = False
    ordinary: bool = False

    @property
    def what(self) -> Kind:
        """Its line in the table."""
        return KINDS[self.kind]


Effect = Callable[[Condition, Fault], Condition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``places``: kinds of place that it can be at; ``hits``: services that do not work as they should; ``hours``: how
    long it lasts where nobody says, from and to; ``strength``: of a drawn one, from and to."""

    meaning: str
    places: tuple[str, ...]
    effect: Effect
    hits: tuple[Service, ...]
    shows: Shows
    cause: str
    hours: tuple[float, float] = (0.5, 4.0)
    strength: tuple[float, float] = (1.0, 1.0)
    evening: bool = False  # it is there from 19 to 23 h only
    loop_s: tuple[int, int] | None = None  # it comes and goes: so long there, so long away
    is_incident: bool = True  # an operator would want one line for it


ALL: tuple[Service, ...] = ("internet", "television", "telephone")


def _set(**changes: bool) -> Effect:
    return lambda condition, _fault: replace(condition, **changes)  # type: ignore[arg-type]


def _channels(condition: Condition, fault: Fault) -> Condition:
    return replace(condition, bad_channels=condition.bad_channels | frozenset(fault.channels))


def _congested(condition: Condition, fault: Fault) -> Condition:
    strength = fault.strength
    return replace(
        condition,
        rate=condition.rate * (1 - 0.6 * strength),
        queue_us=condition.queue_us + int(60_000 * strength),
        loss=condition.loss + 0.02 * strength,
    )


KINDS: dict[str, Kind] = {
    "fibre_cut": Kind(
        meaning="one home's fibre is cut",
        places=("home",),
        effect=_set(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "pon_cut": Kind(
        meaning="a PON's fibre, or a branch of it, is cut",
        places=("pon", "branch"),
        effect=_set(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "card_down": Kind(
        meaning="a card of the OLT is dead",
        places=("card",),
        effect=_set(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "olt_down": Kind(
        meaning="an OLT is dead", places=("olt",), effect=_set(light=False), hits=ALL, shows="cut", cause="line"
    ),
    "core_down": Kind(
        meaning="the operator's core passes nothing on",
        places=("town",),
        effect=_set(core=False),
        hits=ALL,
        shows="cut",
        cause="core",
    ),
    "power_cut": Kind(
        meaning="a building has no electricity",
        places=("building",),
        effect=_set(mains=False),
        hits=ALL,
        shows="never",
        cause="power",
    ),
    "box_hung": Kind(
        meaning="the box has current and does nothing",
        places=("home",),
        effect=_set(box=False),
        hits=ALL,
        shows="cut",
        cause="box",
    ),
    "box_unplugged": Kind(
        meaning="the box has no current, the probe has",
        places=("home",),
        effect=_set(box_power=False),
        hits=ALL,
        shows="cut",
        cause="box",
    ),
    "box_loop": Kind(
        meaning="the box restarts again and again",
        places=("home",),
        effect=_set(box_power=False),
        hits=ALL,
        shows="cut",
        cause="box",
        loop_s=(90, 210),
    ),
    "probe_unplugged": Kind(
        meaning="the probe has no current",
        places=("home",),
        effect=_set(probe_power=False),
        hits=("probe",),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
    "probe_frozen": Kind(
        meaning="the agent stands still",
        places=("home",),
        effect=_set(agent=False),
        hits=("probe",),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
    "clock_wrong": Kind(
        meaning="the probe's clock is wrong by ``strength`` hours, negative: behind",
        places=("home",),
        effect=lambda c, f: replace(c, clock_ms=c.clock_ms + int(f.strength * 3_600_000)),
        hits=("probe",),
        shows="window",
        cause="clock",
        strength=(-3.0, -0.5),
        is_incident=False,
    ),
    "dns_down": Kind(
        meaning="the operator's resolvers do not answer",
        places=("town",),
        effect=_set(dns=False),
        hits=("internet",),
        shows="cut",
        cause="dns",
    ),
    "upstream_down": Kind(
        meaning="nothing beyond the operator answers",
        places=("town",),
        effect=_set(upstream=False),
        hits=("internet",),
        shows="cut",
        cause="upstream",
    ),
    "target_down": Kind(
        meaning="our target does not answer",
        places=("town",),
        effect=_set(target=False),
        hits=(),
        shows="cut",
        cause="target",
    ),
    "target_slow": Kind(
        meaning="our target gives ``strength`` of what is asked",
        places=("town",),
        effect=lambda c, f: replace(c, target_rate=min(c.target_rate, f.strength)),
        hits=(),
        shows="rate",
        cause="target",
        hours=(12, 30),
        strength=(0.2, 0.5),
        is_incident=False,
    ),
    "congestion": Kind(
        meaning="a PON is full in the evening; ``strength`` 1: 60 % less rate, 60 ms more queue, 2 % loss",
        places=("pon",),
        effect=_congested,
        hits=("internet", "television"),
        shows="window",
        cause="congestion",
        hours=(96, 168),
        strength=(0.6, 1.0),
        evening=True,
    ),
    "bufferbloat": Kind(
        meaning="round trips rise by ``strength`` seconds when the line is filled",
        places=("home",),
        effect=lambda c, f: replace(c, bloat_us=c.bloat_us + int(f.strength * 1e6)),
        hits=("internet",),
        shows="rate",
        cause="bufferbloat",
        hours=(96, 168),
        strength=(0.2, 0.6),
    ),
    "loss": Kind(
        meaning="a PON loses ``strength`` of its packets",
        places=("pon", "home"),
        effect=lambda c, f: replace(c, loss=c.loss + f.strength),
        hits=("internet", "television"),
        shows="window",
        cause="loss",
        hours=(2, 12),
        strength=(0.03, 0.10),
    ),
    "slow_profile": Kind(
        meaning="a home is provisioned at ``strength`` of its contract",
        places=("home",),
        effect=lambda c, f: replace(c, rate=c.rate * f.strength),
        hits=("internet",),
        shows="rate",
        cause="provisioning",
        hours=(96, 168),
        strength=(0.3, 0.7),
    ),
    "cable_100": Kind(
        meaning="the probe's cable carries 100 Mbit/s",
        places=("home",),
        effect=_set(fast_ethernet=True),
        hits=("probe",),
        shows="link",
        cause="cable",
        hours=(48, 168),
        is_incident=False,
    ),
    "wifi_weak": Kind(
        meaning="the probe's radio is weak, it loses up to 8 % and is slow",
        places=("home",),
        effect=lambda c, f: replace(c, wifi_weak=max(c.wifi_weak, f.strength)),
        hits=("probe",),
        shows="window",
        cause="wifi",
        hours=(12, 72),
        strength=(0.5, 1.0),
        is_incident=False,
    ),
    "tv_channels": Kind(
        meaning="channels are bad at the head-end: those of ``channels``",
        places=("town",),
        effect=_channels,
        hits=("television",),
        shows="tv",
        cause="head_end",
        hours=(1, 6),
    ),
    "tv_building": Kind(
        meaning="a building gets no multicast",
        places=("building",),
        effect=_set(multicast=False),
        hits=("television",),
        shows="tv",
        cause="multicast",
        hours=(2, 8),
    ),
    "tv_home": Kind(
        meaning="one home gets no multicast",
        places=("home",),
        effect=_set(multicast=False),
        hits=("television",),
        shows="tv",
        cause="box",
        hours=(4, 24),
    ),
    "registrar_down": Kind(
        meaning="nobody's telephone line can register",
        places=("town",),
        effect=_set(registrar=False),
        hits=("telephone",),
        shows="register",
        cause="registrar",
    ),
    "unregistered": Kind(
        meaning="one line is not registered",
        places=("home",),
        effect=_set(registered=False),
        hits=("telephone",),
        shows="register",
        cause="account",
        hours=(4, 24),
    ),
    "one_way_audio": Kind(
        meaning="a call carries sound one way only",
        places=("home",),
        effect=_set(audio=False),
        hits=("telephone",),
        shows="call",
        cause="audio",
        hours=(4, 24),
    ),
    "works": Kind(
        meaning="the line is cut by works; ``declared`` or not",
        places=("pon", "building", "branch"),
        effect=_set(light=False),
        hits=ALL,
        shows="cut",
        cause="works",
        hours=(0.5, 2),
    ),
    "late_delivery": Kind(
        meaning="messages do not get out, all else works",
        places=("pon", "home", "town"),
        effect=_set(uplink=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(2, 8),
        is_incident=False,
    ),
    "broker_down": Kind(
        meaning="the broker is down",
        places=("town",),
        effect=_set(broker=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(0.2, 1),
    ),
    "collector_down": Kind(
        meaning="the collector takes nothing in",
        places=("town",),
        effect=_set(collector=False),
        hits=(),
        shows="never",
        cause="platform",
        hours=(0.2, 1),
    ),
    "influx_down": Kind(
        meaning="InfluxDB is down: nothing of what is judged",
        places=("town",),
        effect=_set(store=False),
        hits=(),
        shows="never",
        cause="platform",
        is_incident=False,
    ),
    "strip_off": Kind(
        meaning="the tenant switched off box and probe",
        places=("home",),
        effect=_set(strip=False),
        hits=(),
        shows="never",
        cause="tenant",
        is_incident=False,
    ),
    "agent_restart": Kind(
        meaning="the agent restarts, as for an update",
        places=("home",),
        effect=_set(agent=False),
        hits=(),
        shows="never",
        cause="probe",
        is_incident=False,
    ),
}
"""Every fault by its name in a script."""

PLATFORM = frozenset({"broker_down", "collector_down", "influx_down"})


def shows(fault: Fault, service: Service) -> Shows:
    """Television is only sampled: what else shows each minute shows there at the next sample."""
    return "tv" if service == "television" and fault.what.shows == "window" else fault.what.shows


def condition(faults: tuple[Fault, ...]) -> Condition:
    """What these faults together make of a home in which nothing was wrong."""
    found = Condition()
    for fault in faults:
        found = fault.what.effect(found, fault)
    return found


def names(kinds: Mapping[str, Kind] = KINDS) -> list[str]:
    """For messages and for `docs/town.md`."""
    return list(kinds)
