"""What is one fault, and what do several together make of a home?"""

from __future__ import annotations

from dataclasses import dataclass

from balise_collector.town.condition import Condition
from balise_collector.town.kinds import KINDS, Kind, Service, Shows

PLATFORM = frozenset({"broker_down", "collector_down", "influx_down"})


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


def shows(fault: Fault, service: Service) -> Shows:
    """Television is only sampled: what else shows each minute shows there at the next sample."""
    return "tv" if service == "television" and fault.what.shows == "window" else fault.what.shows


def condition(faults: tuple[Fault, ...]) -> Condition:
    """What these faults together make of a home in which nothing was wrong."""
    found = Condition()
    for fault in faults:
        found = fault.what.effect(found, fault)
    return found
