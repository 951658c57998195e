"""Does a collector that serves fill the platform's dashboard and alerts itself?

It says how it is each second here instead of each minute, so a panel's interval is a second too.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector.commands.influx import app as influx
from balise_collector.demo.programs import prepare_agents, prepare_broker
from balise_collector.directory import sqlite_url
from balise_collector.grafana.alerts import ALERTS
from balise_collector.grafana.boards import platform
from balise_collector.grafana.checking import Answered, ask_all, queries_of, queries_of_alerts
from balise_collector.grafana.expanding import Range
from balise_collector.store.influx.asking import Asking
from tests.collector.influx.servers import servers
from tests.collector.running import Mosquitto, Probe, process
from tests.collector.sender import Sender, row
from tests.waiting import until

SERVE_OFTEN = """\
import sys
from pathlib import Path
from balise_collector.serve import ServeSettings, broker_of, serve
data, url = Path(sys.argv[1]), sys.argv[2]
serve(ServeSettings(
    data=data, directory_url=url, broker=broker_of(data), http=("127.0.0.1", 0), platform_s=0, influx=True
))
"""
MINUTE_MS = 60_000
OURS = [*queries_of([platform.BOARD]), *queries_of_alerts(one for one in ALERTS if one.board == "balise-platform")]


@pytest.fixture(params=sorted(servers("none")))
def asking(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Asking]:
    """What is asked where a collector that serves forwards to; one message comes every look."""
    server = servers(f"p{secrets.token_hex(4)}")[request.param]
    files = prepare_broker(tmp_path / "data")
    options = ["--data", str(tmp_path / "data"), "--database", server.database]
    if server.org:
        (tmp_path / "admin.token").write_text(server.credential)
        options += ["--admin-token-file", str(tmp_path / "admin.token"), "--org", server.org]
    made = CliRunner().invoke(influx, ["init", server.url, *options])
    assert made.exit_code == 0, made.output
    (agent,) = prepare_agents(tmp_path, tmp_path / "data", files, 1)
    mosquitto = Mosquitto(files)
    mosquitto.start()
    command = [sys.executable, "-c", SERVE_OFTEN, str(tmp_path / "data"), sqlite_url(tmp_path / "data")]
    try:
        with (
            process(command, tmp_path / "log"),
            Probe(files, agent.probe, agent.password) as probe,
            closing(Asking(server)) as opened,
        ):
            sender = Sender(agent.probe)
            until(lambda: talked(probe, sender) and not silent(opened), "every panel", 120)
            yield opened
    finally:
        mosquitto.kill()


def talked(probe: Probe, sender: Sender) -> bool:
    probe.send(sender.sends(row(), ts_ms=time.time_ns() // 1_000_000))
    return True


def silent(asking: Asking) -> list[Answered]:
    return [one for one in answers(asking) if one.outcome != "ok"]


def answers(asking: Asking) -> list[Answered]:
    end_ms = time.time_ns() // 1_000_000
    over = Range(start_ms=end_ms - 10 * MINUTE_MS, end_ms=end_ms)
    return list(ask_all(asking, (replace(one, step="1s") for one in OURS), over))


def test_every_panel_and_alert_of_the_platform_shows_what_a_collector_wrote(asking: Asking) -> None:
    assert [(one.where, one.outcome, one.why) for one in answers(asking) if one.outcome != "ok"] == []
    (found,) = asking.all(['SELECT last("lag_s") FROM "state"."platform" GROUP BY "target"'])
    assert {"judge:journal", "influx:journal"} <= {series["tags"]["target"] for series in found}
