"""What is the state of all that a home's probe depends on?

Rule 1: it is physics: it says what is broken, never what anybody would think of it.
"""

from __future__ import annotations

from dataclasses import dataclass

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
