"""What can break beyond the line, for everybody?"""

from __future__ import annotations

from dataclasses import replace

from balise_collector.town.kinds.kind import Kind, sets

BEYOND: dict[str, Kind] = {
    "dns_down": Kind(
        meaning="the operator's resolvers do not answer",
        places=("town",),
        effect=sets(dns=False),
        hits=("internet",),
        shows="cut",
        cause="dns",
    ),
    "upstream_down": Kind(
        meaning="nothing beyond the operator answers",
        places=("town",),
        effect=sets(upstream=False),
        hits=("internet",),
        shows="cut",
        cause="upstream",
    ),
    "target_down": Kind(
        meaning="our target does not answer",
        places=("town",),
        effect=sets(target=False),
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
}
"""Names, the rest of the world, our own target."""
