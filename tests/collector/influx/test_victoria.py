"""Does influxdb-client's way of writing, through `/api/v2/write`, bring every value? On VictoriaMetrics, as in Debian.

It keeps numbers only and answers 204 to a malformed line, so this shows the way, not the refusals.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from balise_collector.store import Unavailable
from balise_collector.store.influx import posting
from balise_collector.store.influx.http import Http
from balise_collector.store.influx.lines import NONE
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server
from tests.collector.influx.ground import Ground, fill, path, points
from tests.waiting import free_port, until


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("victoria"), free_port()
    program = shutil.which("victoria-metrics", path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert program, "victoria-metrics is not installed: sudo deploy/setup-debian.sh test"
    options = [f"-httpListenAddr=127.0.0.1:{port}", "-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, f"-storageDataPath={folder}/data", *options], stdout=log, stderr=log)
    server = Server(url=f"http://127.0.0.1:{port}", org="balise", credential="token")
    try:
        until(lambda: process.poll() is not None or answers(server))
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.kill()
        process.wait()


def answers(server: Server) -> bool:
    with closing(Http(server)) as http:
        try:
            return http.ask("GET", "/health", {}).status == 200
        except Unavailable:
            return False


def samples(server: Server, name: str) -> dict[tuple[str, str, int], float]:
    """Values of a metric by probe, target and date; two of one date fail."""
    with closing(Http(server)) as http:
        http.ask("GET", "/internal/force_flush", {})
        answer = http.ask("GET", "/api/v1/export", {"match[]": name, "reduce_mem_usage": "0"})
    found: dict[tuple[str, str, int], float] = {}
    for line in answer.body.splitlines():
        series = json.loads(line)
        whose = (series["metric"]["probe"], series["metric"]["target"].replace(NONE, ""))
        for ts_ms, value in zip(series["timestamps"], series["values"], strict=True):
            assert (*whose, ts_ms) not in found
            found[(*whose, ts_ms)] = value
    return found


def expected(ground: Ground, measurement: str, field: str) -> dict[tuple[str, str, int], float]:
    return {
        (one.probe, one.target, one.ts_ms): float(one.fields[field])
        for one in points(ground.journal)
        if one.measurement == measurement
    }


def test_every_number_arrives_once_also_when_it_was_sent_twice(tmp_path: Path, victoria: Server) -> None:
    with path(tmp_path, victoria) as ground:
        fill(ground.journal, 50)
        for _ in range(2):
            ground.state.set(ground.key, 0)
            ground.loop.drain()
        for measurement, field in (("reach", "p50_us"), ("dns", "query_ms"), ("web", "total_ms"), ("host", "clock_ok")):
            there = expected(ground, measurement, field)
            assert len(there) in (50 * 4, 50 * 8, 50 * 12)
            until(partial(is_there, victoria, f"{measurement}_{field}", there))


def is_there(server: Server, name: str, there: dict[tuple[str, str, int], float]) -> bool:
    """New series are found some moments later."""
    return samples(server, name) == there


def test_compressed_lines_arrive_too(victoria: Server) -> None:
    now_ms = time.time_ns() // 1_000_000
    lines = [f"gzip,probe=p,target=- lost={n}i {now_ms + n}" for n in range(1_000)]
    with closing(open_post(victoria, zipped=True)) as post:
        post.post("raw_90d", "\n".join(lines).encode())
    until(lambda: is_there(victoria, "gzip_lost", {("p", "", now_ms + n): float(n) for n in range(1_000)}))


def test_the_client_is_used_as_it_must_be() -> None:
    """Its default keeps lines in memory and drops them after some minutes."""
    source = Path(posting.__file__).read_text()
    assert re.findall(r"write_options=(\w+)", source) == ["SYNCHRONOUS"]
