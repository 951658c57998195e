"""Are the rows of an hour what its points say, counted plainly?"""

from __future__ import annotations

import random

from balise_collector.judge.rows import Derived
from balise_collector.stats.rollup import rollup
from balise_collector.stats.sketch import ERROR
from balise_collector.store import Point
from tests.collector.stats.plant import HOMES, T0, point, ran


def row(rows: list[Derived], scope: str, series: str, code: str = "") -> Derived:
    (found,) = [r for r in rows if (r.tags["scope"], r.tags["series"], r.tags.get(scope, "")) == (scope, series, code)]
    return found


def test_each_place_has_the_quantiles_of_its_own_homes() -> None:
    rng = random.Random(7)
    points = [ran(home, n, rng.uniform(0.2, 1.1)) for home in HOMES for n in range(20)]
    rows = rollup(points, HOMES, T0)
    for scope, code, of in (
        ("home", "h3", {"h3"}),
        ("building", "B1", {"h2", "h3"}),
        ("pon", "P0", {"h0", "h1", "h2", "h3"}),
        ("fleet", "", set(HOMES)),
    ):
        shares = sorted(float(p.fields["down_bps"]) / 100_000_000 for p in points if p.home in of)
        said = row(rows, scope, "throughput.down_ratio", code).fields
        for percent in (5, 10, 50, 95, 99):
            exact = shares[int(percent / 100 * (len(shares) - 1))]
            assert abs(said[f"p{percent}"] - exact) <= ERROR * exact * (1 + 1e-9)
        assert (said["n"], said["homes"], said["coverage"]) == (20 * len(of), len(of), 1.0)


def test_what_does_not_count_is_counted_apart() -> None:
    failed = Point(
        home="h0", probe="p0", measurement="throughput", ts_ms=T0, kind="failed", reason="connect_timeout", target="t"
    )
    skipped = Point(home="h0", probe="p0", measurement="throughput", ts_ms=T0, kind="skipped", reason="line_busy")
    points = [ran("h0", 1, 0.9), ran("h0", 2, 0.1, validity="probe_on_wifi"), failed, skipped]
    said = row(rollup(points, HOMES, T0), "home", "throughput.down_ratio", "h0").fields
    assert (said["n"], said["n_invalid"], said["n_failed"]) == (1, 1, 1)
    assert abs(said["p5"] - 0.9) < 0.01


def test_a_home_without_a_contract_is_held_against_none() -> None:
    said = row(rollup([ran("h0", 1, 0.9)], {}, T0), "home", "throughput.down_ratio", "h0").fields
    assert (said["n"], said["n_invalid"]) == (0, 1)
    assert "p50" not in said


def test_an_hour_of_nothing_says_so_for_the_fleet() -> None:
    said = row(rollup([], HOMES, T0), "fleet", "throughput.down_ratio").fields
    assert (said["n"], said["homes"], said["coverage"]) == (0, 0, 0.0)
    assert "p50" not in said


def test_coverage_is_of_the_homes_that_have_a_probe() -> None:
    points = [
        point(home, "reach", "op", n, {"p95_us": 9_000, "sent": 60, "lost": 3})
        for home in ("h0", "h1")
        for n in range(30)
    ]
    rows = rollup(points, HOMES, T0)
    assert row(rows, "fleet", "reach.p95_us.op").fields["coverage"] == 2 * 30 / (8 * 60)
    assert row(rows, "building", "reach.p95_us.op", "B0").fields["coverage"] == 0.5
    assert abs(row(rows, "fleet", "reach.loss_ratio.op").fields["p50"] - 0.05) <= 0.05 * ERROR


def test_points_of_other_hours_and_of_no_home_are_left_out() -> None:
    points = [ran("h0", -1, 0.5), ran("h0", 60, 0.5), ran("h0", 0, 0.7)]
    said = row(rollup(points, HOMES, T0), "home", "throughput.down_ratio", "h0").fields
    assert said["n"] == 1


def test_a_point_in_any_order_gives_the_same_rows() -> None:
    rng = random.Random(1)
    points = [ran(home, n, rng.uniform(0.2, 1.1)) for home in HOMES for n in range(5)]
    assert rollup(points, HOMES, T0) == rollup(points[::-1], HOMES, T0)
