"""What did the homes of the pilot get together? (method QOS-1 §§ 4, 6-8)

Rule 1: the home is the unit, never the test: a figure is one over the homes' own figures.
Rule 2: a home below the minimum sample has no figure and is counted beside. One that does not agree to count in the
pilot's figures (`evaluation`) is in none.
Rule 3: a home stands for those of its building and offer that are not measured: N / n of them, at most `MAX_WEIGHT`.
Rule 4: an interval is of resampled homes within buildings, or Wilson's of homes for a share; never one over tests. It
says nothing of those that are not measured: the table of who answered stands beside.
Rule 5: a figure says of how many planned measurements nothing came. Tests are left out while somebody uses the line,
and then the line is slower: a speed from which tests are missing is told too high, not too low.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple

from balise_collector.stats.indicators import Indicator
from balise_collector.stats.terms import Terms

MAX_WEIGHT = 4.0
DRAWS, SEED = 2_000, 20_261_124
TELLING = 0.005  # of the tests missing: below, "0 %" is printed
_Z = 1.959964  # of a two-sided interval of 95 %
_RATES = ("down_ratio_p50", "up_ratio_p50", "offnet_down_ratio_p50", "offnet_up_ratio_p50")
_SHARES: dict[str, tuple[tuple[str, Callable[[float], bool]], ...]] = {
    "rate": (
        ("share_95", lambda value: value >= 0.95),
        ("share_80_95", lambda value: 0.80 <= value < 0.95),
        ("share_below_80", lambda value: value < 0.80),
    ),
    "conforming": (("share_90", lambda value: value >= 0.90),),
    "peak_degradation": (
        ("share_above_10", lambda value: value > 0.10),
        ("share_above_20", lambda value: value > 0.20),
    ),
    "loss_ratio": (
        ("share_below_04", lambda value: value < 0.004),
        ("share_04_1", lambda value: 0.004 <= value <= 0.01),
        ("share_above_1", lambda value: value > 0.01),
    ),
    "availability": (("share_995", lambda value: value >= 0.995),),
    "outages": (("share_any", lambda value: value >= 1),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``what``: median, p20, p95, mean_per_100, min, p5, …, or share_X of the homes. ``low``, ``high``: 95 %, absent of
    what has no interval. ``value`` None: no home has a figure. Counts are over all homes that may count; ``below``:
    those of them that were measured too little; ``n_eff``: as many homes of equal weight say as much (Kish);
    ``missing``: of what the plan has for the homes with a figure, the share of which nothing came, neither a value nor
    a failure; None: no home has a figure."""

    indicator: str
    what: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    homes: int = 0
    below: int = 0
    n_eff: float = 0.0
    n: int = 0
    n_invalid: int = 0
    n_failed: int = 0
    n_skipped: int = 0
    validity: dict[str, int] = field(default_factory=dict)
    coverage: float = 0.0
    missing: float | None = None


class Told(NamedTuple):
    """A home's indicator."""

    home: str
    terms: Terms
    one: Indicator


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who is measured, of a building and an offer."""

    building: str
    offer: str
    connected: int
    probe: int
    agrees: int
    evaluates: int
    valid: int


def figures(homes: Mapping[str, tuple[Terms, Sequence[Indicator]]]) -> list[Figure]:
    """Of each indicator, in the order of the first home's. ``homes``: all of the directory."""
    counted = {home: found for home, found in homes.items() if found[0].evaluates and _is_measured(found[1])}
    connected = Counter(_stratum(terms) for terms, _ in homes.values())
    by_name: dict[str, list[Told]] = {}
    for home in sorted(counted):
        terms, found = counted[home]
        for one in found:
            by_name.setdefault(one.name, []).append(Told(home, terms, one))
    return [figure for found in by_name.values() for figure in _of_indicator(found, connected)]


def _is_measured(found: Iterable[Indicator]) -> bool:
    return any(one.n or one.n_failed or one.n_invalid for one in found)


def answered(homes: Mapping[str, tuple[Terms, Sequence[Indicator]]], headline: str) -> list[Answered]:
    """The table of non-response: by building and offer."""
    strata: dict[tuple[str, str], list[tuple[Terms, Sequence[Indicator]]]] = {}
    for terms, found in homes.values():
        strata.setdefault(_stratum(terms), []).append((terms, found))
    return [_answered(stratum, strata[stratum], headline) for stratum in sorted(strata)]


