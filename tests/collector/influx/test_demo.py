"""Does `balise demo --influx` forward what it shows?"""

from __future__ import annotations

import json
import secrets
import subprocess

import pytest

from tests.collector.influx.servers import servers
from tests.collector.running import balise
from tests.waiting import free_port


@pytest.mark.parametrize("name", sorted(servers("none")))
def test_what_the_demo_measures_is_in_influxdb_too(name: str) -> None:
    server = servers(f"d{secrets.token_hex(4)}")[name]
    options = ["--influx", server.url, "--database", server.database]
    options += ["--token", server.credential, "--org", server.org] if server.org else []
    run = subprocess.run(
        balise("demo", "--seconds", "8", "--json", *options), capture_output=True, text=True, check=False, timeout=90
    )
    said = json.loads(run.stdout)
    assert (run.returncode, said["influx_missing"]) == (0, 0), run.stderr
    assert said["stored"] == said["measured"] > 0


def test_an_influxdb_that_is_not_there_is_one_line() -> None:
    command = balise("demo", "--seconds", "2", "--influx", f"http://127.0.0.1:{free_port()}")
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)
    assert "Connection refused" in run.stderr
