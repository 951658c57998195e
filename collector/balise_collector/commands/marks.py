"""Which incidents and works does this server know, as marks for Grafana's curves?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from balise_agent.contract import Value
from balise_collector.directory import Directory
from balise_collector.grafana.annotating import Mark
from balise_collector.store import Point
from balise_collector.store.kept import open_kept

_FAR_MS = 4_102_444_800_000  # the year 2100


def incidents(data: Path, since_ms: int) -> list[Mark]:
    """The last word on each incident since then, in order of their ids."""
    with closing(open_kept(data)) as reader:
        rows = reader.read("", "incident", None, since_ms, _FAR_MS)
        latest = {str(point.fields["id"]): point for point in rows if "id" in point.fields}
    return [_mark(id_, latest[id_]) for id_ in sorted(latest)]


def works(directory: Directory, since_ms: int) -> list[Mark]:
    """Those that are declared and end after that date."""
    declared = [one for one in directory.works() if one.until_ms > since_ms]
    return [
        Mark(
            id=f"works-{one.code}",
            kind="works",
            start_ms=one.from_ms,
            end_ms=one.until_ms,
            text=f"{one.code}, {one.scope} {one.scope_code}",
        )
        for one in declared
    ]


def _mark(id_: str, point: Point) -> Mark:
    fields = point.fields
    until = fields.get("until_ms")
    return Mark(
        id=id_,
        kind="incident",
        start_ms=int(fields.get("since_ms", point.ts_ms)),
        end_ms=None if until is None else int(until),
        text=", ".join(_words(point, fields)),
    )


def _words(point: Point, fields: dict[str, Value]) -> Iterator[str]:
    """Kind and place, cause, and how many homes of those that were measured."""
    yield point.target
    for name in ("building", "pon"):
        if value := getattr(point, name):
            yield f"{name} {value}"
    if "cause" in fields:
        yield str(fields["cause"])
    if "hit" in fields and "measured" in fields:
        yield f"{fields['hit']}/{fields['measured']}"
