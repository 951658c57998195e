"""How much of the promised quality is left this month, and how fast is it used up?"""

from __future__ import annotations

import re

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.choosing import is_chosen
from balise_collector.grafana.queries import FLEET_MONTH, SLO, SLO_BAD, SLO_COVERAGE, SLO_GOOD, share

_WORDS = {
    "internet": Text("Internet", "Internet"),
    "television": Text("Télévision", "Television"),
    "telephone": Text("Téléphone", "Telephone"),
}
_BUDGET = 0.005
_EVERY = {"24h": ("1h", Text("1 h", "1 h")), "3d": ("6h", Text("6 h", "6 h")), "30d": ("3d", Text("3 jours", "3 days"))}


def _kept(service: str) -> Panel:
    word = _WORDS[service]
    return Panel(
        kind="figure",
        title=Text(f"{word.fr} : 30 jours", f"{word.en}: 30 days"),
        meaning=Text(
            "Part du temps connu où le service était correct sur trente jours, ce qu'il reste du budget d'erreur"
            " (négatif : dépassé), et couverture. Objectif : 99,5 %.",
            "Share of the known time of thirty days in which the service was good, what is left of the error budget"
            " (negative: overspent), and coverage. Objective: 99.5 %.",
        ),
        queries=(
            Query(text=share(SLO_GOOD, f"fleet:{service}", source=SLO), alias=Text("correct", "good")),
            Query(
                text=share(f"1 - ({SLO_BAD}) / {_BUDGET}", f"fleet:{service}", source=SLO),
                alias=Text("budget restant", "budget left"),
            ),
            Query(text=share(SLO_COVERAGE, f"fleet:{service}", source=SLO), alias=Text("couverture", "coverage")),
        ),
        unit="percentunit",
        decimals=2,
        low=None,
        scale="good_share",
        window="30d",
        width=8,
        height=5,
    )


def _burn(window: str) -> Panel:
    every, word = _EVERY[window]
    return Panel(
        kind="curve",
        title=Text(f"Vitesse d'usure du budget, par {word.fr}", f"Burn rate, by {word.en}"),
        meaning=Text(
            "1 use tout le budget du mois en un mois ; 14,4 en deux jours. Part du temps mauvais / 0,5 %.",
            "1 uses the month's budget within a month, 14.4 within two days. Share of bad time / 0.5 %.",
        ),
        queries=tuple(
            Query(text=share(f"({SLO_BAD}) / {_BUDGET}", f"fleet:{service}", every=every, source=SLO), alias=word)
            for service, word in _WORDS.items()
        ),
        window=window,
        width=8,
    )


_BY_BUILDING = Panel(
    kind="table",
    title=Text("Par immeuble, sur la période", "By building, over the period"),
    meaning=Text(
        "Part du temps d'internet correct et couverture de chaque immeuble ; un immeuble peu mesuré se lit à sa"
        " couverture.",
        "Share of good internet time and coverage of each building; little measured shows in its coverage.",
    ),
    queries=(
        Query(
            text=share(
                f'{SLO_GOOD} AS "good", {SLO_COVERAGE} AS "coverage"',
                "building:internet",
                source=SLO,
                where=is_chosen("building"),
                by="building",
            ),
            table=True,
        ),
    ),
    columns=(
        ("building", Text("Immeuble", "Building"), "string"),
        ("good", Text("Correct", "Good"), "percentunit"),
        ("coverage", Text("Couverture", "Coverage"), "percentunit"),
    ),
    width=8,
    drill="balise-buildings",
)

_DAYS = Panel(
    kind="curve",
    title=Text("Part du temps correct, jour par jour", "Share of good time, day by day"),
    meaning=Text("Tous logements ensemble, par jour.", "All homes together, by day."),
    queries=tuple(
        Query(text=share(SLO_GOOD, f"fleet:{service}", every="1d", source=SLO), alias=word)
        for service, word in _WORDS.items()
    ),
    unit="percentunit",
    high=1,
    low=None,
    window="30d",
    width=8,
)
_DAYS_KNOWN = Panel(
    kind="curve",
    title=Text("Couverture, jour par jour", "Coverage, day by day"),
    meaning=Text(
        "Part du temps des logements que l'on connaît, par jour : un jour peu connu ne se compare pas aux autres.",
        "Share of the homes' time that is known, by day: a day that is little known does not compare to others.",
    ),
    queries=tuple(
        Query(text=share(SLO_COVERAGE, f"fleet:{service}", every="1d", source=SLO), alias=word)
        for service, word in _WORDS.items()
    ),
    unit="percentunit",
    high=1,
    window="30d",
    width=8,
)

MONTHLY = ("availability", "down_ratio_p50.pointe_19_23", "up_ratio_p50.pointe_19_23", "down_conforming.pointe_19_23")
"""Of month_fleet: shares of which more is better."""

_MONTHS = Panel(
    kind="table",
    title=Text("Mois après mois, entre logements", "Month after month, among homes"),
    meaning=Text(
        "Mois clos : disponibilité, débits du soir rapportés à l'offre, part des tests du soir conformes. Le logement"
        " médian, et la valeur au-dessous de laquelle est un logement sur dix. Logements avec une valeur, logements"
        " suivis, et couverture moyenne de leurs mesures.",
        "Months that are over: availability, the evening's rates over the contract, share of the evening's tests that"
        " conform. The median home, and the value below which one home of ten is. Homes with a figure, homes followed,"
        " and the mean coverage of their measurements.",
    ),
    # Written once a month over all homes: of 1,000 homes' own rows InfluxDB needed 2.6 s a look.
    queries=(
        Query(
            text='SELECT "month", "target", "p50", "p10", "n", "homes", "coverage"'
            f' FROM {FLEET_MONTH} WHERE "target" =~ /^({"|".join(map(re.escape, MONTHLY))})$/ AND "frozen" = true'
            " AND $timeFilter ORDER BY time DESC LIMIT 100",
            table=True,
        ),
    ),
    columns=(
        ("month", Text("Mois", "Month"), "none"),
        ("target", Text("Indicateur", "Indicator"), "string"),
        ("p50", Text("Médian", "Median"), "percentunit"),
        ("p10", Text("Un sur dix au-dessous", "One of ten below"), "percentunit"),
        ("n", Text("Avec valeur", "With a figure"), "short"),
        ("homes", Text("Suivis", "Followed"), "short"),
        ("coverage", Text("Couverture", "Coverage"), "percentunit"),
    ),
    window="400d",
    width=24,
    height=9,
)

BOARD = Board(
    uid="balise-slo",
    title=Text("Balise 7 – Qualité tenue (SLO)", "Balise 7 – Quality kept (SLO)"),
    question=Text("La qualité promise est-elle tenue ?", "Is the promised quality kept?"),
    rows=(
        Row(title=Text("Trente jours", "Thirty days"), panels=tuple(map(_kept, _WORDS))),
        Row(title=Text("Usure du budget", "Burn rate"), panels=tuple(map(_burn, _EVERY))),
        Row(title=Text("Où et quand", "Where and when"), panels=(_BY_BUILDING, _DAYS, _DAYS_KNOWN)),
        Row(title=Text("Les mois", "Months"), panels=(_MONTHS,)),
    ),
    choices=("building",),
    since="now-30d",
)