def _answered(stratum: tuple[str, str], those: Sequence[tuple[Terms, Sequence[Indicator]]], headline: str) -> Answered:
    def has_it(found: Iterable[Indicator]) -> bool:
        return any(one.name == headline and one.value is not None for one in found)

    sites = [terms.site for terms, _ in those]
    return Answered(
        building=stratum[0],
        offer=stratum[1],
        connected=len(those),
        probe=sum(site is not None and bool(site.probe) for site in sites),
        agrees=sum(site is not None and site.agrees for site in sites),
        evaluates=sum(terms.evaluates for terms, _ in those),
        valid=sum(terms.evaluates and has_it(found) for terms, found in those),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Homes' figures by size, with what each stands for; ``places``: which homes they are, by ``buildings``."""

    values: tuple[float, ...]
    weights: tuple[float, ...]
    places: tuple[int, ...]
    buildings: tuple[str, ...]

    def quantile(self, share: float, weights: Sequence[float] | None = None) -> float:
        """The first whose weight and those before make up the share."""
        summed = list(accumulate(self.weights if weights is None else weights))
        return self.values[min(bisect_left(summed, share * summed[-1] * (1 - 1e-12)), len(summed) - 1)]

    def mean(self, weights: Sequence[float] | None = None) -> float:
        used = self.weights if weights is None else weights
        return math.fsum(w * v for w, v in zip(used, self.values, strict=True)) / math.fsum(used)

    @property
    def n_eff(self) -> float:
        return math.fsum(self.weights) ** 2 / math.fsum(w * w for w in self.weights)

    def draws(self) -> Iterator[list[float]]:
        """Weights of homes drawn again within their buildings, as often as `DRAWS`; the same each time."""
        for times in _drawn(self.buildings):
            yield [weight * times[place] for weight, place in zip(self.weights, self.places, strict=True)]


@lru_cache(maxsize=16)
def _drawn(buildings: tuple[str, ...]) -> Sequence[bytes]:
    """How often each of these homes is drawn, each time; at most 255, which no building of some hundred comes near."""
    rng = random.Random(SEED)
    members: dict[str, list[int]] = {}
    for place, building in enumerate(buildings):
        members.setdefault(building, []).append(place)
    found = []
    for _ in range(DRAWS):
        times = bytearray(len(buildings))
        for those in members.values():
            for place in rng.choices(those, k=len(those)):
                times[place] += 1
        found.append(bytes(times))
    return found


def interval(draws: Iterable[float]) -> tuple[float, float]:
    """Between what 95 % of `DRAWS` figures lie."""
    drawn = sorted(draws)
    return drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS) - 1]


def leans(figure: Figure) -> Literal["high", ""]:
    """To which side of the truth a speed of the evening is told, as far as its missing tests move it (rule 5)."""
    return "high" if figure.missing is not None and figure.missing >= TELLING else ""


def _missing(ones: Sequence[Indicator]) -> float:
    """Mean of homes: what came is coverage x (all that came / values)."""
    came = (one.coverage * (one.n + one.n_failed + one.n_invalid) / one.n if one.n else 0.0 for one in ones)
    return math.fsum(max(0.0, 1 - share) for share in came) / len(ones)


def _stratum(terms: Terms) -> tuple[str, str]:
    return (terms.site.building if terms.site else "", terms.offer)


def _of_indicator(found: Sequence[Told], connected: Counter[tuple[str, str]]) -> Iterator[Figure]:
    name = found[0].one.name
    told = [told for told in found if told.one.value is not None]
    empty = _counted([one for *_, one in found], len(told))
    if not told:
        yield replace(empty, what=_headline(name)[0])
        return
    sample = _sample(told, connected)
    empty = replace(empty, n_eff=sample.n_eff, missing=_missing([one for *_, one in told]))
    what, figure = _headline(name)
    low, high = interval(figure(sample, weights) for weights in sample.draws())
    yield replace(empty, what=what, value=figure(sample, None), low=low, high=high)
    for percent in (5, 25, 75, 95):
        if f"p{percent}" != what:
            yield replace(empty, what=f"p{percent}", value=sample.quantile(percent / 100))
    for extreme, value in (("min", sample.values[0]), ("max", sample.values[-1])):
        yield replace(empty, what=extreme, value=value)
    for share, holds in _SHARES.get(_kind(name), ()):
        yield replace(_share(empty, sample, holds), what=share, unit="1")


def _sample(told: Sequence[Told], connected: Counter[tuple[str, str]]) -> Sample:
    here = Counter(_stratum(terms) for _, terms, _ in told)
    weights = [min(MAX_WEIGHT, connected[_stratum(terms)] / here[_stratum(terms)]) for _, terms, _ in told]
    values = [one.value or 0.0 for *_, one in told]
    order = sorted(range(len(told)), key=lambda place: values[place])
    return Sample(
        values=tuple(values[place] for place in order),
        weights=tuple(weights[place] for place in order),
        places=tuple(order),
        buildings=tuple(_stratum(terms)[0] for _, terms, _ in told),
    )


def _headline(name: str) -> tuple[str, Callable[[Sample, Sequence[float] | None], float]]:
    """What stands for all homes: 80/80 is the 20th percentile over homes of each one's 20th."""
    if "_p20." in name:
        return "p20", lambda sample, weights: sample.quantile(0.2, weights)
    if name == "rtt_p95_us":
        return "p95", lambda sample, weights: sample.quantile(0.95, weights)
    if name.startswith(("outage", "microcuts")):
        return "mean_per_100", lambda sample, weights: 100 * sample.mean(weights)
    return "median", lambda sample, weights: sample.quantile(0.5, weights)


def _kind(name: str) -> str:
    head = name.partition(".")[0]
    if head in _RATES:
        return "rate"
    return next((kind for kind in ("conforming", "peak_degradation") if head.endswith(kind)), head)


def _share(empty: Figure, sample: Sample, holds: Callable[[float], bool]) -> Figure:
    """Of homes, weighted; Wilson's interval on as many homes as they are worth."""
    weighed = zip(sample.weights, sample.values, strict=True)
    share = math.fsum(w for w, v in weighed if holds(v)) / math.fsum(sample.weights)
    n, z2 = sample.n_eff, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return replace(empty, value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _counted(ones: Sequence[Indicator], told: int) -> Figure:
    """A figure of these homes without its value."""
    validity = Counter[str]()
    for one in ones:
        validity.update(one.validity)
    return Figure(
        indicator=ones[0].name,
        what="",
        value=None,
        unit=ones[0].unit,
        homes=told,
        below=len(ones) - told,
        n=sum(one.n for one in ones),
        n_invalid=sum(one.n_invalid for one in ones),
        n_failed=sum(one.n_failed for one in ones),
        n_skipped=sum(one.n_skipped for one in ones),
        validity=dict(sorted(validity.items())),
        coverage=math.fsum(one.coverage for one in ones) / len(ones),
    )
