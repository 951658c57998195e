"""Is an hour made of what the store has, once it is over, again when a late row comes, and never counted twice?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balise_agent.codec import deflate
from balise_agent.contract import body_hash, chain_next, chain_start, token
from balise_collector.consumers import Loop, StoreConsumer, erase
from balise_collector.directory import Directory, Home, Inventory, sqlite_url
from balise_collector.erasures import Erasures
from balise_collector.journal import Journal
from balise_collector.journal_rows import Message
from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import HomeSite
from balise_collector.placement import Place
from balise_collector.stats.forgetting import forget
from balise_collector.stats.freezing import LATE_MS, Freezer
from balise_collector.stats.pending import Pending
from balise_collector.stats.rollup import HOUR_MS, rollup
from balise_collector.stats.sealing import GRACE_MS, Sealer
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_at, month_bounds
from balise_collector.store import Point, Store
from tests.collector.stats.conftest import Files
from tests.collector.stats.plant import HOMES, T0, point, ran
from tests.waiting import until

MONTHS = {home: Terms(site=site) for home, site in {**HOMES, "silent": HomeSite()}.items()}
OVER = T0 + HOUR_MS + GRACE_MS


@dataclass(frozen=True, slots=True)
class Ground:
    """A journal, a store behind it, and the sealer, which are fed at will."""

    journal: Journal
    store: Store
    pending: Pending

    @property
    def sealer(self) -> Sealer:
        """A fresh one, as after a start."""
        return Sealer(self.journal, self.store, self.pending, lambda _at_ms: HOMES)

    def puts(self, points: list[Point], stream: str = "s", came_ms: int = T0 + HOUR_MS) -> None:
        with self.journal.transaction():
            messages = [_message(one, seq, f"{stream}.{one.probe}") for seq, one in enumerate(points, 1)]
            self.journal.add(messages, came_ms)

    def stores(self) -> None:
        Loop(self.journal, [StoreConsumer(store=self.store, journal=self.journal.name)]).drain()

    def notes(self) -> None:
        Loop(self.journal, [self.sealer]).drain()

    def derived(self) -> list[Derived]:
        rows, _ = self.journal.derived(0, 100_000)
        return [Derived(measurement=r.measurement, tags=r.tags, ts_ms=r.ts_ms, fields=r.fields) for r in rows]


def _message(one: Point, seq: int, stream: str) -> Message:
    record: dict[str, Any] = {"m": one.measurement, "at": 0, "k": one.target, "f": one.fields}
    raw = json.dumps({"nonce": token(bytes(16)), "bt": 0, "records": [record]}).encode()
    place = Place(home=one.home, building=one.building, pon=one.pon)
    return Message(
        probe=one.probe,
        stream=stream,
        previous=None,
        seq=seq,
        ts_ms=one.ts_ms,
        boot="b",
        retention="raw_90d",
        chain=chain_next(chain_start(stream, None), seq, one.ts_ms, body_hash(raw)),
        body_hash=body_hash(raw),
        parts=((place, deflate(raw)),),
    )


@pytest.fixture
def ground(files: Files) -> Ground:
    return Ground(*files)


def points(*minutes: int) -> list[Point]:
    reach = [
        point(home, "reach", "op", n, {"p95_us": 9_000 + n, "sent": 60, "lost": 0}) for home in HOMES for n in minutes
    ]
    return [*reach, *(ran(home, n + 0.5, 0.5 + n / 100) for home in HOMES for n in minutes)]


def test_an_hour_is_made_when_it_is_over_and_the_store_has_it(ground: Ground) -> None:
    said = points(5, 20, 40)
    ground.puts(said)
    ground.notes()
    assert ground.sealer.seal(OVER) == 0  # the store has nothing yet
    ground.stores()
    assert ground.sealer.seal(OVER - 1) == 0
    assert ground.sealer.seal(OVER) == 1
    assert ground.derived() == rollup(said, HOMES, T0)
    assert ground.sealer.seal(OVER) == 0
    assert ground.sealer.cursor("journal") == ground.journal.last_id()


def test_a_late_row_reopens_its_hour_and_a_redelivered_one_counts_once(ground: Ground) -> None:
    first, late = points(5), points(30)
    ground.puts(first)
    ground.notes()
    ground.stores()
    ground.sealer.seal(OVER)
    ground.puts(first)  # the same messages: duplicates
    ground.puts(first, "another")  # the same records in other messages
    ground.puts(late, "later")
    ground.notes()
    ground.stores()
    assert ground.sealer.seal(OVER) == 1
    rows = ground.derived()
    assert rows[len(rows) // 2 :] == rollup([*first, *late], HOMES, T0)


def test_a_crash_before_an_hour_is_done_says_the_same_again(ground: Ground, tmp_path: Path) -> None:
    ground.puts(points(5))
    ground.notes()
    ground.stores()
    with closing(Pending(tmp_path / "stats.db")) as before:
        (one,) = before.until(T0, OVER)
        ground.sealer.seal(OVER)
        before.mark([one], "x", 1)  # as if its end had not been written
    assert ground.sealer.seal(OVER) == 1
    rows = ground.derived()
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


def test_each_place_keeps_its_own_row_in_the_store(ground: Ground) -> None:
    ground.puts(points(5))
    ground.notes()
    ground.stores()
    ground.sealer.seal(OVER)
    ground.stores()
    kept = list(ground.store.read("", "rollup_hour", "building:throughput.down_ratio", T0, T0 + 1))
    assert sorted(p.building for p in kept) == ["B0", "B1", "B2", "B3"]
    assert {p.fields["homes"] for p in kept} == {2}


def test_an_hour_whose_points_retention_took_is_not_made_of_nothing(ground: Ground) -> None:
    ground.puts([point("h0", "tv_zap", "7", 5, {"zap_rap_ms": 400.0})])
    ground.stores()
    series = {r.tags.get("series", r.measurement) for r in ground.sealer.rows(T0, T0 + 30 * 24 * HOUR_MS)}
    assert "throughput.down_ratio" in series
    assert not {"tv_zap.zap_rap_ms", "channel_hour"} & series
    in_time = {r.tags.get("series", r.measurement) for r in ground.sealer.rows(T0, OVER)}
    assert {"tv_zap.zap_rap_ms", "channel_hour"} <= in_time


def test_hours_that_an_erased_home_was_in_are_made_again_without_it(ground: Ground, tmp_path: Path) -> None:
    ground.puts(points(5))
    ground.notes()
    ground.stores()
    ground.sealer.seal(OVER)
    ground.stores()
    gone = ("h0", "h1")  # all of building B0, half of PON P0
    with closing(Erasures(tmp_path / "erasures.db")) as erasures:
        for home in gone:
            erasures.ask(home, 0, 2**43, OVER, [(HOMES[home].probe, T0 + 60_000, 2**43)])
        assert forget(erasures, ground.pending, ground.journal, OVER) == 0  # they are still there
        erase(ground.journal, ground.store, erasures)
        assert forget(erasures, ground.pending, ground.journal, OVER) == 2
        assert forget(erasures, ground.pending, ground.journal, OVER) == 0
    assert ground.sealer.seal(OVER + GRACE_MS - 1) == 0  # InfluxDB comes last
    assert ground.sealer.seal(OVER + GRACE_MS) == 1
    ground.stores()
    left = rollup([one for one in points(5) if one.home not in gone], HOMES, T0)
    said = {(row.tags.get("building", ""), row.tags["scope"], row.tags["series"]): row.fields for row in left}
    kept = [row for row in ground.store.read("", "rollup_hour", None, T0, T0 + 1) if not row.pon]
    emptied = [row for row in kept if row.building == "B0"]
    assert {row.target.partition(":")[2] for row in emptied} >= {"throughput.down_ratio", "reach.p95_us.op"}
    nothing = {"n": 0, "n_invalid": 0, "n_failed": 0, "homes": 0, "coverage": 0.0}
    assert all(row.fields == nothing for row in emptied)
    others = [row for row in kept if row.building != "B0"]
    assert all(row.fields == said[row.building, *row.target.split(":")] for row in others)  # type: ignore[index]
    assert {row.building for row in others} == {"", "B1", "B2", "B3"}


def test_a_month_is_frozen_once_a_week_after_its_end(ground: Ground) -> None:
    ground.puts(points(5))
    ground.stores()
    freezer = Freezer(ground.journal, ground.store, ground.pending, lambda _from_ms, _until_ms: MONTHS)
    month = month_at(T0)
    _, end_ms = month_bounds(month)
    freezer.freeze(end_ms + LATE_MS - 1)  # the month before has nothing
    assert ground.derived() == []
    assert freezer.freeze(end_ms + LATE_MS) == len(HOMES)
    assert freezer.freeze(end_ms + LATE_MS + 1) == 0
    rows = [row for row in ground.derived() if row.tags["indicator"] == "down_ratio_p50.24h" and "home" in row.tags]
    assert sorted(row.tags["home"] for row in rows) == sorted(HOMES)
    assert {(row.fields["month"], row.fields["n"], row.fields["frozen"]) for row in rows} == {(month, 1, True)}
    (fleet,) = (row for row in ground.derived() if row.tags == {"indicator": "down_ratio_p50.24h"})
    assert (fleet.measurement, fleet.fields["homes"], fleet.fields["month"]) == ("month_fleet", len(HOMES), month)


def test_a_late_row_s_hour_waits_for_others_like_it(ground: Ground) -> None:
    late = OVER + HOUR_MS
    for one, came_ms in ((points(5), OVER - 1), (points(6), late), (points(7), late + GRACE_MS - 1)):
        ground.puts(one, f"s{came_ms}", came_ms)
        ground.notes()
        ground.stores()
        if came_ms < OVER:
            assert ground.sealer.seal(OVER + GRACE_MS) == 1
        assert ground.sealer.seal(came_ms) == 0
    assert ground.sealer.seal(late + GRACE_MS) == 1
    assert ground.derived()[-len(rollup(points(5), HOMES, T0)) :] == rollup(points(5, 6, 7), HOMES, T0)


def test_the_program_rolls_hours_up_until_it_is_told_to_stop(ground: Ground, tmp_path: Path) -> None:
    homes = {home: Home(id=home, building=site.building) for home, site in HOMES.items()}
    with Directory(sqlite_url(tmp_path)) as directory:
        buildings = {site.building: "" for site in HOMES.values()}
        directory.import_homes(Inventory(homes=homes, buildings=buildings))
    hour_ms = (time.time_ns() // 1_000_000 - 3 * HOUR_MS) // HOUR_MS * HOUR_MS  # retention would have taken an old one
    ground.puts([msgspec.structs.replace(p, ts_ms=p.ts_ms - T0 + hour_ms) for p in points(5)], came_ms=hour_ms + 1)
    ground.stores()
    command = [sys.executable, "-m", "balise_collector.stats", str(tmp_path), str(os.getpid()), sqlite_url(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:
        try:
            until(lambda: {(row.measurement, row.ts_ms) for row in ground.derived()} == {("rollup_hour", hour_ms)})
            until(lambda: ground.journal.cursor("sealer:journal") == ground.journal.last_id())
        finally:
            program.terminate()
    assert program.returncode == 0
