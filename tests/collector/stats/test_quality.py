"""Does `balise quality` tell a home's month from directory and store?"""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_agent.contract import Value
from balise_collector.cli import app
from balise_collector.commands.quality import HEADLINE
from balise_collector.directory import Directory, Home, Inventory, sqlite_url
from balise_collector.directory.values import Consent, Line, Offer, Pon
from balise_collector.stats.months import Month, frozen, of_home
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_bounds
from balise_collector.store import Point, points
from balise_collector.store.chunks import open_reader, open_store

H, PROBE = "h" * 16, "p" * 16
MONTH = 202603
START, END = month_bounds(MONTH)
DAY = 86_400_000


def ran() -> list[Point]:
    """Two a day, at noon and in the evening, of 0.9 and 0.6 of the contract."""
    return [
        Point(
            home=H,
            building="b1",
            pon="p1",
            probe=PROBE,
            measurement="throughput",
            target="t.v4",
            ts_ms=START + day * DAY + hour * 3_600_000,
            fields={"down_bps": bps, "up_bps": bps, "validity": "ok"},
        )
        for day in range(28)
        for hour, bps in ((12, 90_000_000), (20, 60_000_000))
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = (Line(from_ms=0, pon="p1", offer="o1"),)
    consents = (Consent(purpose="evaluation", text="v1", given_ms=0),)
    inventory = Inventory(
        homes={H: Home(id=H, building="b1", lines=lines, consents=consents)},
        buildings={"b1": ""},
        olts={"o": ""},
        pons={"p1": Pon(olt="o")},
        offers={"o1": Offer(operator="op", down_bps=100_000_000, up_bps=100_000_000)},
    )
    with Directory(sqlite_url(tmp_path)) as directory:
        directory.import_homes(inventory)
    with closing(open_store(tmp_path / "store")) as store:
        store.write(ran(), "x:journal", 1)
    return tmp_path


def balise(data: Path, *args: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["quality", "--data", str(data), *args])
    assert done.exit_code == code, done.output
    return done.output


def test_a_home_s_month_is_told_with_its_sample(data: Path) -> None:
    rows = {row["indicator"]: row for row in json.loads(balise(data, "--home", H, "--month", "2026-03", "--json"))}
    evening = rows["down_ratio_p50.pointe_19_23"]
    assert evening["value"] == pytest.approx(0.6, rel=0.01)
    assert (evening["n"], evening["days"], evening["contract_bps"], evening["n_invalid"]) == (28, 28, 100_000_000, 0)
    assert evening["coverage"] == pytest.approx(28 / 62, abs=0.01)
    assert rows["down_ratio_p50.24h"]["n"] == 56
    assert rows["dns_p50_ms"]["value"] is None
    assert (evening["month"], evening["method"]) == (MONTH, "QOS-1")


def test_csv_and_people_are_told_the_same(data: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(balise(data, "--month", "2026-03", "--each", "--csv"))))
    assert {row["home"] for row in rows} == {H}
    (night,) = [row for row in rows if row["indicator"] == "down_ratio_p50.creux_02_06"]
    assert (night["value"], night["n"]) == ("", "0")
    shown = balise(data, "--month", "2026-03", "--each").splitlines()
    assert len(shown) == len(rows)
    assert any(line.startswith(f"{H}\tdown_ratio_p50.creux_02_06\tinsuffisant\t1\t0\t") for line in shown)


def test_the_pilot_s_headline_tells_its_missing_tests_and_where_they_move_it(data: Path) -> None:
    told = json.loads(balise(data, "--month", "2026-03", "--json"))
    evening = next(row for row in told["figures"] if row["indicator"] == HEADLINE)
    assert evening["missing"] == pytest.approx(1 - 28 / 62, abs=0.01)
    assert told["headline"] == {"indicator": HEADLINE, "missing": evening["missing"], "leans": "high"}
    shown = balise(data, "--month", "2026-03").splitlines()
    (line,) = [line for line in shown if "tests de pointe prévus manquent" in line]
    assert line.startswith(f"{HEADLINE} : 55% ")
    assert "surestimé" in line


def test_what_cannot_be_told_is_refused(data: Path) -> None:
    assert "give at least one" in balise(data, code=2)
    assert "not in the directory" in balise(data, "--home", "x" * 16, code=2)
    for month in ("2026-13", "march", "2999-01"):
        assert "a month that has begun" in balise(data, "--month", month, code=2)


def test_a_month_that_is_over_is_frozen_as_rows_of_the_catalogue(data: Path) -> None:
    month = Month.of(MONTH, END + DAY)
    with closing(open_reader(data / "store")) as reader:
        rows = list(frozen(H, month, of_home(reader, H, Terms(), month)))
    (one,) = [row for row in rows if row.tags["indicator"] == "down_ratio_p50.24h"]
    assert one.fields["frozen"] is True
    assert one.fields["validity"] == "no_contract=56"
    assert "value" not in one.fields
    for row in rows:
        kept = Point(home=H, probe="collector", measurement=row.measurement, ts_ms=row.ts_ms, fields=row.fields)
        assert points.refusal(kept) is None
    assert not Month.of(MONTH, END - 1).is_over


def test_television_is_told_by_channel(data: Path) -> None:
    hour: dict[str, Value] = {
        "n": 4,
        "n_good": 3,
        "n_failed": 1,
        "homes": 2,
        "zap_n": 2,
        "zap_sketch": "1||0|300:2",
        "listened_s": 30.0,
    }
    hours = [
        Point(home="", probe="collector", measurement="channel_hour", target="c1", ts_ms=START + day * DAY, fields=hour)
        for day in range(28)
    ]
    with closing(open_store(data / "store")) as store:
        store.write(hours, "channels", 1)
    asked = ("--month", "2026-03", "--channels")
    (told,) = json.loads(balise(data, *asked, "--json"))
    assert (told["channel"], told["n"], told["days"]) == ("c1", 112, 28)
    assert (told["good_ratio"], told["good_low"]) == (0.75, 0.75)
    assert told["zap_p50_ms"] == told["zap_p50_low_ms"] == told["zap_p95_ms"]
    (row,) = csv.DictReader(io.StringIO(balise(data, *asked, "--csv")))
    assert (row["channel"], row["n_failed"]) == ("c1", "28")
    (line,) = balise(data, *asked).splitlines()
    assert line.startswith("c1\t0.75\t")
    assert "not with --home or --each" in balise(data, *asked, "--each", code=2)
