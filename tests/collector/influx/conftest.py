"""On which collector and which InfluxDB, that may be killed, do these tests work?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector.commands.influx import app
from balise_collector.demo.programs import prepare_agents, prepare_broker
from tests.collector.influx.servers import Influxd
from tests.collector.running import Mosquitto
from tests.collector.test_serve import Place


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    files = prepare_broker(tmp_path / "data")
    (agent,) = prepare_agents(tmp_path, tmp_path / "data", files, 1)
    mosquitto = Mosquitto(files)
    mosquitto.start()
    yield Place(tmp_path, files, agent, mosquitto)
    mosquitto.kill()


@pytest.fixture
def influxd(tmp_path: Path, here: Place) -> Iterator[Influxd]:
    """With Balise's database."""
    server = Influxd(tmp_path / "influxd")
    server.start()
    done = CliRunner().invoke(app, ["init", server.url, "--data", str(here.data)])
    assert done.exit_code == 0, done.output
    yield server
    server.kill()
