"""Which building or PON is broken?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.choosing import is_chosen
from balise_collector.grafana.queries import BAD, ELEMENT, FRESH, KNOWN, elements, share

_BY_BUILDING, _BY_PON = is_chosen("building"), is_chosen("pon")

_TABLE = Panel(
    kind="table",
    title=Text("Immeuble par service, maintenant", "Building by service, now"),
    meaning=Text(
        "Logements coupés et en partie parmi ceux dont on sait l'état, et logements attendus : une ligne par immeuble"
        " et service, écrite depuis moins de onze minutes.",
        "Homes down and in part of those whose state is known, and homes expected, by building and service.",
    ),
    queries=(
        Query(
            text='SELECT last("state") AS "state", last("down") AS "down", last("degraded") AS "degraded",'
            f' last("known") AS "known", last("homes") AS "homes" FROM {ELEMENT} WHERE "target" =~ /^building:/'
            f' AND {_BY_BUILDING} AND {FRESH} GROUP BY "building", "target"',
            table=True,
        ),
    ),
    columns=(
        ("building", Text("Immeuble", "Building"), "string"),
        ("target", Text("Service", "Service"), "service"),
        ("state", Text("État", "State"), "state"),
        ("down", Text("Coupés", "Down"), "short"),
        ("degraded", Text("En partie", "In part"), "short"),
        ("known", Text("Connus", "Known"), "short"),
        ("homes", Text("Attendus", "Expected"), "short"),
    ),
    height=9,
    drill="balise-outages",
)

_PONS = Panel(
    kind="states",
    title=Text("Internet, PON par PON", "Internet, PON by PON"),
    meaning=Text(
        "Une ligne par PON, le pire état de chaque intervalle selon le juge. Un PON mort est une barre rouge.",
        "A line for each PON, the worst state of each interval as the judge says. A dead PON is a red bar.",
    ),
    queries=(Query(text=elements("pon:internet", "pon", where=_BY_PON), alias=Text("PON $tag_pon", "PON $tag_pon")),),
    scale="state",
    width=24,
    height=11,
    drill="balise-outages",
)

_HOUSES = Panel(
    kind="states",
    title=Text("Internet, immeuble par immeuble", "Internet, building by building"),
    meaning=Text(
        "Une ligne par immeuble, le pire état de chaque intervalle selon le juge.",
        "A line for each building, the worst state of each interval as the judge says.",
    ),
    queries=(
        Query(
            text=elements("building:internet", "building", where=_BY_BUILDING),
            alias=Text("$tag_building", "$tag_building"),
        ),
    ),
    scale="state",
    height=9,
    drill="balise-outages",
)


def _share(scope: str, fr: str, en: str) -> Panel:
    where = _BY_PON if scope == "pon" else _BY_BUILDING
    return Panel(
        kind="curve",
        title=Text(f"Internet : part du temps coupé, par {fr}", f"Internet: share of the time down, by {en}"),
        meaning=Text(
            f"Part du temps connu des logements de chaque {fr} où internet n'était pas correct.",
            f"Share of the known time of each {en}'s homes in which the internet was not good.",
        ),
        queries=(
            Query(
                text=share(BAD, f"{scope}:internet", where=where, every="$__interval", by=scope),
                alias=Text(f"$tag_{scope}", f"$tag_{scope}"),
            ),
        ),
        unit="percentunit",
        scale="bad_share",
        width=8,
    )


_COVERAGE = Panel(
    kind="curve",
    title=Text("Couverture par PON", "Coverage by PON"),
    meaning=Text(
        "Part du temps des logements de chaque PON que l'on connaît : elle tombe avec lui.",
        "Share of the time of each PON's homes that is known: it falls when the PON does.",
    ),
    queries=(
        Query(
            text=share(KNOWN, "pon:internet", where=_BY_PON, every="$__interval", by="pon"),
            alias=Text("$tag_pon", "$tag_pon"),
        ),
    ),
    unit="percentunit",
    high=1,
    scale="good_share",
    width=8,
)

BOARD = Board(
    uid="balise-buildings",
    title=Text("Balise 2 – Immeubles et PON", "Balise 2 – Buildings and PONs"),
    question=Text("Quel immeuble ou quel PON est en panne ?", "Which building or PON is broken?"),
    rows=(
        Row(title=Text("Les PON d'un coup d'œil", "PONs at a glance"), panels=(_PONS,)),
        Row(title=Text("Les immeubles", "Buildings"), panels=(_HOUSES, _TABLE)),
        Row(
            title=Text("Sur la période", "Over the period"),
            panels=(_share("pon", "PON", "PON"), _share("building", "immeuble", "building"), _COVERAGE),
        ),
    ),
)
