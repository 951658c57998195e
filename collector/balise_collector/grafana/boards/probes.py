"""Are the probes themselves well?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.queries import FRESH, HERE, KNOWN, STATE, share

_LAST = f'WHERE {HERE} AND time > now() - 30m GROUP BY "home"'

_SEEN = Panel(
    kind="curve",
    title=Text("Couverture : sondes qui parlent", "Coverage: probes that speak"),
    meaning=Text(
        "Part du temps où l'on sait comment va chaque sonde attendue.",
        "Share of the time in which it is known how each expected probe is.",
    ),
    queries=(Query(text=share(KNOWN, "fleet:probe", every="$__interval"), alias=Text("sondes", "probes")),),
    unit="percentunit",
    high=1,
    scale="good_share",
)


def _worst(field: str, fr: str, en: str, meaning: Text, unit: str) -> Panel:
    inner = f'SELECT last("{field}") AS "v" FROM "host" WHERE {HERE} AND $timeFilter GROUP BY time(1h), "home"'
    return Panel(
        kind="curve",
        title=Text(fr, en),
        meaning=meaning,
        queries=tuple(
            Query(text=f"SELECT {what} FROM ({inner}) WHERE $timeFilter GROUP BY time(1h) fill(null)", alias=alias)
            for what, alias in (
                ('max("v")', Text("la pire", "the worst")),
                ('percentile("v", 50)', Text("médiane", "median")),
            )
        ),
        unit=unit,
        width=8,
    )


_TABLE = Panel(
    kind="table",
    title=Text("Sonde par sonde, dernier relevé", "Probe by probe, last reading"),
    meaning=Text(
        "Dernier relevé de chaque sonde depuis moins de trente minutes : horloge, température, file d'attente, place"
        " libre. Erreur d'horloge : la borne du noyau, non un écart mesuré.",
        "Last reading of each probe within thirty minutes: clock, temperature, records waiting, free space. Clock"
        " error: the kernel's bound, no measured offset.",
    ),
    queries=(
        Query(
            text='SELECT last("uptime_s") AS "uptime_s", last("agent_uptime_s") AS "agent_uptime_s",'
            ' last("temp_c") AS "temp_c", last("rows_waiting") AS "rows_waiting",'
            ' last("disk_free_kb") AS "disk_free_kb",'
            ' last("clock_ok") AS "clock_ok", last("clock_error_ms") AS "clock_error_ms",'
            f' last("under_voltage") AS "under_voltage" FROM "host" {_LAST}',
            table=True,
        ),
    ),
    columns=(
        ("home", Text("Logement", "Home"), "string"),
        ("uptime_s", Text("Allumée depuis", "Up for"), "s"),
        ("agent_uptime_s", Text("Agent depuis", "Agent up for"), "s"),
        ("temp_c", Text("Température", "Temperature"), "celsius"),
        ("rows_waiting", Text("En attente", "Waiting"), "short"),
        ("disk_free_kb", Text("Place libre", "Free space"), "deckbytes"),
        ("clock_ok", Text("À l'heure", "Clock right"), "bool"),
        ("clock_error_ms", Text("Erreur, au plus", "Error, at most"), "ms"),
        ("under_voltage", Text("Sous-tension", "Under-voltage"), "bool"),
    ),
    width=24,
    height=10,
    drill="balise-home",
)

_SILENT = Panel(
    kind="table",
    title=Text("Sondes muettes", "Silent probes"),
    meaning=Text(
        "Sondes attendues dont le juge ne sait plus rien, et depuis quand ; sans durée : elles n'ont jamais parlé. Les"
        " logements sans sonde n'y sont pas. Une sonde muette ne dit pas que le logement est coupé.",
        "Expected probes of which the judge knows nothing, and for how long; without: they never spoke. Homes without a"
        " probe are not in it. A silent probe does not mean that a home is down.",
    ),
    queries=(
        Query(
            text='SELECT "home", "building", "s", "a" FROM (SELECT last("state") AS "s", last("age_s") AS "a",'
            f' last("evidence") AS "e" FROM {STATE} WHERE "target" = \'probe\' AND {HERE} AND {FRESH}'
            ' GROUP BY "home", "building") WHERE "s" = 3 AND "e" != \'not measured\'',
            table=True,
        ),
    ),
    columns=(
        ("home", Text("Logement", "Home"), "string"),
        ("building", Text("Immeuble", "Building"), "string"),
        ("s", Text("État", "State"), "state"),
        ("a", Text("Silence", "Silence"), "s"),
    ),
    drill="balise-home",
)

_LINKS = Panel(
    kind="table",
    title=Text("Liaison sonde–box", "Probe's link to the box"),
    meaning=Text(
        "Vitesse négociée, à côté du débit de l'offre : en dessous, la mesure ne vaut pas (code link_lt_contract), et"
        " ce n'est pas la faute de l'opérateur. Couverture : part de la dernière heure où la sonde a mesuré.",
        "Negotiated speed beside the contract: below it a measurement does not count, and the operator is not to blame."
        " Coverage: share of the last hour in which the probe measured.",
    ),
    # Both answers have several selectors, so that their time is the window's start and Grafana's merge finds one row.
    queries=(
        Query(
            text='SELECT last("speed_bps") AS "speed_bps", last("carrier") AS "carrier", last("errors") AS "errors"'
            f' FROM "link" WHERE {HERE} AND $timeFilter GROUP BY "home"',
            table=True,
        ),
        Query(
            text='SELECT last("contract_bps") AS "contract_bps", last("coverage") AS "coverage"'
            f' FROM {STATE} WHERE "target" = \'internet\' AND {HERE} AND $timeFilter GROUP BY "home"',
            table=True,
        ),
    ),
    window="3h",
    columns=(
        ("home", Text("Logement", "Home"), "string"),
        ("speed_bps", Text("Vitesse", "Speed"), "bps"),
        ("contract_bps", Text("Offre", "Contract"), "bps"),
        ("carrier", Text("Câble branché", "Cable in"), "bool"),
        ("errors", Text("Trames en erreur", "Frames in error"), "short"),
        ("coverage", Text("Couverture", "Coverage"), "percentunit"),
    ),
)

_VERSIONS = Panel(
    kind="table",
    title=Text("Versions", "Versions"),
    meaning=Text(
        "Version de l'agent et de la configuration, dites par chaque sonde à l'ouverture de sa session ; sans session"
        " ouverte dans la période, la sonde n'est pas dans la liste.",
        "Versions of agent and configuration, as each probe said when its session began within the period.",
    ),
    queries=(
        Query(
            text='SELECT last("agent") AS "agent", last("config") AS "config" FROM "presence"'
            f' WHERE {HERE} AND "online" = true AND $timeFilter GROUP BY "home"',
            table=True,
        ),
    ),
    columns=(
        ("home", Text("Logement", "Home"), "string"),
        ("agent", Text("Agent", "Agent"), "string"),
        ("config", Text("Configuration", "Configuration"), "short"),
    ),
)

BOARD = Board(
    uid="balise-probes",
    title=Text("Balise 6 – Santé des sondes", "Balise 6 – Health of the probes"),
    question=Text("Les sondes elles-mêmes vont-elles bien ?", "Are the probes themselves well?"),
    rows=(
        Row(title=Text("Qui parle", "Who speaks"), panels=(_SEEN, _SILENT)),
        Row(
            title=Text("Le matériel", "Hardware"),
            panels=(
                _worst(
                    "temp_c",
                    "Température du processeur",
                    "Processor temperature",
                    Text(
                        "La plus chaude et la médiane des sondes qui ont parlé dans l'heure.",
                        "Hottest and median of the probes that spoke within the hour.",
                    ),
                    "celsius",
                ),
                _worst(
                    "rows_waiting",
                    "Mesures en attente",
                    "Records waiting",
                    Text(
                        "Ce que les sondes n'ont pas encore pu remettre : une file qui monte partout est une panne du"
                        " collecteur.",
                        "What probes could not hand over yet: a queue that grows everywhere is the collector's fault.",
                    ),
                    "none",
                ),
                _worst(
                    "agent_cpu_pct",
                    "Processeur pris par l'agent",
                    "CPU used by the agent",
                    Text(
                        "En centièmes d'un cœur : la plus chargée et la médiane.",
                        "In hundredths of a core: the busiest and the median.",
                    ),
                    "percent",
                ),
            ),
        ),
        Row(title=Text("Sonde par sonde", "Probe by probe"), panels=(_TABLE, _LINKS, _VERSIONS)),
    ),
)
