"""Are a channel's hours and months those of a plain computation from all samples, when no home's are left any more?"""

from __future__ import annotations

import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_collector.consumers import Loop, StoreConsumer
from balise_collector.journal import Journal
from balise_collector.stats.channel_months import ChannelMonth, of_month
from balise_collector.stats.freezing import LATE_MS, Freezer
from balise_collector.stats.months import Month
from balise_collector.stats.pending import Pending
from balise_collector.stats.rollup import HOUR_MS
from balise_collector.stats.sealing import Sealer
from balise_collector.stats.sketch import Sketch
from balise_collector.stats.windows import civil, month_bounds
from balise_collector.store import Point, Store
from tests.collector.stats.conftest import Files
from tests.collector.stats.plant import HOMES, point

MONTH = 202510
START, END = month_bounds(MONTH)
WHOLE = Month(month=MONTH, start_ms=START, end_ms=END, is_over=True)
DAYS, HOURS = 14, (3, 20)


def sample(home: str, channel: str, ts_ms: int, rng: random.Random) -> list[Point]:
    """A zap and ten seconds of a channel; c2 is worse, each in its own way."""
    bad, what = (0.3 if channel == "c2" else 0.1), rng.random()
    zap = {"zap_rap_ms": rng.lognormvariate(6, 0.6)}
    window = {"es_ratio": rng.choice([0.1, 0.5]) if what < bad else 0.0, "listened_s": 10.0, "valid": what < 0.95}
    found = [said(home, "tv_zap", channel, ts_ms, zap), said(home, "tv_window", channel, ts_ms + 9_000, window)]
    if 0.5 < what < 0.53:
        reason = "no_signal" if channel == "c2" else "join_refused"  # the second is the probe's own
        found[1] = msgspec.structs.replace(found[1], kind="failed", reason=reason, fields={})
    return found


def said(home: str, measurement: str, channel: str, ts_ms: int, fields: dict[str, float]) -> Point:
    return msgspec.structs.replace(point(home, measurement, channel, 0, {}), ts_ms=ts_ms, fields=dict(fields))


def everything() -> list[Point]:
    rng = random.Random(7)
    return [
        one
        for day in range(DAYS)
        for hour in HOURS
        for channel in ("c1", "c2")
        for home in ("h0", "h3", "h5")
        for one in sample(home, channel, START + (24 * day + hour) * HOUR_MS + rng.randrange(3_000_000), rng)
    ]


class Ground:
    """A store, and the hours that are made of it while samples live."""

    def __init__(self, journal: Journal, store: Store, pending: Pending) -> None:
        self.journal, self.store, self.pending = journal, store, pending
        self.sealer = Sealer(journal, store, pending, lambda _at_ms: HOMES)

    def lives(self, points: list[Point]) -> None:
        self.store.write(points, "test", 1)
        for hour_ms in sorted({one.ts_ms - one.ts_ms % HOUR_MS for one in points}):
            self.makes(hour_ms)
        for home in HOMES:
            self.store.delete(home, 0, 2**43)

    def makes(self, hour_ms: int) -> None:
        with self.journal.transaction():
            for row in self.sealer.rows(hour_ms, hour_ms + 2 * HOUR_MS):
                self.journal.derive(row.measurement, row.tags, row.ts_ms, row.fields)
        self.stores()

    def stores(self) -> None:
        Loop(self.journal, [StoreConsumer(store=self.store, journal=self.journal.name)]).drain()


@pytest.fixture
def ground(files: Files) -> Ground:
    return Ground(*files)


def of_channel(points: list[Point], channel: str, measurement: str) -> list[Point]:
    return [one for one in points if (one.target, one.measurement) == (channel, measurement)]


def near(told: float | None, values: list[float], share: float) -> bool:
    """Within the sketch's 1 % of the value of that rank."""
    exact = sorted(values)[math.floor(share * (len(values) - 1))]
    return told is not None and abs(told - exact) <= 0.0101 * exact


