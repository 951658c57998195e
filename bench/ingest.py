"""How many points a second does one collector process take in, durably, from 1,000 probes?

Broker, loader and collector share the machine's cores. The clock runs from the loader's first message to the arrival
of the last ack at its probe; the peer's to its last commit, for it sends no acks. Afterwards every message is looked
for: the journal holds each once, each was acknowledged, each follows on in its chain.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from balise_collector.directory import sqlite_url
from bench import ground, loader
from bench.messages import POINTS_A_MESSAGE, packets

LIMIT_S = 300.0

Load = dict[str, list[bytes]]
"""Packets of each probe, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One run: points a second, and processor time a message by program, in us."""

    points_a_s: float
    cpu_us: dict[str, float]


def make_load(probes: Sequence[str], each: int) -> Load:
    """Messages of the last minutes, made by all cores."""
    make = partial(packets, count=each, seed="bench", last_ts_ms=time.time_ns() // 1_000_000)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(probes, pool.map(make, probes, chunksize=20), strict=True))


def balise(where: ground.Ground, load: Load, folder: Path, profile: Path | None = None) -> Figure:
    """One run of ingest alone. AssertionError: a message is missing, twice, unacknowledged or off its chain."""
    folder.mkdir(parents=True)
    log, journal = folder / "collect.log", folder / "journal.db"
    arguments = [str(where.data), sqlite_url(where.data), str(journal), *([str(profile)] if profile else [])]
    with ground.mosquitto(where.files) as broker, ground.module("bench.collect", *arguments, log=log) as collector:
        ground.until(lambda: "open" in log.read_text(), collector)
        figure = _pour(where, load, {"broker": broker.pid, "collector": collector.pid})
    said = json.loads(log.read_text().splitlines()[-1])
    outcomes = {name: n for name, n in said["counts"].items() if not name.startswith("presence")}
    assert (outcomes, said["dead"]) == ({"new": _count(load)}, {}), said
    check_journal(journal, _count(load))
    return figure


def served(where: ground.Ground, load: Load, folder: Path, *options: str) -> Figure:
    """One run of `balise serve` whole: its consumers write the store meanwhile, on the same cores."""
    folder.mkdir(parents=True)
    for path in where.data.glob("journal.db*"):
        path.unlink()
    shutil.rmtree(where.data / "store", ignore_errors=True)
    with ground.mosquitto(where.files) as broker, ground.serve(where, folder / "serve.log", *options) as collector:
        ground.until(lambda: is_open(where.data), collector)
        figure = _pour(where, load, {"broker": broker.pid, "collector": collector.pid} | _children(collector.pid))
    check_journal(where.data / "journal.db", _count(load))
    return figure


def _children(serve: int) -> dict[str, int]:
    """What `balise serve` has started, by the last part of its module's name."""
    children = psutil.Process(serve).children()
    return {child.cmdline()[child.cmdline().index("-m") + 1].rpartition(".")[2]: child.pid for child in children}


def is_open(data: Path) -> bool:
    """Whether it has a session with the broker: /healthz says so."""
    port = json.loads((data / "serve.json").read_text())["http_port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200


def bare(where: ground.Ground, load: Load, folder: Path) -> Figure:
    """One run of the peer."""
    folder.mkdir(parents=True)
    log = folder / "bare.log"
    arguments = (str(where.data), str(folder / "bare.db"), str(_count(load)))
    with ground.mosquitto(where.files) as broker, ground.module("bench.bare", *arguments, log=log) as peer:
        ground.until(lambda: "open" in log.read_text(), peer)

        def committed_s() -> float:
            ground.until(lambda: len(log.read_text().splitlines()) > 1, peer, LIMIT_S)
            return float(log.read_text().splitlines()[1].split()[0])

        return _pour(where, load, {"broker": broker.pid, "peer": peer.pid}, committed_s)


def check_journal(path: Path, count: int) -> None:
    """AssertionError: not every message is there once, or one does not follow on."""
    sql = "FROM {} WHERE stream_id IN (SELECT id FROM stream WHERE stream != 'presence')"
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT count(*), count(DISTINCT stream_id || ' ' || seq) " + sql.format("journal"))
        kept, distinct = rows.fetchone()
        linked = db.execute("SELECT sum(link) " + sql.format("chain")).fetchone()[0]
    assert kept == distinct == linked == count, (kept, distinct, linked, count)


def _pour(
    where: ground.Ground,
    load: Load,
    programs: dict[str, int],
    committed_s: Callable[[], float] | None = None,
) -> Figure:
    """Opens the sessions, lets them send everything, and looks at the clock. ``committed_s``: of a peer without
    acks."""
    files, pids = where.files, programs | {"loader": os.getpid()}
    sessions = loader.connect((files.host, files.port), where.passwords)
    for session in sessions:
        session.unsent = deque(load[session.probe])
    before, start_s = {name: ground.cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
    end_s = loader.pour(sessions, acks=committed_s is None, until_s=start_s + LIMIT_S)
    end_s = end_s if committed_s is None else committed_s()
    used = {name: ground.cpu_s(pid) - before[name] for name, pid in pids.items()}
    count = _count(load)
    assert sum(s.acked for s in sessions) == (count if committed_s is None else 0)
    assert not any(s.refused or s.rejected for s in sessions)
    loader.close(sessions)
    return Figure(
        points_a_s=count * POINTS_A_MESSAGE / (end_s - start_s),
        cpu_us={name: round(seconds / count * 1e6, 1) for name, seconds in used.items()},
    )


def _count(load: Load) -> int:
    return sum(map(len, load.values()))
