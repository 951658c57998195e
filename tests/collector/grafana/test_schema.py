"""Are the dashboards what Grafana's own types say, panel options included?"""

from __future__ import annotations

import copy
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.rendering import to_json

HERE = Path(__file__).parent
PANELS = ("stat", "timeseries", "state-timeline", "status-history", "heatmap", "table")
DASHBOARDS: dict[str, Any] = {board.uid: json.loads(to_json(board, "fr")) for board in BOARDS}


@cache
def schemas() -> dict[str, Any]:
    """Made by node from the package's types: one for the dashboard, one for each panel's options."""
    done = subprocess.run(["node", "schemas.mjs", *PANELS], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make test installs what this needs\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def faults(kind: str, value: Any) -> list[str]:
    return [
        f"{'/'.join(map(str, fault.path))}: {fault.message[:200]}"
        for fault in Draft7Validator(schemas()[kind]).iter_errors(value)
    ]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_is_one(uid: str) -> None:
    assert faults("dashboard", DASHBOARDS[uid]) == []


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_panel_s_options_are_its_kind_s(uid: str) -> None:
    for panel in DASHBOARDS[uid]["panels"]:
        if panel["type"] != "row":
            assert faults(panel["type"], panel["options"]) == [], panel["title"]


def test_a_dashboard_that_is_none_is_seen() -> None:
    wrong = copy.deepcopy(DASHBOARDS["balise-fleet"])
    wrong["panels"][1]["gridPos"]["x"] = "abc"
    wrong["nonsense"] = 1
    assert len(faults("dashboard", wrong)) >= 2


def test_options_that_are_none_are_seen() -> None:
    assert faults("stat", {"graphMode": "nonsense"})
    (alerts,) = (panel for panel in DASHBOARDS["balise-fleet"]["panels"] if panel["type"] == "alertlist")
    for wrong in ({"viewMode": "nonsense"}, {"nonsense": 1}, {"stateFilter": {"firing": "yes"}}, {"sortOrder": 9}):
        assert faults("alertlist", {**alerts["options"], **wrong})
