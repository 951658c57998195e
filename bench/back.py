"""What when 1,000 probes come back at once with a day in their outboxes, over TLS?

All of them lost the line for a day, so that each is in its longest pause: it comes when the agent's own jitter says,
and sends its outbox as fast as its window of 10 lets it. Meanwhile other probes go on with their own minute: theirs are
the records that must not be late. Beside it, in the same run, the same collector takes a load without TLS.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import ssl
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from balise_agent.uplink import pause_s
from balise_collector.broker import Tls
from balise_collector.directory import sqlite_url
from bench import certs, ground, ingest, loader
from bench.messages import POINTS_A_MESSAGE, Source, publish_packet

A_DAY = 1_440  # messages of a probe that was away that long
LIVE_PROBES, LIVE_EVERY_S = 100, 5.0
FAILURES = 10  # tried in vain so often that the pause is the longest
LIMIT_S = 1_200.0
GOAL_SHARE, GOAL_LATE_S = 0.8, 5.0
_OPENERS = 32  # threads that wait for a handshake


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """``points_a_s``: from the first session to the last ack; ``late_s``: of the others' records, from sealing to
    committed, the latest; ``acked_s``: until its probe knew.

    ``fullest_s``: sessions that were begun in the second that had most; ``slowest_s``: the longest opening.
    """

    messages: int
    points_a_s: float
    plain_points_a_s: float
    live: int
    late_s: float
    late_p95_s: float
    acked_s: float
    fullest_s: int
    slowest_s: float

    @property
    def share(self) -> float:
        """Of the rate without TLS."""
        return self.points_a_s / self.plain_points_a_s


def measure(
    folder: Path, *, probes: int = 1_000, each: int = A_DAY, plain_each: int = 100, failures: int = FAILURES
) -> Figure:
    """One run. ``failures``: how often each has tried in vain, which makes its pause.

    AssertionError: a message is missing, twice, unacknowledged or off its chain.
    """
    before = _plain(folder / "plain0", probes, plain_each)
    found = _drain(folder / "tls", probes, each, failures)
    after = _plain(folder / "plain1", probes, plain_each)
    return Figure(plain_points_a_s=(before + after) / 2, **found)


def _plain(folder: Path, probes: int, each: int) -> float:
    """Points a second without TLS, from sessions that are open already."""
    where = ground.prepare(folder / "data", probes)
    return ingest.balise(where, ingest.make_load(list(where.passwords), each), folder / "run").points_a_s


def _drain(folder: Path, probes: int, each: int, failures: int) -> dict[str, Any]:
    certificate = certs.make(folder / "tls")
    where = ground.prepare(folder / "data", probes + LIVE_PROBES, certificate)
    back = dict(list(where.passwords.items())[:probes])
    others = {probe: word for probe, word in where.passwords.items() if probe not in back}
    load, log, journal = ingest.make_load(list(back), each), folder / "collect.log", folder / "journal.db"
    address = (where.files.host, where.files.port)
    arguments = (str(where.data), sqlite_url(where.data), str(journal))
    with ground.mosquitto(where.files), ground.module("bench.collect", *arguments, log=log) as collector:
        ground.until(lambda: "open" in log.read_text(), collector)
        with _Live(address, others, certificate) as live:
            opening = _Opening(address, back, certs.client_context(certificate), load, failures)
            start_s = time.monotonic()
            end_s = loader.pour([], acks=True, until_s=start_s + LIMIT_S, joining=opening.joining)
        loader.close(opening.sessions)
    assert sum(session.acked for session in opening.sessions) == probes * each
    assert not any(session.refused or session.rejected for session in opening.sessions)
    ingest.check_journal(journal, probes * each + live.sent)
    late_s = _late_s(journal, list(others))
    return {
        "messages": probes * each,
        "points_a_s": round(probes * each * POINTS_A_MESSAGE / (end_s - start_s)),
        "live": len(late_s),
        "late_s": round(late_s[-1], 2),
        "late_p95_s": round(late_s[int(len(late_s) * 0.95)], 2),
        "acked_s": round(max(live.took_s), 2),
        "fullest_s": max(Counter(int(at_s - start_s) for at_s in opening.begun_s).values()),
        "slowest_s": round(max(opening.took_s), 2),
    }


def _late_s(journal: Path, probes: Sequence[str]) -> list[float]:
    """Seconds from the sealing of each record of these to the commit that took it, in order; one machine, one clock."""
    marks = ", ".join("?" * len(probes))
    streams = f"SELECT id FROM stream WHERE stream != 'presence' AND probe IN ({marks})"  # noqa: S608
    late = f"SELECT received_ms - ts_ms FROM journal WHERE stream_id IN ({streams})"  # noqa: S608
    with closing(sqlite3.connect(journal)) as db:
        return sorted(ms / 1_000 for (ms,) in db.execute(late, probes))


class _Opening:
    """Opens each session when its agent would, in threads; each holds its outbox."""

    def __init__(
        self,
        address: tuple[str, int],
        passwords: Mapping[str, str],
        tls: ssl.SSLContext,
        load: ingest.Load,
        failures: int,
    ) -> None:
        self.sessions: list[loader.Session] = []
        self.begun_s: list[float] = []
        self.took_s: list[float] = []
        self._address, self._tls, self._load = address, tls, load
        self._opened: SimpleQueue[loader.Session] = SimpleQueue()
        draw, now_s = random.Random("back").uniform, time.monotonic()
        due = sorted((now_s + pause_s(failures, draw), probe, word) for probe, word in passwords.items())
        pool = ThreadPoolExecutor(_OPENERS)
        self._left: list[Future[None]] = [pool.submit(self._open, *one) for one in due]
        pool.shutdown(wait=False)

    def joining(self) -> Sequence[loader.Session] | None:
        """As `loader.pour` asks. OSError: one could not be opened."""
        done = [one for one in self._left if one.done()]
        found = list(self._drained())
        for one in done:
            one.result()
        self._left = [one for one in self._left if one not in done] if done else self._left
        self.sessions += found
        return found if found or self._left else None

    def _drained(self) -> list[loader.Session]:
        found = []
        while True:
            try:
                found.append(self._opened.get_nowait())
            except Empty:
                return found

    def _open(self, due_s: float, probe: str, password: str) -> None:
        time.sleep(max(0.0, due_s - time.monotonic()))
        begun_s = time.monotonic()
        session = loader.open_one(self._address, probe, password, self._tls)
        session.unsent = deque(self._load[probe])
        self.begun_s.append(begun_s)
        self.took_s.append(time.monotonic() - begun_s)
        self._opened.put(session)


class _Live:
    """The others, in a process of their own: how late their records are is not the business of the loader's loop."""

    def __init__(self, address: tuple[str, int], passwords: Mapping[str, str], certificate: Tls) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self._ready = context.Event(), context.Event()
        self._said, there = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_live, args=(address, dict(passwords), certificate, self._stop, self._ready, there)
        )
        self.sent, self.took_s = 0, [0.0]

    def __enter__(self) -> _Live:
        self._process.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._said.poll(60):
            said = json.loads(self._said.recv())
            self.sent, self.took_s = said["sent"], said["took_s"]
        self._process.join(60)


def _live(
    address: tuple[str, int], passwords: dict[str, str], certificate: Tls, stop: Event, ready: Event, there: Any
) -> None:
    sessions = loader.connect(address, passwords, certs.client_context(certificate))
    sources = {probe: Source(probe=probe, rng=random.Random(probe)) for probe in passwords}

    def seal(probe: str) -> bytes:
        source = sources[probe]
        return publish_packet(probe, source.next(time.time_ns() // 1_000_000), source.seq)

    took_s: list[float] = []
    ready.set()
    while not stop.is_set():
        now_s = time.monotonic()
        start_s = {probe: now_s + n * LIVE_EVERY_S / len(passwords) for n, probe in enumerate(passwords)}
        took_s += loader.pace(sessions, start_s, LIVE_EVERY_S, now_s + LIVE_EVERY_S, seal)
    there.send(json.dumps({"sent": sum(source.seq for source in sources.values()), "took_s": took_s}))
    loader.close(sessions)
