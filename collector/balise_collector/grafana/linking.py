"""Where does a click lead, and what does it keep of what was chosen?

Rule 1: a link says of the choices of its target what the series or the row says, and for the others what the reader
chose here; a choice that neither knows is the target's own default, never an empty one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from balise_collector.grafana.board import Board, Choice, Lang, Panel, Text
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.influxql import raw

_CHOICES: dict[str, tuple[Choice, ...]] = {board.uid: board.choices for board in BOARDS}


def drill(panel: Panel, board: Board, known: Mapping[str, str], lang: Lang) -> Any:
    """To the panel's target, over the same time. ``known``: how Grafana says each tag of what was clicked."""
    parts = ["${__url_time_range}", "var-ds=${ds}"]
    for choice in _CHOICES[panel.drill]:
        if choice in known:
            parts.append(f"var-{choice}={known[choice]}")
        elif choice in board.choices:
            parts.append(f"${{{choice}:queryparam}}")
    url = f"/d/{panel.drill}?{'&'.join(parts)}"
    return raw({"title": Text("Ouvrir", "Open").say(lang), "url": url, "targetBlank": False})


def leading(panel: Panel) -> tuple[str, ...]:
    """The columns of a table whose cells lead on: a home alone where there is one, for it says its place too; what
    it is about where no column is a choice of the target."""
    columns = {name for name, _, _ in panel.columns}
    found = tuple(choice for choice in _CHOICES[panel.drill] if choice in columns)
    return ("home",) if "home" in found else found or ("target",)


def grouped_by(query: str) -> list[str]:
    """The tags that each series of an answer has."""
    return re.findall(r'"(\w+)"', query.rpartition("GROUP BY")[2])
