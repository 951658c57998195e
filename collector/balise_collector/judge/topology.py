"""Which homes are expected, and on which elements do they hang? One immutable value, handed to the judge.

Rule 1: an element that is not known is "": nothing is concluded about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Scope = Literal["home", "building", "pon", "card", "olt", "head_end", "district", "operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSite:
    """A home and what it hangs on. ``card`` is ``OLT/CARD``, unique in the plant. ``probe`` "": it is not measured.

    ``down_bps``, ``up_bps``: contracted rates, 0 where not known. ``agrees``: to being measured; of one that does not,
    nothing is said.
    """

    building: str = ""
    pon: str = ""
    card: str = ""
    olt: str = ""
    head_end: str = ""
    district: str = ""
    operator: str = ""
    down_bps: int = 0
    up_bps: int = 0
    probe: str = ""
    agrees: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Declared works: within them the faults of their scope are excused, and counted apart."""

    code: str
    scope: Scope
    scope_code: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """``homes``: the expected ones, by id. ``places``: where reference probes stand, by id, with their head-end."""

    homes: Mapping[str, HomeSite] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    works: tuple[Work, ...] = ()

    def members(self) -> dict[tuple[Scope, str], tuple[str, ...]]:
        """Homes of each element, in order of their ids; worked out once by whoever needs it."""
        found: dict[tuple[Scope, str], list[str]] = {}
        for home in sorted(self.homes):
            for element in elements(home, self.homes[home]):
                found.setdefault(element, []).append(home)
        return {element: tuple(homes) for element, homes in found.items()}


def elements(home: str, site: HomeSite) -> Iterable[tuple[Scope, str]]:
    """What a home hangs on, smallest first; "" is nothing."""
    yield "home", home
    chain: tuple[tuple[Scope, str], ...] = (
        ("building", site.building),
        ("pon", site.pon),
        ("card", site.card),
        ("olt", site.olt),
        ("head_end", site.head_end),
        ("district", site.district),
        ("operator", site.operator),
    )
    yield from (element for element in chain if element[1])
