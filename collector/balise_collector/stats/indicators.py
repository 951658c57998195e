"""What did one home get in a period, against its contract? (method QOS-1 §§ 4-6)

Rule 1: no figure without its sample: values that count, those left out by code, failures, skips, days and coverage.
Rule 2: below the minimum sample there is no figure; the counts are still told.
Rule 3: a test that failed ranks below every value where a rate is asked for, and does not conform, else failures would
raise the score.
Rule 4: a test that failed is of the role that its target has in those that did not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from balise_collector.stats.outages import AT_HOME, Cuts
from balise_collector.stats.series import SERIES, Reading, contract_bps, is_offnet, readings
from balise_collector.stats.sketch import Sketch
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import civil, hours_within, windows_at
from balise_collector.store import Point

METHOD = "QOS-1"
PEAK, TROUGH, ALL = "pointe_19_23", "creux_02_06", "24h"
KNOWN_SHARE = 0.8  # of the seconds, below which availability is not told
NORMAL_SHARE = 0.8
"""Of the contract: what a test must reach to conform. The directory knows no "normal" rate of an offer; this is the
lower bound of the middle class of § 4 (>= 95, 80-95, < 80 %)."""

Form = Literal["quantile", "ranked", "failed_share", "mean", "reached"]
"""quantile: of the values; ranked: so, each failure below them as 0; failed_share: failed / tried; mean: of the values;
reached: values of `NORMAL_SHARE` and more / tried."""

_AN_HOUR = {one.name: one.an_hour for one in SERIES}
_RATE_A_DAY = {ALL: 4, PEAK: 2, "pointe_20_22": 1, TROUGH: 1}  # where the plan puts them: it is not even


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An indicator: a form of one series in one window."""

    name: str
    series: str
    window: str = ALL
    form: Form = "quantile"
    share: float = 0.5
    unit: str = "1"
    way: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One figure with its sample. ``value`` None: too few values to tell one."""

    name: str
    value: float | None
    unit: str
    contract_bps: int | None = None
    n: int = 0
    n_invalid: int = 0
    n_failed: int = 0
    n_skipped: int = 0
    validity: dict[str, int] = field(default_factory=dict)
    days: int = 0
    coverage: float = 0.0


def _rates() -> Iterator[Asked]:
    for way in ("down", "up"):
        series = f"throughput.{way}_ratio"
        for window in (ALL, PEAK, "pointe_20_22", TROUGH):
            yield Asked(name=f"{way}_ratio_p50.{window}", series=series, window=window, way=way)
        for share in (5, 25, 75, 95):
            yield Asked(name=f"{way}_ratio_p{share}.{ALL}", series=series, share=share / 100, way=way)
        yield Asked(name=f"{way}_ratio_p20.{PEAK}", series=series, window=PEAK, form="ranked", share=0.2, way=way)
        yield Asked(name=f"{way}_conforming.{PEAK}", series=series, window=PEAK, form="reached", way=way)
        for window in (ALL, PEAK):
            other = f"throughput.offnet_{way}_ratio"
            yield Asked(name=f"offnet_{way}_ratio_p50.{window}", series=other, window=window, way=way)


ASKED = (
    *_rates(),
    Asked(name="rtt_p50_us", series="reach.p50_us.op", unit="us"),
    Asked(name="rtt_p95_us", series="reach.p95_us.op", share=0.95, unit="us"),
    Asked(name="loss_ratio", series="reach.loss_ratio.op", form="mean"),
    Asked(name="loaded_down_delta_p50_us", series="loaded.down_delta_us", unit="us"),
    Asked(name="loaded_up_delta_p50_us", series="loaded.up_delta_us", unit="us"),
    Asked(name="dns_p50_ms", series="dns.query_ms", unit="ms"),
    Asked(name="dns_p95_ms", series="dns.query_ms", share=0.95, unit="ms"),
    Asked(name="dns_failed_ratio", series="dns.query_ms", form="failed_share"),
    Asked(name="web_p50_ms", series="web.total_ms", unit="ms"),
    Asked(name="call_mos_p50", series="voip_call.mos_cqe"),
    Asked(name="call_pdd_p50_ms", series="voip_call.pdd_ms", unit="ms"),
    Asked(name="call_pdd_p95_ms", series="voip_call.pdd_ms", share=0.95, unit="ms"),
    Asked(name="call_failed_ratio", series="voip_call.pdd_ms", form="failed_share"),
)


@dataclass(slots=True)
class _Bag:
    """What came of one series in one window. ``total``: of the values, for means; ``reached``: those that conform."""

    sketch: Sketch = field(default_factory=Sketch)
    total: float = 0.0
    reached: int = 0
    words: Counter[str] = field(default_factory=Counter)
    days: set[int] = field(default_factory=set)


class Home:
    """A home's points of a period, taken as they come, each once. ``end_ms``: of the period, or now where it is on."""

    def __init__(self, terms: Terms, start_ms: int, end_ms: int) -> None:
        self._terms, self._start_ms, self._end_ms = terms, start_ms, end_ms
        self._bags: dict[tuple[str, str], _Bag] = {}
        self._cuts = Cuts(start_ms, end_ms, terms)
        self._tests: list[Point] = []
        self._days: set[int] = set()

    def add(self, point: Point) -> None:
        """One record. A cut is told of after the period too."""
        if point.measurement == "outage":
            self._cuts.told(point)
        elif not self._start_ms <= point.ts_ms < self._end_ms:
            return
        elif point.measurement == "avail":
            if self._cuts.watched(point):
                self._days.add(civil(point.ts_ms).day)
        elif point.measurement == "throughput":
            self._tests.append(point)
        else:
            self._count(point)

    def _count(self, point: Point) -> None:
        for reading in readings(point, self._terms.site):
            word = self._word(point, reading)
            for window in windows_at(point.ts_ms):
                bag = self._bags.setdefault((reading.name, window), _Bag())
                bag.words[word] += 1
                if word == "ok" and reading.value is not None:
                    bag.sketch.add(reading.value)
                    bag.total += reading.value
                    bag.reached += reading.value >= NORMAL_SHARE
                    bag.days.add(civil(point.ts_ms).day)

    def _word(self, point: Point, reading: Reading) -> str:
        if reading.word not in ("ok", "failed"):
            return reading.word
        if point.measurement == "throughput" and not self._terms.is_of_contract(point.ts_ms):
            return "tier_change"
        return "maintenance" if self._terms.is_in_works(point.ts_ms) else reading.word

    def indicators(self) -> list[Indicator]:
        """All of them, of what came so far."""
        for test in _with_roles(self._tests):
            self._count(test)
        self._tests.clear()
        found = [self._indicator(asked) for asked in ASKED]
        degraded = [self._degradation(way, found) for way in ("down", "up")]
        return [*found, *degraded, *self._availability(), *self._outages()]

    def _indicator(self, asked: Asked) -> Indicator:
        bag = self._bags.get((asked.series, asked.window), _Bag())
        left_out = {word: n for word, n in sorted(bag.words.items()) if word not in ("ok", "failed", "skipped")}
        n, failed = bag.sketch.n, bag.words["failed"]
        tried = n + failed if asked.form in ("ranked", "failed_share", "reached") else n
        return Indicator(
            name=asked.name,
            value=_figure(asked, bag) if _is_enough(asked, tried, len(bag.days)) else None,
            unit=asked.unit,
            contract_bps=contract_bps(self._terms.site, asked.way) or None if asked.way else None,
            n=n,
            n_invalid=sum(left_out.values()),
            n_failed=failed,
            n_skipped=bag.words["skipped"],
            validity=left_out,
            days=len(bag.days),
            coverage=self._coverage(asked, n),
        )

    def _coverage(self, asked: Asked, n: int) -> float:
        hours = hours_within(asked.window, self._start_ms, self._end_ms)
        if asked.way and _an_hour(asked):
            planned = _RATE_A_DAY[asked.window] * hours_within(ALL, self._start_ms, self._end_ms) / 24
        else:
            planned = hours * _an_hour(asked)
        return min(1.0, n / planned) if planned else 0.0

    def _degradation(self, way: str, found: list[Indicator]) -> Indicator:
        """1 - median of the peak / median of the small hours; its sample is the peak's."""
        by_name = {one.name: one for one in found}
        peak, trough = by_name[f"{way}_ratio_p50.{PEAK}"], by_name[f"{way}_ratio_p50.{TROUGH}"]
        value = None if peak.value is None or not trough.value else 1 - peak.value / trough.value
        coverage = min(peak.coverage, trough.coverage)
        return replace(peak, name=f"{way}_peak_degradation", value=value, coverage=coverage)

    def _availability(self) -> Iterator[Indicator]:
        """Up / watched; what was not watched is neither: told as coverage, and by both bounds."""
        low, high = self._cuts.bounds()
        known = self._cuts.availability() if self._is_watched else None
        yield self._of_time("availability", known, "1")
        yield self._of_time("availability_if_unknown_down", low if self._cuts.hours else None, "1")
        yield self._of_time("availability_if_unknown_up", high if self._cuts.hours else None, "1")
        yield self._of_time("unknown_share", 1 - self._cuts.known_share, "1")

    def _outages(self) -> Iterator[Indicator]:
        cuts = self._cuts.of_kind("outage")
        lasted = [cut.down_s for cut in cuts]
        at_home = sum(cut.where.startswith(AT_HOME) for cut in cuts)
        counts: dict[str, tuple[float, str]] = {
            "outages": (len(cuts), "1"),
            "outages_at_home": (at_home, "1"),
            "outages_in_works": (len(self._cuts.of_kind("outage", works=True)), "1"),
            "outage_down_s": (sum(lasted), "s"),
            "outage_longest_s": (max(lasted, default=0.0), "s"),
            "microcuts": (len(self._cuts.of_kind("microcut")), "1"),
        }
        for name, (value, unit) in counts.items():
            yield self._of_time(name, float(value) if self._is_watched else None, unit)

    @property
    def _is_watched(self) -> bool:
        return self._cuts.known_share >= KNOWN_SHARE

    def _of_time(self, name: str, value: float | None, unit: str) -> Indicator:
        cuts, days = self._cuts, len(self._days)
        return Indicator(name=name, value=value, unit=unit, n=cuts.hours, days=days, coverage=cuts.known_share)


