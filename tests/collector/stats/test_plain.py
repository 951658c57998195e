"""Do the figures of a month agree with a plain computation from the raw rows, written from the method alone?

Nothing of `stats` is imported: what it says is asked of `balise quality`. The month has the day of 23 hours, its last
evening reaches into the next one by UTC, rows come late and twice, one home changed its contract, one withdrew.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.directory import Consent, Directory, Home, Inventory, Offer, Pon, sqlite_url
from balise_collector.directory.values import Line
from balise_collector.store import Point
from balise_collector.store.chunks import open_store

PARIS = ZoneInfo("Europe/Paris")
ERROR = 0.01
SLOW, FAST = 100_000_000, 300_000_000
BUILDINGS = {"b1": 9, "b2": 6, "b3": 4}  # homes; the first 7, 6 and 2 of each have a probe
MEASURED = {"b1": 7, "b2": 6, "b3": 2}
HOMES = {f"{building}home{number:02}": building for building, n in BUILDINGS.items() for number in range(n)}
PROBED = [home for home, building in HOMES.items() if int(home[-2:]) < MEASURED[building]]
CHANGED, LEFT, SPARSE = "b1home00", "b1home01", "b2home00"
WINDOWS = {"24h": range(24), "pointe_19_23": range(19, 23), "creux_02_06": range(2, 6)}


def at(day: int, hour: float = 0.0) -> int:
    """A moment of March 2026 by the clock on the wall; day 32 is the 1st of April."""
    return int((datetime(2026, 3, 1, tzinfo=PARIS) + timedelta(days=day - 1, hours=hour)).timestamp() * 1_000)


CHANGE_MS, LEAVE_MS = at(12), at(16)


def test_of(home: str, ts_ms: int, down_bps: int, **said: Any) -> Point:
    fields = {"down_bps": down_bps, "up_bps": down_bps // 2, "validity": "ok", "role": "operator"} | said
    return point(home, "throughput", f"{fields['role']}.v4", ts_ms, fields)


test_of.__test__ = False  # type: ignore[attr-defined]


def point(home: str, measurement: str, target: str, ts_ms: int, fields: dict[str, Any], kind: str = "ok") -> Point:
    reason = "connect_timeout" if kind == "failed" else None
    return Point(
        home=home,
        building=HOMES[home],
        pon="p1",
        probe=f"probe{home}",
        measurement=measurement,
        target=target,
        ts_ms=ts_ms,
        kind=kind,  # type: ignore[arg-type]
        reason=reason,
        fields=fields,
    )


@cache
def raw(home: str) -> list[Point]:
    """What a home's probe said from before the month until after it."""
    rng, points = random.Random(home), []
    line = rng.uniform(0.5, 1.0)
    for day in range(0, 34, 4 if home == SPARSE else 1):
        for hour in (rng.uniform(19, 23), rng.uniform(19, 23), rng.uniform(2, 6), rng.uniform(0, 24), 23.9):
            ts_ms = at(day, hour)
            share = line * rng.uniform(0.6, 1.05) * (0.8 if 19 <= hour < 23 else 1.0)
            rate = int(share * (FAST if home == CHANGED and ts_ms >= CHANGE_MS else SLOW))
            points.append(test_of(home, ts_ms, rate, validity=rng.choice(["ok"] * 9 + ["probe_on_wifi"])))
            points.append(point(home, "speedtest", "op.v4", ts_ms + 1, {"down_bps": 1, "label": "indicative"}))
            points.append(test_of(home, ts_ms + 2, 1_000_000, role="offnet"))
        if rng.random() < 0.3:
            points.append(point(home, "throughput", "operator.v4", at(day, 20.5), {}, "failed"))
        points += hours_of(home, day, rng)
    return [p for p in points if home != LEFT or p.ts_ms < LEAVE_MS]


