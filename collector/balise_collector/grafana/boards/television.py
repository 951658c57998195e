"""Which channels are bad, where, and since when?"""

from __future__ import annotations

from itertools import pairwise

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.boards.service import down_and_coverage, homes_now, source_of
from balise_collector.grafana.choosing import is_chosen
from balise_collector.grafana.queries import FRESH, HERE, STATE, elements

_CHANNEL = is_chosen("channel")
_WINDOW, _ZAPS = '"tv_home_7d"."tv_window"', '"tv_home_7d"."tv_zap"'


def _by_channel(what: str, name: str, where: str = "") -> str:
    """Homes, counted: each is one row of the query inside."""
    condition = " AND ".join(filter(None, (where, HERE, _CHANNEL, "$timeFilter")))
    inner = f'SELECT {what} AS "n" FROM {_WINDOW} WHERE {condition} GROUP BY "home", "target"'
    return f'SELECT count("n") AS "{name}" FROM ({inner}) WHERE $timeFilter GROUP BY "target"'


_NOW = homes_now(
    "television",
    Text("Télévision, maintenant", "Television, now"),
    Text(
        "Logements du parc selon l'état de leur télévision, mesurée par la sonde ; jamais ce que regarde le foyer.",
        "Homes by the last state of their television, measured by the probe; never what the household watches.",
    ),
)
_SHARE = down_and_coverage(
    "television", Text("Logements sans télévision, et couverture", "Homes without television, and coverage")
)
_HEADEND = source_of("headend", Text("Tête de réseau", "Head-end"))
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
        "Logements qui ont eu une seconde en erreur sur la chaîne, et logements qui l'ont mesurée : la couverture de la"
        " ligne. Un échantillon est une écoute de dix secondes.",
        "Homes that had a second with an error on the channel, and homes that sampled it: the coverage of the line. A"
        " sample is ten seconds of listening.",
    ),
    queries=(
        Query(text=_by_channel('count("es_ratio")', "bad_homes", '"es_ratio" > 0'), table=True),
        Query(text=_by_channel('count("es_ratio")', "homes"), table=True),
        Query(
            text=f'SELECT count("es_ratio") AS "samples", sum("net_lost_datagrams") AS "lost" FROM {_WINDOW}'
            f' WHERE {HERE} AND {_CHANNEL} AND $timeFilter GROUP BY "target"',
            table=True,
        ),
    ),
    columns=(
        ("target", Text("Chaîne", "Channel"), "string"),
        ("bad_homes", Text("Voient mal", "See it bad"), "short"),
        ("homes", Text("Logements", "Homes"), "short"),
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
            text=f'SELECT sum("cc_err") FROM {_WINDOW} WHERE {HERE} AND {_CHANNEL}'
            " AND $timeFilter GROUP BY time(1h) fill(null)",
            alias=Text("erreurs", "errors"),
        ),
        Query(
            text=f'SELECT count("cc_err") FROM {_WINDOW} WHERE {HERE} AND {_CHANNEL}'
            " AND $timeFilter GROUP BY time(1h) fill(null)",
            alias=Text("échantillons", "samples"),
        ),
    ),
)


def _zap(what: str) -> str:
    return f"SELECT {what} FROM {_ZAPS} WHERE {HERE} AND {_CHANNEL} AND $timeFilter GROUP BY time(1h) fill(null)"


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
_PICTURE = Panel(
    kind="curve",
    title=Text("Du premier paquet à l'image", "From the first packet to the picture"),
    meaning=Text(
        "Attente d'une image décodable après le premier paquet : médiane et 95e centile des zappings d'essai de"
        " l'heure.",
        "Until a decoder can start, after the first packet: median and 95th percentile of the hour's test zaps.",
    ),
    queries=(
        Query(text=_zap('percentile("zap_rap_ms", 50)'), alias=Text("médiane", "median")),
        Query(text=_zap('percentile("zap_rap_ms", 95)'), alias=Text("p95", "p95")),
    ),
    unit="ms",
)
_STEPS_MS = (0, 250, 500, 1_000, 2_000, 4_000, 8_000)


def _zaps_between(low_ms: int, high_ms: int) -> Query:
    """The hour's test zaps of one row of cells, counted by InfluxDB."""
    counted = f'SELECT count("zap_rap_ms") FROM {_ZAPS} WHERE "zap_rap_ms" >= {low_ms} AND "zap_rap_ms" < {high_ms}'
    return Query(
        text=f"{counted} AND {HERE} AND {_CHANNEL} AND $timeFilter GROUP BY time(1h) fill(null)",
        alias=Text(f"{low_ms} – {high_ms} ms", f"{low_ms} – {high_ms} ms"),
    )


_ZAP_MAP = Panel(
    kind="heat",
    title=Text("Zappings d'essai par durée et par heure", "Test zaps by time taken and hour"),
    meaning=Text(
        "Du premier paquet à l'image : combien de zappings d'essai de l'heure ont pris ce temps. Ceux sans image en"
        " huit secondes n'y sont pas : ils sont à côté.",
        "From the first packet to the picture: how many of the hour's test zaps took that long. Those without a picture"
        " within eight seconds are not in it: they are beside it.",
    ),
    queries=tuple(_zaps_between(*step) for step in pairwise(_STEPS_MS)),
)
_ZAPPED = Panel(
    kind="curve",
    title=Text("Zappings d'essai", "Test zaps"),
    meaning=Text(
        "Zappings de l'heure après lesquels une image est venue, et tous : le reste n'en a pas eu en huit secondes.",
        "The hour's zaps that a picture followed, and all of them: the rest had no picture within eight seconds.",
    ),
    queries=(
        Query(text=_zap('count("zap_rap_ms")'), alias=Text("avec image", "with a picture")),
        Query(text=_zap('count("ok")'), alias=Text("essayés", "tried")),
    ),
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
    width=24,
    height=6,
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
        Row(title=Text("Le détail", "In detail"), panels=(_SEEN_BAD, _ERRORS, _WHERE)),
        Row(title=Text("Les zappings", "Zaps"), panels=(_ZAP_MAP, _ZAPPED, _PICTURE, _ZAP)),
    ),
    choices=("building", "pon", "channel"),
)
