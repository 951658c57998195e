"""What does the collector start, in which order, and how does it stop?

The main thread runs the intake; one thread looks after the directory, the fleet and the platform's own rows; one
answers /metrics and /healthz; the consumers are a process of their own.

Rule 1: SIGTERM and Ctrl-C: what was read is committed, and nothing else is taken; nothing is lost without it either.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from balise_agent import sqlite_file
from balise_collector import broker, metrics
from balise_collector.children import STOP_S, Child
from balise_collector.directory import Directory
from balise_collector.fleet import CutOffs, Fleet, FleetError, Guard, by_probe, load_settings
from balise_collector.forward import register
from balise_collector.ingest import Ingest
from balise_collector.intake import MARK, Broker, Intake
from balise_collector.journal import Journal
from balise_collector.journal_salvage import open_journal
from balise_collector.store.influx.server import folder
from balise_collector.store.influx.state import state_path, trouble_of

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how soon a change of the directory, a command or a dead consumer is seen
SITES_S = 60.0  # how soon what only time changes is: an assignment or a consent that begins, an edited fleet.toml
BEHIND_MS = 5 * 60_000  # a consumer that is further behind than this is not only busy
PLATFORM_S = 60.0
ANSWERS_S = 60.0  # how soon answers that had their time are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """``data``: DATA; ``directory_url``: where homes are; ``http``: address and port of /metrics (0: any).

    ``store``: the embedded store is written; ``influx``: the InfluxDB of DATA/influx is. ``token_key``: shared with
    `balise target`, for the tokens of tests that fill the line; None: probes get none.
    """

    data: Path
    directory_url: str
    broker: Broker
    http: tuple[str, int] = ("127.0.0.1", 9464)
    sites_s: float = SITES_S
    platform_s: float = PLATFORM_S
    store: bool = True
    influx: bool = False
    token_key: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class State:
    """What /metrics, /healthz and the platform's rows tell; written by its owners, read by others."""

    journal: Journal
    ingest: Ingest
    intake: Intake
    guard: Guard
    started_s: float
    children: Sequence[Child] = ()
    directory_error: str = ""
    fleet_error: str = ""
    assigned: int = 0

    @property
    def restarts(self) -> int:
        """Starts of children beyond the first."""
        return sum(child.restarts for child in self.children)

    def problems(self) -> list[str]:
        """What keeps the collector from its work now, in words; none when all is well."""
        why = f": {self.intake.why}" if self.intake.why else ""
        checks = {
            f"broker: no session{why}": self.intake.is_open,
            "journal: the disk refuses": self.intake.disk_ok,
            "journal: the file is damaged": not self.intake.damaged,
            f"directory: {self.directory_error}": not self.directory_error,
            f"fleet.toml: {self.fleet_error}": not self.fleet_error,
            f"broker: not told whom to cut off: {self.guard.fault}": not self.guard.fault,
        }
        ended = [f"{child.name}: not running" for child in self.children if not child.is_running()]
        return [what for what, fine in checks.items() if not fine] + ended + self._influx() + self._behind()

    def _influx(self) -> list[str]:
        """What InfluxDB, or the way to it, said where it takes nothing."""
        if not any(child.name == "forward" for child in self.children):
            return []
        trouble = trouble_of(state_path(folder(self.journal.path.parent)))
        return [f"InfluxDB: {trouble.what}"] if trouble else []

    def _behind(self) -> list[str]:
        """Consumers that have not read, for some minutes, what there is."""
        late_ms = self.late_ms(time.time_ns() // 1_000_000)
        return [f"{name}: {ms // 60_000} min behind" for name, ms in late_ms.items() if ms > BEHIND_MS]

    def late_ms(self, now_ms: int) -> dict[str, int]:
        """Age of the oldest row that each consumer has still to read, by consumer and feed; 0: it has read all."""
        waiting = {name: self.journal.waiting_since_ms(name) for name in self.journal.cursors()}
        return {name: 0 if since_ms is None else max(0, now_ms - since_ms) for name, since_ms in waiting.items()}

    def lag(self) -> dict[str, int]:
        """Rows that each consumer has still to read, by consumer and feed."""
        last = {feed: self.journal.last_id(feed) for feed in ("journal", "derived")}
        return {name: max(0, last[name.rpartition(":")[2]] - id_) for name, id_ in self.journal.cursors().items()}


def broker_of(data: Path) -> Broker:
    """The broker that `balise broker init` made in DATA/broker. BrokerError: there is none."""
    files = broker.load(data / "broker")
    return Broker(
        host=files.host,
        port=files.port,
        client_id=files.collector_username,
        username=files.collector_username,
        password=files.collector_password_file.read_text().strip(),
        tls=broker.client_tls(files, files.collector_username),
    )


def serve(settings: ServeSettings, on_ready: Callable[[int], None] = lambda _port: None) -> int:
    """Runs until SIGTERM or Ctrl-C. ``on_ready`` is told the port of /metrics."""
    with Directory(settings.directory_url) as directory:
        journal = open_journal(settings.data / "journal.db")
        ingest = Ingest(journal, directory.snapshot().resolve, lambda: time.time_ns() // 1_000_000)
        everything = threading.Event()  # a new session: the broker may have forgotten every retained configuration
        intake = Intake(settings.broker, ingest, on_connected=lambda: _all(everything.set, guard.resumed))
        guard = _guard(settings, ingest, lambda: intake.is_open and intake.disk_ok, partial(intake.publish, MARK))
        seen = Journal(settings.data / "journal.db")  # only read from: who writes may wait, and all on one connection
        children = _children(settings, journal)
        state = State(
            journal=seen, ingest=ingest, intake=intake, guard=guard, started_s=time.monotonic(), children=children
        )
        caretaker = _Caretaker(settings, directory, state, everything)
        server = metrics.Server(settings.http, state)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: intake.stop())
        caretaker.start()
        guard.start()
        server.start()
        _announce(settings.data, server.address)
        on_ready(server.address[1])
        try:
            intake.run()
        finally:
            if intake.damaged:
                sqlite_file.mark_damaged(settings.data / "journal.db")
            guard.stop()
            caretaker.stop()
            server.stop()
            seen.close()
            journal.close()
            with suppress(FileNotFoundError):
                (settings.data / "serve.json").unlink()
    return 1 if intake.damaged else 0


def _children(settings: ServeSettings, journal: Journal) -> list[Child]:
    """What runs beside ingest. Before anything is pruned, the journal knows for whom it keeps rows."""
    if settings.influx:
        register(settings.data)
    if not settings.store:
        with journal.transaction():
            journal.forget_consumer("store")
    consumers = Child("balise_collector.consumers", settings.data, [] if settings.store else ["--no-store"])
    judging = Child("balise_collector.judging", settings.data, [settings.directory_url])
    stats = Child("balise_collector.stats", settings.data, [settings.directory_url])
    forward = [Child("balise_collector.forward", settings.data)] if settings.influx else []
    return [consumers, judging, stats, *forward]


def _all(*calls: Callable[[], None]) -> None:
    for call in calls:
        call()


def _guard(
    settings: ServeSettings, ingest: Ingest, is_taking: Callable[[], bool], mark: Callable[[bytes], None]
) -> Guard:
    """Cuts off who sends too much, at the broker in DATA/broker."""

    def cut(probe: str) -> str:
        try:
            broker.cut_off(broker.load(settings.data / "broker"), probe)
        except (broker.BrokerError, OSError, ValueError) as exc:
            return str(exc)
        return ""

    return Guard(
        cutoffs=CutOffs(settings.data / "fleet.db"),
        sent=lambda: by_probe(ingest.used, ingest.refused),
        quotas=lambda: load_settings(settings.data / "fleet.toml").quotas,
        is_taking=is_taking,
        cut=cut,
        mark=mark,
        marked=lambda: ingest.marked,
    )


def _announce(data: Path, address: tuple[str, int]) -> None:
    """Tells `balise status` whom to ask."""
    said = {"pid": os.getpid(), "http_host": address[0], "http_port": address[1]}
    part = data / "serve.json.part"
    part.write_text(json.dumps(said))
    part.rename(data / "serve.json")


class _Caretaker:
    """The thread that looks after what ingest depends on, so that ingest itself never waits for it."""

    def __init__(
        self, settings: ServeSettings, directory: Directory, state: State, everything: threading.Event
    ) -> None:
        self._settings, self._directory, self._state = settings, directory, state
        self._fleet = Fleet(settings.data / "fleet.db")
        self._journal = Journal(settings.data / "journal.db")
        self._generation, self._sites_at_s = -1, 0.0
        self._platform_at_s = self._answers_at_s = 0.0
        self._everything = everything
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(3 * STOP_S)
        self._fleet.close()
        self._journal.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for work in (
                self._watch_children,
                self._follow_directory,
                self._send_commands,
                self._pass_answers,
                self._tell,
            ):
                try:
                    work()
                except Exception as exc:  # whatever one of them meets, the others and the next turn go on
                    log.exception("caretaker_failed", extra={"work": work.__name__.strip("_"), "why": str(exc)})
            self._stop.wait(LOOK_S)
        for child in self._state.children:
            child.end()

    def _watch_children(self) -> None:
        if sqlite_file.is_marked(self._settings.data / "journal.db"):
            self._state.intake.damaged = True
            self._state.intake.stop()
            return
        for child in self._state.children:
            child.watch(time.monotonic())

    def _follow_directory(self) -> None:
        """Takes a changed directory and tells probes what changed for them; while it cannot be read, the last one
        holds."""
        try:
            generation = self._directory.generation()
            if generation != self._generation:
                self._state.ingest.resolve = self._directory.snapshot().resolve
            self._state.directory_error = ""
        except Exception as exc:
            self._state.directory_error = type(exc).__name__
            raise
        everything, due = self._everything.is_set(), time.monotonic() >= self._sites_at_s
        if (generation != self._generation or everything or due) and self._publish(changed=not everything):
            self._generation = generation

    def _publish(self, *, changed: bool) -> bool:
        """Whether it could be worked out; else it is tried again at the next look."""
        now_ms = time.time_ns() // 1_000_000
        sites = self._directory.sites(now_ms)
        try:
            fleet_settings = load_settings(self._settings.data / "fleet.toml")
            fleet_settings = replace(fleet_settings, token_key=self._settings.token_key)
        except FleetError as exc:
            if str(exc) != self._state.fleet_error:
                log.error("fleet_settings", extra={"why": str(exc)})
            self._state.fleet_error = str(exc)
            return False
        self._state.fleet_error, self._sites_at_s = "", time.monotonic() + self._settings.sites_s
        if not changed:
            self._everything.clear()
        found = self._fleet.configurations(sites.values(), fleet_settings, now_ms // 1000, changed=changed)
        for topic, payload in found:
            self._state.intake.publish(topic, payload, retain=True)
        self._state.assigned = len(sites)
        if found:
            log.info("configurations", extra={"probes": len(found)})
        return True

    def _send_commands(self) -> None:
        if self._state.intake.is_open:
            for topic, payload in self._fleet.commands(time.time_ns() // 1_000_000):
                self._state.intake.publish(topic, payload)

    def _pass_answers(self) -> None:
        """To who asked, and from memory to nowhere once they had their time."""
        waiting = self._state.ingest.answers
        answers = [waiting.popleft() for _ in range(len(waiting))]
        if answers or time.monotonic() >= self._answers_at_s:
            self._answers_at_s = time.monotonic() + ANSWERS_S
            self._fleet.answered(answers, time.time_ns() // 1_000_000_000)

    def _tell(self) -> None:
        """The platform's own rows, derived like any conclusion: Grafana and the report read them from the store."""
        if time.monotonic() < self._platform_at_s:
            return
        self._platform_at_s = time.monotonic() + self._settings.platform_s
        state, journal = self._state, self._journal
        now_ms, counts = time.time_ns() // 1_000_000, journal.counts()
        fields = {
            "messages": state.ingest.counts["new"],
            "duplicates": state.ingest.counts["duplicate"],
            "dead_letters": counts["dead_letters"],
            "orphans": counts["orphans"],
            "bytes": journal.size_bytes(),
            "disk_free_kb": shutil.disk_usage(self._settings.data).free // 1024,
            "broker_ok": state.intake.is_open,
        }
        with journal.transaction():
            journal.derive("platform", {"part": "ingest"}, now_ms, fields)
            lag, late_ms = state.lag(), state.late_ms(now_ms)
            for name, rows in lag.items():
                found = {"lag_rows": rows, "lag_s": late_ms[name] / 1000}
                journal.derive("platform", {"part": name}, now_ms, found)
