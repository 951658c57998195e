"""How is one home, in all that is measured there?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.choosing import is_chosen
from balise_collector.grafana.queries import MONTH, STATE

_HOME = is_chosen("home")


def _curve(
    title: Text, meaning: Text, unit: str, *queries: tuple[str, Text], width: int = 12, low: float | None = 0
) -> Panel:
    return Panel(
        kind="curve",
        title=title,
        meaning=meaning,
        queries=tuple(Query(text=text, alias=alias) for text, alias in queries),
        unit=unit,
        width=width,
        step="1m",
        low=low,
    )


def _raw(what: str, measurement: str, *, where: str = "", policy: str = "", by: str = "") -> str:
    source = f'"{policy}"."{measurement}"' if policy else f'"{measurement}"'
    condition = " AND ".join(filter(None, (_HOME, where, "$timeFilter")))
    group = f', "{by}"' if by else ""
    return f"SELECT {what} FROM {source} WHERE {condition} GROUP BY time($__interval){group} fill(null)"


_STATES = Panel(
    kind="states",
    title=Text("Internet, télévision, téléphone, sonde", "Internet, television, telephone, probe"),
    meaning=Text(
        "L'état de chaque service selon le juge. Gris : on ne sait pas.",
        "The state of each service as the judge says. Grey: not known.",
    ),
    queries=(
        Query(
            text=f'SELECT max("state") FROM {STATE} WHERE {_HOME} AND $timeFilter'
            ' GROUP BY time($__interval), "target" fill(null)',
            alias=Text("$tag_target", "$tag_target"),
        ),
    ),
    scale="state",
    width=24,
    height=7,
)

_COVERAGE = _curve(
    Text("Couverture", "Coverage"),
    Text(
        "Part de la dernière heure où l'on savait comment allait internet.",
        "Share of the last hour in which it was known how the internet was.",
    ),
    "percentunit",
    (
        f'SELECT mean("coverage") FROM {STATE} WHERE {_HOME} AND "target" = \'internet\' AND $timeFilter'
        " GROUP BY time($__interval) fill(null)",
        Text("couverture", "coverage"),
    ),
)

_ROUND_TRIPS = _curve(
    Text("Aller-retour par étape (p95 de la minute, le pire)", "Round trip by rung (p95 of the minute, the worst)"),
    Text(
        "Le pire 95e centile des fenêtres de l'intervalle, vers la box, l'opérateur, internet.",
        "The worst 95th percentile of the interval's windows, to the box, the operator, the internet.",
    ),
    "µs",
    (_raw('max("p95_us")', "reach", by="target"), Text("$tag_target", "$tag_target")),
)
_LOSS = _curve(
    Text("Pertes par étape", "Loss by rung"),
    Text("Échos perdus sur échos envoyés, par étape.", "Echoes lost of echoes sent, by rung."),
    "percentunit",
    (_raw('sum("lost") / sum("sent")', "reach", by="target"), Text("$tag_target", "$tag_target")),
)
_RATE = _curve(
    Text("Débit", "Rate"),
    Text(
        "Chaque test, descendant et montant, d'une validité ok ; les autres ne comptent pas.",
        "Each valid test, down and up; the others do not count.",
    ),
    "bps",
    (_raw('last("down_bps")', "throughput", where="\"validity\" = 'ok'"), Text("descendant", "down")),
    (_raw('last("up_bps")', "throughput", where="\"validity\" = 'ok'"), Text("montant", "up")),
)
_LOADED = _curve(
    Text("Attente quand la ligne est pleine", "Latency under load"),
    Text("Aller-retour au repos et ligne pleine.", "Round trip idle and while the line is filled."),
    "µs",
    (_raw('last("idle_p50_us")', "loaded"), Text("au repos", "idle")),
    (_raw('last("down_loaded_p95_us")', "loaded"), Text("pleine, descendant", "loaded, down")),
    (_raw('last("up_loaded_p95_us")', "loaded"), Text("pleine, montant", "loaded, up")),
)
_NAMES = _curve(
    Text("Noms et pages", "Names and pages"),
    Text("Réponse du résolveur, et objet web entier.", "The resolver's answer, and a whole web object."),
    "ms",
    (_raw('max("query_ms")', "dns"), Text("noms", "names")),
    (_raw('max("total_ms")', "web"), Text("page", "page")),
)
_FAILED = Panel(
    kind="table",
    title=Text("Ce qui a échoué", "What failed"),
    meaning=Text(
        "Mesures qui n'ont pas abouti, avec leur raison : un échec est une donnée.",
        "Measurements that did not succeed, with their reason: a failure is data.",
    ),
    queries=tuple(
        Query(
            text=f'SELECT "outcome", "reason", "target", "af" FROM "{name}" WHERE {_HOME} AND "outcome" = \'failed\''
            " AND $timeFilter ORDER BY time DESC LIMIT 50",
            table=True,
        )
        for name in ("dns", "web", "throughput")
    ),
    columns=(
        ("Time", Text("Quand", "When"), "dateTimeAsIso"),
        ("outcome", Text("Issue", "Outcome"), "string"),
        ("reason", Text("Raison", "Reason"), "string"),
        ("target", Text("Vers", "Target"), "string"),
        ("af", Text("IPv", "IPv"), "none"),
    ),
)
_PROBE = _curve(
    Text("La sonde", "The probe"),
    Text("Mesures en attente d'être remises.", "Records that wait to be handed over."),
    "short",
    (_raw('max("rows_waiting")', "host"), Text("en attente", "waiting")),
    width=8,
)

_PICTURE = _curve(
    Text("Télévision : secondes en erreur", "Television: seconds with an error"),
    Text(
        "Part des secondes en erreur des échantillons de la sonde, la pire de l'intervalle, toutes chaînes ensemble.",
        "Share of seconds with an error in the probe's own samples, the worst of the interval, all channels together.",
    ),
    "percentunit",
    (_raw('max("es_ratio")', "tv_window", policy="tv_home_7d"), Text("la pire", "the worst")),
    width=8,
)
_CALLS = _curve(
    Text("Téléphone : appels d'essai de la sonde", "Telephone: the probe's test calls"),
    Text(
        "Appels établis parmi ceux tentés, avec le compte de la sonde ; jamais ceux du foyer.",
        "Calls set up of those tried, with the probe's own account; never the household's.",
    ),
    "short",
    (_raw('count("setup_ok")', "voip_call"), Text("tentés", "tried")),
    (_raw('count("answer_ms")', "voip_call"), Text("établis", "set up")),
    width=8,
)
_VOICE = _curve(
    Text("Téléphone : voix (MOS estimé)", "Telephone: voice (estimated MOS)"),
    Text(
        "Chaque appel d'essai valide ; 4 et plus est bon, sous 3,6 gêne.",
        "Each valid test call; 4 and above is good, below 3.6 annoys.",
    ),
    "none",
    (_raw('min("mos_cqe")', "voip_call", where='"valid" = true'), Text("MOS", "MOS")),
    width=8,
)

_CAPACITY = _curve(
    Text("Capacité en UDP", "UDP capacity"),
    Text("Ce que des rafales courtes font passer, sans TCP.", "What short bursts get through, without TCP."),
    "bps",
    (_raw('last("down_bps")', "udp_capacity"), Text("descendant", "down")),
    (_raw('last("up_bps")', "udp_capacity"), Text("montant", "up")),
)
_RADIO = _curve(
    Text("Radio de la sonde, si elle est en Wi-Fi", "The probe's radio, where it is on Wi-Fi"),
    Text("Niveau reçu, le pire de l'intervalle ; sous -70 dBm il gêne.", "Received level, the worst; -70 is weak."),
    "dBm",
    (_raw('min("rssi_dbm")', "wifi"), Text("niveau", "level")),
    low=None,
    width=8,
)
_CUTS = Panel(
    kind="table",
    title=Text("Coupures", "Outages"),
    meaning=Text(
        "Chaque coupure finie de ce logement, telle que la sonde l'a racontée à son retour.",
        "Each outage of this home that is over, as the probe told it on its return.",
    ),
    queries=(
        Query(
            text='SELECT "start_ms", "kind", "class", "dur_s", "unknown_s" FROM "outage"'
            f" WHERE \"state\" = 'ended' AND {_HOME} AND $timeFilter ORDER BY time DESC LIMIT 100",
            table=True,
        ),
    ),
    columns=(
        ("start_ms", Text("Début", "Start"), "dateTimeAsIso"),
        ("kind", Text("Sorte", "Kind"), "string"),
        ("class", Text("Où", "Where"), "string"),
        ("dur_s", Text("Durée", "Duration"), "s"),
        ("unknown_s", Text("dont inconnue", "of it, unknown"), "s"),
    ),
)
_EVENTS = Panel(
    kind="table",
    title=Text("Vie de la sonde", "Life of the probe"),
    meaning=Text(
        "Ce que l'agent a fait ou rencontré et qui explique ses mesures : démarrages, horloge, configuration.",
        "What the agent did or met and that explains its records: starts, clock, configuration.",
    ),
    queries=(
        Query(
            text='SELECT "target", "version", "detail" FROM "agent_event"'
            f" WHERE {_HOME} AND $timeFilter ORDER BY time DESC LIMIT 50",
            table=True,
        ),
    ),
    columns=(
        ("Time", Text("Quand", "When"), "dateTimeAsIso"),
        ("target", Text("Quoi", "What"), "string"),
        ("version", Text("Version", "Version"), "string"),
        ("detail", Text("Détail", "Detail"), "string"),
    ),
    width=8,
)
_ZAPS = _curve(
    Text("Télévision : du premier paquet à l'image", "Television: from the first packet to the picture"),
    Text("Le plus long zapping d'essai de l'intervalle.", "The longest test zap of the interval."),
    "ms",
    (_raw('max("zap_rap_ms")', "tv_zap", policy="tv_home_7d"), Text("le plus long", "the longest")),
    width=8,
)
_STALLS = _curve(
    Text("Télévision par HTTP : arrêts sur image", "Television over HTTP: stalls"),
    Text("Secondes où un lecteur se serait arrêté, le pire échantillon.", "Seconds of stalls, the worst sample."),
    "s",
    (_raw('max("stall_s")', "tv_hls", policy="tv_home_7d"), Text("arrêt", "stall")),
    width=8,
)
_SIGNALLING = _curve(
    Text("Téléphone : réponses du serveur", "Telephone: the server's answers"),
    Text(
        "Attente des réponses à REGISTER et OPTIONS, la plus longue.", "Longest wait for answers to REGISTER, OPTIONS."
    ),
    "ms",
    (_raw('max("register_ms")', "voip_signal"), Text("REGISTER", "REGISTER")),
    (_raw('max("options_rtt_ms")', "voip_signal"), Text("OPTIONS", "OPTIONS")),
    width=8,
)
_LINK = Panel(
    kind="figure",
    title=Text("Offre et liaison sonde–box", "Contract and the probe's link to the box"),
    meaning=Text(
        "Débit descendant de l'offre, et vitesse négociée par la sonde. Si la liaison est sous l'offre, ses tests de"
        " débit ne comptent pas (link_lt_contract).",
        "The contract's rate, down, and the speed that the probe negotiated. Below the contract its tests of rate do"
        " not count (link_lt_contract).",
    ),
    queries=(
        Query(
            text=f'SELECT last("contract_bps") FROM {STATE} WHERE {_HOME} AND "target" = \'internet\' AND $timeFilter',
            alias=Text("offre", "contract"),
        ),
        Query(
            text=f'SELECT last("speed_bps") FROM "link" WHERE {_HOME} AND $timeFilter',
            alias=Text("liaison", "link"),
        ),
    ),
    unit="bps",
)
_MONTHS = Panel(
    kind="table",
    title=Text("Mois après mois", "Month after month"),
    meaning=Text(
        "Indicateurs des mois clos de ce logement, chacun avec ses mesures et sa couverture. Sans valeur : trop peu de"
        " mesures pour en donner une.",
        "This home's indicators of the months that are over, each with its values and its coverage. Without a figure:"
        " too few values to tell one.",
    ),
    queries=(
        Query(
            text='SELECT "month", "target", "value", "unit", "contract_bps", "n", "days", "coverage"'
            f' FROM {MONTH} WHERE {_HOME} AND "frozen" = true AND $timeFilter ORDER BY time DESC LIMIT 500',
            table=True,
        ),
    ),
    columns=(
        ("month", Text("Mois", "Month"), "none"),
        ("target", Text("Indicateur", "Indicator"), "string"),
        ("value", Text("Valeur", "Value"), "none"),
        ("unit", Text("Unité", "Unit"), "string"),
        ("contract_bps", Text("Offre", "Contract"), "bps"),
        ("n", Text("Mesures", "Values"), "short"),
        ("days", Text("Jours", "Days"), "short"),
        ("coverage", Text("Couverture", "Coverage"), "percentunit"),
    ),
    window="400d",
    width=24,
    height=10,
)

BOARD = Board(
    uid="balise-home",
    title=Text("Balise 8 – Un logement", "Balise 8 – One home"),
    question=Text("Comment va ce logement, mesure par mesure ?", "How is this home, measurement by measurement?"),
    rows=(
        Row(title=Text("Les services", "Services"), panels=(_STATES, _COVERAGE, _LINK)),
        Row(
            title=Text("Internet", "Internet"),
            panels=(_ROUND_TRIPS, _LOSS, _RATE, _CAPACITY, _LOADED, _NAMES, _CUTS, _FAILED),
        ),
        Row(title=Text("Télévision", "Television"), panels=(_PICTURE, _ZAPS, _STALLS)),
        Row(title=Text("Téléphone", "Telephone"), panels=(_CALLS, _VOICE, _SIGNALLING)),
        Row(title=Text("La sonde", "The probe"), panels=(_PROBE, _RADIO, _EVENTS)),
        Row(title=Text("Les mois", "Months"), panels=(_MONTHS,)),
    ),
    choices=("building", "pon", "home"),
    restricted=True,
)
