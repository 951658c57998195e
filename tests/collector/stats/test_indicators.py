"""Do a home's figures agree with a plain computation from its rows, and are they told with their sample?"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from balise_collector.judge.topology import HomeSite
from balise_collector.stats.indicators import Indicator, indicators
from balise_collector.stats.sketch import ERROR
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_bounds
from balise_collector.store import Point

SITE = HomeSite(building="B", pon="P", down_bps=300_000_000, up_bps=100_000_000, probe="p")
START, END = month_bounds(202610)  # a month with a day of 25 hours
DAY = 86_400_000


def ran(ts_ms: int, down_bps: int, validity: str = "ok") -> Point:
    return said(ts_ms, "throughput", "t.v4", down_bps=down_bps, up_bps=down_bps // 4, validity=validity)


def said(ts_ms: int, measurement: str, target: str = "", **fields: int | float | str) -> Point:
    return Point(home="h", probe="p", measurement=measurement, target=target, ts_ms=ts_ms, fields=dict(fields))


def failed(ts_ms: int, measurement: str, target: str, reason: str = "connect_timeout") -> Point:
    return Point(home="h", probe="p", measurement=measurement, target=target, ts_ms=ts_ms, kind="failed", reason=reason)


def found(points: list[Point], site: HomeSite | None = SITE) -> dict[str, Indicator]:
    return {one.name: one for one in indicators(points, Terms(site=site), START, END)}


def a_month() -> list[Point]:
    rng = random.Random(4)
    points: list[Point] = []
    for day in range(31):
        for _ in range(12):
            ts_ms = START + day * DAY + rng.randrange(DAY)
            points.append(ran(ts_ms, rng.randrange(20_000_000, 310_000_000)))
        points.append(failed(START + day * DAY + 20 * 3_600_000, "throughput", "t.v4"))
        points += [
            said(START + day * DAY + rng.randrange(DAY), "dns", "box", query_ms=rng.uniform(1, 90)) for _ in "abc"
        ]
    return points


def plain(points: list[Point], hours: range) -> list[float]:
    zone = ZoneInfo("Europe/Paris")
    return sorted(
        float(p.fields["down_bps"]) / 300_000_000
        for p in points
        if p.measurement == "throughput"
        and p.kind == "ok"
        and datetime.fromtimestamp(p.ts_ms / 1_000, UTC).astimezone(zone).hour in hours
    )


def rank(values: list[float], share: float) -> float:
    return values[math.floor(share * (len(values) - 1))]


def agrees(value: float | None, exact: float) -> bool:
    return value is not None and abs(value - exact) <= ERROR * abs(exact) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("window", "hours"),
    [("24h", range(24)), ("pointe_19_23", range(19, 23)), ("creux_02_06", range(2, 6))],
)
def test_rates_agree_with_a_plain_computation_within_the_sketch_s_error(window: str, hours: range) -> None:
    points = a_month()
    values = plain(points, hours)
    one = found(points)[f"down_ratio_p50.{window}"]
    assert agrees(one.value, rank(values, 0.5))
    assert one.n == len(values)
    assert one.contract_bps == 300_000_000


def test_failures_rank_below_every_value_in_the_consistent_speed() -> None:
    points = a_month()
    evening = [*([0.0] * 31), *plain(points, range(19, 23))]
    one = found(points)["down_ratio_p20.pointe_19_23"]
    assert one.n_failed == 31
    assert one.value is not None
    assert agrees(one.value, rank(evening, 0.2))


def test_the_peak_is_compared_with_the_small_hours() -> None:
    points = a_month()
    exact = 1 - rank(plain(points, range(19, 23)), 0.5) / rank(plain(points, range(2, 6)), 0.5)
    value = found(points)["down_peak_degradation"].value
    assert value is not None
    assert abs(value - exact) <= 2.1 * ERROR * (1 - exact)


def test_what_does_not_count_is_told_by_its_code() -> None:
    wifi = [ran(START + n * DAY, 1_000_000, "probe_on_wifi") for n in range(3)]
    one = found([*a_month(), *wifi, ran(START + 9, 1, "cross_traffic")])["down_ratio_p50.24h"]
    assert (one.n, one.n_invalid, one.n_failed) == (31 * 12, 4, 31)
    assert one.validity == {"cross_traffic": 1, "probe_on_wifi": 3}
    assert one.days == 31
    assert one.coverage == 1.0


def test_below_the_minimum_sample_there_are_counts_and_no_figure() -> None:
    few = [ran(START + n * DAY, 100_000_000) for n in range(29)]
    one = found(few)["down_ratio_p50.24h"]
    assert (one.value, one.n, one.days) == (None, 29, 28)  # the 25th has 25 hours, and two of them
    assert found([*few, ran(START + 30 * DAY, 100_000_000)])["down_ratio_p50.24h"].value is not None
    one_day = [ran(START + n * 60_000, 100_000_000) for n in range(60)]
    assert found(one_day)["down_ratio_p50.24h"].value is None


def test_without_a_contract_there_is_no_share_of_it() -> None:
    one = found(a_month(), None)["down_ratio_p50.24h"]
    assert (one.value, one.n, one.validity) == (None, 0, {"no_contract": 31 * 12})


def test_failed_questions_are_a_share_of_all_that_were_asked() -> None:
    points = [*a_month(), *(failed(START + n * DAY, "dns", "box", "timeout") for n in range(7))]
    assert found(points)["dns_failed_ratio"].value == 7 / (3 * 31 + 7)


def test_what_was_not_watched_is_neither_up_nor_down() -> None:
    hours = [said(START + n * 3_600_000 + 1, "avail", observed_s=3_600.0, down_s=36.0) for n in range(31 * 24 + 1)]
    whole = found(hours)["availability"]
    assert whole.value == pytest.approx(0.99)
    assert whole.coverage == 1.0
    half = found(hours[::2])["availability"]
    assert half.value is None
    assert half.coverage == pytest.approx(0.5, abs=0.01)


def test_points_of_another_month_are_left_out() -> None:
    assert found([ran(START - 1, 1), ran(END, 1)])["down_ratio_p50.24h"].n == 0
