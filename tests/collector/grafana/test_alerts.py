"""Would Grafana read the alerts' file as it is meant, and does each lead to a page that says what to do?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from balise_collector.grafana.alerts import ALERTS, Alert
from balise_collector.grafana.board import LANGUAGES
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.expanding import duration_ms, names
from balise_collector.grafana.influxql import SOURCE_UID
from balise_collector.grafana.linking import grouped_by
from balise_collector.grafana.provisioning import policies_yaml, to_yaml
from tests.collector.grafana.test_boards import strangers

RUNBOOKS = Path(__file__).parents[3] / "docs/runbooks"
HEADINGS = ("## Ce que cela veut dire", "## À regarder", "## À faire", "## Qui réveiller, et quand", "## In English")
RULES: list[dict[str, Any]] = yaml.safe_load(to_yaml(ALERTS, "fr"))["groups"][0]["rules"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.uid)
def test_an_alert_has_a_page_that_says_what_it_means_and_whom_to_wake(alert: Alert) -> None:
    page = (RUNBOOKS / alert.runbook).read_text()
    assert [heading for heading in HEADINGS if heading not in page] == []
    assert alert.board in {board.uid for board in BOARDS}


def test_there_is_no_page_without_an_alert() -> None:
    assert {path.name for path in RUNBOOKS.glob("*.md")} == {alert.runbook for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.uid)
def test_what_an_alert_asks_for_is_in_the_catalogue_and_has_no_variable(alert: Alert) -> None:
    for one in alert.conditions:
        assert strangers(one.query) == []
        assert names(one.query) == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["uid"])
def test_a_rule_is_as_grafana_s_reader_wants_it(rule: dict[str, Any]) -> None:
    refs = [step["refId"] for step in rule["data"]]
    assert len(set(refs)) == len(refs)
    assert rule["condition"] in refs
    assert len(rule["uid"]) <= 40
    duration_ms(rule["for"])
    for step in rule["data"]:
        assert step["datasourceUid"] in (SOURCE_UID, "__expr__")
        assert step["model"]["refId"] == step["refId"]
        assert step["relativeTimeRange"]["from"] >= step["relativeTimeRange"]["to"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["uid"])
def test_the_dollar_rule(rule: dict[str, Any]) -> None:
    """Titles, uids and labels are expanded from the environment; a query's model is not."""
    for text in (rule["uid"], rule["title"], rule["condition"], *rule["labels"].values()):
        assert "$" not in text.replace("$$", "")
    for text in rule["annotations"].values():
        assert "${" not in text
    for step in rule["data"]:
        assert "$$" not in str(step["model"])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.uid)
def test_a_summary_names_only_tags_that_its_series_have(alert: Alert) -> None:
    tags = set(grouped_by(alert.conditions[0].query))
    for text in alert.summary:
        assert set(re.findall(r"\{\{ \$labels\.(\w+) \}\}", text)) <= tags
        assert "{" not in re.sub(r"\{\{ \$labels\.\w+ \}\}", "", text), "no template of Grafana's"


def test_uids_and_titles_are_each_one_s_own_in_both_languages() -> None:
    for lang in LANGUAGES:
        rules = yaml.safe_load(to_yaml(ALERTS, lang))["groups"][0]["rules"]
        assert len({rule["uid"] for rule in rules}) == len({rule["title"] for rule in rules}) == len(ALERTS)


def test_every_severity_has_somebody_who_is_told() -> None:
    (tree,) = yaml.safe_load(policies_yaml())["policies"]
    told = {matcher[2] for route in tree["routes"] for matcher in route["object_matchers"]}
    assert told == {alert.severity for alert in ALERTS}
