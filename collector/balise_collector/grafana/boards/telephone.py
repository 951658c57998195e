"""Can every home call and be called?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.boards.service import down_and_coverage, homes_now, source_of
from balise_collector.grafana.queries import ELEMENT, FRESH, HERE, STATE

_NOW = homes_now(
    "telephone",
    Text("Lignes, maintenant", "Lines, now"),
    Text(
        "Logements du parc selon le dernier état de leur téléphone. Une ligne coupée ne peut pas appeler les secours.",
        "Homes by the last state of their telephone. A line that is down cannot call for help.",
    ),
)
_REGISTERED_NOW = Panel(
    kind="figure",
    title=Text("Lignes enregistrées, maintenant", "Lines registered, now"),
    meaning=Text(
        "Part des lignes en état de marche parmi celles dont on sait l'état, selon le juge, et couverture : la part des"
        " lignes du parc dont on le sait. Les travaux déclarés ne comptent pas comme coupure.",
        "Share of lines in service among those whose state is known, as the judge says, and coverage: the share of the"
        " fleet's lines of which it is known. Declared works are no outage.",
    ),
    queries=tuple(
        Query(
            text=f'SELECT {what} FROM {ELEMENT} WHERE "target" = \'fleet:telephone\' AND "known" > 0 AND {FRESH}',
            alias=word,
        )
        for what, word in (
            ('1 - last("down") / last("known")', Text("enregistrées", "registered")),
            ('last("known") / last("homes")', Text("couverture", "coverage")),
        )
    ),
    unit="percentunit",
    decimals=1,
    high=1,
    scale="good_share",
    width=8,
    height=6,
)
_SHARE = down_and_coverage(
    "telephone", Text("Part des lignes coupées, et couverture", "Share of lines down, and coverage")
)
_REGISTRARS = source_of("registrar", Text("Serveurs d'enregistrement", "Registrars"))


def _signal(what: str, *, where: str = "", by: str = "", every: str = "1h") -> str:
    condition = " AND ".join(filter(None, (HERE, where, "$timeFilter")))
    group = f', "{by}"' if by else ""
    return f'SELECT {what} FROM "voip_signal" WHERE {condition} GROUP BY time({every}){group} fill(null)'


_REGISTERED = Panel(
    kind="curve",
    title=Text("Enregistrements réussis, par heure", "Registrations that succeeded, by hour"),
    meaning=Text(
        "Réponses aux REGISTER des sondes ; les échecs sont des données et comptent.",
        "Answers to the probes' REGISTER; failures are data and count.",
    ),
    queries=(
        Query(text=_signal('count("register_ms")', where='"register_ok" = true'), alias=Text("réussis", "succeeded")),
        Query(text=_signal('count("register_ok")'), alias=Text("essayés", "tried")),
    ),
    width=8,
    height=6,
)
_CODES = Panel(
    kind="curve",
    title=Text("Réponses SIP", "SIP answers"),
    meaning=Text(
        "Codes de réponse aux REGISTER des sondes, par classe.",
        "Status codes of the probes' REGISTER, by class.",
    ),
    queries=tuple(
        Query(
            text=_signal('count("register_code")', where=f'"register_code" >= {low} AND "register_code" < {low + 100}'),
            alias=Text(f"{low // 100}xx", f"{low // 100}xx"),
        )
        for low in (200, 400, 500, 600)
    ),
    stacked=True,
    width=8,
    height=6,
)


def _call(what: str, *, where: str = "", every: str = "1h") -> str:
    condition = " AND ".join(filter(None, (HERE, where, "$timeFilter")))
    return f'SELECT {what} FROM "voip_call" WHERE {condition} GROUP BY time({every}) fill(null)'


_CALLS = Panel(
    kind="curve",
    title=Text("Appels d'essai", "Test calls"),
    meaning=Text(
        "Appels d'essai tentés, établis, et voix dans un seul sens.",
        "Test calls tried, set up, and with voice one way only.",
    ),
    queries=(
        Query(text=_call('count("setup_ok")'), alias=Text("tentés", "tried")),
        Query(text=_call('count("answer_ms")', where='"setup_ok" = true'), alias=Text("établis", "set up")),
        Query(
            text=_call('count("one_way_audio")', where='"one_way_audio" = true'),
            alias=Text("un seul sens", "one way only"),
        ),
    ),
    width=8,
)
_DELAY = Panel(
    kind="curve",
    title=Text("Attente avant sonnerie (p95 de l'heure)", "Post-dial delay (p95 of the hour)"),
    meaning=Text("De INVITE à la première sonnerie, appels de l'heure.", "From INVITE to ringing, calls of the hour."),
    queries=(Query(text=_call('percentile("pdd_ms", 95)'), alias=Text("p95", "p95")),),
    unit="ms",
    width=8,
)
_VOICE = Panel(
    kind="curve",
    title=Text("Qualité de la voix (MOS estimé)", "Voice quality (estimated MOS)"),
    meaning=Text(
        "Le pire et la médiane des appels valides de l'heure ; 4 et plus est bon, sous 3,6 gêne.",
        "The worst and the median of the hour's valid calls; 4 and above is good, below 3.6 annoys.",
    ),
    queries=(
        Query(text=_call('min("mos_cqe")', where='"valid" = true'), alias=Text("le pire", "the worst")),
        Query(text=_call('percentile("mos_cqe", 50)', where='"valid" = true'), alias=Text("médiane", "median")),
    ),
    low=1,
    high=5,
    width=8,
)
_LINES = Panel(
    kind="table",
    title=Text("Lignes coupées : minutes sans secours, au plus", "Lines down: minutes without help, at most"),
    meaning=Text(
        "Cinq minutes par relevé où la ligne était coupée. C'est une borne haute : le juge écrit toutes les cinq"
        " minutes et à chaque changement, et une coupure peut finir avant le relevé suivant.",
        "Five minutes for each state that said down. An upper bound: the judge writes each five minutes and at each"
        " change, and an outage may end before the next.",
    ),
    queries=(
        Query(
            text=f'SELECT 5 * count("state") AS "minutes" FROM {STATE} WHERE "target" = \'telephone\' AND "state" = 2'
            f' AND {HERE} AND $timeFilter GROUP BY "home", "building"',
            table=True,
        ),
    ),
    columns=(
        ("home", Text("Logement", "Home"), "string"),
        ("building", Text("Immeuble", "Building"), "string"),
        ("minutes", Text("Sans secours, au plus", "Without help, at most"), "m"),
    ),
    width=24,
    drill="balise-home",
)

BOARD = Board(
    uid="balise-telephone",
    title=Text("Balise 5 – Téléphonie", "Balise 5 – Telephone"),
    question=Text("Chaque logement peut-il appeler et être appelé ?", "Can every home call and be called?"),
    rows=(
        Row(title=Text("Maintenant", "Now"), panels=(_REGISTERED_NOW, _NOW, _REGISTRARS)),
        Row(title=Text("Les lignes", "Lines"), panels=(_SHARE, _REGISTERED, _CODES, _LINES)),
        Row(title=Text("Les appels d'essai", "Test calls"), panels=(_CALLS, _DELAY, _VOICE)),
    ),
)
