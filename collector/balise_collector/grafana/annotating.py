"""How do incidents and works become marks on Grafana's curves?

Each has a tag of its own, by which it is found again: so each is there once, whoever ran this before and whatever was
restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from grafana_api.grafana_face import GrafanaFace

from balise_collector.grafana.pushing import Pushed
from balise_collector.grafana.server import refusals

LIMIT = 5_000  # annotations in one answer; a pilot of 18 months has some hundred incidents
_ID = "balise-id:"
_FAR_MS = 4_102_444_800_000  # the year 2100


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An incident or a window of works. ``end_ms``: None while it lasts; ``text``: no name, no address."""

    id: str
    kind: Literal["incident", "works"]
    start_ms: int
    end_ms: int | None
    text: str


def annotate(grafana: GrafanaFace, marks: Iterable[Mark], *, dry: bool = False) -> Iterator[Pushed]:
    """Makes what is not there, changes what is otherwise. GrafanaError: it stops there."""
    wanted = list(marks)
    if not wanted:
        return
    known = _known(grafana, min(mark.start_ms for mark in wanted))
    for mark in wanted:
        found = known.get(mark.id)
        what = f"{mark.kind} {mark.id}"
        if found is None:
            if not dry:
                _add(grafana, mark)
            yield Pushed(what=what, change="created")
        elif not _is_as_wanted(found, mark):
            if not dry:
                _change(grafana, int(found["id"]), mark)
            yield Pushed(what=what, change="changed")
        else:
            yield Pushed(what=what, change="left")


def _known(grafana: GrafanaFace, since_ms: int) -> dict[str, dict[str, Any]]:
    """Ours, by the id in their tag. What still lasts ends in the future: Grafana finds it by its start."""
    with refusals("annotations"):
        found = grafana.annotations.get_annotation(time_from=since_ms, time_to=_FAR_MS, tags=["balise"], limit=LIMIT)
    tagged = ((tag.removeprefix(_ID), one) for one in found for tag in one.get("tags", []) if tag.startswith(_ID))
    return dict(tagged)


def _tags(mark: Mark) -> list[str]:
    return ["balise", mark.kind, f"{_ID}{mark.id}"]


def _end_ms(mark: Mark) -> int:
    return mark.start_ms if mark.end_ms is None else mark.end_ms


def _is_as_wanted(found: dict[str, Any], mark: Mark) -> bool:
    return (found.get("time"), found.get("timeEnd"), found.get("text")) == (mark.start_ms, _end_ms(mark), mark.text)


def _body(mark: Mark) -> dict[str, Any]:
    return {"time": mark.start_ms, "timeEnd": _end_ms(mark), "tags": _tags(mark), "text": mark.text}


def _add(grafana: GrafanaFace, mark: Mark) -> None:
    with refusals(f"{mark.kind} {mark.id}"):
        grafana.api.POST("/annotations", json=_body(mark))


def _change(grafana: GrafanaFace, number: int, mark: Mark) -> None:
    with refusals(f"{mark.kind} {mark.id}"):
        grafana.api.PATCH(f"/annotations/{number}", json=_body(mark))
