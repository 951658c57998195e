"""Which choices does a dashboard offer, and how are they asked for?

Rule 1: a list is a SELECT of the dashboard's range, of which InfluxDB reads one row a series (21 ms for 1,000 homes).
SHOW TAG VALUES answers on 2.x for the database's default policy alone, where the judge's states are not.
Rule 2: the first column after the time holds the choices, and there is one series: Grafana's server reads no other, and
its pages before 11 take the second column of any series.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from balise_collector.grafana.board import Choice, Text

ALL = ".*"

LABELS: dict[Choice, Text] = {
    "building": Text("Immeuble", "Building"),
    "pon": Text("PON", "PON"),
    "home": Text("Logement", "Home"),
    "channel": Text("Chaîne", "Channel"),
}
_TAGS: dict[Choice, str] = {"building": "building", "pon": "pon", "home": "home", "channel": "target"}
READ: dict[Choice, str] = {"channel": "channel:(.*)"}
"""Where a choice is a part of what is found: Grafana takes the group."""


def is_chosen(choice: Choice) -> str:
    """What a query says to keep to what the reader chose. Several come as a|b, in brackets of their own or not."""
    return f'"{_TAGS[choice]}" =~ /^(${choice})$/'


def _listed(choice: Choice, source: str, *conditions: str) -> str:
    tag = _TAGS[choice]
    where = " AND ".join([*conditions, "$timeFilter"])
    return (
        f'SELECT DISTINCT("{tag}") FROM (SELECT last("state") FROM "state"."{source}" WHERE {where} GROUP BY "{tag}")'
    )


_EACH_HOME = "\"target\" = 'probe'"  # the judge writes one for each expected home

WHOSE: dict[Choice, str] = {
    "building": _listed("building", "home_state", _EACH_HOME),
    "pon": _listed("pon", "home_state", _EACH_HOME, is_chosen("building")),
    "home": _listed("home", "home_state", _EACH_HOME, is_chosen("building"), is_chosen("pon")),
    "channel": _listed("channel", "element_state", '"target" =~ /^channel:/'),
}


def offered(choice: Choice, series: Sequence[Mapping[str, Any]]) -> list[str]:
    """The choices that Grafana makes of InfluxDB's answer."""
    found = [str(row[1]) for row in series[0]["values"]] if series else []
    if choice not in READ:
        return found
    return [part[1] for part in (re.fullmatch(READ[choice], one) for one in found) if part]
