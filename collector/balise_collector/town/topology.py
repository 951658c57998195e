"""What is there: which homes, and what does each share with others?

A home's light goes home - branch (a second splitter of 8) - PON - card - OLT - core; its electricity comes by the
building. Buildings and PONs cross: homes fill PONs of 32 to 64 in their order, over the buildings' bounds.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MBIT = 1_000_000
OFFERS: tuple[tuple[int, int, float], ...] = (
    (10 * MBIT, 10 * MBIT, 0.60),  # the base offer
    (100 * MBIT, 100 * MBIT, 0.20),
    (300 * MBIT, 300 * MBIT, 0.15),
    (900 * MBIT, 600 * MBIT, 0.05),
)
"""Rate to the home, rate from it, share of homes."""

CHANNELS = 27  # announced for the base offer; only this default, everything else asks `Town.channels`
PONS_A_CARD, CARDS_AN_OLT, BRANCH = 8, 4, 8
OPERATOR = "op1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """A tenant's day, in minutes of civil time. ``off_share``: of the evenings, at which the strip is switched off."""

    off_share: float
    off_minute: int
    on_minute: int
    use_share: float  # of the evening in which the line is in use


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """``probe`` is "" where none is. ``rtt_us``: to the operator's target over an idle line. ``phase_ms``: where in the
    minute its windows end."""

    number: int
    id: str
    probe: str
    building: str
    branch: str
    pon: str
    card: str
    olt: str
    down_bps: int
    up_bps: int
    on_wifi: bool
    rtt_us: int
    phase_ms: int
    habit: Habit


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """``members``: homes by place: pon:P001, building:B01, branch:P001.2, card:…, olt:…, home:ID, town (all)."""

    seed: str
    homes: tuple[Home, ...]
    channels: tuple[str, ...]
    members: Mapping[str, tuple[int, ...]] = field(repr=False)

    @property
    def probed(self) -> tuple[Home, ...]:
        """Those with a probe."""
        return tuple(home for home in self.homes if home.probe)

    def at(self, place: str) -> tuple[Home, ...]:
        """The homes of a place. KeyError: there is no such place."""
        return tuple(self.homes[number] for number in self.members[place])

    def places(self, kind: str) -> list[str]:
        """All places of a kind, in order."""
        return sorted(place for place in self.members if place.partition(":")[0] == kind)


def build(
    *, homes: int, seed: int | str, probed: float = 0.9, channels: int = CHANNELS, pon: int | None = None
) -> Town:
    """A town of so many homes. ``probed``: the share of them with a probe; ``pon``: homes a PON, else 32 to 64."""
    rng = random.Random(f"{seed}/topology")
    ids = _ids(rng, 2 * homes)
    buildings = _names(rng, homes, 12, 60, "B")
    pons = _names(rng, homes, pon or 32, pon or 64, "P")
    first = {name: number for number, name in reversed(list(enumerate(pons)))}
    made = tuple(
        _home(
            number,
            ids[2 * number : 2 * number + 2],
            building=buildings[number],
            pon=pons[number],
            branch=(number - first[pons[number]]) // BRANCH + 1,
            rng=random.Random(f"{seed}/home/{number}"),
            probed=probed,
        )
        for number in range(homes)
    )
    names = tuple(f"c{number:02d}" for number in range(1, channels + 1))
    return Town(seed=str(seed), homes=made, channels=names, members=_members(made))


def _home(
    number: int, ids: list[str], *, building: str, pon: str, branch: int, rng: random.Random, probed: float
) -> Home:
    card = (int(pon[1:]) - 1) // PONS_A_CARD
    down, up, _ = rng.choices(OFFERS, [share for *_, share in OFFERS])[0]
    return Home(
        number=number,
        id=ids[0],
        probe=ids[1] if rng.random() < probed else "",
        building=building,
        branch=f"{pon}.{branch}",
        pon=pon,
        card=f"O{card // CARDS_AN_OLT + 1}/C{card % CARDS_AN_OLT + 1}",
        olt=f"O{card // CARDS_AN_OLT + 1}",
        down_bps=down,
        up_bps=up,
        on_wifi=rng.random() < 0.15,
        rtt_us=rng.randrange(2_500, 6_000),
        phase_ms=rng.randrange(60) * 1_000,
        habit=_habit(rng),
    )


def _habit(rng: random.Random) -> Habit:
    """30 % of homes switch their strip off on 80 % of evenings, around an hour of their own."""
    switches = rng.random() < 0.3
    return Habit(
        off_share=0.8 if switches else 0.0,
        off_minute=int(rng.gauss(23 * 60, 40)),
        on_minute=int(rng.gauss(7 * 60, 45)),
        use_share=rng.uniform(0.1, 0.7),
    )


def _names(rng: random.Random, homes: int, low: int, high: int, letter: str) -> list[str]:
    """The name of each home's building or PON: runs of ``low`` to ``high`` homes."""
    found: list[str] = []
    number = 0
    while len(found) < homes:
        number += 1
        found += [f"{letter}{number:03d}"] * rng.randint(low, high)
    return found[:homes]


def _ids(rng: random.Random, count: int) -> list[str]:
    letters = string.ascii_lowercase + string.digits
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choices(letters, k=16))] = None
    return list(found)


def _members(homes: Iterable[Home]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for home in homes:
        shared = (f"building:{home.building}", f"branch:{home.branch}", f"pon:{home.pon}")
        for place in ("town", f"home:{home.id}", *shared, f"card:{home.card}", f"olt:{home.olt}"):
            found.setdefault(place, []).append(home.number)
    return {place: tuple(numbers) for place, numbers in found.items()}
