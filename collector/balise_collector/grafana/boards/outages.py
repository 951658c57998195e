"""What was cut, when, for how long, and why?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.queries import HERE, INCIDENT, STATE

_TIMELINE = Panel(
    kind="states",
    title=Text("Internet, logement par logement", "Internet, home by home"),
    meaning=Text(
        "Une ligne par logement de la sélection. Gris : on ne sait pas, la sonde se taisait.",
        "A line for each home of the selection. Grey: not known, the probe was silent.",
    ),
    queries=(
        Query(
            text=f'SELECT max("state") FROM {STATE} WHERE "target" = \'internet\' AND {HERE} AND $timeFilter'
            ' GROUP BY time($__interval), "home" fill(null)',
            alias=Text("$tag_home", "$tag_home"),
        ),
    ),
    scale="state",
    width=24,
    height=14,
    drill="balise-home",
)

_COUNT = Panel(
    kind="curve",
    title=Text("Coupures par heure", "Outages an hour"),
    meaning=Text(
        "Coupures d'au moins trente secondes, comptées quand elles finissent, par classe : où la ligne se rompait.",
        "Outages of thirty seconds and more, counted when they end, by class: where the line broke.",
    ),
    queries=(
        Query(
            text=f'SELECT count("dur_s") FROM "outage" WHERE "state" = \'ended\' AND "kind" = \'outage\' AND {HERE}'
            " AND $timeFilter GROUP BY time(1h) fill(0)",
            alias=Text("coupures", "outages"),
        ),
        Query(
            text=f'SELECT count("dur_s") FROM "outage" WHERE "state" = \'ended\' AND "kind" = \'microcut\' AND {HERE}'
            " AND $timeFilter GROUP BY time(1h) fill(0)",
            alias=Text("microcoupures", "microcuts"),
        ),
    ),
    stacked=True,
)

_WATCHED = Panel(
    kind="curve",
    title=Text("Secondes observées et coupées", "Seconds watched and down"),
    meaning=Text(
        "Couverture des coupures : secondes de ligne que les sondes ont regardées, et celles vues coupées.",
        "Coverage of the outages: seconds of line that probes watched, and those that they saw down.",
    ),
    queries=(
        Query(
            text=f'SELECT sum("observed_s") FROM "avail" WHERE {HERE} AND $timeFilter GROUP BY time(1h) fill(null)',
            alias=Text("observées", "watched"),
        ),
        Query(
            text=f'SELECT sum("down_s") FROM "avail" WHERE {HERE} AND $timeFilter GROUP BY time(1h) fill(null)',
            alias=Text("coupées", "down"),
        ),
    ),
    unit="s",
)

_LIST = Panel(
    kind="table",
    title=Text("Les coupures", "The outages"),
    meaning=Text(
        "Chaque coupure finie, telle que la sonde l'a racontée à son retour.",
        "Each outage that is over, as the probe told it on its return.",
    ),
    queries=(
        Query(
            text='SELECT "home", "pon", "kind", "class", "start_ms", "dur_s", "down_s", "unknown_s", "course"'
            f' FROM "outage" WHERE "state" = \'ended\' AND {HERE} AND $timeFilter ORDER BY time DESC LIMIT 200',
            table=True,
        ),
    ),
    columns=(
        ("Time", Text("Fin", "End"), "dateTimeAsIso"),
        ("start_ms", Text("Début", "Start"), "dateTimeAsIso"),
        ("home", Text("Logement", "Home"), "string"),
        ("pon", Text("PON", "PON"), "string"),
        ("kind", Text("Sorte", "Kind"), "string"),
        ("class", Text("Où", "Where"), "string"),
        ("dur_s", Text("Durée", "Duration"), "s"),
        ("down_s", Text("dont vue coupée", "of it, seen down"), "s"),
        ("unknown_s", Text("dont inconnue", "of it, unknown"), "s"),
        ("course", Text("Suite", "Course"), "string"),
    ),
    width=24,
    height=10,
    drill="balise-home",
)

_INCIDENTS = Panel(
    kind="table",
    title=Text("Les incidents terminés", "Incidents that are over"),
    meaning=Text(
        "Chaque panne commune de la période et sa fin : lieu, durée, logements touchés et non mesurés, cause, travaux."
        " Son numéro est celui à mettre au ticket. Selon le juge ; tout le parc.",
        "Each shared fault of the period and its end: place, duration, homes hit and not measured, cause, works.",
    ),
    queries=(
        Query(
            text='SELECT "id", "target", "since_ms", ("until_ms" - "since_ms") / 1000 AS "lasted_s", "hit",'
            f' "unmeasured", "cause", "works" FROM {INCIDENT} WHERE "until_ms" > 0 AND $timeFilter'
            " ORDER BY time DESC LIMIT 200",
            table=True,
        ),
    ),
    columns=(
        ("Time", Text("Fin", "End"), "dateTimeAsIso"),
        ("since_ms", Text("Début", "Start"), "dateTimeAsIso"),
        ("lasted_s", Text("Durée", "Duration"), "s"),
        ("id", Text("Incident", "Incident"), "string"),
        ("target", Text("Sorte et lieu", "Kind and place"), "string"),
        ("hit", Text("Touchés", "Hit"), "short"),
        ("unmeasured", Text("non mesurés", "not measured"), "short"),
        ("cause", Text("Cause", "Cause"), "string"),
        ("works", Text("Travaux", "Works"), "string"),
    ),
    width=24,
    height=9,
    drill="balise-buildings",
)

BOARD = Board(
    uid="balise-outages",
    title=Text("Balise 3 – Chronologie des coupures", "Balise 3 – Outages over time"),
    question=Text(
        "Qu'est-ce qui a été coupé, quand, combien de temps, et où ?", "What was cut, when, for how long, where?"
    ),
    rows=(
        Row(title=Text("Chronologie", "Timeline"), panels=(_TIMELINE,)),
        Row(title=Text("Combien", "How many"), panels=(_COUNT, _WATCHED)),
        Row(title=Text("Le détail", "In detail"), panels=(_LIST, _INCIDENTS)),
    ),
    restricted=True,
)