def _with_roles(tests: Iterable[Point]) -> Iterator[Point]:
    """In the order in which they came; what failed before its target said its role has that of the others there;
    the operator's where both were met."""
    tests = list(tests)
    roles = {
        test.target: str(test.fields["role"])
        for test in sorted(tests, key=is_offnet, reverse=True)
        if "role" in test.fields
    }
    for test in tests:
        known = roles.get(test.target)
        if "role" in test.fields or known is None:
            yield test
        else:
            yield msgspec.structs.replace(test, fields={**test.fields, "role": known})


def indicators(points: Iterable[Point], terms: Terms, start_ms: int, end_ms: int) -> list[Indicator]:
    """What a home got between two moments."""
    home = Home(terms, start_ms, end_ms)
    for point in points:
        home.add(point)
    return home.indicators()


MEASUREMENTS = (*dict.fromkeys(one.measurement for one in SERIES), "avail", "outage")
"""What a home's period is made of."""


def _figure(asked: Asked, bag: _Bag) -> float | None:
    n, failed = bag.sketch.n, bag.words["failed"]
    match asked.form:
        case "quantile":
            return bag.sketch.quantile(asked.share)
        case "ranked":
            ranked = Sketch([0.0] * failed)
            ranked.merge(bag.sketch)
            return ranked.quantile(asked.share)
        case "failed_share":
            return failed / (n + failed)
        case "mean":
            return bag.total / n
        case "reached":
            return bag.reached / (n + failed)


def _is_enough(asked: Asked, n: int, days: int) -> bool:
    """The minimum sample (§ 6). What the plan has once a day hardly comes to 30 in a month: it needs what a window
    needs."""
    is_rare = not asked.way and _an_hour(asked) <= 1 / 24
    return n >= 30 and days >= 10 if asked.window == ALL and not is_rare else n >= 10 and days >= 5


def _an_hour(asked: Asked) -> float:
    return _AN_HOUR[asked.series.removesuffix(".op")]
