"""`balise town run`: how right is the judge about a town whose faults are known?"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from balise_collector.commands.options import InfluxToken, stop, when
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from balise_collector.store import Unavailable
from balise_collector.store.influx.server import ServerError
from balise_collector.town import alarms, calendar, running, script, truth
from balise_collector.town.running import Run
from balise_collector.town.score import Score, score
from balise_collector.town.stream import Stream
from balise_collector.town.topology import Town, build
from balise_collector.trial import ways
from balise_collector.trial.filling import Filling

app = typer.Typer(no_args_is_help=True, help="A simulated town whose faults are known, to prove the judge in.")

GOALS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "recall": (">= 97 %", lambda v: v >= 0.97),
    "precision": (">= 99 %", lambda v: v >= 0.99),
    "place_right": (">= 95 %", lambda v: v >= 0.95),
    "cause_right": (">= 95 %", lambda v: v >= 0.95),
    "false_green_p95_s": ("<= 120 s", lambda v: v <= 120),
    "false_incidents": ("0", lambda v: v == 0),
}
PATHS = ("direct", "full")
DAY_MS = calendar.DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is of."""

    town: Town
    stream: Stream
    title: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Time of a run, generation, judge and baselines together; on a shared machine only ``cpu_s`` says something."""

    seconds: float
    cpu_s: float


@app.callback()
def town() -> None:
    """A simulated town."""


@app.command()
def run(
    homes: Annotated[int, typer.Option(min=1, max=20_000)] = 200,
    days: Annotated[float, typer.Option(min=0.01, max=366)] = 1.0,
    seed: Annotated[str, typer.Option(help="The same seed gives the same bytes.")] = "1",
    start: Annotated[str, typer.Option(help="First moment; default: the last midnight in Paris before --until.")] = "",
    until: Annotated[str, typer.Option(help="Last moment instead: a date, or now.", show_default=False)] = "",
    faults: Annotated[
        Path | None, typer.Option(help="Script of faults (docs/town.md); default: each kind once.", show_default=False)
    ] = None,
    probed: Annotated[float, typer.Option(min=0, max=1, help="Share of homes with a probe.")] = 0.9,
    path: Annotated[
        str, typer.Option(help="direct: rows to the judge; full: messages, journal, consumers.")
    ] = "direct",
    tick: Annotated[int, typer.Option(min=5, max=60, help="Seconds between two looks of the judge, on direct.")] = 20,
    evidence: Annotated[bool, typer.Option("--evidence", help="The OLT's alarms are told too (direct path).")] = False,
    influx: Annotated[str, typer.Option(metavar="URL", help="Write all points there too.", show_default=False)] = "",
    token: InfluxToken = "",
    database: Annotated[str, typer.Option(help="Its database, or bucket.")] = "balise",
    org: Annotated[str, typer.Option(help="Its organisation, on 2.x.", show_default=False)] = "",
    log: Annotated[Path | None, typer.Option(help="Write the truth there, as JSON lines.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run a town fast, judge it, and print how right the judge was, beside three simpler watchers."""
    if 60 % tick:
        stop(f"--tick: {tick}; allowed: seconds that divide a minute")
    asked = _asked(homes, days, seed, start, until, faults, probed, path)
    known = truth.tell(asked.stream)
    if log is not None:
        log.write_text("".join(json.dumps(row) + "\n" for row in known.rows()))
    filling = _filling(influx, token, database, org)
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    try:
        found = _judged(asked, filling, evidence, tick, as_json)
    finally:
        if filling is not None:
            filling.close()
    took = Took(seconds=time.monotonic() - began_s, cpu_s=time.process_time() - began_cpu_s)
    scores = {"judge": score(known, found.notes, asked.town, alerts=found.alerts)}
    scores |= {
        name: score(known, watcher.notes, asked.town, alerts=watcher.alerts) for name, watcher in found.watchers.items()
    }
    if as_json:
        typer.echo(json.dumps(_json(asked, found, scores, took)))
    else:
        _show(asked, found, scores, took)


def _asked(
    homes: int, days: float, seed: str, start: str, until: str, faults: Path | None, probed: float, path: str
) -> Asked:
    if path not in PATHS:
        stop(f"--path: {path!r}; allowed: {', '.join(PATHS)}")
    if start and until:
        stop("--start and --until: give one of them")
    length_ms = int(days * DAY_MS) // calendar.MINUTE_MS * calendar.MINUTE_MS
    end_ms = when("--until", "" if until == "now" else until)
    start_ms = when("--start", start) if start else end_ms - length_ms
    if not until and not start:
        start_ms = calendar.midnight_ms(0, start_ms)
    start_ms -= start_ms % calendar.MINUTE_MS
    bounds = (start_ms, start_ms + length_ms)
    made = build(homes=homes, seed=seed, probed=probed)
    try:
        asked = script.read(faults if faults is not None else script.shipped("every-kind.toml"))
        broken = script.faults(asked, made, bounds)
    except script.ScriptError as exc:
        stop(exc)
    stream = Stream(town=made, faults=broken, bounds=bounds, make=Row, life=asked.life)
    return Asked(town=made, stream=stream, title=asked.title, path=path)


def _filling(influx: str, token: str, database: str, org: str) -> Filling | None:
    if not influx:
        return None
    try:
        return Filling.open(influx, token=token, database=database, org=org)
    except Unavailable as exc:
        stop(f"InfluxDB: {exc}")
    except ServerError as exc:
        stop(exc)


