"""Do dashboards and marks get into a Grafana once, and is each refusal told in words that help?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from balise_collector.commands.grafana import app
from balise_collector.grafana.annotating import Mark, annotate
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.server import open_grafana
from tests.collector.grafana.peer import TOKEN, Grafana, running

MARKS = [
    Mark(id="i1", kind="incident", start_ms=1_000, end_ms=None, text="PON pon1"),
    Mark(id="w1", kind="works", start_ms=2_000, end_ms=9_000, text="Travaux"),
]


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with running() as found:
        yield found


def push(grafana: Grafana, *options: str, token: str = TOKEN) -> tuple[int, str]:
    run = CliRunner().invoke(app, ["push", "--url", grafana.url, "--token", token, *options])
    assert token not in run.output
    return run.exit_code, run.output


def changes(output: str) -> Counter[str]:
    return Counter(line.split()[0] for line in output.splitlines()[1:])


def test_all_is_created_once_and_left_alone_then(grafana: Grafana) -> None:
    status, output = push(grafana)
    assert (status, changes(output)) == (0, {"created": len(BOARDS) + 2})
    assert set(grafana.dashboards) == {board.uid for board in BOARDS}
    writes = grafana.writes
    status, output = push(grafana)
    assert (status, changes(output)) == (0, {"left": len(BOARDS) + 2})
    assert grafana.writes == writes


def test_what_shows_one_home_is_where_viewers_do_not_look(grafana: Grafana) -> None:
    push(grafana)
    folders = {uid: found["meta"]["folderUid"] for uid, found in grafana.dashboards.items()}
    assert folders["balise-home"] == "balise-homes"
    assert folders["balise-fleet"] == "balise"
    assert all(item["role"] != "Viewer" for item in grafana.permissions["balise-homes"]["items"])


def test_a_folder_that_could_not_be_closed_or_was_opened_is_closed_by_the_next_push(grafana: Grafana) -> None:
    grafana.keeps_open = True
    code, output = push(grafana)
    assert (code, grafana.dashboards) == (2, {})
    assert "500" in output
    grafana.keeps_open = False
    for _ in range(2):
        _, output = push(grafana)
        assert "changed  folder Balise – logements" in output
        assert all(item["role"] != "Viewer" for item in grafana.permissions["balise-homes"]["items"])
        grafana.permissions.clear()  # somebody gives it back to all


def test_what_somebody_changed_is_changed_back_and_the_rest_left(grafana: Grafana) -> None:
    push(grafana)
    grafana.dashboards["balise-tv"]["dashboard"]["title"] = "mine"
    grafana.dashboards["balise-slo"]["meta"]["folderUid"] = "elsewhere"
    _, output = push(grafana)
    assert changes(output) == {"changed": 2, "left": len(BOARDS)}
    assert grafana.dashboards["balise-tv"]["dashboard"]["title"] != "mine"
    assert grafana.dashboards["balise-slo"]["meta"]["folderUid"] == "balise"


def test_a_dry_run_says_all_and_writes_nothing(grafana: Grafana) -> None:
    status, output = push(grafana, "--dry-run")
    assert (status, grafana.writes) == (0, 0)
    assert output.count("would be created") == len(BOARDS) + 2


def test_the_folder_may_have_another_title_and_the_texts_another_language(grafana: Grafana) -> None:
    push(grafana, "--folder", "Réseau", "--lang", "en")
    assert grafana.folders["balise"]["title"] == "Réseau"
    assert grafana.dashboards["balise-fleet"]["dashboard"]["title"] == "Balise 1 – Fleet"
    _, output = push(grafana)
    assert changes(output)["changed"] == len(BOARDS) + 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "Editor"),
        (404, "root of Grafana's address"),
        (500, "its log says why"),
        (503, "its log says why"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(grafana: Grafana, status: int, words: str) -> None:
    grafana.broken = status
    code, output = push(grafana)
    assert (code, len(output.splitlines())) == (2, 1)
    assert str(status) in output
    assert words in output


def test_a_wrong_token_is_said(grafana: Grafana) -> None:
    code, output = push(grafana, token="wrong-token")
    assert code == 2
    assert "401" in output
    assert "service account" in output


def test_somebody_who_changes_it_at_the_same_time_is_not_overwritten(grafana: Grafana) -> None:
    grafana.race = True
    code, output = push(grafana)
    assert code == 2
    assert "412" in output
    assert "run the command again" in output


@pytest.mark.parametrize(("version", "words"), [("9.5.2", "9.5.2: the dashboards need 10.4"), ("", "no Grafana")])
def test_a_grafana_that_is_too_old_or_none_is_said_before_anything_is_written(
    grafana: Grafana, version: str, words: str
) -> None:
    grafana.version = version
    code, output = push(grafana)
    assert (code, grafana.writes) == (2, 0)
    assert words in output


def test_an_answer_that_is_no_json_is_said(grafana: Grafana) -> None:
    grafana.plain = True
    code, output = push(grafana)
    assert code == 2
    assert "no JSON" in output


def test_nobody_there_is_said() -> None:
    run = CliRunner().invoke(app, ["push", "--url", "http://127.0.0.1:9", "--token", TOKEN])
    assert run.exit_code == 2
    assert "cannot be reached (refused)" in run.output
    assert TOKEN not in run.output


def test_marks_are_there_once_however_often_they_are_told(grafana: Grafana) -> None:
    api = open_grafana(grafana.url, TOKEN)
    assert [one.change for one in annotate(api, MARKS)] == ["created", "created"]
    again = open_grafana(grafana.url, TOKEN)  # as after a restart: nothing is remembered here
    assert [one.change for one in annotate(again, MARKS)] == ["left", "left"]
    assert len(grafana.annotations) == 2
    assert grafana.annotations[0]["tags"] == ["balise", "incident", "balise-id:i1"]


def test_an_incident_that_ends_has_its_end_on_the_same_mark(grafana: Grafana) -> None:
    api = open_grafana(grafana.url, TOKEN)
    list(annotate(api, MARKS))
    over = Mark(id="i1", kind="incident", start_ms=1_000, end_ms=5_000, text="PON pon1")
    assert [one.change for one in annotate(api, [over, MARKS[1]])] == ["changed", "left"]
    assert (len(grafana.annotations), grafana.annotations[0]["timeEnd"]) == (2, 5_000)


def test_marks_of_a_dry_run_are_not_written(grafana: Grafana) -> None:
    assert [one.change for one in annotate(open_grafana(grafana.url, TOKEN), MARKS, dry=True)] == ["created"] * 2
    assert grafana.annotations == []
