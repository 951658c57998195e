"""How fast does a backlog reach InfluxDB, and how fast do measurements while they come?

Backlog: a journal of so many messages a probe, 7 points of 5 fields each, forwarded by the real consumer; beside it, in
the same run and on the same server, a bare HTTP loop that posts the same lines, which it was given ready made. Live:
1,000 sessions pour into broker, ingest with its fsynced journal and acks, and forwarder, each a process; the clock
stops when InfluxDB has counted the last point. InfluxDB 1.6.7 is on the same cores, as everything is; a 2.x that the
environment names (BALISE_TEST_INFLUX2_URL, _TOKEN, _ORG) is measured too.
"""

from __future__ import annotations

import http.client
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from balise_agent.catalogue import Retention
from balise_agent.contract import topic
from balise_collector.consumers import Loop, points_of
from balise_collector.directory import sqlite_url
from balise_collector.forward import ROWS, SWITCH_S, Forwarder, feed_key
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.placement import Place
from balise_collector.store import influx
from balise_collector.store.influx import server as known
from balise_collector.store.influx.posting import Post, open_post
from balise_collector.store.influx.server import Server, Settings, policy
from balise_collector.store.influx.setup import prepare
from balise_collector.store.influx.state import State, cursor_of
from bench import ground, ingest, loader
from bench.messages import MINUTE_MS, POINTS_A_MESSAGE, Source
from tests.collector.influx.servers import Influxd, influx2

GOAL_SHARE = 0.9  # of the bare loop
TELEGRAF = 54_500  # points/s that it stored in an InfluxDB 2.7 on two such cores: 53,000 to 56,000
GOAL_LIVE = TELEGRAF * 0.8
LIMIT_S = 300.0
LIVE_TIMES = 3  # as many messages come live as a backlog has: with fewer, much of it is the making of 7,000 series


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one server: points a second. ``backlog`` and ``bare``: turn by turn; ``live``: run by run; ``cpu_us``:
    processor time a point of each program of the first of them, which depends least on what else the machine does."""

    backlog: tuple[float, ...]
    bare: tuple[float, ...]
    live: tuple[float, ...]
    bytes_a_point: float
    encode_us_a_point: float
    cpu_us: dict[str, float]

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the bare loop of the same turn."""
        return tuple(ours / theirs for ours, theirs in zip(self.backlog, self.bare, strict=True))


class _Kept:
    """A `Post` that keeps what it is given: the lines for the peer."""

    def __init__(self) -> None:
        self.bodies: list[tuple[Retention, bytes]] = []

    def post(self, retention: Retention, body: bytes) -> None:
        self.bodies.append((retention, body))

    def close(self) -> None:
        """Nothing is open."""


def make_journal(path: Path, probes: int, messages: int) -> int:
    """A journal of a backlog; how many points it holds."""
    now_ms = time.time_ns() // 1_000_000
    with closing(Journal(path, synchronous="OFF")) as journal:
        places = {
            f"probe{n:04d}": Place(home=f"home{n:04d}", building=f"b{n // 8}", pon=f"p{n // 64}") for n in range(probes)
        }
        taking = Ingest(journal, lambda probe, _: places[probe], lambda: now_ms)
        sources = [Source(probe=probe, rng=random.Random(probe)) for probe in places]
        for number in range(messages):
            ts_ms = now_ms - (messages - number) * MINUTE_MS
            taking.take([Incoming(topic=topic(one.probe, "records"), payload=one.next(ts_ms)) for one in sources])
    return probes * messages * POINTS_A_MESSAGE


def distinct(path: Path) -> int:
    """Points of a journal's probes with different keys: of the load's random dates, one in 100,000 is there twice."""
    keys: set[tuple[str, str, str, int]] = set()
    with closing(Journal(path)) as journal:
        at = 0
        while (found := journal.entries(at, ROWS))[1] > at:
            rows, at = found
            points = (point for row in rows for point in points_of(row) if point.measurement != "presence")
            keys.update((point.probe, point.measurement, point.target, point.ts_ms) for point in points)
    return len(keys)


def forward(folder: Path, connect: Callable[[], Post]) -> float:
    """Seconds that the real consumer takes for all of a journal."""
    with closing(Journal(folder / "journal.db")) as journal, closing(Journal(folder / "journal.db")) as letters:
        state = State(folder / f"state{time.monotonic_ns()}.db")
        forwarder = Forwarder(letters=letters, state=state, whose="", connect=connect, now_ms=lambda: 0)
        with closing(forwarder):
            loop = Loop(journal, [forwarder], rows=ROWS)
            start_s = time.perf_counter()
            loop.drain()
            took_s = time.perf_counter() - start_s
            assert forwarder.cursor("journal") == journal.last_id()
            assert state.counts() == {}
    return took_s


def bare(server: Server, bodies: list[tuple[Retention, bytes]]) -> float:
    """Seconds that a loop takes that does nothing but post."""
    parts = urlsplit(server.url)
    line = http.client.HTTPConnection(str(parts.hostname), parts.port)
    start_s = time.perf_counter()
    for retention, body in bodies:
        params = {"db": server.database, "rp": policy(retention), "precision": "ms"}
        line.request("POST", f"/write?{urlencode(params)}", body, server.authorization())
        answer = line.getresponse()
        said = answer.read()
        assert answer.status == 204, said
    took_s = time.perf_counter() - start_s
    line.close()
    return took_s