def hours_of(home: str, day: int, rng: random.Random) -> Iterable[Point]:
    for hour in range(24):
        yield point(home, "avail", "", at(day, hour) + 5, {"observed_s": 3_600.0, "down_s": rng.choice([0.0, 9.0])})
    if rng.random() < 0.2:
        start_ms, id_ = at(day, rng.uniform(0, 23.99)), f"{home}{day}"
        lasts_s = rng.uniform(31, 9_000)
        told: dict[str, Any] = {"id": id_, "kind": "outage", "class": "access.line", "start_ms": start_ms}
        yield point(home, "outage", "", start_ms, told | {"state": "open"})
        ended = {"state": "ended", "down_s": lasts_s, "end_ms": start_ms + int(lasts_s * 1_000)}
        yield point(home, "outage", "", start_ms + int(lasts_s * 1_000), told | ended)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory, and a store that got half of the rows late and in disorder, and some of them twice."""
    folder = tmp_path_factory.mktemp("plain")
    given = at(1) - 30 * 86_400_000

    def home(id_: str) -> Home:
        lines = [Line(from_ms=0, pon="p1", offer="slow")]
        lines += [Line(from_ms=CHANGE_MS, pon="p1", offer="fast")] if id_ == CHANGED else []
        until = LEAVE_MS if id_ == LEFT else None
        consents = [Consent(purpose=p, text="v1", given_ms=given, withdrawn_ms=until) for p in ("mesure", "evaluation")]
        return Home(id=id_, building=HOMES[id_], lines=tuple(lines), consents=tuple(consents))

    inventory = Inventory(
        homes={id_: home(id_) for id_ in HOMES},
        buildings=dict.fromkeys(BUILDINGS, ""),
        olts={"o": ""},
        pons={"p1": Pon(olt="o")},
        offers={
            "slow": Offer(operator="op", down_bps=SLOW, up_bps=SLOW),
            "fast": Offer(operator="op", down_bps=FAST, up_bps=FAST),
        },
    )
    with Directory(sqlite_url(folder)) as directory:
        directory.import_homes(inventory)
    points = [one for home in PROBED for one in raw(home)]
    random.Random(1).shuffle(points)
    with closing(open_store(folder / "store")) as store:
        store.write(points[::2], "x:journal", 1)
        store.seal(at(40))
        store.write(points[1::2] + points[::7], "x:journal", 2)
    return folder


@pytest.fixture(scope="module")
def pilot(data: Path) -> Any:
    """What is said of all together."""
    return asked(data)


def asked(data: Path, *options: str) -> Any:
    done = CliRunner().invoke(app, ["quality", "--data", str(data), "--month", "2026-03", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


# the plain computation


def tests_of(home: str, window: str) -> tuple[list[float], int]:
    """Valid ratios to the contract, in order, and failures, of the operator's target."""
    contract, kept = (FAST, lambda p: p.ts_ms >= CHANGE_MS) if home == CHANGED else (SLOW, lambda _: True)
    values, failed = [], 0
    for one in raw(home):
        wall = datetime.fromtimestamp(one.ts_ms / 1_000, UTC).astimezone(PARIS)
        if one.measurement != "throughput" or one.fields.get("role") == "offnet" or not kept(one):
            continue
        if (wall.year, wall.month) != (2026, 3) or wall.hour not in WINDOWS[window]:
            continue
        failed += one.kind == "failed"
        if one.kind == "ok" and one.fields["validity"] == "ok":
            values.append(float(one.fields["down_bps"]) / contract)
    return sorted(values), failed


tests_of.__test__ = False  # type: ignore[attr-defined]


def days_of(home: str) -> set[date]:
    walls = (datetime.fromtimestamp(p.ts_ms / 1_000, UTC).astimezone(PARIS) for p in raw(home))
    return {wall.date() for wall in walls if wall.month == 3}


def ranked(values: Sequence[float], share: float) -> float:
    return values[math.floor(share * (len(values) - 1))]


def close(said: float | None, exact: float) -> bool:
    return said is not None and abs(said - exact) <= ERROR * abs(exact) * (1 + 1e-9)


def cuts_of(home: str) -> list[float]:
    told = [p for p in raw(home) if p.measurement == "outage" and p.fields["state"] == "ended"]
    return [float(p.fields["down_s"]) for p in told if at(1) <= int(p.fields["start_ms"]) < at(32)]


# what is compared


@pytest.mark.parametrize("home", [CHANGED, LEFT, "b1home02", "b3home01"])
def test_a_home_s_rates_are_those_of_its_rows(data: Path, home: str) -> None:
    said = {row["indicator"]: row for row in asked(data, "--home", home)}
    for window in WINDOWS:
        values, failed = tests_of(home, window)
        row = said[f"down_ratio_p50.{window}"]
        assert (row["n"], row["n_failed"]) == (len(values), failed)
        if len(values) >= (30 if window == "24h" else 10):
            assert close(row["value"], ranked(values, 0.5))
        else:
            assert row["value"] is None
    values, failed = tests_of(home, "pointe_19_23")
    everything = [0.0] * failed + values
    assert close(said["down_ratio_p20.pointe_19_23"]["value"], ranked(everything, 0.2))
    conforming = sum(value >= 0.8 for value in values) / len(everything)
    assert said["down_conforming.pointe_19_23"]["value"] == pytest.approx(conforming)
    assert said["down_ratio_p50.24h"]["contract_bps"] == (FAST if home == CHANGED else SLOW)


def test_the_other_contract_s_tests_are_told_by_their_code(data: Path) -> None:
    (row,) = [r for r in asked(data, "--home", CHANGED) if r["indicator"] == "down_ratio_p50.24h"]
    assert row["validity"]["tier_change"] > 30
    assert row["n_invalid"] == sum(row["validity"].values())


def test_outside_targets_and_speedtest_cli_are_in_no_figure_of_the_operator_s(data: Path) -> None:
    said = {row["indicator"]: row for row in asked(data, "--home", "b1home02")}
    assert close(said["offnet_down_ratio_p50.24h"]["value"], 0.01)
    assert said["down_ratio_p5.24h"]["value"] > 0.2