def _judged(asked: Asked, filling: Filling | None, evidence: bool, tick_s: int, quiet: bool) -> Run:
    gc.freeze()  # the town stays; the collector of garbage need not walk it again and again
    progress = _progress(asked, quiet)
    if asked.path == "full":
        with tempfile.TemporaryDirectory(prefix="balise-town-") as folder:
            found, judge = ways.through_journal(asked.town, asked.stream, Path(folder), progress)
    else:
        judge = Judge(ways.topology(asked.town, asked.stream.faults))
        told = alarms.of(asked.stream.lines, asked.town.seed) if evidence else ()
        direct = ways.Direct(judge, filling, told)
        found = running.run(asked.stream, direct, tick_ms=tick_s * 1_000, progress=progress)
        direct.finish()
    found.notes.settled = ways.settled(judge, asked.town, asked.stream.bounds)
    return found


def _progress(asked: Asked, quiet: bool) -> Callable[[int, Run], None]:
    """A line each ten seconds on standard error."""
    began_s = time.monotonic()
    last_s = [began_s]
    start_ms, end_ms = asked.stream.bounds

    def progress(now_ms: int, found: Run) -> None:
        now_s = time.monotonic()
        if quiet or now_s - last_s[0] < 10:
            return
        last_s[0] = now_s
        share = (now_ms - start_ms) / (end_ms - start_ms)
        rate = found.records / (now_s - began_s)
        left_s = (now_s - began_s) * (1 - share) / share
        typer.echo(f"{share:6.1%}  {found.records:,} records, {rate:,.0f}/s, {left_s:,.0f} s left", err=True)

    return progress


def _json(asked: Asked, found: Run, scores: dict[str, Score], took: Took) -> dict[str, Any]:
    start_ms, end_ms = asked.stream.bounds
    return {
        "homes": len(asked.town.homes),
        "probed": len(asked.town.probed),
        "seed": asked.town.seed,
        "script": asked.title,
        "path": asked.path,
        "from_ms": start_ms,
        "to_ms": end_ms,
        "faults": len(asked.stream.faults),
        "records": found.records,
        "seconds": round(took.seconds, 1),
        "cpu_s": round(took.cpu_s, 1),
        "records_per_cpu_s": round(found.records / took.cpu_s),
        "rss_mb": round(_peak_mb()),
        "score": scores["judge"].as_json(),
        "baselines": {name: said.as_json() for name, said in scores.items() if name != "judge"},
    }


def _peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


Unit = Literal["share", "s", "count"]
_ROWS: tuple[tuple[str, str, Unit], ...] = (
    ("recall", "minutes of fault found", "share"),
    ("precision", "minutes called faulty that were", "share"),
    ("recall_live", "found while it lasted", "share"),
    ("precision_live", "called faulty while it lasted that were", "share"),
    ("place_right", "place of an incident right", "share"),
    ("cause_right", "cause right in the end", "share"),
    ("false_green_p95_s", "shown green after a cut, p95", "s"),
    ("detect_p95_s", "until an incident is open, p95", "s"),
    ("incidents", "incidents told", "count"),
    ("incidents_per_fault", "of them a real fault", "count"),
    ("false_incidents", "with nothing behind", "count"),
    ("missed", "faults without an incident", "count"),
    ("alerts", "calls to the operator", "count"),
    ("green_in_silence_s", "green with nothing fresh", "s"),
)


def _show(asked: Asked, found: Run, scores: dict[str, Score], took: Took) -> None:
    console = Console(width=None if os.isatty(1) else 140)
    start, end = (datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M") for ms in asked.stream.bounds)
    console.print(
        f"{len(asked.town.homes)} homes, {len(asked.town.probed)} with a probe, seed {asked.town.seed}, {start} to "
        f"{end} UTC, {asked.path} path: {len(asked.stream.faults)} faults ({asked.title}), {found.records:,} "
        f"records in {took.seconds:.0f} s, {took.cpu_s:.0f} s of processor time ({found.records / took.cpu_s:,.0f}/s), "
        f"{_peak_mb():.0f} MB."
    )
    table = Table("", *scores, "goal")
    for name, words, unit in _ROWS:
        cells = [_cell(getattr(said, name), unit) for said in scores.values()]
        table.add_row(words, *cells, _goal(name, getattr(scores["judge"], name)))
    console.print(table)
    bound = scores["judge"].false_bound
    if bound is not None:
        console.print(
            f"False incidents that this run leaves possible: at most {bound:g} a month of 1,000 measured homes (95 %)."
        )
    console.print(_by_kind(scores["judge"]))


def _by_kind(said: Score) -> Table:
    table = Table("fault", "how many", "minutes found", "faults found", "place", "cause", "incidents each")
    for kind, row in said.kinds.items():
        shares = (row["recall"], row["found"], row["place_right"], row["cause_right"])
        table.add_row(
            kind, str(row["faults"]), *(_cell(v, "share") for v in shares), _cell(row["incidents_per_fault"], "count")
        )
    return table


def _cell(value: float | None, unit: Unit) -> str:
    if value is None:
        return "-"
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.0f} s" if unit == "s" else f"{value:,.4g}"


def _goal(name: str, value: float | None) -> str:
    goal = GOALS.get(name)
    if goal is None or value is None:
        return ""
    return f"{goal[0]} {'held' if goal[1](value) else 'not held'}"
