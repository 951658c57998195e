"""What did one home get in a period, against its contract? (method QOS-1 §§ 4-6)

Rule 1: no figure without its sample: values that count, those left out by code, failures, skips, days and coverage.
Rule 2: below the minimum sample there is no figure; the counts are still told.
Rule 3: a test that failed ranks below every value where a rate is asked for, else failures would raise the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from balise_collector.judge.topology import HomeSite
from balise_collector.stats.series import SERIES, contract_bps, readings
from balise_collector.stats.sketch import Sketch
from balise_collector.stats.windows import civil, hours_within, windows_at
from balise_collector.store import Point

METHOD = "QOS-1"
PEAK, TROUGH, ALL = "pointe_19_23", "creux_02_06", "24h"
KNOWN_SHARE = 0.8  # of the seconds, below which availability is not told
Form = Literal["quantile", "ranked", "failed_share", "mean"]
"""quantile: of the values; ranked: so, each failure below them as 0; failed_share: failed / tried; mean: of the values.
"""

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
    """What came of one series in one window. ``total``: of the values, for means."""

    sketch: Sketch = field(default_factory=Sketch)
    total: float = 0.0
    words: Counter[str] = field(default_factory=Counter)
    days: set[int] = field(default_factory=set)


class Home:
    """A home's points of a period, taken as they come, each once. ``end_ms``: of the period, or now where it is on."""

    def __init__(self, site: HomeSite | None, start_ms: int, end_ms: int) -> None:
        self._site, self._start_ms, self._end_ms = site, start_ms, end_ms
        self._bags: dict[tuple[str, str], _Bag] = {}
        self._observed_s = self._down_s = 0.0
        self._hours = 0
        self._days: set[int] = set()

    def add(self, point: Point) -> None:
        """One record within the period."""
        if not self._start_ms <= point.ts_ms < self._end_ms:
            return
        if point.measurement == "avail":
            self._add_avail(point)
        for reading in readings(point, self._site):
            for window in windows_at(point.ts_ms):
                bag = self._bags.setdefault((reading.name, window), _Bag())
                bag.words[reading.word] += 1
                if reading.value is not None:
                    bag.sketch.add(reading.value)
                    bag.total += reading.value
                    bag.days.add(civil(point.ts_ms).day)

    def _add_avail(self, point: Point) -> None:
        observed, down = point.fields.get("observed_s"), point.fields.get("down_s")
        if isinstance(observed, int | float) and isinstance(down, int | float):
            self._observed_s += observed
            self._down_s += down
            self._hours += 1
            self._days.add(civil(point.ts_ms).day)

    def indicators(self) -> list[Indicator]:
        """All of them."""
        found = [self._indicator(asked) for asked in ASKED]
        degraded = [self._degradation(way, found) for way in ("down", "up")]
        return [*found, *degraded, self._availability()]

    def _indicator(self, asked: Asked) -> Indicator:
        bag = self._bags.get((asked.series, asked.window), _Bag())
        left_out = {word: n for word, n in sorted(bag.words.items()) if word not in ("ok", "failed", "skipped")}
        n, failed = bag.sketch.n, bag.words["failed"]
        tried = n + failed if asked.form in ("ranked", "failed_share") else n
        return Indicator(
            name=asked.name,
            value=_figure(asked, bag) if _is_enough(asked, tried, len(bag.days)) else None,
            unit=asked.unit,
            contract_bps=contract_bps(self._site, asked.way) or None if asked.way else None,
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
        if asked.way:
            planned = _RATE_A_DAY[asked.window] * hours_within(ALL, self._start_ms, self._end_ms) / 24
        else:
            planned = hours * _an_hour(asked)
        return min(1.0, n / planned) if planned else 0.0

    def _degradation(self, way: str, found: list[Indicator]) -> Indicator:
        """1 - median of the peak / median of the small hours; its sample is the peak's."""
        by_name = {one.name: one for one in found}
        peak, trough = by_name[f"{way}_ratio_p50.{PEAK}"], by_name[f"{way}_ratio_p50.{TROUGH}"]
        is_told = peak.value is not None and trough.value
        return Indicator(
            name=f"{way}_peak_degradation",
            value=1 - peak.value / trough.value if is_told and peak.value is not None and trough.value else None,
            unit="1",
            contract_bps=peak.contract_bps,
            n=peak.n,
            n_invalid=peak.n_invalid,
            n_failed=peak.n_failed,
            n_skipped=peak.n_skipped,
            validity=peak.validity,
            days=peak.days,
            coverage=min(peak.coverage, trough.coverage),
        )

    def _availability(self) -> Indicator:
        """Up / watched; what was not watched is neither, and told as coverage."""
        coverage = min(1.0, self._observed_s * 1_000 / max(1, self._end_ms - self._start_ms))
        is_told = coverage >= KNOWN_SHARE
        return Indicator(
            name="availability",
            value=1 - self._down_s / self._observed_s if is_told else None,
            unit="1",
            n=self._hours,
            days=len(self._days),
            coverage=coverage,
        )


def indicators(points: Iterable[Point], site: HomeSite | None, start_ms: int, end_ms: int) -> list[Indicator]:
    """What a home got between two moments."""
    home = Home(site, start_ms, end_ms)
    for point in points:
        home.add(point)
    return home.indicators()


MEASUREMENTS = (*dict.fromkeys(one.measurement for one in SERIES), "avail")
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


def _is_enough(asked: Asked, n: int, days: int) -> bool:
    """The minimum sample (§ 6). What the plan has once a day hardly comes to 30 in a month: it needs what a window
    needs."""
    is_rare = not asked.way and _an_hour(asked) <= 1 / 24
    return n >= 30 and days >= 10 if asked.window == ALL and not is_rare else n >= 10 and days >= 5


def _an_hour(asked: Asked) -> float:
    return _AN_HOUR[asked.series.removesuffix(".op")]
