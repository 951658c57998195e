"""Do both ways from the town to the judge lead to the same state, and does the command print what it says?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.judge.facts import Service
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from balise_collector.town import running
from balise_collector.trial import ways
from tests.collector.town.ground import HOUR_MS, START_MS, stream, town

SERVICES: tuple[Service, ...] = ("internet", "television", "telephone", "probe")
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "pon_cut", "place": "pon:1", "after": "40m", "lasts": "20m"},
    {"kind": "fibre_cut", "place": "home:3", "after": "30m", "lasts": "50m"},
    {"kind": "registrar_down", "after": "70m", "lasts": "20m"},
    {"kind": "late_delivery", "place": "home:9", "after": "20m", "lasts": "1h"},
    {"kind": "collector_down", "after": "105m", "lasts": "6m"},
)


def state(judge: Judge, homes: list[str]) -> object:
    end_ms = START_MS + 2 * HOUR_MS
    facts = [judge.timeline(home, service, START_MS, end_ms) for home in homes for service in SERVICES]
    return facts, [repr(incident) for incident in judge.incidents()]


def test_direct_and_full_path_end_in_the_identical_state(tmp_path: Path) -> None:
    of = town(16)
    homes = [home.id for home in of.homes]
    made = stream(of, *FAULTS, hours=2, life=True, make=Row)
    direct = Judge(ways.topology(of, made.faults))
    short = running.run(made, ways.Direct(direct))
    long, behind = ways.through_journal(of, made, tmp_path, lambda _now_ms, _run: None)
    assert short.records == long.records > 10_000
    assert state(direct, homes) == state(behind, homes)
    assert {i: t.settled["cause"] for i, t in short.notes.incidents.items() if not t.is_withdrawn} == {
        i: t.settled["cause"] for i, t in long.notes.incidents.items() if not t.is_withdrawn
    }


def test_the_command_prints_one_object_whose_score_has_every_figure(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    script = tmp_path / "cut.toml"
    script.write_text('title = "cut"\n[[fault]]\nkind = "pon_cut"\nplace = "pon:1"\nafter = "70m"\nlasts = "30m"\n')
    options = ["--homes", "40", "--days", "0.1", "--faults", str(script), "--log", str(log), "--json"]
    done = CliRunner().invoke(app, ["town", "run", *options])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    wanted = {"recall", "precision", "place_right", "cause_right", "false_green_p95_s", "by_fault", "false_incidents"}
    assert said["score"].keys() >= wanted | {"missed", "incidents", "detect_p95_s"}
    assert set(said["baselines"]) == {"always ok", "per-home thresholds", "fixed share of the PON"}
    assert said["score"]["missed"] == 0
    assert said["score"]["place_right"] == 1.0
    (row, *_) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (row["kind"], row["services"]) == ("pon_cut", ["internet", "telephone", "television"])


def test_the_table_names_the_goals_and_each_kind() -> None:
    script = Path(__file__).parents[3] / "collector/balise_collector/town/scripts/quiet-month.toml"
    options = ["--homes", "20", "--days", "0.05", "--seed", "3", "--faults", str(script)]
    done = CliRunner().invoke(app, ["town", "run", *options])
    assert done.exit_code == 0, done.output
    assert "minutes of fault found" in done.stdout
    assert "always ok" in done.stdout


def test_a_script_that_cannot_be_played_ends_with_2_and_one_line(tmp_path: Path) -> None:
    script = tmp_path / "bad.toml"
    script.write_text('[[fault]]\nkind = "earthquake"\n')
    done = CliRunner().invoke(app, ["town", "run", "--faults", str(script)])
    assert done.exit_code == 2
    assert "earthquake" in done.output


def test_all_faults_of_a_script_are_named_at_once_with_field_value_and_what_is_allowed(tmp_path: Path) -> None:
    script = tmp_path / "bad.toml"
    script.write_text(
        'life = 3\n[random]\ncount = "many"\n'
        '[[fault]]\nkind = "dns_down"\nat = "25:99"\nlasts = "soon"\n'
        '[[fault]]\nkind = "pon_cut"\nplace = "home:1"\nday = -1\nwhen = "now"\n'
    )
    done = CliRunner().invoke(app, ["town", "run", "--faults", str(script)])
    assert done.exit_code == 2
    for said in (
        "life: 3; allowed: true, false",
        "random.count: 'many'; allowed: a whole number from 0",
        "fault 1: at: '25:99'; allowed: a time by the clock, 00:00 to 23:59",
        "fault 1: lasts: 'soon'; allowed: a length",
        "fault 2: place: 'home:1'; a pon_cut is at pon or branch",
        "fault 2: day: -1; allowed: a whole number from 0",
        "fault 2: when: unknown; known are after, at,",
    ):
        assert said in done.output


def test_places_and_channels_that_a_town_does_not_have_are_all_named(tmp_path: Path) -> None:
    script = tmp_path / "far.toml"
    script.write_text(
        '[[fault]]\nkind = "pon_cut"\nplace = "pon:99"\n[[fault]]\nkind = "tv_channels"\nchannels = ["c99"]\n'
    )
    done = CliRunner().invoke(app, ["town", "run", "--homes", "40", "--faults", str(script)])
    assert done.exit_code == 2
    assert "fault 1: place: 'pon:99'; this town of 40 homes has pon:1 to pon:" in done.output
    assert "fault 2: channels: 'c99'; allowed: c01, c02," in done.output
