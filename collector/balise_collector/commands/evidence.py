"""`balise evidence`: what do the operator's OLT, its tickets and its works say?"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from balise_collector.commands.options import DEFAULT_DATA, AsJson, Data, files, stop
from balise_collector.judge.evidence import EvidenceError
from balise_collector.judging.door import lines
from balise_collector.judging.state import State

app = typer.Typer(no_args_is_help=True, help="Evidence from outside: OLT alarms, tickets, declared works.")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, one statement each; - is standard input.")],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Take statements; a line that is none refuses the whole file. The same again changes nothing."""
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        said = lines(raw)
    except OSError as exc:
        stop(f"{file}: {exc.strerror}")
    except EvidenceError as exc:
        stop(f"{file}: {exc}")
    with files(data), closing(State(data / "judge.db")) as state, state.transaction():
        new = state.add_evidence(said)
    counts = {"new": new, "known": len(said) - new}
    typer.echo(json.dumps(counts) if as_json else f"{new} new, {len(said) - new} known before")
