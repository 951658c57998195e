"""What can cut homes off on the way to the operator, its core included?"""

from __future__ import annotations

from balise_collector.town.kinds.kind import ALL, Kind, sets

PLANT: dict[str, Kind] = {
    "fibre_cut": Kind(
        meaning="one home's fibre is cut",
        places=("home",),
        effect=sets(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "pon_cut": Kind(
        meaning="a PON's fibre, or a branch of it, is cut",
        places=("pon", "branch"),
        effect=sets(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "card_down": Kind(
        meaning="a card of the OLT is dead",
        places=("card",),
        effect=sets(light=False),
        hits=ALL,
        shows="cut",
        cause="line",
    ),
    "olt_down": Kind(
        meaning="an OLT is dead", places=("olt",), effect=sets(light=False), hits=ALL, shows="cut", cause="line"
    ),
    "core_down": Kind(
        meaning="the operator's core passes nothing on",
        places=("town",),
        effect=sets(core=False),
        hits=ALL,
        shows="cut",
        cause="core",
    ),
    "power_cut": Kind(
        meaning="a building has no electricity",
        places=("building",),
        effect=sets(mains=False),
        hits=ALL,
        shows="never",
        cause="power",
    ),
}
"""Light, current and the core."""

WORKS: dict[str, Kind] = {
    "works": Kind(
        meaning="the line is cut by works; ``declared`` or not",
        places=("pon", "building", "branch"),
        effect=sets(light=False),
        hits=ALL,
        shows="cut",
        cause="works",
        hours=(0.5, 2),
    ),
}
"""People dig."""
