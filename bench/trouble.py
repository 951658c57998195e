"""How soon does `balise status` say what is wrong with InfluxDB, and what does it cost meanwhile?

`balise serve` whole, probes that send each second, and a server that answers in every way but the right one, one after
the other. A clock begins when the answer changes and stops when `balise status` names the new one: also where
the forwarder is in its longest pause for the one before. At the end the server takes what it is given, and every point
of the journal must have come.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from balise_collector.consumers import points_of
from balise_collector.journal import Journal
from balise_collector.store.influx.lines import Encoder
from bench import ground, ingest, loader
from bench.influx import is_through
from bench.memory import Memory
from bench.messages import Source, publish_packet
from tests.collector.influx.ground import HALF_AN_ANSWER, HALF_CLOSED, SILENT, Pretender

GOAL_S = 30.0
PROBES, EVERY_S = 20, 1.0
BACKLOG_EACH = 1_000  # messages of a probe that came before: 140,000 points, 35 readings of the journal
LIMIT_S = 120.0
REFUSED = -1
CAUSES: dict[str, tuple[int, bytes, str]] = {
    "400": (400, b'{"error":"unknown query parameter"}', " 400 "),
    "401": (401, b'{"error":"authorization failed"}', " 401 "),
    "413": (413, b"", " 413"),
    "422": (422, b'{"message":"unprocessable"}', " 422 "),
    "429": (429, b"", " 429"),
    "503": (503, b"<html>try later</html>", " 503 "),
    "hanging": (SILENT, b"", "no answer in time"),
    "half an answer": (HALF_AN_ANSWER, b"", "HTTP/1.1 2"),
    "half-closing": (HALF_CLOSED, b"", "closed connection without response"),
    "refusing": (REFUSED, b"", "Connection refused"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``named_s``: by cause; ``mb``: what the forwarder held at most, and when the first of it was taken."""

    named_s: dict[str, float]
    points: int
    missing: int
    mb_first: float
    mb_most: float


def measure(folder: Path, *, causes: dict[str, tuple[int, bytes, str]] = CAUSES, each: int = BACKLOG_EACH) -> Figure:
    """One run through all of them."""
    where = ground.prepare(folder / "data", PROBES)
    pretender = Pretender((503, b""))
    with (
        ground.mosquitto(where.files),
        ground.serve(where, folder / "serve.log", "--influx", pretender.url) as serve,
    ):
        ground.until(lambda: ingest.is_open(where.data), serve)
        with _sending(where, each), Memory({"forward": _forwarder(serve.pid)}, every_s=0.5) as memory:
            named_s = {}
            for name, (status, body, words) in causes.items():
                pretender = _change(pretender, status, body)
                named_s[name] = round(_until_named(where.data, words), 1)
            pretender = _change(pretender, 204, b"")
        ground.until(is_through(where.data), serve, LIMIT_S)
    pretender.close()
    came = {line for body in pretender.kept for line in body.decode().splitlines()}
    points, missing = _compared(where.data / "journal.db", came)
    held = memory.mb["forward"]
    return Figure(named_s=named_s, points=points, missing=missing, mb_first=held[0], mb_most=max(held))


def _change(pretender: Pretender, status: int, body: bytes) -> Pretender:
    """The same server in another mood; one that comes back is on the same address, and has what it had."""
    if status == REFUSED:
        pretender.close()
        return pretender
    if pretender.is_closed:
        back = Pretender((status, body), port=int(pretender.url.rpartition(":")[2]))
        back.kept = pretender.kept
        return back
    pretender.script = [(status, body)]
    return pretender


def _until_named(data: Path, words: str) -> float:
    """Seconds until `balise status` says it. TimeoutError: it does not."""
    begun_s = time.monotonic()
    while time.monotonic() < begun_s + LIMIT_S:
        command = [*ground.BALISE, "status", "--json", "--data", str(data)]
        said = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
        if any(words in problem for problem in said["problems"] or () if problem.startswith("InfluxDB: ")):
            return time.monotonic() - begun_s
    raise TimeoutError(f"{words!r} is not in {said['problems']}")


@contextmanager
def _sending(where: ground.Ground, each: int) -> Iterator[None]:
    """What came before is in the journal; then a message a second of each probe, until the block ends."""
    sessions = loader.connect((where.files.host, where.files.port), where.passwords)
    sources = {probe: Source(probe=probe, rng=random.Random(probe)) for probe in where.passwords}
    stop = threading.Event()

    def seal(probe: str) -> bytes:
        source = sources[probe]
        return publish_packet(probe, source.next(time.time_ns() // 1_000_000), source.seq)

    def live() -> None:
        while not stop.is_set():
            now_s = time.monotonic()
            start_s = {probe: now_s + n * EVERY_S / PROBES for n, probe in enumerate(sources)}
            loader.pace(sessions, start_s, EVERY_S, now_s + EVERY_S, seal)

    for session in sessions:
        session.unsent = deque(seal(session.probe) for _ in range(each))
    loader.pour(sessions, acks=True, until_s=time.monotonic() + LIMIT_S)
    thread = threading.Thread(target=live)
    thread.start()
    yield
    stop.set()
    thread.join()
    loader.close(sessions)


def _forwarder(serve: int) -> int:
    """The process that sends."""
    (pid,) = [one.pid for one in psutil.Process(serve).children() if "balise_collector.forward" in one.cmdline()]
    return pid


def _compared(journal: Path, came: set[str]) -> tuple[int, int]:
    """Points of the journal's probes, and how many of them did not come."""
    encoder, at = Encoder(), 0
    wanted: set[str] = set()
    with closing(Journal(journal)) as opened:
        while (found := opened.entries(at, 1_000))[1] > at:
            rows, at = found
            wanted.update(encoder.line(point) for row in rows for point in points_of(row))
    return len(wanted), len(wanted - came)
