"""How do the dashboards get into a Grafana that runs?

Rule 1: what is as it should be is left alone; a dashboard is never made a second time: its uid is its own.
Rule 2: a dashboard that somebody changed between our look and our writing is refused by Grafana (412), not overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from grafana_api.grafana_face import GrafanaFace

from balise_collector.grafana.board import Board, Lang, Text
from balise_collector.grafana.rendering import to_json
from balise_collector.grafana.server import GrafanaError, refusals

Change = Literal["created", "changed", "left"]
FOLDER = Text("Balise", "Balise")
HOMES_FOLDER = Text("Balise – logements", "Balise – homes")
FOLDER_UID, HOMES_FOLDER_UID = "balise", "balise-homes"

# 1: view. Viewers are not named, so that only those who may edit see one home's life.
_RESTRICTED = {"items": [{"role": "Editor", "permission": 1}]}
_GRAFANA_S_OWN = ("id", "version", "iteration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What became of one thing."""

    what: str
    change: Change


def push(
    grafana: GrafanaFace, boards: Iterable[Board], lang: Lang, *, folder: str = "", dry: bool = False
) -> Iterator[Pushed]:
    """Folders, then dashboards. ``folder``: another title for the main one; ``dry``: nothing is written.
    GrafanaError: it stops there."""
    yield _folder(grafana, FOLDER_UID, folder or FOLDER.say(lang), dry=dry)
    yield _folder(grafana, HOMES_FOLDER_UID, HOMES_FOLDER.say(lang), dry=dry, restricted=True)
    for board in boards:
        yield _board(grafana, board, lang, dry=dry)


def _folder(grafana: GrafanaFace, uid: str, title: str, *, dry: bool, restricted: bool = False) -> Pushed:
    """Looked at anew each time: a folder that was made and not closed, or opened since, is closed."""
    found = _found(lambda: grafana.folder.get_folder(uid), f"folder {uid}")
    is_open = restricted and (found is None or _is_open(grafana, uid))
    if found is not None and found.get("title") == title and not is_open:
        return Pushed(what=f"folder {title}", change="left")
    if not dry:
        with refusals(f"folder {title}"):
            if found is None:
                grafana.folder.create_folder(title, uid=uid)
            elif found.get("title") != title:
                grafana.folder.update_folder(uid, title, version=found.get("version"))
            if is_open:
                grafana.folder.update_folder_permissions(uid, _RESTRICTED)
    return Pushed(what=f"folder {title}", change="created" if found is None else "changed")


def _is_open(grafana: GrafanaFace, uid: str) -> bool:
    """Viewers see what is in it."""
    with refusals(f"permissions of folder {uid}"):
        found = grafana.folder.get_folder_permissions(uid)
    return any(item.get("role") == "Viewer" for item in found)


def _board(grafana: GrafanaFace, board: Board, lang: Lang, *, dry: bool) -> Pushed:
    wanted: dict[str, Any] = json.loads(to_json(board, lang))
    folder = HOMES_FOLDER_UID if board.restricted else FOLDER_UID
    found = _found(lambda: grafana.dashboard.get_dashboard(board.uid), board.uid)
    is_there = found is not None and _plain(found["dashboard"]) == _plain(wanted)
    if found is not None and is_there and found.get("meta", {}).get("folderUid") == folder:
        return Pushed(what=board.uid, change="left")
    if not dry:
        version = {} if found is None else {"version": found["dashboard"].get("version", 0)}
        body = {"dashboard": {**wanted, **version}, "folderUid": folder, "overwrite": False, "message": "balise"}
        with refusals(board.uid):
            grafana.dashboard.update_dashboard(body)
    return Pushed(what=board.uid, change="created" if found is None else "changed")


def _plain(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Without what Grafana adds."""
    return {name: value for name, value in dashboard.items() if name not in _GRAFANA_S_OWN}


def _found(ask: Any, what: str) -> dict[str, Any] | None:
    """The answer; None: Grafana does not have it."""
    try:
        with refusals(what):
            answer: dict[str, Any] = ask()
            return answer
    except GrafanaError as exc:
        if exc.status == 404:
            return None
        raise
