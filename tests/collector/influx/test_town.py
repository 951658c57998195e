"""Does a town fill an InfluxDB with what its homes said and what was concluded?"""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_collector.cli import app
from balise_collector.store import influx
from tests.collector.influx.servers import servers


@pytest.mark.parametrize("name", sorted(servers("none")))
def test_a_town_until_now_is_in_influxdb_with_its_facts(name: str, tmp_path: Path) -> None:
    server = servers(f"t{secrets.token_hex(6)}")[name]
    script = tmp_path / "cut.toml"
    calm = 'title = "cut"\nlife = false\n'  # at night people switch off
    script.write_text(calm + '[[fault]]\nkind = "pon_cut"\nplace = "pon:1"\nafter = "20m"\nlasts = "10m"\n')
    options = ["--homes", "10", "--days", "0.03", "--until", "now", "--faults", str(script), "--json"]
    there = ["--influx", server.url, "--database", server.database]
    there += [
        *(["--org", server.org] if server.org else []),
        *(["--token", server.credential] if server.credential else []),
    ]
    done = CliRunner().invoke(app, ["town", "run", *options, *there])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    with closing(influx.open_reader(server, tmp_path / "state.db")) as reader:
        series = list(reader.series())
        kept = sum(
            1
            for s in series
            if s.measurement == "alive"
            for _ in reader.read(s.home, "alive", "", 0, said["to_ms"] + 1)
        )
    assert {s.measurement for s in series} >= {"reach", "alive", "dns", "presence", "home_state", "incident"}
    assert kept > 9 * 30
    hours = {s.target for s in series if s.measurement == "rollup_hour"}
    assert hours >= {"fleet:throughput.down_ratio", "fleet:reach.p95_us.op", "pon:reach.p95_us.op", "home:dns.query_ms"}
