"""What can be wrong with television and telephone alone?"""

from __future__ import annotations

from dataclasses import replace

from balise_collector.town.condition import Condition
from balise_collector.town.kinds.kind import Extent, Kind, sets


def _channels(condition: Condition, of: Extent) -> Condition:
    return replace(condition, bad_channels=condition.bad_channels | frozenset(of.channels))


SERVICES: dict[str, Kind] = {
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
        effect=sets(multicast=False),
        hits=("television",),
        shows="tv",
        cause="multicast",
        hours=(2, 8),
    ),
    "tv_home": Kind(
        meaning="one home gets no multicast",
        places=("home",),
        effect=sets(multicast=False),
        hits=("television",),
        shows="tv",
        cause="box",
        hours=(4, 24),
    ),
    "registrar_down": Kind(
        meaning="nobody's telephone line can register",
        places=("town",),
        effect=sets(registrar=False),
        hits=("telephone",),
        shows="register",
        cause="registrar",
    ),
    "unregistered": Kind(
        meaning="one line is not registered",
        places=("home",),
        effect=sets(registered=False),
        hits=("telephone",),
        shows="register",
        cause="account",
        hours=(4, 24),
    ),
    "one_way_audio": Kind(
        meaning="a call carries sound one way only",
        places=("home",),
        effect=sets(audio=False),
        hits=("telephone",),
        shows="call",
        cause="audio",
        hours=(4, 24),
    ),
}
"""By service."""
