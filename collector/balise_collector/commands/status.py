"""`balise status` and `balise command`: how is it, and what shall a probe do?"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from balise_agent.contract import COMMAND_KINDS, Command, is_probe_id
from balise_collector.commands.options import DEFAULT_DATA, AsJson, Data, DirectoryUrl, directory, files, now_ms, stop
from balise_collector.fleet import Fleet, Following, new_command_id
from balise_collector.journal import Journal
from balise_collector.status import Status, look

_MINUTE_MS = 60_000
_ARGS = (
    'As JSON: {"probe": "dns"} to test, "shape": "full" beside it for one that fills the line; '
    '{"stream": S, "from_seq": N} to replay, {"seconds": N} to pause.'
)


def status(as_json: AsJson = False, data: Data = DEFAULT_DATA, url: DirectoryUrl = "") -> None:
    """Say how the whole of it is: exit status 0 where all is well, 1 where something is to be done."""
    if not (data / "journal.db").exists():  # before a directory is made where nothing is
        stop(f"{data / 'journal.db'}: no journal here; `balise serve` makes it")
    with files(data), directory(data, url) as opened:
        found = look(data, opened, now_ms())
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        _print(found)
    raise typer.Exit(0 if found.is_well() else 1)


def command(
    probe: Annotated[str, typer.Argument(metavar="PROBE", help="The probe's id.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help=", ".join(COMMAND_KINDS))],
    args: Annotated[str, typer.Option(help=_ARGS)] = "{}",
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="The probe refuses it when it comes later.")] = 10,
    wait: Annotated[int, typer.Option(min=0, max=300, help="Seconds to wait until it is over.")] = 0,
    data: Data = DEFAULT_DATA,
) -> None:
    """Ask a probe that is online to test, replay, pause or resume; its progress comes back as records.

    With --wait it is told here as it comes; the exit status is 1 where the probe refused it. That the line is in use
    at that moment is told to who waits for it, and kept nowhere: then it is 3.
    """
    if not is_probe_id(probe):
        stop(f"{probe!r} is no probe's id")
    kinds = {known: known for known in COMMAND_KINDS}
    if kind not in kinds:
        stop(f"{kind!r} is no command; allowed: {', '.join(COMMAND_KINDS)}")
    try:
        parsed = json.loads(args)
    except ValueError as exc:
        stop(f"--args: {exc}")
    if not isinstance(parsed, dict):
        stop("--args: a JSON object is needed")
    asked = Command(id=new_command_id(), kind=kinds[kind], expires_ms=now_ms() + minutes * _MINUTE_MS, args=parsed)
    if not data.is_dir():
        stop(f"{data}: no such folder")
    try:
        with files(data), closing(Fleet(data / "fleet.db")) as fleet, closing(Journal(data / "journal.db")) as journal:
            following = Following(journal, probe, asked.id)
            fleet.ask(probe, asked)
            typer.echo(asked.id)
            status = _until_over(following, fleet, asked.id, wait)
    except ValueError as exc:
        stop(f"--args: {exc}")
    raise typer.Exit(status)


def _until_over(following: Following, fleet: Fleet, command_id: str, wait_s: int) -> int:
    """Says how far it is, as long as it is waited for; the exit status."""
    until_s = time.monotonic() + wait_s
    while time.monotonic() < until_s:
        for step in following.steps():
            typer.echo(f"{step.state}: {step.detail}" if step.detail else step.state, err=True)
            if step.is_end:
                return 0 if step.state == "done" else 1
        if (refused := fleet.answer_to(command_id)) is not None:
            typer.echo(f"refused: {refused}", err=True)
            return 3
        time.sleep(0.2)
    if wait_s:
        typer.echo(f"not over after {wait_s} s; what follows comes as records", err=True)
    return 0


def lines(found: Status) -> list[tuple[str, str]]:
    """What is shown, as (what, how it is)."""
    age = "none yet" if found.last_message_age_s is None else f"{found.last_message_age_s:.0f} s ago"
    problems = "not running" if found.problems is None else "; ".join(found.problems) or "runs, all is well"
    probes = found.probes
    rows = [
        ("collector", problems),
        ("probes", f"{probes['assigned']} assigned, {probes['online']} online, {probes['heard_5_min']} heard in 5 min"),
        ("last message", age),
        ("journal", f"{found.journal['last_id']} rows in all, {found.journal['bytes'] / 1e6:.1f} MB"),
        *((f"  {name}", f"{lag} rows behind") for name, lag in found.lag_rows.items()),
        ("disk", f"{found.disk_free_bytes / 1e9:.1f} GB free"),
        ("dead letters", _counts(found.dead_letters)),
        ("orphans", _counts(found.orphans)),
        ("chain", _chain(found.journal)),
    ]
    damage = {name: n for name, n in found.journal.items() if name.startswith("journal_")}
    if damage:
        rows.append(("damage", _counts(damage) + " (`balise command PROBE replay` fills what is missing)"))
    rows += [(f"cut off {one['probe']}", f"since {one['since']}: {one['why']}") for one in found.cut_off]
    return [*rows, ("probes said", _counts(found.said) + " in 24 h")]


def _chain(journal: Mapping[str, int]) -> str:
    return f"{journal['chain_broken']} messages that do not follow on, {journal['chain_open']} after a hole"


def _counts(counts: object) -> str:
    items = dict(counts).items() if isinstance(counts, dict) else ()
    return ", ".join(f"{name} {n}" for name, n in items) or "none"


def _print(found: Status) -> None:
    console = Console()
    if not console.is_terminal:
        for what, value in lines(found):
            typer.echo(f"{what}\t{value}")
        return
    table = Table(show_header=False, title="Balise")
    for what, value in lines(found):
        table.add_row(what, value)
    console.print(table)
