"""What is a dashboard to us, before Grafana's JSON: which question, which panels, which queries?

Rule 1: every panel says what it shows, its unit and what it means, in both languages.
Rule 2: nothing here knows Grafana's SDK: boards are tables that a test reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Lang = Literal["fr", "en"]
LANGUAGES: tuple[Lang, ...] = ("fr", "en")
Kind = Literal["figure", "curve", "states", "cells", "heat", "table", "alerts"]
Scale = Literal["state", "bad_share", "good_share", "count_bad", "age", "plain"]


class Text(NamedTuple):
    """A text in French and in English."""

    fr: str
    en: str

    def say(self, lang: Lang) -> str:
        """In one language."""
        return self.fr if lang == "fr" else self.en


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question in InfluxQL. ``alias``: a column's or a series' name; with tags as $tag_NAME."""

    text: str
    alias: Text | None = None
    table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture that answers one question. ``alerts``: Grafana's own list, that asks nothing of InfluxDB.

    ``unit``: as Grafana calls it; ``width``: of 24; ``window``: a range of its own ("10m"), whatever the dashboard's;
    ``step``: how often what it shows is written: no interval is shorter;
    ``scale``: what its colours mean; ``columns``: a table's columns by the query's name; ``drill``: the dashboard that
    a click opens.
    """

    kind: Kind
    title: Text
    meaning: Text
    queries: tuple[Query, ...] = ()
    unit: str = "short"
    width: int = 12
    height: int = 8
    window: str = ""
    step: str = "5m"
    scale: Scale = "plain"
    decimals: int | None = None
    low: float | None = 0
    high: float | None = None
    stacked: bool = False
    columns: tuple[tuple[str, Text, str], ...] = ()
    drill: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: Text
    panels: tuple[Panel, ...]


Choice = Literal["building", "pon", "home", "channel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard, one question. ``choices``: what a reader narrows it to; ``restricted``: shows one home's life."""

    uid: str
    title: Text
    question: Text
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...] = ("building", "pon")
    since: str = "now-24h"
    restricted: bool = False

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)
