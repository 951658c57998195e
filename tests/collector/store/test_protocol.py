"""Does a store keep what `balise_collector.store` promises? The same tests for each of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from balise_collector.store import Point, Series, Store
from tests.collector.store.conftest import Place
from tests.collector.store.stores import DAY_MS, FAR_MS, HOUR_MS, START_MS, everything, exact, key, point

NOW_MS = START_MS + 2 * DAY_MS


def read(store: Store, home: str = "h1", target: str | None = None) -> list[Point]:
    return list(store.read(home, "reach", target, 0, FAR_MS))


def test_an_empty_store_has_nothing_and_every_cursor_at_zero(store: Store) -> None:
    assert (store.series(), store.latest(since_ms=0), store.count(0, FAR_MS), store.cursor("journal")) == ([], [], 0, 0)
    assert read(store) == []


def test_what_is_read_is_what_was_written_type_by_type(store: Store) -> None:
    values = {"af": 4, "lost": True, "p50_us": 2**53 - 1, "window_s": 60.0, "min_us": -0.0, "method": "é\n"}
    given = point(fields=values)
    store.write([given], "journal", 1)
    assert exact(read(store)[0]) == exact(given)
    store.seal(NOW_MS)
    assert exact(read(store)[0]) == exact(given)


def test_a_failure_keeps_its_reason_and_what_was_measured_all_the_same(store: Store) -> None:
    failed = point(kind="failed", reason="timeout", fields={"sent": 6, "lost": 6})
    skipped = point(START_MS + 1, kind="skipped", reason="line_busy", fields={})
    store.write([failed, skipped], "journal", 1)
    assert [*map(exact, read(store))] == [exact(failed), exact(skipped)]
    store.seal(NOW_MS)
    assert [*map(exact, read(store))] == [exact(failed), exact(skipped)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fields": {"p50_us": float("nan")}}, "p50_us: nan is not a number"),
        ({"fields": {"p50_us": float("-inf")}}, "p50_us: -inf is not a number"),
        ({"fields": {"p50_us": 2**53}}, r"p50_us: 9007199254740992 is beyond 2\*\*53"),
        ({"fields": {"p50_us": None}}, "p50_us: a NoneType is no value"),
        ({"measurement": "weather"}, "not in the catalogue"),
        ({"ts_ms": -1}, "its date -1 is not within"),
        ({"kind": "failed"}, "failed with reason None"),
        ({"reason": "timeout"}, "ok with reason 'timeout'"),
    ],
)
def test_a_point_that_could_not_be_given_back_is_refused_before_anything_is_written(
    store: Store, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        store.write([point(START_MS + 5), point(**changes)], "journal", 7)  # type: ignore[arg-type]
    assert (store.count(0, FAR_MS), store.cursor("journal")) == (0, 0)


def test_the_same_key_overwrites_and_the_last_one_counts(store: Store) -> None:
    store.write([point(fields={"lost": 1, "sent": 6}), point(fields={"lost": 2})], "journal", 1)
    assert [one.fields for one in read(store)] == [{"lost": 2}]
    store.seal(NOW_MS)
    store.write([point(fields={"lost": 3})], "journal", 2)
    assert [one.fields for one in read(store)] == [{"lost": 3}]
    store.seal(NOW_MS)
    assert [one.fields for one in read(store)] == [{"lost": 3}]
    assert store.count(0, FAR_MS) == 1


def test_each_feed_has_its_cursor_which_may_be_set_back(place: Place) -> None:
    place.store.write([point()], "journal", 41)
    place.store.write([], "derived", 7)
    place.store.write([], "journal", 12)
    store = place.reopen()
    assert (store.cursor("journal"), store.cursor("derived")) == (12, 7)


def test_points_come_in_order_of_time_then_target_whatever_order_they_came_in(store: Store) -> None:
    given = [point(START_MS + minute * 60_000, target=target) for minute in range(3_000) for target in ("op", "gw")]
    store.write(given[::2], "journal", 1)
    store.seal(NOW_MS)
    store.write(given[::-3], "journal", 2)
    store.write(given[1::2], "journal", 3)
    assert [(one.ts_ms, one.target) for one in read(store)] == sorted((one.ts_ms, one.target) for one in given)
    assert {one.target for one in read(store, target="op")} == {"op"}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_range_begins_with_its_start_and_ends_before_its_end(store: Store, sealed: bool) -> None:
    times = [START_MS + at for at in (0, 1, HOUR_MS - 1, HOUR_MS, DAY_MS - 1, DAY_MS, DAY_MS + 1)]
    store.write([point(ts_ms) for ts_ms in times], "journal", 1)
    if sealed:
        store.seal(NOW_MS)
    for start, end in [(a, b) for a in times for b in times]:
        expected = [ts_ms for ts_ms in times if start <= ts_ms < end]
        assert [one.ts_ms for one in store.read("h1", "reach", "gw", start, end)] == expected
        assert store.count(start, end) == len(expected)


def test_the_empty_target_is_a_target_and_none_is_all_of_them(store: Store) -> None:
    store.write([point(target=""), point(target="gw")], "journal", 1)
    assert len(read(store, target="")) == 1
    assert len(read(store, target=None)) == 2


def test_a_probe_that_moves_begins_another_series_and_history_stays(store: Store) -> None:
    before, after = point(home="h1"), point(START_MS + 60_000, home="h2", building="b2")
    store.write([before, after], "journal", 1)
    for _ in range(2):
        assert [*map(exact, read(store, "h1"))] == [exact(before)]
        assert [*map(exact, read(store, "h2"))] == [exact(after)]
        store.seal(NOW_MS)
    assert store.series() == [Series("h1", "probe0001", "reach", "gw"), Series("h2", "probe0001", "reach", "gw")]
    assert store.series("h2") == [Series("h2", "probe0001", "reach", "gw")]


def test_a_home_on_another_pon_keeps_the_old_one_on_its_old_points(store: Store) -> None:
    given = [point(pon="p1"), point(START_MS + 1, pon="p2"), point(START_MS + 2, pon="p1")]
    store.write(given, "journal", 1)
    for _ in range(2):
        assert [one.pon for one in read(store)] == ["p1", "p2", "p1"]
        store.seal(NOW_MS)
    assert len(store.series()) == 1


@pytest.mark.parametrize("sealed", [False, True])
def test_a_point_that_is_written_for_another_home_leaves_the_first(store: Store, sealed: bool) -> None:
    store.write([point(home="h1"), point(START_MS + 1, home="h1")], "journal", 1)
    if sealed:
        store.seal(NOW_MS)
    store.write([point(home="h2")], "journal", 2)
    for _ in range(2):
        assert ([one.ts_ms for one in read(store, "h1")], len(read(store, "h2"))) == ([START_MS + 1], 1)
        assert store.count(0, FAR_MS) == 2
        store.seal(NOW_MS)


def test_the_latest_of_each_series_is_found_hot_or_sealed(store: Store) -> None:
    old = point(START_MS, target="old")
    sealed = [point(START_MS + DAY_MS + minute * 60_000, target="sealed") for minute in range(3)]
    hot = point(START_MS + DAY_MS + 7, target="hot", building="b2")
    store.write([old, *sealed], "journal", 1)
    store.seal(NOW_MS)
    store.write([hot, point(START_MS + DAY_MS + 6, target="hot"), point(START_MS + DAY_MS, target="sealed")], "j", 2)
    assert [*map(exact, store.latest("h1", since_ms=0))] == [*map(exact, (hot, old, sealed[-1]))]
    assert [one.target for one in store.latest(since_ms=START_MS + 1)] == ["hot", "sealed"]
    assert store.latest("h2", since_ms=0) == []


def test_what_was_written_is_there_after_closing(place: Place) -> None:
    given = [point(START_MS + minute * 60_000) for minute in range(200)]
    place.store.write(given[:100], "journal", 1)
    place.store.seal(NOW_MS)
    place.store.write(given[100:], "journal", 2)
    assert everything(place.reopen()) == {key(one): exact(one) for one in given}


def test_deleting_takes_one_home_and_one_range_and_says_how_many(store: Store) -> None:
    given = [
        point(START_MS + n * 600_000, home=home, probe=f"probe{home}") for n in range(300) for home in ("h1", "h2")
    ]
    store.write(given[:400], "journal", 1)
    store.seal(NOW_MS)
    store.write(given[400:], "journal", 2)
    low, high = START_MS + 5 * 600_000, START_MS + 250 * 600_000
    assert store.delete("h1", low, high) == 245
    left = [one for one in given if one.home == "h2" or not low <= one.ts_ms < high]
    assert everything(store) == {key(one): exact(one) for one in left}
    assert store.count(0, FAR_MS) == len(left)
    assert store.delete("h1", low, high) == 0
    assert store.delete("h1", 0, FAR_MS) == 55
    assert store.series("h1") == []


def test_what_an_erased_point_had_overwritten_does_not_come_back(store: Store) -> None:
    store.write([point(home="h2")], "journal", 1)
    store.seal(NOW_MS)
    store.write([point(home="h1")], "journal", 2)
    assert store.delete("h1", 0, FAR_MS) == 1
    assert everything(store) == {}


def test_retention_is_by_class_to_the_hour_on_the_clock_it_is_given(store: Store) -> None:
    raw = [point(START_MS + n * 600_000) for n in range(288)]
    state = [point(one.ts_ms, measurement="platform", target="ingest", home="", fields={"rows": 1}) for one in raw]
    store.write([*raw, *state], "journal", 1)
    store.seal(NOW_MS)
    now_ms = START_MS + 90 * DAY_MS
    assert dict(store.retain(now_ms).deleted) == {}
    assert dict(store.retain(now_ms + 5 * HOUR_MS + 1).deleted) == {"reach": 30}
    assert [one.ts_ms for one in read(store)] == [one.ts_ms for one in raw[30:]]
    assert dict(store.retain(now_ms + 3 * DAY_MS).deleted) == {"reach": 258}
    assert store.series("h1") == []
    assert store.count(0, FAR_MS) == 288
    assert dict(store.retain(START_MS + 398 * DAY_MS).deleted) == {"platform": 288}
    assert store.count(0, FAR_MS) == 0


def test_a_reader_sees_each_write_of_the_writer_beside_it(place: Place) -> None:
    reader = place.reader()
    assert everything(reader) == {}
    given = [point(START_MS + minute * 60_000) for minute in range(100)]
    for cursor in range(10):
        place.store.write(given[cursor * 10 : cursor * 10 + 10], "journal", cursor)
        place.store.seal(START_MS + cursor * 600_000)
        assert everything(reader) == {key(one): exact(one) for one in given[: cursor * 10 + 10]}
        assert reader.cursor("journal") == cursor
    assert all(a.ts_ms < b.ts_ms for a, b in pairwise(reader.read("h1", "reach", "gw", 0, FAR_MS)))
    reader.close()
