"""Which files are the dashboards and alerts, and are the ones on disk what they would be made now?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from balise_collector.grafana.alerts import ALERTS
from balise_collector.grafana.board import Lang
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.provisioning import RUNBOOKS, policies_yaml, to_yaml
from balise_collector.grafana.rendering import to_json


def files(lang: Lang, *, runbooks: str = RUNBOOKS) -> Iterator[tuple[str, str]]:
    """Each file's path below the folder, and its text. What shows one home stands apart: its folder is restricted."""
    for board in BOARDS:
        yield f"{'homes' if board.restricted else 'network'}/{board.uid}.json", to_json(board, lang)
    yield "alerting/rules.yaml", to_yaml(ALERTS, lang, runbooks=runbooks)
    yield "alerting/policies.yaml", policies_yaml()


def write(folder: Path, lang: Lang, *, runbooks: str = RUNBOOKS) -> list[str]:
    """Writes what is otherwise; the paths that were."""
    changed = []
    for name, text in files(lang, runbooks=runbooks):
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed.append(name)
    return changed