def backlog(server: Server, folder: Path, probes: int, messages: int, runs: int) -> dict[str, Any]:
    """Points a second of both, each into a database of its own, in turn: what else the machine does falls on both."""
    sys.setswitchinterval(SWITCH_S)
    points = make_journal(folder / "journal.db", probes, messages)
    there = distinct(folder / "journal.db")
    kept = _Kept()
    encode_s = forward(folder, lambda: kept)
    ours: list[float] = []
    theirs: list[float] = []
    for run in range(runs):
        for turn in ("forward", "bare") if run % 2 else ("bare", "forward"):
            place = _database(server, f"bench{turn}{run}")
            took_s = forward(folder, partial(open_post, place)) if turn == "forward" else bare(place, kept.bodies)
            (ours if turn == "forward" else theirs).append(took_s)
            assert _count(place, folder) == there
    return {
        "backlog": tuple(round(points / took_s) for took_s in ours),
        "bare": tuple(round(points / took_s) for took_s in theirs),
        "bytes_a_point": round(sum(len(body) for _, body in kept.bodies) / points, 1),
        "encode_us_a_point": round(encode_s / points * 1e6, 2),
    }


def live(
    server: Server, folder: Path, probes: int, messages: int, influxd: int | None
) -> tuple[float, dict[str, float]]:
    """Points a second from the first PUBLISH to the last point that InfluxDB has kept, all durable and acknowledged;
    and processor time of each program, us a point. ``influxd``: its process, where it is ours."""
    where = ground.prepare(folder / "ground", probes)
    load = ingest.make_load(list(where.passwords), messages)
    points, place, data = probes * messages * POINTS_A_MESSAGE, _database(server, "benchlive"), folder / "live"
    _tell(data, place)
    arguments = (str(where.data), sqlite_url(where.data), str(data / "journal.db"))
    log = data / "collect.log"
    with ground.mosquitto(where.files) as broker, ground.module("bench.collect", *arguments, log=log) as collector:
        ground.until(lambda: "open" in log.read_text(), collector)
        sessions = loader.connect((where.files.host, where.files.port), where.passwords)
        for session in sessions:
            session.unsent = deque(load[session.probe])
        with ground.module(
            "balise_collector.forward", str(data), str(os.getpid()), log=data / "forward.log"
        ) as forward:
            ground.until(influx.state_path(known.folder(data)).exists, forward)  # it runs, as it would for months
            pids = {"broker": broker.pid, "collector": collector.pid, "forwarder": forward.pid, "loader": os.getpid()}
            pids |= {} if influxd is None else {"InfluxDB": influxd}
            before = {name: ground.cpu_s(pid) for name, pid in pids.items()}
            start_s = time.monotonic()
            loader.pour(sessions, acks=True, until_s=start_s + LIMIT_S)
            ground.until(is_through(data), forward, LIMIT_S)
            stored_s = time.monotonic() - start_s
            used_us = {name: (ground.cpu_s(pid) - before[name]) / points * 1e6 for name, pid in pids.items()}
        loader.close(sessions)
    assert sum(session.acked for session in sessions) == probes * messages
    assert _count(place, folder) == distinct(data / "journal.db")
    return round(points / stored_s), {name: round(us, 1) for name, us in used_us.items()}


def _tell(data: Path, place: Server) -> None:
    """What the forwarder reads: where InfluxDB is."""
    data.mkdir(parents=True)
    token = data / "token"
    token.write_text(place.credential)
    file = str(token) if place.credential else ""
    known.save(data, Settings(url=place.url, database=place.database, org=place.org, write_file=file))


def is_through(data: Path) -> Callable[[], bool]:
    """Whether InfluxDB has got what the journal holds now: a look at one small file, which costs the others nothing."""
    settings = known.load(data)
    assert settings
    with closing(Journal(data / "journal.db")) as journal:
        key, last_id = feed_key(journal.name, settings.identity, "journal"), journal.last_id()
    return lambda: cursor_of(influx.state_path(known.folder(data)), key) >= last_id


def _database(server: Server, name: str) -> Server:
    place = replace(server, database=f"{name}{time.monotonic_ns()}")
    prepare(place)
    return place


def _count(place: Server, folder: Path) -> int:
    """Points that a probe sent."""
    with closing(influx.open_reader(place, folder / "none.db")) as reader:
        return sum(reader.counts(0, 2**43).get(name, 0) for name in ("reach", "dns", "web", "host"))


def measure(
    server: Server, folder: Path, probes: int, messages: int, runs: int, *, influxd: int | None = None
) -> Figure:
    """Both figures on one server."""
    found = backlog(server, folder, probes, messages, runs)
    folders = [folder / f"live{run}" for run in range(max(1, runs // 2))]
    lives = [live(server, one, probes, LIVE_TIMES * messages, influxd) for one in folders]
    return Figure(live=tuple(rate for rate, _ in lives), cpu_us=lives[0][1], **found)


@contextmanager
def debian(folder: Path) -> Iterator[Influxd]:
    """InfluxDB 1.6.7, until the block ends."""
    influxd = Influxd(folder / "influxd")
    influxd.start()
    try:
        yield influxd
    finally:
        influxd.kill()


def run(folder: Path, probes: int = 1_000, messages: int = 20, runs: int = 7) -> dict[str, Figure]:
    """Figures by server."""
    found: dict[str, Figure] = {}
    for version in ("1.6.7", "2.x"):
        there = folder / version
        there.mkdir()
        second = influx2()
        if version == "1.6.7":
            with debian(there) as influxd:
                found[version] = measure(influxd.server(), there, probes, messages, runs, influxd=influxd.pid)
        elif second is not None:
            found[version] = measure(second, there, probes, messages, runs)
    return found