@pytest.mark.parametrize("channel", ["c1", "c2"])
def test_a_channel_s_month_is_that_of_all_its_samples(ground: Ground, channel: str) -> None:
    points = everything()
    ground.lives(points)
    (told,) = (one for one in of_month(ground.store, WHOLE) if one.channel == channel)
    windows, zaps = of_channel(points, channel, "tv_window"), of_channel(points, channel, "tv_zap")
    counted = [one for one in windows if one.fields.get("valid") is not False and one.reason != "join_refused"]
    good = [one for one in counted if one.kind == "ok" and one.fields["es_ratio"] == 0]
    heard = [float(one.fields["es_ratio"]) for one in counted if one.kind == "ok"]
    assert (told.n, told.n_invalid) == (len(counted), len(windows) - len(counted))
    assert told.n_failed == sum(one.kind == "failed" for one in counted)
    assert told.good_ratio == pytest.approx(len(good) / len(counted))
    assert told.error_ratio == pytest.approx(statistics.fmean(heard))
    took = [float(one.fields["zap_rap_ms"]) for one in zaps]
    assert told.zap_n == len(took)
    assert near(told.zap_p50_ms, took, 0.5)
    assert near(told.zap_p95_ms, took, 0.95)
    assert (told.days, told.zap_days, told.homes_most) == (DAYS, DAYS, 3)
    assert told.coverage == pytest.approx(DAYS * len(HOURS) * HOUR_MS / (END - START))


def test_the_interval_is_that_of_days_drawn_again(ground: Ground) -> None:
    points = everything()
    ground.lives(points)
    told = of_month(ground.store, WHOLE)[1]
    days: dict[int, list[bool]] = {}
    for one in of_channel(points, "c2", "tv_window"):
        if one.fields.get("valid") is not False:
            is_good = one.kind == "ok" and one.fields["es_ratio"] == 0
            days.setdefault(civil(one.ts_ms).day, []).append(is_good)
    rng, drawn = random.Random(1), []
    for _ in range(2_000):
        again = [one for day in rng.choices(list(days.values()), k=len(days)) for one in day]
        drawn.append(statistics.fmean(again))
    drawn.sort()
    assert told.good_low == pytest.approx(drawn[50], abs=0.02)
    assert told.good_high == pytest.approx(drawn[1_949], abs=0.02)
    assert told.good_low < told.good_ratio < told.good_high  # type: ignore[operator]
    assert told.zap_p50_low_ms < told.zap_p50_ms < told.zap_p50_high_ms  # type: ignore[operator]


def test_below_the_minimum_sample_there_are_counts_and_no_figure(ground: Ground) -> None:
    rng = random.Random(1)
    ground.lives([p for n in range(40) for p in sample("h0", "c1", START + n * 60_000, rng)])
    (told,) = of_month(ground.store, WHOLE)
    assert told.n + told.n_invalid == 40
    assert (told.good_ratio, told.good_low, told.zap_p50_ms) == (None, None, None)


def test_a_channel_s_month_is_frozen_and_told_as_it_was(ground: Ground) -> None:
    ground.lives(everything())
    before = of_month(ground.store, WHOLE)
    Freezer(ground.journal, ground.store, ground.pending, lambda _from_ms, _until_ms: {}).freeze(END + LATE_MS)
    rows, _ = ground.journal.derived(0, 100_000)
    assert [row.tags["channel"] for row in rows if row.measurement == "channel_month"] == ["c1", "c2"]
    ground.stores()
    ground.lives([p for n in range(40) for p in sample("h0", "c1", END - (n + 1) * 60_000, random.Random(1))])
    assert of_month(ground.store, WHOLE) == before
    assert all(isinstance(one, ChannelMonth) for one in before)


def test_an_hour_of_a_channel_whose_only_home_was_erased_says_nothing(ground: Ground) -> None:
    ground.lives(sample("h0", "c1", START, random.Random(2)))
    ground.makes(START)
    (hour,) = ground.store.read("", "channel_hour", None, START, START + 1)
    assert (hour.fields["n"], hour.fields["zap_n"], hour.fields["homes"]) == (0, 0, 0)
    assert "zap_p50_ms" not in hour.fields


def test_a_channel_over_http_is_bad_where_a_player_stood_still(ground: Ground) -> None:
    stalls = [0.0, 0.0, 2.5]
    ground.lives(
        [
            said("h0", "tv_hls", "c9", START + n, {"stall_s": s, "listened_s": 10.0, "playlist_ok": True})
            for n, s in enumerate(stalls)
        ]
    )
    (told,) = of_month(ground.store, WHOLE)
    (hour,) = ground.store.read("", "channel_hour", None, START, END)
    assert told.n == 3
    assert (hour.fields["n_good"], hour.fields["error_s"], hour.fields["listened_s"]) == (2, 2.5, 30.0)


@given(st.lists(st.floats(-1e6, 1e6)))
def test_a_sketch_is_read_again_from_its_text(values: list[float]) -> None:
    sketch = Sketch(values)
    again = Sketch.of_text(sketch.text())
    assert again == sketch
    assert again.n == sketch.n


def test_a_sketch_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        Sketch.of_text("2||1|")
