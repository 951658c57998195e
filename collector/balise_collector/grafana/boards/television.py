"""Which channels are bad, where, and since when?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.choosing import is_chosen
from balise_collector.grafana.queries import BAD, FRESH, HERE, KNOWN, STATE, elements, now, share

_CHANNEL = is_chosen("channel")

_NOW = Panel(
    kind="figure",
    title=Text("Télévision, maintenant", "Television, now"),
    meaning=Text(
        "Logements du parc selon l'état de leur télévision, mesurée par la sonde ; jamais ce que regarde le foyer.",
        "Homes by the last state of their television, measured by the probe; never what the household watches.",
    ),
    queries=tuple(Query(text=text, alias=word) for text, word in now("television")),
    width=8,
    height=6,
)
_SHARE = Panel(
    kind="curve",
    title=Text("Logements sans télévision, et couverture", "Homes without television, and coverage"),
    meaning=Text(
        "Logements coupés parmi ceux dont on sait l'état, et part de ceux dont on le sait.",
        "Homes down among those whose state is known, and the share of those.",
    ),
    queries=(
        Query(text=share(BAD, "fleet:television", every="$__interval"), alias=Text("coupés", "down")),
        Query(text=share(KNOWN, "fleet:television", every="$__interval"), alias=Text("couverture", "coverage")),
    ),
    unit="percentunit",
    high=1,
    width=8,
    height=6,
)
_HEADEND = Panel(
    kind="states",
    title=Text("Tête de réseau", "Head-end"),
    meaning=Text("Son état selon le juge.", "Its state as the judge says."),
    queries=(Query(text=elements("headend", "target"), alias=Text("$tag_target", "$tag_target")),),
    scale="state",
    width=8,
    height=6,
)
_CHANNELS = Panel(
    kind="cells",
    title=Text("Chaînes × temps", "Channels × time"),
    meaning=Text(
        "Une ligne par chaîne, le pire état de chaque intervalle selon le juge, au plus 96 cases.",
        "A line for each channel, the worst state of each interval as the judge says, 96 cells at most.",
    ),
    queries=(Query(text=elements("channel", "target"), alias=Text("$tag_target", "$tag_target")),),
    scale="state",
    width=24,
    height=14,
)
_SEEN_BAD = Panel(
    kind="table",
    title=Text("Logements qui voient mal, par chaîne", "Homes that see it bad, by channel"),
    meaning=Text(
        "Échantillons d'une minute mauvaise ou plus par chaîne, et échantillons en tout : la couverture de la ligne.",
        "Samples with error seconds by channel, and samples in all: the coverage of the line.",
    ),
    queries=(
        Query(
            text=f'SELECT count("es_ratio") AS "bad" FROM "tv_home_7d"."tv_window" WHERE "es_ratio" > 0 AND {HERE}'
            f' AND {_CHANNEL} AND $timeFilter GROUP BY "target"',
            table=True,
        ),
        Query(
            text=f'SELECT count("es_ratio") AS "samples", sum("net_lost_datagrams") AS "lost"'
            f' FROM "tv_home_7d"."tv_window" WHERE {HERE} AND {_CHANNEL} AND $timeFilter'
            ' GROUP BY "target"',
            table=True,
        ),
    ),
    columns=(
        ("target", Text("Chaîne", "Channel"), "string"),
        ("bad", Text("Échantillons mauvais", "Bad samples"), "short"),
        ("samples", Text("Échantillons", "Samples"), "short"),
        ("lost", Text("Paquets perdus", "Packets lost"), "short"),
    ),
)
_ERRORS = Panel(
    kind="curve",
    title=Text("Erreurs de continuité", "Continuity errors"),
    meaning=Text(
        "Erreurs de compteur de continuité venues du réseau, par heure ; les pertes de la sonde n'y sont pas.",
        "Continuity counter errors from the network, by hour; the probe's own drops are not in it.",
    ),
    queries=(
        Query(
            text=f'SELECT sum("cc_err") FROM "tv_home_7d"."tv_window" WHERE {HERE} AND {_CHANNEL}'
            " AND $timeFilter GROUP BY time(1h) fill(null)",
            alias=Text("erreurs", "errors"),
        ),
        Query(
            text=f'SELECT count("cc_err") FROM "tv_home_7d"."tv_window" WHERE {HERE} AND {_CHANNEL}'
            " AND $timeFilter GROUP BY time(1h) fill(null)",
            alias=Text("échantillons", "samples"),
        ),
    ),
)


def _join(field: str) -> str:
    worst = f'SELECT percentile("{field}", 50) FROM "tv_join" WHERE {HERE} AND $timeFilter'
    return f"{worst} GROUP BY time(1d) fill(null)"


_ZAP = Panel(
    kind="curve",
    title=Text("Temps de zapping du réseau", "Network zap time"),
    meaning=Text(
        "Logement médian du jour : sa médiane et son 95e centile, du join au premier paquet. Publiés une fois par jour,"
        " toutes chaînes ensemble.",
        "The day's median home: its median and 95th percentile from join to first packet, all channels together.",
    ),
    queries=(
        Query(text=_join("zap_network_p50_ms"), alias=Text("médiane", "median")),
        Query(text=_join("zap_network_p95_ms"), alias=Text("p95", "p95")),
    ),
    unit="ms",
)
_WHERE = Panel(
    kind="table",
    title=Text("Où : télévision coupée ou en partie, par immeuble", "Where: television down or in part, by building"),
    meaning=Text(
        "Logements dont le dernier état de la télévision n'est ni « marche » ni « on ne sait pas ».",
        "Homes whose television's last state is neither works nor not known.",
    ),
    queries=(
        Query(
            text=f'SELECT count("s") AS "bad" FROM (SELECT last("state") AS "s" FROM {STATE} WHERE "target" ='
            f' \'television\' AND {HERE} AND {FRESH} GROUP BY "home", "building") WHERE "s" = 1 OR "s" = 2'
            ' GROUP BY "building"',
            table=True,
        ),
    ),
    columns=(
        ("building", Text("Immeuble", "Building"), "string"),
        ("bad", Text("Logements", "Homes"), "short"),
    ),
    drill="balise-buildings",
)

BOARD = Board(
    uid="balise-tv",
    title=Text("Balise 4 – Télévision : chaînes et temps", "Balise 4 – Television: channels and time"),
    question=Text(
        "Quelles chaînes sont mauvaises, où, et depuis quand ?", "Which channels are bad, where, since when?"
    ),
    rows=(
        Row(title=Text("Maintenant", "Now"), panels=(_NOW, _SHARE, _HEADEND)),
        Row(title=Text("Les chaînes", "Channels"), panels=(_CHANNELS,)),
        Row(title=Text("Le détail", "In detail"), panels=(_SEEN_BAD, _ERRORS, _WHERE, _ZAP)),
    ),
    choices=("building", "pon", "channel"),
)
