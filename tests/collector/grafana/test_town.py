"""Does a simulated town, judged and written to InfluxDB, fill the dashboards?"""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from pathlib import Path

from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.directory import dates
from balise_collector.grafana.boards import BOARDS
from balise_collector.grafana.checking import Answered, ask_all, one_home, queries_of
from balise_collector.grafana.expanding import Range
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server
from tests.collector.influx.servers import influx1

HOUR_MS = 3_600_000
DAY_MS, END_MS = 24 * HOUR_MS, 19 * HOUR_MS  # the last 19:00 UTC: InfluxDB keeps television for a week only
SCRIPT = """\
title = "what a NOC sees"

[random]
count = 12
kinds = ["fibre_cut", "tv_channels", "dns_down", "registrar_down"]
"""
# What a quiet day does not have; `ground` fills these.
MAY_BE_EMPTY = (
    "Coupures par heure / 2",
    "Réponses SIP /",
    "Sondes muettes",
    "Ce qui a échoué",
    "Temps de zapping",
    "Appels d'essai",
    "Qualité de la voix",
    "Attente avant sonnerie",
    "Attente quand la ligne est pleine",
    "Débit",
    "Lignes coupées, minutes sans secours",
    "Zappings d'essai par durée",  # a line with no slow zaps
    "Capacité en UDP",  # a town measures neither this nor television over HTTP
    "arrêts sur image",
    "si elle est en Wi-Fi",
    "Vie de la sonde",
    "Mois après mois",  # no month is over
    "Où : télévision coupée ou en partie",  # at the last moment
)


def test_a_town_with_faults_of_every_service_fills_every_panel(tmp_path: Path) -> None:
    server = influx1().server(f"t{secrets.token_hex(4)}")
    (tmp_path / "faults.toml").write_text(SCRIPT)
    end_ms = (time.time_ns() // 1_000_000 - END_MS) // DAY_MS * DAY_MS + END_MS
    until = dates.write(end_ms)
    options = ["--homes", "32", "--days", "0.25", "--until", until, "--faults", str(tmp_path / "faults.toml")]
    done = CliRunner().invoke(
        app, ["town", "run", *options, "--influx", server.url, "--database", server.database, "--json"]
    )
    assert done.exit_code == 0, done.output
    found = asked(server, end_ms)
    assert [one.why for one in found if one.outcome == "refused"] == []
    empty = [one.where for one in found if one.outcome == "empty" and not one.where.startswith("balise-platform")]
    missing = [where for where in empty if not any(name in where for name in MAY_BE_EMPTY)]
    assert not missing, "\n".join(missing)


def asked(server: Server, end_ms: int) -> list[Answered]:
    with closing(Asking(server)) as asking:
        over = Range(start_ms=end_ms - 7 * HOUR_MS, end_ms=end_ms)
        return list(ask_all(asking, queries_of(BOARDS), over, one_home(asking, over)))
