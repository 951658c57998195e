"""Does every panel and every alert find what it shows on a real InfluxDB, as `balise grafana check` says?"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from typer.testing import CliRunner

from balise_collector.commands.grafana import app
from balise_collector.grafana.alerts import ALERTS
from balise_collector.grafana.board import Board, Choice, Panel, Query
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.checking import EVERYTHING, Asked, ask_all, queries_of, queries_of_alerts
from balise_collector.grafana.choosing import WHOSE, offered
from balise_collector.grafana.expanding import Range, expand
from balise_collector.grafana.linking import grouped_by
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import grant
from tests.collector.grafana import ground
from tests.collector.influx.servers import influx1, influx2

PANELS = [(board, panel) for board in BOARDS for panel in board.panels]


@pytest.fixture(scope="module", params=["influx1"] + (["influx2"] if influx2() else []))
def filled(request: pytest.FixtureRequest) -> Server:
    """A server that holds a small fleet, up to now."""
    database = f"g{secrets.token_hex(4)}"
    server = influx2(database) if request.param == "influx2" else influx1().server(database)
    assert server
    ground.fill(server, now_ms())
    return server


@pytest.fixture
def asking(filled: Server) -> Iterator[Asking]:
    with closing(Asking(filled)) as opened:
        yield opened


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def day(end_ms: int) -> Range:
    return Range(start_ms=end_ms - 24 * ground.HOUR_MS, end_ms=end_ms)


def test_every_query_of_every_panel_and_alert_finds_something(asking: Asking) -> None:
    asked = [*queries_of(BOARDS), *queries_of_alerts(ALERTS)]
    found = list(ask_all(asking, asked, day(now_ms()), {"home": ground.HOMES[0]}))
    assert len(found) > 100
    assert [(one.where, one.outcome, one.why, one.query) for one in found if one.outcome != "ok"] == []


@pytest.mark.parametrize(
    ("choice", "chosen", "expected"),
    [
        ("building", {}, ["bat0", "bat1", "bat2"]),
        ("pon", {"building": "bat0|bat1"}, ["pon0", "pon1"]),
        ("home", {"building": "(bat0|bat2)", "pon": "pon1"}, ["home0003", "home0005", "home0009", "home0011"]),
        ("channel", {}, list(ground.CHANNELS)),
    ],
)
def test_a_list_of_choices_is_narrowed_by_those_before_it(
    asking: Asking, choice: Choice, chosen: dict[str, str], expected: list[str]
) -> None:
    (found,) = asking.all([expand(WHOSE[choice], day(now_ms()), {**EVERYTHING, **chosen})])
    assert sorted(offered(choice, found)) == expected
    assert [series["columns"][0] for series in found] == ["time"], "Grafana reads one series, its time left out"


def test_a_list_in_which_there_is_nothing_is_empty(asking: Asking) -> None:
    nobody = {"building": "nowhere"}
    found = {one.where: one.outcome for one in ask_all(asking, queries_of(BOARDS), day(now_ms()), nobody)}
    assert found["balise-buildings / $building"] == "ok"
    assert found["balise-buildings / $pon"] == found["balise-home / $home"] == "empty"


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda x: getattr(x, "uid", None) or x.title.fr)
def test_what_a_panel_names_comes_with_the_answer(asking: Asking, board: Board, panel: Panel) -> None:
    """A table's columns, a legend's tags, and what a click hands on."""
    over, variables = day(now_ms()), {**EVERYTHING, "home": ground.HOMES[0]}
    over = over.over(panel.window) if panel.window else over
    found = asking.all([expand(query.text, over, variables) for query in panel.queries])
    tags = {tag for answer in found for series in answer for tag in series.get("tags", {})}
    columns = {column for answer in found for series in answer for column in series["columns"]}
    wanted = {name for name, _, _ in panel.columns} - {"Time"}
    assert wanted <= tags | columns
    assert columns - {"time"} <= wanted or panel.kind != "table", "a column without a title"
    named = {tag for query in panel.queries if query.alias for tag in re.findall(r"\$tag_(\w+)", query.alias.fr)}
    assert named <= tags
    if panel.drill and panel.kind != "table":
        assert set(grouped_by(panel.queries[0].text)) <= tags


def test_the_command_counts_them_with_the_credential_that_may_only_read(filled: Server) -> None:
    reader = grant(filled, {}).made["grafana"]
    options = ["--influx-url", filled.url, "--database", filled.database, "--token", reader, "--json"]
    run = CliRunner().invoke(app, ["check", *options])
    assert run.exit_code == 0, run.output
    said = json.loads(run.stdout)
    assert (said["refused"], said["empty"]) == (0, 0)
    assert said["queries"] == len(said["list"])


def test_a_query_that_is_wrong_is_refused_with_influxdb_s_words_and_one_of_nothing_is_empty(asking: Asking) -> None:
    wrong = Asked(where="wrong", text="SELECT FROM nowhere")
    nothing = Asked(where="nothing", text='SELECT "x" FROM "nowhere" WHERE $timeFilter')
    refused, empty = ask_all(asking, [wrong, nothing], day(now_ms()))
    assert refused.outcome == "refused"
    assert "pars" in refused.why  # 1.x: error parsing query; 2.x: failed to parse query
    assert empty.outcome == "empty"


def test_an_interval_without_a_value_is_no_row(asking: Asking) -> None:
    text = 'SELECT last("state") FROM "state"."home_state" WHERE "home" = \'nobody\' AND $timeFilter'
    (found,) = ask_all(asking, [Asked(where="x", text=f"{text} GROUP BY time(5m) fill(null)")], day(now_ms()))
    assert found.outcome == "empty"


@pytest.mark.parametrize(
    ("board", "panel", "values"),
    [
        ("balise-fleet", "Internet : logements", [5, 0, 1, 12]),
        ("balise-fleet", "Sondes qui parlent", [11, 12]),
        ("balise-telephone", "Lignes, maintenant", [5, 0, 1, 12]),
        ("balise-telephone", "Lignes enregistrées, maintenant", [1 - 5 / 11, 11 / 12]),
        ("balise-home", "Offre et liaison sonde–box", [ground.CONTRACT_BPS, 5]),
    ],
)
def test_a_figure_is_what_is_there(asking: Asking, board: str, panel: str, values: list[float]) -> None:
    assert [figure(asking, query) for query in queries(board, panel)] == pytest.approx(values)


def queries(board: str, title: str) -> tuple[Query, ...]:
    (found,) = (one for one in BOARDS if one.uid == board)
    (panel,) = (one for one in found.panels if one.title.fr == title)
    return panel.queries


def figure(asking: Asking, query: Query) -> int | None:
    (found,) = asking.all([expand(query.text, day(now_ms()), {**EVERYTHING, "home": ground.HOMES[0]})])
    return found[0]["values"][-1][1] if found else None
