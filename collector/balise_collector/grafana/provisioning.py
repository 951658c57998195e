"""How do the alerts become a file that Grafana provisions?

A query (A, B, …), its last value (RA, …), its threshold (TA, …); of several conditions a last expression (Z) that needs
all. The file's form is that of Grafana's own reader (alerting/rules_types.go), not of its HTTP API.

Rule 1: `$` is expanded from the environment in titles, labels and uids, so `$$` there; annotations are templates and
keep one; a query's model is used raw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from balise_collector.grafana.alerts import PRODUCT, Alert, Reduced
from balise_collector.grafana.board import Lang
from balise_collector.grafana.influxql import SOURCE_TYPE, SOURCE_UID
from balise_collector.grafana.pushing import FOLDER

RUNBOOKS = "docs/runbooks/"
EVERY = "1m"
_EXPRESSION = "__expr__"
_HEAD = "# Made by `balise grafana build`; change collector/balise_collector/grafana/alerts.py instead.\n"


def to_yaml(alerts: Iterable[Alert], lang: Lang, *, runbooks: str = RUNBOOKS) -> str:
    """The file of rules. ``runbooks``: where their pages stand, with a slash at its end."""
    rules = [_rule(alert, lang, runbooks) for alert in alerts]
    group = {"orgId": 1, "name": "balise", "folder": FOLDER.say(lang), "interval": EVERY, "rules": rules}
    return _HEAD + yaml.safe_dump({"apiVersion": 1, "groups": [group]}, sort_keys=False, allow_unicode=True, width=120)


def policies_yaml() -> str:
    """Who is told: pages at once, tickets grouped by the hour. The contact points are the operator's own file."""
    tree = {
        "orgId": 1,
        "receiver": "balise-tickets",
        "group_by": ["alertname"],
        "routes": [
            {
                "receiver": "balise-pages",
                "object_matchers": [["severity", "=", "page"]],
                "group_wait": "0s",
                "group_interval": "1m",
                "repeat_interval": "4h",
            },
            {
                "receiver": "balise-tickets",
                "object_matchers": [["severity", "=", "ticket"]],
                "group_wait": "5m",
                "group_interval": "1h",
                "repeat_interval": "24h",
            },
        ],
    }
    return _HEAD + yaml.safe_dump({"apiVersion": 1, "policies": [tree]}, sort_keys=False, allow_unicode=True)


def _rule(alert: Alert, lang: Lang, runbooks: str) -> dict[str, Any]:
    data = [step for ref, one in zip("ABCDEFGH", alert.conditions, strict=False) for step in _steps(ref, one)]
    condition = "TA"
    if len(alert.conditions) > 1:
        letters = "ABCDEFGH"[: len(alert.conditions)]
        data.append(_all_of([f"T{letter}" for letter in letters]))
        condition = "Z"
    return {
        "uid": alert.uid,
        "title": alert.title.say(lang),
        "condition": condition,
        "data": data,
        "for": f"{alert.hold_s}s",
        "noDataState": alert.no_data,
        "execErrState": "Error",
        "labels": {"severity": alert.severity, "product": PRODUCT},
        "annotations": {
            "summary": alert.summary.say(lang),
            "runbook_url": f"{runbooks}{alert.runbook}",
            "dashboard": f"/d/{alert.board}",
        },
        "isPaused": False,
    }


def _steps(ref: str, one: Reduced) -> Iterator[dict[str, Any]]:
    source = {"type": SOURCE_TYPE, "uid": SOURCE_UID}
    window = {"from": one.window_s, "to": 0}
    model = {"refId": ref, "datasource": source, "query": one.query, "rawQuery": True, "resultFormat": "time_series"}
    yield {"refId": ref, "relativeTimeRange": window, "datasourceUid": SOURCE_UID, "model": model}
    yield _expression(f"R{ref}", {"type": "reduce", "expression": ref, "reducer": "last"})
    evaluator = {"type": "gt", "params": [one.above]}
    if one.below is not None:
        evaluator = {"type": "within_range", "params": [one.above, one.below]}
    threshold = {"type": "threshold", "expression": f"R{ref}", "conditions": [{"evaluator": evaluator}]}
    yield _expression(f"T{ref}", threshold)


def _all_of(refs: list[str]) -> dict[str, Any]:
    return _expression("Z", {"type": "math", "expression": " && ".join(f"${{{ref}}}" for ref in refs)})


def _expression(ref: str, model: dict[str, Any]) -> dict[str, Any]:
    source = {"type": _EXPRESSION, "uid": _EXPRESSION}
    return {
        "refId": ref,
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": _EXPRESSION,
        "model": {"refId": ref, "datasource": source, **model},
    }
