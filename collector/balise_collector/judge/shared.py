"""Is it one fault, and on which element? The binomial test, and the choice of the smallest element that explains.

Pure; judgement: chance does not explain that k of m fell within the window, and the healthy are spared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from balise_collector.judge.topology import Scope

Element = tuple[Scope, str]

SHARED: tuple[Scope, ...] = ("pon", "building", "card", "olt", "operator")
"""What homes share; of two of one size the first is named, and the second is its rival."""


@lru_cache(maxsize=65_536)
def tail(k: int, m: int, p: float) -> float:
    """P(X >= k) of a binomial of m and p."""
    if k <= 0:
        return 1.0
    if k > m or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    log_p, log_q = math.log(p), math.log1p(-p)
    base = math.lgamma(m + 1)
    total = 0.0
    for x in range(k, m + 1):
        term = math.exp(base - math.lgamma(x + 1) - math.lgamma(m - x + 1) + x * log_p + (m - x) * log_q)
        total += term
        if x > m * p and term < total * 1e-12:
            break
    return min(1.0, total)


def is_shared(k: int, m: int, p: float, alpha: float) -> bool:
    """Chance does not explain it. Two at least: one home is never a shared fault."""
    return k >= 2 and tail(k, m, float(f"{p:.2e}")) < alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An element and the failing homes it explains. ``part``: some of its measured homes are well. ``rival``: another
    element that explains the same homes."""

    element: Element
    homes: tuple[str, ...]
    part: bool = False
    rival: Element | None = None


def places(
    failing: Collection[str],
    groups: Callable[[str], Sequence[Element]],
    healthy: Callable[[Element], int],
    size: Mapping[Element, int],
    passes: Callable[[Element, Collection[str]], bool],
    spared: float,
    *,
    large: bool = False,
) -> list[Place]:
    """The elements that explain the failing homes, the one that explains most first.

    ``groups``: what a home hangs on, smallest first; ``healthy``: measured homes of an element that are well;
    ``size``: its expected homes; ``passes``: whether these failing homes of it are more than chance; ``large``: of
    equals the larger one.
    """
    left, found = set(failing), list[Place]()
    while left:
        tally: dict[Element, set[str]] = {}
        for home in sorted(left):
            for element in groups(home):
                tally.setdefault(element, set()).add(home)
        candidates = [(element, homes) for element, homes in tally.items() if passes(element, homes)]
        if not candidates:
            break
        order = {element: _order(size, element) for element, _ in candidates}
        if large:
            order = {element: (-number, -rank, code) for element, (number, rank, code) in order.items()}
        place = _whole(candidates, healthy, order, spared) or _part(candidates, order)
        found.append(place)
        left -= set(place.homes)
    return found


def _order(size: Mapping[Element, int], element: Element) -> tuple[int, int, str]:
    return (size.get(element, 0), SHARED.index(element[0]), element[1])


def _whole(
    candidates: Sequence[tuple[Element, set[str]]],
    healthy: Callable[[Element], int],
    order: Mapping[Element, tuple[int, int, str]],
    spared: float,
) -> Place | None:
    """The element whose measured homes nearly all fail, and that explains most; the smaller of equals."""
    fitting = []
    for element, homes in candidates:
        well = healthy(element)
        if well <= spared * (well + len(homes)):
            fitting.append((element, homes))
    if not fitting:
        return None
    fitting.sort(key=lambda c: (-len(c[1]), order[c[0]]))
    return _place(fitting, part=False)


def _part(candidates: Sequence[tuple[Element, set[str]]], order: Mapping[Element, tuple[int, int, str]]) -> Place:
    """The smallest element that holds nearly as many of the failing as any does."""
    most = max(len(homes) for _, homes in candidates)
    holding = [c for c in candidates if len(c[1]) >= 0.9 * most]
    holding.sort(key=lambda c: order[c[0]])
    return _place(holding, part=True)


def _place(ranked: Sequence[tuple[Element, set[str]]], *, part: bool) -> Place:
    element, homes = ranked[0]
    cross = {"building": "pon", "pon": "building"}.get(element[0])
    rival = next((other for other, theirs in ranked[1:] if other[0] == cross and theirs == homes), None)
    return Place(element=element, homes=tuple(sorted(homes)), part=part, rival=rival)
