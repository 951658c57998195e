"""How is the whole fleet, now and today?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.queries import BAD, ELEMENT, FRESH, INCIDENT, KNOWN, hourly, now, share

_WORDS = {
    "internet": Text("Internet", "Internet"),
    "television": Text("Télévision", "Television"),
    "telephone": Text("Téléphone", "Telephone"),
}


def _now(service: str) -> Panel:
    word = _WORDS[service]
    return Panel(
        kind="figure",
        title=Text(f"{word.fr} : logements", f"{word.en}: homes"),
        meaning=Text(
            "Logements selon leur dernier état, écrit depuis moins de onze minutes. « On ne sait pas » n'est jamais"
            " compté comme « marche ».",
            "Homes by their last state, written within eleven minutes. Not known never counts as working.",
        ),
        queries=tuple(Query(text=text, alias=word) for text, word in now(service)),
        width=6,
        height=5,
    )


_PROBES = Panel(
    kind="figure",
    title=Text("Sondes qui parlent", "Probes that speak"),
    meaning=Text(
        "Sondes dont le juge sait quelque chose de frais, et sondes attendues. La fenêtre est celle du panneau, quelle"
        " que soit la période du tableau.",
        "Probes that the judge knows something fresh of, and probes expected. The window is the panel's own.",
    ),
    queries=tuple(
        Query(text=f'SELECT last("{field}") FROM {ELEMENT} WHERE "target" = \'fleet:probe\' AND {FRESH}', alias=word)
        for field, word in (("known", Text("parlent", "speak")), ("homes", Text("attendues", "expected")))
    ),
    width=6,
    height=5,
    window="11m",
)

_SHARE = Panel(
    kind="curve",
    title=Text("Part du temps sans service correct", "Share of the time without proper service"),
    meaning=Text(
        "Temps connu où le service n'était pas correct, tous logements ensemble. Le temps inconnu n'y est pas : voir la"
        " couverture à côté.",
        "Known time in which the service was not good, all homes together. Unknown time is not in it: see coverage.",
    ),
    queries=tuple(
        Query(text=share(BAD, f"fleet:{service}", every="$__interval"), alias=word) for service, word in _WORDS.items()
    ),
    unit="percentunit",
    scale="bad_share",
)

_COVERAGE = Panel(
    kind="curve",
    title=Text("Couverture : part du temps que l'on connaît", "Coverage: share of the time that is known"),
    meaning=Text(
        "Sans elle aucun chiffre à côté ne vaut : ce qui n'est pas mesuré n'est ni bon ni mauvais.",
        "No figure beside it holds without it: what is not measured is neither good nor bad.",
    ),
    queries=tuple(
        Query(text=share(KNOWN, f"fleet:{service}", every="$__interval"), alias=word)
        for service, word in _WORDS.items()
    ),
    unit="percentunit",
    high=1,
    scale="good_share",
)

_RATE = Panel(
    kind="curve",
    title=Text("Débit descendant : part de l'offre", "Download: share of the contract"),
    meaning=Text(
        "Médiane et 10e centile, heure par heure, des tests valides rapportés au débit de l'offre de chaque logement."
        " Une heure n'est jamais moyennée avec une autre. Couverture : tests valides sur tests prévus.",
        "Median and 10th percentile, hour by hour, of valid tests over each home's contracted rate. Coverage: valid"
        " tests of those planned.",
    ),
    queries=(
        Query(text=hourly("p50", "fleet:throughput.down_ratio"), alias=Text("médiane", "median")),
        Query(text=hourly("p10", "fleet:throughput.down_ratio"), alias=Text("10e centile", "10th percentile")),
        Query(text=hourly("coverage", "fleet:throughput.down_ratio"), alias=Text("couverture", "coverage")),
    ),
    unit="percentunit",
)

_RATE_N = Panel(
    kind="curve",
    title=Text("Débit : tests valides", "Rate: valid tests"),
    meaning=Text(
        "Tests valides de chaque heure, tous logements ensemble.", "Valid tests of each hour, all homes together."
    ),
    queries=(Query(text=hourly("n", "fleet:throughput.down_ratio"), alias=Text("tests", "tests")),),
)

_INCIDENTS = Panel(
    kind="table",
    title=Text("Incidents : ce que le juge a dit", "Incidents: what the judge said"),
    meaning=Text(
        "Chaque ouverture, changement et fin, les plus récents d'abord : le lieu, les logements touchés, mesurés et non"
        " mesurés.",
        "Each opening, change and end, the latest first: the place, homes hit, measured and not measured.",
    ),
    queries=(
        Query(
            text='SELECT "id", "state", "target", "cause", "hit", "measured", "unmeasured",'
            f' "confidence" FROM {INCIDENT} WHERE $timeFilter ORDER BY time DESC LIMIT 100',
            table=True,
        ),
    ),
    columns=(
        ("Time", Text("Quand", "When"), "dateTimeAsIso"),
        ("id", Text("Incident", "Incident"), "string"),
        ("state", Text("État", "State"), "string"),
        ("target", Text("Sorte et lieu", "Kind and place"), "string"),
        ("cause", Text("Cause", "Cause"), "string"),
        ("hit", Text("Touchés", "Hit"), "short"),
        ("measured", Text("mesurés", "measured"), "short"),
        ("unmeasured", Text("non mesurés", "not measured"), "short"),
        ("confidence", Text("Confiance", "Confidence"), "string"),
    ),
    width=18,
    height=9,
    drill="balise-buildings",
)

_ALERTS = Panel(
    kind="alerts",
    title=Text("Alertes en cours", "Alerts that fire"),
    meaning=Text(
        "Les alertes de Balise qui sonnent à cet instant, selon Grafana ; les travaux déclarés n'y sont pas.",
        "Balise's alerts that fire at this moment, as Grafana says; declared works are not among them.",
    ),
    width=6,
    height=9,
)

BOARD = Board(
    uid="balise-fleet",
    title=Text("Balise 1 – Vue du parc", "Balise 1 – Fleet"),
    question=Text("Comment va le parc, maintenant et aujourd'hui ?", "How is the fleet, now and today?"),
    rows=(
        Row(title=Text("Maintenant", "Now"), panels=(_PROBES, *map(_now, _WORDS))),
        Row(title=Text("Alertes et incidents", "Alerts and incidents"), panels=(_ALERTS, _INCIDENTS)),
        Row(title=Text("Sur la période", "Over the period"), panels=(_SHARE, _COVERAGE, _RATE, _RATE_N)),
    ),
    choices=(),
)
