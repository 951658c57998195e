"""Has every word that the judge and the probes may write one in the reader's language?"""

from __future__ import annotations

import json
from typing import Any, get_args

from balise_agent.ladder import Place
from balise_collector.grafana.boards import fleet
from balise_collector.grafana.rendering import to_json
from balise_collector.grafana.wording import WORDS
from balise_collector.judge.causes import BY_ACCOUNT
from balise_collector.judge.incidents import Confidence, Stage


def test_no_word_of_a_closed_list_is_without_one() -> None:
    assert WORDS["state"].keys() == set(get_args(Stage))
    assert WORDS["confidence"].keys() == set(get_args(Confidence))
    assert WORDS["class"].keys() == set(get_args(Place))
    assert {name for name, _ in BY_ACCOUNT.values()} <= WORDS["cause"].keys()


def test_a_table_shows_the_word_of_its_language_where_it_is_another_than_the_code() -> None:
    assert shown("fr")["open"] == "ouvert"
    assert shown("fr")["reviewed"] == "fini, cause connue"
    assert "open" not in shown("en")


def shown(lang: Any) -> dict[str, str]:
    """What the fleet's incidents say for a state."""
    panels = json.loads(to_json(fleet.BOARD, lang))["panels"]
    (table,) = (panel for panel in panels if panel["type"] == "table")
    (state,) = (one for one in table["fieldConfig"]["overrides"] if one["matcher"]["options"] == "state")
    (found,) = (one["value"] for one in state["properties"] if one["id"] == "mappings")
    return {code: result["text"] for value_map in found for code, result in value_map["options"].items()}
