"""`balise incidents`: which faults are there, what is each concluded from, who has taken it?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from balise_collector.commands.options import DEFAULT_DATA, AsJson, Cell, Data, files, now_ms, show, stop
from balise_collector.judge.habits import PARIS
from balise_collector.judging.state import Follow, State

app = typer.Typer(no_args_is_help=True, help="Incidents: one a fault, where it is, and what followed.")

Id = Annotated[str, typer.Argument(metavar="ID", help="As `balise incidents list` shows it.")]
By = Annotated[str, typer.Option("--by", help="Which service or organisation: never a person's name.")]
Ticket = Annotated[str, typer.Option(help="Number of its ticket elsewhere.")]
OVER = ("closed", "reviewed")
COLUMNS = ("id", "state", "what", "where", "since", "until", "hit", "measured", "cause", "taken")


@app.command(name="list")
def list_(
    data: Data = DEFAULT_DATA,
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What is open; with --all, what ever was."""
    with _state(data) as state:
        found = [one | {"taken": _taken(state, one["id"])} for one in state.incidents()]
    found = [one for one in found if every or (one["state"] not in OVER and not one.get("parent"))]
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show([_line(one) for one in found], COLUMNS, as_json=False)


@app.command(name="show")
def show_one(id_: Id, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """One of them, from evidence to conclusion, and what followed."""
    with _state(data) as state:
        one = _one(state, id_)
        changes, follows = state.changes(id_), state.follows(id_)
    if as_json:
        said = {"incident": one, "changes": changes, "follows": [_plain(f) for f in follows]}
        typer.echo(json.dumps(said))
        return
    for line in account(one, changes, follows):
        typer.echo(line)


@app.command()
def ack(id_: Id, data: Data = DEFAULT_DATA, by: By = "", ticket: Ticket = "", as_json: AsJson = False) -> None:
    """Say that it is taken."""
    _follow(data, id_, Follow(at_ms=now_ms(), what="ack", who=by, ticket=ticket), as_json)


@app.command()
def note(
    id_: Id,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One line; no name, no address.")],
    data: Data = DEFAULT_DATA,
    by: By = "",
    ticket: Ticket = "",
    as_json: AsJson = False,
) -> None:
    """Add a line to what followed."""
    _follow(data, id_, Follow(at_ms=now_ms(), what="note", who=by, ticket=ticket, text=text), as_json)


@app.command()
def close(
    id_: Id,
    data: Data = DEFAULT_DATA,
    text: Annotated[str, typer.Option("--why", help="Why it is done with.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Say that it is done with; what is measured is not changed by it."""
    _follow(data, id_, Follow(at_ms=now_ms(), what="close", who=by, text=text), as_json)


def account(one: dict[str, Any], changes: list[dict[str, Any]], follows: list[Follow]) -> Iterator[str]:
    """What can be read aloud: what is known, from what, and what is not known."""
    unmeasured = int(one["unmeasured"])
    yield f"{one['id']}: {one['kind']} at {_where(one)}, {one['state']}"
    until = f" until {_when(one['until_ms'])}" if "until_ms" in one else ", not over"
    yield f"  since {_when(one['since_ms'])}{until}"
    yield f"  {one['hit']} homes hit, of {one['measured']} measured there; {unmeasured} are not measured: unknown"
    yield f"  cause: {one['cause']} ({one['confidence']})"
    for evidence in str(one["evidence"]).split("; "):
        yield f"  evidence: {evidence}"
    if one.get("works"):
        yield f"  explained by declared works {one['works']}"
    if one.get("parent"):
        yield f"  it is part of {one['parent']}"
    yield "  told while it lasted" if one.get("paged") else "  nobody was paged for it"
    yield "  how it went:"
    for change in changes:
        yield f"    {_when(change['told_ms'])} {change['state']}: {_where(change)}, cause {change['cause']}"
    for follow in follows:
        rest = " ".join(part for part in (follow.who, follow.ticket, follow.text) if part)
        yield f"    {_when(follow.at_ms)} {follow.what}{': ' + rest if rest else ''}"


def _follow(data: Path, id_: str, follow: Follow, as_json: bool) -> None:
    with _state(data) as state:
        _one(state, id_)
        with state.transaction():
            state.follow(id_, follow)
            state.post(id_, json.dumps({"event": follow.what, "id": id_, **_plain(follow)}).encode(), follow.at_ms)
    typer.echo(json.dumps({"id": id_, **_plain(follow)}) if as_json else f"{id_}: {follow.what}")


def _plain(follow: Follow) -> dict[str, Any]:
    return {
        "at_ms": follow.at_ms,
        "what": follow.what,
        "who": follow.who,
        "ticket": follow.ticket,
        "text": follow.text,
    }


@contextmanager
def _state(data: Path) -> Iterator[State]:
    path = data / "judge.db"
    if not path.exists():
        stop(f"{path}: nothing was judged here yet; `balise serve` does")
    with files(data), closing(State(path)) as state:
        yield state


def _one(state: State, id_: str) -> dict[str, Any]:
    found = state.incident(id_)
    if found is None:
        stop(f"{id_}: no incident has this number")
    return found


def _taken(state: State, id_: str) -> str:
    follows = state.follows(id_)
    return next((f.ticket or f.who or f.what for f in reversed(follows) if f.what in ("ack", "close")), "")


def _line(one: dict[str, Any]) -> dict[str, Cell]:
    until = _when(one["until_ms"]) if "until_ms" in one else ""
    known = (one["id"], one["state"], one["kind"], _where(one), _when(one["since_ms"]), until)
    cells = (*known, one["hit"], one["measured"], one["cause"], one["taken"])
    return {column: str(cell) for column, cell in zip(COLUMNS, cells, strict=True)}


def _where(one: dict[str, Any]) -> str:
    part = "part of " if one.get("part") else ""
    return f"{part}{one['element']} {one['code']}".strip()


def _when(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, PARIS).strftime("%Y-%m-%d %H:%M:%S")
