"""Does each dashboard keep the house's rules, in both languages, and are the committed files what they would be now?"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from balise_agent.catalogue import CATALOGUE
from balise_collector.grafana.alerts import ALERTS
from balise_collector.grafana.board import LANGUAGES, Board, Lang, Panel
from balise_collector.grafana.boards import BOARDS, fleet
from balise_collector.grafana.boards.slo import MONTHLY
from balise_collector.grafana.building import files
from balise_collector.grafana.choosing import WHOSE
from balise_collector.grafana.expanding import Range, UnknownVariableError, expand, names
from balise_collector.grafana.linking import grouped_by
from balise_collector.grafana.provisioning import to_yaml
from balise_collector.grafana.rendering import TIMEZONE, to_json
from balise_collector.stats.indicators import ASKED
from balise_collector.store.influx.lines import OUTCOME, REASON, TAGS
from balise_collector.store.influx.server import policy

DASHBOARDS = Path(__file__).parents[3] / "dashboards"
PANELS = {"stat", "timeseries", "state-timeline", "status-history", "heatmap", "table", "row", "alertlist"}
EACH = [(board, lang) for board in BOARDS for lang in LANGUAGES]
ALL_PANELS = [(board, panel) for board in BOARDS for panel in board.panels]


def made(board: Board, lang: Lang) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(board, lang))
    return found


@pytest.mark.parametrize("name", [name for name, _ in files("fr")])
def test_the_committed_file_is_what_it_would_be_now(name: str) -> None:
    assert (DASHBOARDS / name).read_text() == dict(files("fr"))[name], "run: balise grafana build"


def test_no_other_file_is_there() -> None:
    there = {str(path.relative_to(DASHBOARDS)) for path in DASHBOARDS.rglob("*") if path.is_file()}
    assert there == {name for name, _ in files("fr")}


@pytest.mark.parametrize(("board", "lang"), EACH, ids=lambda x: getattr(x, "uid", x))
def test_panels_have_ids_of_their_own_and_do_not_overlap(board: Board, lang: Lang) -> None:
    panels = made(board, lang)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or below)


@pytest.mark.parametrize(("board", "lang"), EACH, ids=lambda x: getattr(x, "uid", x))
def test_every_panel_says_what_it_shows_and_in_which_unit(board: Board, lang: Lang) -> None:
    for panel in made(board, lang)["panels"]:
        assert panel["type"] in PANELS
        assert panel["title"]
        if panel["type"] != "row":
            assert len(panel["description"]) > 20, panel["title"]
        if panel["type"] not in ("row", "alertlist"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"] == {"type": "influxdb", "uid": "${ds}"}


@pytest.mark.parametrize(("board", "lang"), EACH, ids=lambda x: getattr(x, "uid", x))
def test_a_dashboard_is_of_paris_read_only_and_its_uid_is_short(board: Board, lang: Lang) -> None:
    found = made(board, lang)
    assert found["timezone"] == TIMEZONE == "Europe/Paris"
    assert found["editable"] is False
    assert len(found["uid"]) <= 40
    assert found["description"].endswith("?")


def test_english_is_another_text_of_the_same_panels() -> None:
    for board in BOARDS:
        french, english = made(board, "fr"), made(board, "en")
        assert [panel["gridPos"] for panel in french["panels"]] == [panel["gridPos"] for panel in english["panels"]]
        assert french["title"] != english["title"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_variables_that_are_used_are_those_that_are_there(board: Board) -> None:
    queries = [query.text for panel in board.panels for query in panel.queries]
    used = set().union(*(names(text) for text in [*queries, *(WHOSE[choice] for choice in board.choices)]))
    assert used <= set(board.choices)
    unused = set(board.choices) - set().union(*map(names, queries)) if queries else set()
    assert unused <= {"building", "pon"}, f"{board.uid} asks for what it does not use: {unused}"


@pytest.mark.parametrize(("board", "panel"), ALL_PANELS, ids=lambda x: getattr(x, "uid", None) or x.title.fr)
def test_what_a_query_names_is_in_the_catalogue(board: Board, panel: Panel) -> None:
    for query in panel.queries:
        assert strangers(query.text) == [], query.text


def strangers(text: str) -> list[str]:
    """Names in double quotes that are no tag, field, alias, measurement or policy of theirs."""
    sources = re.findall(r'FROM (?:"(\w+)"\.)?"(\w+)"', text)
    measurements = [CATALOGUE[name] for _, name in sources]
    wrong = [
        f"{kept}.{name}"
        for kept, name in sources
        if kept != (policy(CATALOGUE[name].retention) if kept else kept)
        or (not kept and CATALOGUE[name].retention != "raw_90d")
    ]
    aliases = set(re.findall(r'AS "(\w+)"', text))
    fields = {field.name for kind in measurements for field in kind.fields}
    known = {*TAGS, *fields, *aliases, OUTCOME, REASON, *(part for source in sources for part in source)}
    return wrong + [name for name in re.findall(r'"([^"$]+)"', text) if name not in known]


def test_a_name_that_is_not_in_the_catalogue_is_seen() -> None:
    assert strangers('SELECT "nonsense" FROM "state"."home_state"') == ["nonsense"]
    assert strangers('SELECT "state" FROM "home_state"') == [".home_state"]


def test_links_lead_to_dashboards_that_are_there() -> None:
    uids = {board.uid for board in BOARDS}
    assert {panel.drill for _, panel in ALL_PANELS} <= uids | {""}


@pytest.mark.parametrize(("board", "panel"), [pair for pair in ALL_PANELS if pair[1].drill])
def test_a_link_says_each_choice_of_its_target_once_and_none_that_is_not_known(board: Board, panel: Panel) -> None:
    (found,) = (one for one in made(board, "fr")["panels"] if one["title"] == panel.title.fr)
    of_cells = [
        part for one in found["fieldConfig"]["overrides"] for part in one["properties"] if part["id"] == "links"
    ]
    links = [link for part in of_cells for link in part["value"]] + found["fieldConfig"]["defaults"].get("links", [])
    assert links
    choices = {uid: other.choices for uid, other in ((other.uid, other) for other in BOARDS)}[panel.drill]
    for link in links:
        said = re.findall(r"var-(\w+)=|\$\{(\w+):queryparam\}", link["url"].replace("var-ds=${ds}", ""))
        names_said = [one or other for one, other in said]
        assert len(set(names_said)) == len(names_said)
        assert set(names_said) <= set(choices)
        kept = {other for one, other in said if not one}
        assert kept <= set(board.choices)
        assert set(board.choices) & set(choices) <= set(names_said), "what was chosen is lost"
        labels = re.findall(r"__field\.labels\.(\w+)", link["url"])
        assert set(labels) <= set(grouped_by(panel.queries[0].text)), "no such label: the link would choose nothing"


def test_the_months_that_are_shown_are_those_that_are_frozen() -> None:
    assert set(MONTHLY) <= {"availability", *(asked.name for asked in ASKED)}


def test_the_list_of_alerts_finds_every_rule_of_ours() -> None:
    (found,) = (panel for panel in made(fleet.BOARD, "fr")["panels"] if panel["type"] == "alertlist")
    wanted = dict(re.findall(r'(\w+)="(\w+)"', found["options"]["alertInstanceLabelFilter"]))
    rules = yaml.safe_load(to_yaml(ALERTS, "fr"))["groups"][0]["rules"]
    assert all(wanted.items() <= rule["labels"].items() for rule in rules)
    assert wanted


def test_what_shows_one_home_s_life_is_in_the_restricted_folder() -> None:
    assert {board.uid for board in BOARDS if board.restricted} == {"balise-home", "balise-outages"}
    assert all("home" not in board.choices for board in BOARDS if not board.restricted)


def test_no_percentile_is_averaged() -> None:
    for _, panel in ALL_PANELS:
        for query in panel.queries:
            assert not re.search(r'mean\("(p\d+|\w*_p\d+_\w+)"\)', query.text), query.text


def test_a_variable_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownVariableError, match="nobody"):
        expand("SELECT $nobody", Range(start_ms=0, end_ms=1), {})


@pytest.mark.parametrize(
    ("span_ms", "points", "least_ms", "interval"),
    [
        (86_400_000, 1_000, 0, "2m"),
        (86_400_000, 96, 0, "15m"),
        (3_600_000, 1_000, 0, "5s"),
        (3_600_000, 1_000, 300_000, "5m"),
        (30 * 86_400_000, 1_000, 0, "1h"),
    ],
)
def test_macros_are_written_as_grafana_does(span_ms: int, points: int, least_ms: int, interval: str) -> None:
    over = Range(start_ms=1_000, end_ms=1_000 + span_ms, points=points, least_ms=least_ms)
    found = expand("$timeFilter time($__interval) ${home:regex}", over, {"home": "h1"})
    assert found == f"time >= 1000ms and time <= {1_000 + span_ms}ms time({interval}) h1"
