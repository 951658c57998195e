"""Does every query of every panel and alert find something on a real InfluxDB, and how long does it take?

InfluxDB says nothing about a measurement or a field that it never saw: the answer is empty. So empty is named beside
refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from balise_collector.grafana.alerts import Alert
from balise_collector.grafana.board import Board, Choice
from balise_collector.grafana.choosing import ALL, WHOSE, offered
from balise_collector.grafana.expanding import Range, duration_ms, expand
from balise_collector.store import Unavailable
from balise_collector.store.influx.asking import Asking, Rows

Outcome = Literal["ok", "empty", "refused"]
EVERYTHING: dict[str, str] = dict.fromkeys(WHOSE, ALL)
"""What the variables are where nothing is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query as it is written, and where. ``choice``: it is that list of choices."""

    where: str
    text: str
    window: str = ""
    points: int = 1_000
    step: str = "1s"
    board: str = ""
    choice: Choice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of a query. ``why``: InfluxDB's own words where it refused."""

    where: str
    outcome: Outcome
    series: int
    rows: int
    took_ms: float
    query: str
    why: str = ""


def queries_of(boards: Iterable[Board]) -> Iterator[Asked]:
    """Every query of every panel, and each list of choices."""
    for board in boards:
        for choice in board.choices:
            yield Asked(where=f"{board.uid} / ${choice}", text=WHOSE[choice], board=board.uid, choice=choice)
        for panel in board.panels:
            points = 96 if panel.kind in ("cells", "table") else 1_000
            for number, query in enumerate(panel.queries, 1):
                where = f"{board.uid} / {panel.title.fr}" + (f" / {number}" if len(panel.queries) > 1 else "")
                yield Asked(
                    where=where, text=query.text, window=panel.window, points=points, step=panel.step, board=board.uid
                )


def queries_of_alerts(alerts: Iterable[Alert]) -> Iterator[Asked]:
    """Every condition of every alert, over its own window."""
    for alert in alerts:
        for number, one in enumerate(alert.conditions, 1):
            where = f"{alert.uid} / {alert.title.fr}" + (f" / {number}" if len(alert.conditions) > 1 else "")
            yield Asked(where=where, text=one.query, window=f"{one.window_s}s")


def ask_all(
    asking: Asking, queries: Iterable[Asked], over: Range, chosen: Mapping[str, str] | None = None
) -> Iterator[Answered]:
    """Each query's answer, one after the other. ``chosen``: of $building, $pon, $home; all where it is not said."""
    variables = {**EVERYTHING, **(chosen or {})}
    for query in queries:
        span = replace(over, points=query.points, least_ms=duration_ms(query.step))
        text = expand(query.text, span.over(query.window) if query.window else span, variables)
        yield _answered(asking, query, text)


def _answered(asking: Asking, query: Asked, text: str) -> Answered:
    began_s = time.monotonic()
    try:
        (found,) = asking.all([text])
    except Unavailable as exc:
        return Answered(
            where=query.where, outcome="refused", series=0, rows=0, took_ms=_ms(began_s), query=text, why=str(exc)
        )
    rows = len(offered(query.choice, found)) if query.choice else sum(len(_filled(series)) for series in found)
    return Answered(
        where=query.where,
        outcome="ok" if rows else "empty",
        series=len(found),
        rows=rows,
        took_ms=_ms(began_s),
        query=text,
    )


def _filled(series: Mapping[str, object]) -> Rows:
    """Rows that hold a value: `fill(null)` writes one for each interval, whatever there is."""
    values = series["values"]
    assert isinstance(values, list)  # noqa: S101 - InfluxDB's own form
    return [row for row in values if any(value is not None for value in row[1:])]


def _ms(began_s: float) -> float:
    return (time.monotonic() - began_s) * 1_000


def one_home(asking: Asking, over: Range) -> dict[str, str]:
    """Some home of the range, for the panels of one home; {}: there is none. Unavailable: no answer."""
    (found,) = asking.all([expand(WHOSE["home"], over, EVERYTHING)])
    homes = offered("home", found)
    return {"home": homes[0]} if homes else {}
