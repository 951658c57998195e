"""How wrong is the pilot's headline speed where busy homes skip tests just when their lines are slow?

A pilot of the town's homes, whose PONs are full in the evening as the town's congestion is: the fuller, the slower. The
busier half of homes leave out 40 % of their evening's tests, those at which they use the line most; their own use
follows the PON's more or less. The product's figures of what is left stand against those of all tests.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from balise_collector.judge.topology import HomeSite
from balise_collector.stats.indicators import PEAK, indicators
from balise_collector.stats.pilot import Figure, figures, leans
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_bounds
from balise_collector.store import Point
from balise_collector.town import calendar
from balise_collector.town.condition import Condition
from balise_collector.town.kinds import KINDS
from balise_collector.town.readings import rate
from balise_collector.town.topology import Home, Town, build
from bench.table import Row

HOMES, SEEDS, DAYS, TESTS = 300, 20, 30, 2  # an evening's tests are those of the plan
HEADLINE = f"down_ratio_p50.{PEAK}"
START, END = month_bounds(202604)
GOAL_POINTS = 0.5
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``follows``: how a home's own use goes with its PON's, as a correlation; ``full``: of PONs, in the evening;
    ``share``: of its evening's tests that a busy home skips."""

    follows: float = 0.5
    full: float = 1.0
    share: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``told``: the product's figure of what was run; ``truth``: of all; ``bias``: between them, in points."""

    told: float
    truth: float
    missing: float
    leans: str

    @property
    def bias(self) -> float:
        """Above 0: told too high."""
        return 100 * (self.told - self.truth)


@dataclass(frozen=True, slots=True)
class _Extent:
    strength: float
    channels: tuple[str, ...] = ()


def one(case: Case, seed: int, homes: int = HOMES) -> Found:
    """One pilot's month. The same seed gives the same homes, evenings and tests in each case."""
    town = build(homes=homes, seed=seed)
    middle = statistics.median(home.habit.use_share for home in town.probed)
    every: dict[str, list[Point]] = {}
    run: dict[str, list[Point]] = {}
    for home, tests in _evenings(town, case, seed):
        busy = home.habit.use_share > middle
        every[home.id] = [point for point, _ in tests]
        run[home.id] = [point for point, use in tests if not busy or NORMAL.cdf(use) < 1 - case.share]
    told, truth = _figure(town, run), _figure(town, every)
    if told.value is None or truth.value is None or told.missing is None:
        raise ValueError(f"seed {seed}: no home has the minimum sample")
    return Found(told=told.value, truth=truth.value, missing=told.missing, leans=leans(told))


def _figure(town: Town, points: Mapping[str, Iterable[Point]]) -> Figure:
    """The headline, as `balise quality --month` makes it."""
    pilot = {}
    for home in town.homes:
        site = HomeSite(building=home.building, pon=home.pon, down_bps=home.down_bps, up_bps=home.up_bps)
        terms = Terms(site=site, offer=str(home.down_bps), evaluates=True)
        found = indicators(points.get(home.id, ()), terms, START, END)
        pilot[home.id] = (terms, [one for one in found if one.name == HEADLINE])
    return figures(pilot)[0]


def _evenings(town: Town, case: Case, seed: int) -> Iterator[tuple[Home, list[tuple[Point, float]]]]:
    """Each probed home's tests, with how much the home uses its line then: a normal variate."""
    fullness = {pon: _Pon(pon, case, seed) for pon in town.places("pon")}
    for home in town.probed:
        rng = random.Random(f"{seed}/tests/{home.number}")
        pon = fullness[f"pon:{home.pon}"]
        yield home, [_test(home, pon, case, day, rng) for day in range(DAYS) for _ in range(TESTS)]


def _test(home: Home, pon: _Pon, case: Case, day: int, rng: random.Random) -> tuple[Point, float]:
    minute = rng.randrange(19 * 60, 23 * 60)
    load = pon.load(day, minute // 60)
    use = case.follows * load + math.sqrt(1 - case.follows**2) * rng.gauss(0, 1)
    said = rate.throughput(home, pon.condition(load), rng, "light")
    ts_ms = calendar.civil_ms(calendar.ordinal(START) + day, minute)
    point = Point(home=home.id, probe=home.probe, measurement=said.measurement, ts_ms=ts_ms, target=said.target)
    point.fields.update(said.fields)
    return point, use


class _Pon:
    """How full a PON is: evenings differ, and hours within one, by as much; a normal variate."""

    def __init__(self, name: str, case: Case, seed: int) -> None:
        rng = random.Random(f"{seed}/{name}")
        low, high = KINDS["congestion"].strength
        is_full = rng.random() < case.full
        self._most = rng.uniform(low, high) if is_full else 0.0
        self._evenings = [[rng.gauss(0, 1), *(rng.gauss(0, 1) for _ in range(4))] for _ in range(DAYS)]

    def load(self, day: int, hour: int) -> float:
        evening = self._evenings[day]
        return (evening[0] + evening[hour - 18]) / math.sqrt(2)

    def condition(self, load: float) -> Condition:
        """The town's congestion, as strong as the PON is full."""
        return KINDS["congestion"].effect(Condition(), _Extent(self._most * NORMAL.cdf(load)))


def over_seeds(case: Case, seeds: int = SEEDS, homes: int = HOMES) -> list[Found]:
    """A pilot a seed."""
    return [one(case, seed, homes) for seed in range(1, seeds + 1)]


def interval(biases: Sequence[float]) -> tuple[float, float, float]:
    """Their mean, and between what it lies at 95 %; of 20 and more, so that the normal's quantile does."""
    mean = statistics.fmean(biases)
    half = NORMAL.inv_cdf(0.975) * statistics.stdev(biases) / math.sqrt(len(biases))
    return mean, mean - half, mean + half


CASES = {
    "use that goes with the PON's by 0.5": Case(),
    "use that has nothing to do with it": Case(follows=0.0),
    "the slowest tests are those skipped": Case(follows=1.0),
    "half of the PONs full": Case(full=0.5),
    "20 % skipped": Case(share=0.2),
}


def skipped_rows(runs: int | None) -> Iterator[Row]:
    """The headline's bias; ``runs``: seeds."""
    for name, case in CASES.items():
        found = over_seeds(case, runs or SEEDS)
        biases = tuple(one.bias for one in found)
        mean, low, high = interval(biases)
        told, truth = statistics.fmean(one.told for one in found), statistics.fmean(one.truth for one in found)
        missing = statistics.fmean(one.missing for one in found)
        is_said = all(one.leans == "high" for one in found) and mean > 0
        yield Row(
            work=f"the pilot's headline speed, busy homes skip: {name}",
            unit="points",
            figure=mean,
            goal=f"within {GOAL_POINTS:g}, or said with its sign",
            holds=abs(mean) <= GOAL_POINTS or is_said,
            runs=biases,
            conditions=f"{len(found)} seeds of {HOMES} homes, {DAYS} days of {TESTS} evening tests; the busier half of"
            f" homes skip {case.share:.0%} of theirs; {case.full:.0%} of PONs full in the evening",
            beside=f"the figure is their mean, {mean:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f};"
            f" told {told:.1%} of the contract, truth {truth:.1%}; {missing:.0%} of the tests"
            " missing by the figure's own coverage",
        )
