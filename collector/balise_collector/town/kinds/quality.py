"""What makes a line that stands slow or lossy, or only lets its probe think so?"""

from __future__ import annotations

from dataclasses import replace

from balise_collector.town.condition import Condition
from balise_collector.town.kinds.kind import Extent, Kind, sets


def _congested(condition: Condition, of: Extent) -> Condition:
    strength = of.strength
    return replace(
        condition,
        rate=condition.rate * (1 - 0.6 * strength),
        queue_us=condition.queue_us + int(60_000 * strength),
        loss=condition.loss + 0.02 * strength,
    )


QUALITY: dict[str, Kind] = {
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
        effect=sets(fast_ethernet=True),
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
}
"""The line, then the probe's own cable and radio."""