def test_outages_are_counted_once_in_the_month_that_they_began_in(data: Path) -> None:
    for home in ("b1home02", "b2home01", "b3home01"):
        said = {row["indicator"]: row["value"] for row in asked(data, "--home", home)}
        lasted = cuts_of(home)
        assert said["outages"] == len(lasted)
        assert said["outage_down_s"] == pytest.approx(sum(lasted))
        assert said["outage_longest_s"] == pytest.approx(max(lasted, default=0.0))


def test_what_nobody_watched_is_neither_up_nor_down(data: Path) -> None:
    said = {row["indicator"]: row["value"] for row in asked(data, "--home", SPARSE)}
    assert said["availability"] is None
    assert said["outages"] is None
    hours = [p for p in raw(SPARSE) if p.measurement == "avail" and at(1) <= p.ts_ms < at(32)]
    total_s, down_s = (at(32) - at(1)) / 1_000, sum(float(p.fields["down_s"]) for p in hours)
    assert said["availability_if_unknown_up"] == pytest.approx(1 - down_s / total_s)
    assert said["availability_if_unknown_down"] == pytest.approx((len(hours) * 3_600 - down_s) / total_s)
    assert total_s == (31 * 24 - 1) * 3_600


def weighted(pairs: Sequence[tuple[float, float]], share: float) -> float:
    """The first value with which the share of all weight is reached."""
    whole, summed = sum(weight for _, weight in pairs), 0.0
    for value, weight in sorted(pairs):
        summed += weight
        if summed >= share * whole * (1 - 1e-12):
            return value
    raise AssertionError


def told_homes(window: str) -> list[str]:
    """Those that agree to count at the month's end and have enough tests."""
    enough = 30 if window == "24h" else 10
    return [home for home in PROBED if home != LEFT and len(tests_of(home, window)[0]) >= enough]


def weights(homes: Sequence[str]) -> dict[str, float]:
    """Connected homes of the building and offer for each that has a figure, at most 4."""
    found: dict[str, float] = {}

    def stratum(home: str) -> tuple[str, bool]:
        return HOMES[home], home == CHANGED

    for key, group in groupby(sorted(homes, key=stratum), key=stratum):
        members = list(group)
        connected = sum(stratum(home) == key for home in HOMES)
        found |= dict.fromkeys(members, min(4.0, connected / len(members)))
    return found


def test_the_pilot_s_figures_are_of_homes_that_agree_weighted_by_who_they_stand_for(pilot: Any) -> None:
    rows = {(row["indicator"], row["what"]): row for row in pilot["figures"]}
    for window in WINDOWS:
        name = f"down_ratio_p50.{window}"
        homes = told_homes(window)
        known = weights(homes)
        medians = {home: ranked(tests_of(home, window)[0], 0.5) for home in homes}
        row = rows[name, "median"]
        assert (row["homes"], row["below"]) == (len(homes), len(PROBED) - 1 - len(homes))
        assert close(row["value"], weighted([(medians[home], known[home]) for home in homes], 0.5))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n_eff"] == pytest.approx(sum(known.values()) ** 2 / sum(w * w for w in known.values()))
        assert row["n"] == sum(len(tests_of(home, window)[0]) for home in PROBED if home != LEFT)
        below_80 = sum(known[home] for home in homes if medians[home] < 0.8) / sum(known.values())
        assert rows[name, "share_below_80"]["value"] == pytest.approx(below_80)


def test_the_eighty_eighty_speed_is_a_percentile_over_homes_of_their_percentiles(pilot: Any) -> None:
    rows = {(row["indicator"], row["what"]): row for row in pilot["figures"]}
    homes = told_homes("pointe_19_23")
    known = weights(homes)
    twenties = []
    for home in homes:
        values, failed = tests_of(home, "pointe_19_23")
        twenties.append((ranked([0.0] * failed + values, 0.2), known[home]))
    assert close(rows["down_ratio_p20.pointe_19_23", "p20"]["value"], weighted(twenties, 0.2))


def test_who_answered_stands_beside(pilot: Any) -> None:
    said = {(row["building"], row["offer"]): row for row in pilot["answered"]}
    assert {key: row["connected"] for key, row in said.items()} == {
        ("b1", "fast"): 1,
        ("b1", "slow"): 8,
        ("b2", "slow"): 6,
        ("b3", "slow"): 4,
    }
    assert said["b1", "slow"]["agrees"] == said["b1", "slow"]["evaluates"] == 7
    assert said["b3", "slow"]["valid"] == 2


def test_a_point_that_is_said_again_counts_once(data: Path) -> None:
    before = asked(data, "--home", "b1home02")
    again = [msgspec.structs.replace(one) for one in raw("b1home02")]
    with closing(open_store(data / "store")) as store:
        store.write(again, "x:journal", 3)
    assert asked(data, "--home", "b1home02") == before
