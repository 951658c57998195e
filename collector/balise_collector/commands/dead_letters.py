"""`balise dead-letters`: what could not be read, and can it be read now?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from balise_agent.codec import decode_batch
from balise_agent.contract import Refusal
from balise_collector.commands.options import DEFAULT_DATA, AsJson, Data, DirectoryUrl, directory, files, show, stop
from balise_collector.directory import dates
from balise_collector.forward import REFUSED as INFLUX
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal

app = typer.Typer(no_args_is_help=True, help="Messages that could not be read: kept for seven days, then deleted.")

_SHOWN_BYTES = 512


@app.command("list")
def list_(as_json: AsJson = False, data: Data = DEFAULT_DATA) -> None:
    """Show each with its reason."""
    with _journal(data) as journal:
        rows = [{**row, "received": dates.write(row["received_ms"])} for row in journal.dead_letters()]
    show(rows, ("id", "probe", "reason", "detail", "received", "bytes"), as_json=as_json)


@app.command("show")
def show_(
    id_: Annotated[int, typer.Argument(metavar="ID", max=2**63 - 1, help="Its number in the list.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Show what came and why it is refused, as this version sees it."""
    with _journal(data) as journal:
        found = journal.dead_letter(id_)
        row = next((one for one in journal.dead_letters() if one["id"] == id_), None)
    if found is None or row is None:
        stop(f"{id_}: no dead letter has that number")
    probe, payload = found
    typer.echo(f"probe    {probe}")
    if row["reason"] == INFLUX:
        typer.echo(f"InfluxDB {row['detail']}")
        typer.echo(f"line     {payload.decode()}")
        return
    decoded = decode_batch(payload)
    typer.echo(f"now      {decoded if isinstance(decoded, Refusal) else 'can be read: balise dead-letters replay'}")
    line, _, body = payload.partition(b"\n")
    typer.echo(f"envelope {line[:_SHOWN_BYTES]!r}")
    typer.echo(f"body     {len(body)} bytes, {body[:32].hex(' ')}{' …' if len(body) > 32 else ''}")


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Which; default: all.")] = None,
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Read them again, as after an upgrade: what can be read now is kept like any message."""
    with _journal(data) as journal, directory(data, url) as opened:
        ingest = Ingest(journal, opened.snapshot().resolve, lambda: time.time_ns() // 1_000_000)
        rows = journal.dead_letters()
        lines = {row["id"] for row in rows if row["reason"] == INFLUX}
        outcomes = ingest.replay(set(ids or (row["id"] for row in rows)) - lines)
    for outcome, count in sorted(outcomes.items()):
        typer.echo(f"{count}\t{outcome}")
    if lines & set(ids or lines):
        typer.echo("Lines that InfluxDB refused are in the store: balise influx rewind --since DATE sends them again")


@contextmanager
def _journal(data: Path) -> Iterator[Journal]:
    path = data / "journal.db"
    if not path.exists():
        stop(f"{path}: no journal here; `balise serve` makes it")
    with files(data), closing(Journal(path)) as journal:
        yield journal
