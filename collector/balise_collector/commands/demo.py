"""`balise demo`: what does it show, and how does it end?

Rule 1: it looks at the real programs from outside; all that it prints is read from files that they wrote.
Rule 2: whatever ends it, what it started is ended too.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import typer
from rich.console import Console
from rich.live import Live

from balise_collector.commands import demo_options as asked
from balise_collector.commands.options import InfluxToken, stop
from balise_collector.demo import forwarding, picture
from balise_collector.demo.programs import FAULTS, DemoError, Programs
from balise_collector.demo.tally import Tally, tally
from balise_collector.demo.town import LEAST_HOMES, MOST_HOMES
from balise_collector.store import Point
from balise_collector.store.chunks import open_reader

LOOK_S = 0.5
SETTLE_S = 15.0  # how long the store is given at the end to take what the journal has
STALE_MS = 120_000

_WAITING = "SELECT (SELECT count(*) FROM pending) + count(*) FROM outbox WHERE acked IS NULL"
_ACKNOWLEDGED = "SELECT count(*) FROM outbox WHERE acked IS NOT NULL"


def demo(
    seconds: asked.Seconds = None,
    as_json: asked.AsJson = False,
    folder: asked.Folder = None,
    influx: asked.Influx = "",
    token: InfluxToken = "",
    database: asked.Database = "balise",
    org: asked.Org = "",
    town: asked.Town = 0,
    faults: asked.Faults = None,
    fault: asked.Wrong = None,
) -> None:
    """Show the whole path on this machine: a broker, a target, the collector, and one real agent that measures them."""
    _check_town(town, faults)
    asked_to_end, wrong = threading.Event(), _wrong(fault or [])
    missing = None
    try:
        with _folder(folder) as where, _ended_by_signals(asked_to_end):
            programs = Programs(where, town=town, faults=faults, wrong=wrong, asked_to_end=asked_to_end)
            try:
                if influx:
                    programs.serve_options = forwarding.prepare(where, influx, token=token, database=database, org=org)
                if not as_json:
                    typer.echo("Starting a broker, a target, a telephone, television, the collector and an agent.")
                programs.start()
                _watch(programs, seconds, live=not as_json)
                found = finish(programs)
                missing = forwarding.missing(programs.data) if influx else None
            finally:
                programs.end_all()
    except DemoError as exc:
        stop(exc)
    except OSError as exc:
        stop(f"{exc.filename or folder or tempfile.gettempdir()}: {exc.strerror}")
    _say(found, as_json=as_json, influx={"influx_missing": missing} if influx else {})
    raise typer.Exit(0 if found.lost == found.duplicated == 0 and (not influx or missing == 0) else 1)


def _check_town(homes: int, faults: Path | None) -> None:
    if faults is not None and not homes:
        stop("--faults: needs --town, which it happens in")
    if faults is None and 0 < homes < LEAST_HOMES:
        own = f"{LEAST_HOMES}-{MOST_HOMES} with the demo's own faults; fewer with --faults FILE (docs/town.md)"
        stop(f"--town: {homes}; allowed: {own}")


def _wrong(faults: list[str]) -> dict[str, tuple[str, ...]]:
    """Service to its faults, without their prefix."""
    found: dict[str, tuple[str, ...]] = {}
    for text in faults:
        service, _, told = text.partition(":")
        if service not in FAULTS:
            known = ", ".join(FAULTS)
            stop(f"--fault: {text!r} is of no service that the demo has; allowed: {known}")
        try:
            FAULTS[service]([told])
        except ValueError as exc:
            stop(f"--fault: {service}:{exc}")
        found[service] = (*found.get(service, ()), told)
    return found


def _watch(programs: Programs, seconds: float | None, *, live: bool) -> None:
    """Until the time is over or Ctrl-C; a table on a terminal, a line every 10 s elsewhere."""
    until_s = None if seconds is None else time.monotonic() + seconds
    console = Console(stderr=not live)
    with suppress(KeyboardInterrupt):
        if live and console.is_terminal:
            with Live(
                console=console, auto_refresh=False, screen=False
            ) as screen:  # cut at the bottom where it is short
                for left_s in _looks(programs, until_s, LOOK_S):
                    now_ms = time.time_ns() // 1_000_000
                    last = _last(programs, now_ms)
                    screen.update(picture.picture(last, look(programs), now_ms, left_s, console.width), refresh=True)
            return
        for left_s in _looks(programs, until_s, 10.0):
            path, left = look(programs), "" if left_s is None else f", {left_s:.0f} s left"
            ended = f"; ended: {', '.join(path.programs_down)}" if path.programs_down else ""
            console.print(f"{path.measured} measured, {path.waiting} waiting, {path.lag_rows} rows behind{left}{ended}")


def _looks(programs: Programs, until_s: float | None, every_s: float) -> Iterator[float | None]:
    while until_s is None or time.monotonic() < until_s:
        programs.go_on()
        left_s = None if until_s is None else until_s - time.monotonic()
        yield left_s
        wait_s = every_s if until_s is None else min(every_s, until_s - time.monotonic())
        programs.asked_to_end.wait(max(0.0, wait_s))


def look(programs: Programs) -> picture.Path:
    """Where records are now, from the files."""
    outboxes, journal = [agent.outbox for agent in programs.agents], programs.data / "journal.db"
    last = _count(journal, "SELECT coalesce(max(id), 0) FROM journal")
    done = _count(journal, "SELECT coalesce(min(id), 0) FROM cursor WHERE consumer LIKE '%:journal'")
    return picture.Path(
        measured=sum(_lines(agent.witness) for agent in programs.agents),
        waiting=sum(_count(outbox, _WAITING) for outbox in outboxes),
        acknowledged=sum(_count(outbox, _ACKNOWLEDGED) for outbox in outboxes),
        journal=_count(journal, "SELECT count(*) FROM journal"),
        lag_rows=max(0, last - done),
        dead_letters=_count(journal, "SELECT count(*) FROM dead_letter"),
        programs_down=programs.ended(),
    )


def finish(programs: Programs) -> Tally:
    """Ends the agents, lets the store catch up, compares."""
    for agent in programs.agents:
        programs.end(agent.name)
    until_s = time.monotonic() + SETTLE_S
    while look(programs).lag_rows > 0 and time.monotonic() < until_s:
        time.sleep(0.1)
    programs.end_all()
    return tally(programs.data, programs.agents)


def _last(programs: Programs, now_ms: int) -> list[Point]:
    try:
        with closing(open_reader(programs.data / "store")) as reader:
            return [*reader.latest(since_ms=now_ms - STALE_MS)]
    except (OSError, sqlite3.Error):
        return []  # the store is not there yet


def _count(path: Path, sql: str) -> int:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return int(db.execute(sql).fetchone()[0])
    except sqlite3.Error:
        return 0  # the program that makes the file has just begun


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _say(found: Tally, *, as_json: bool, influx: Mapping[str, int | None]) -> None:
    """``influx``: the records that it misses, where it was asked for; None: it does not answer."""
    if as_json:
        typer.echo(json.dumps(found.as_json() | dict(influx)))
        return
    typer.echo(
        f"{found.measured} records measured, {found.stored} stored, {found.waiting} still with the agent:\n"
        f"{found.lost} lost, {found.duplicated} duplicated, {found.dead_letters} dead letters."
    )
    if found.delay_p95_ms is not None:
        typer.echo(f"From sealing to committed, 95 of 100 took {found.delay_p95_ms} ms or less.")
    for missing in influx.values():
        typer.echo(f"InfluxDB: {'it does not answer' if missing is None else f'{missing} records are missing'}.")


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        if any(given.iterdir()):  # an earlier demo's records would be counted as lost
            raise DemoError(f"--dir: {given} is not empty")
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="balise-demo-") as made:
        yield Path(made)


@contextmanager
def _ended_by_signals(asked: threading.Event) -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that is closed, end it as Ctrl-C does. They are noted, and end it where it
    looks: an exception of a handler is lost where it meets a callback of the garbage collector."""

    def end(_number: int, _frame: object) -> None:
        asked.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
