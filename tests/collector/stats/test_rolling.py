"""Are hours told once they are over, again when they change, and let go of after?"""

from balise_collector.judge.rows import Derived
from balise_collector.stats.rolling import GRACE_MS, KEPT_H, Rolling
from balise_collector.stats.rollup import HOUR_MS, rollup
from tests.collector.stats.plant import HOMES, T0, ran


def told(rows: list[Derived]) -> list[int]:
    return sorted({(r.ts_ms - T0) // HOUR_MS for r in rows})


def test_an_hour_is_told_when_it_is_over_and_again_when_a_late_point_changed_it() -> None:
    rolling = Rolling(HOMES)
    early, late = ran("h0", 5, 0.9), ran("h1", 10, 0.5)
    rolling.add([early])
    assert list(rolling.over(T0 + HOUR_MS)) == []
    assert list(rolling.over(T0 + HOUR_MS + GRACE_MS)) == rollup([early], HOMES, T0)
    assert list(rolling.over(T0 + 2 * HOUR_MS)) == []
    rolling.add([late])
    assert list(rolling.over(T0 + 2 * HOUR_MS)) == rollup([early, late], HOMES, T0)


def test_an_hour_is_let_go_of_and_what_comes_later_is_counted() -> None:
    rolling = Rolling(HOMES)
    rolling.add([ran("h0", 5, 0.9)])
    list(rolling.over(T0 + (1 + KEPT_H) * HOUR_MS + GRACE_MS))
    rolling.add([ran("h0", 6, 0.9)])
    assert rolling.too_late == 1
    assert list(rolling.rest()) == []


def test_the_end_tells_the_hour_that_is_not_over() -> None:
    rolling = Rolling(HOMES)
    rolling.add([ran("h0", 5, 0.9), ran("h0", 65, 0.9)])
    assert told(list(rolling.over(T0 + HOUR_MS + GRACE_MS))) == [0]
    assert told(list(rolling.rest())) == [1]
