"""`balise homes`: which homes are measured, by which probe, and with whose consent?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from balise_collector import erasing, homes_csv
from balise_collector.commands.options import (
    DEFAULT_DATA,
    AsJson,
    Cell,
    Data,
    DirectoryUrl,
    When,
    directory,
    files,
    now_ms,
    show,
    stop,
    when,
)
from balise_collector.directory import Home, Inventory, Purpose, dates
from balise_collector.directory.resolver import agrees, line_at

ALL_MS = 2**43  # beyond any date that a record may carry

app = typer.Typer(no_args_is_help=True, help="Homes: which are measured, by which probe, with whose consent.")

HomeId = Annotated[str, typer.Argument(metavar="HOME", help="The home's id.")]
ProbeId = Annotated[str, typer.Argument(metavar="PROBE", help="The probe's id.")]


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Columns: docs/homes.md; - is standard input.")],
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Bring homes in, all or nothing. A second time changes nothing; what the file leaves out stays."""
    text = _read(file)
    _inventory(file, text)  # what is refused for itself leaves no directory behind
    with directory(data, url, makes=True) as opened:
        done = opened.import_homes(_inventory(file, text, opened.taken_ids()))
    typer.echo(f"{done.added} homes added, {done.changed} changed, {done.unchanged} unchanged")
    if done.kept_withdrawals:
        typer.echo(f"{done.kept_withdrawals} consents stay withdrawn, which the file does not say, or says later")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Default: standard output.")] = Path("-"),
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Write all homes as `import` reads them."""
    with directory(data, url) as opened:
        text = homes_csv.write(opened.export_homes())
        if file == Path("-"):
            typer.echo(text, nl=False)
        else:
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")


@app.command()
def new(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 1,
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Draw random ids for homes, to write into a file for `import`; a new tenant is a new home."""
    with directory(data, url, makes=True) as opened:
        typer.echo("\n".join(opened.draw_ids(count)))


@app.command()
def assign(
    probe: ProbeId,
    home: Annotated[str, typer.Argument(metavar="HOME", help="The home's id.")] = "",
    place: Annotated[str, typer.Option(help="A place's code, instead of a home.")] = "",
    from_: Annotated[str, typer.Option("--from", help=f"From when; {dates.ALLOWED}. Default: now.")] = "",
    until: Annotated[str, typer.Option(help="Until when, excluded. Default: without end.")] = "",
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Say where a probe stands from a date on: its records of that time are that home's."""
    if bool(home) == bool(place):
        stop("a HOME or --place CODE, one of the two")
    start, end = when("--from", from_), when("--until", until) if until else None
    with directory(data, url) as opened:
        opened.assign(probe, home=home, place=place, from_ms=start, until_ms=end)
    until_text = f" until {dates.write(end)}" if end is not None else ""
    typer.echo(f"{probe} is at {home or place} from {dates.write(start)}{until_text}")


@app.command()
def unassign(probe: ProbeId, at: When = "", data: Data = DEFAULT_DATA, url: DirectoryUrl = "") -> None:
    """End where a probe stands: what it measures from that date on belongs to nobody."""
    date = when("--at", at)
    with directory(data, url) as opened:
        before = opened.unassign(probe, at_ms=date)
    where = before.home or before.place
    typer.echo(f"{probe} was at {where} from {dates.write(before.from_ms)} to {dates.write(date)}")


@app.command()
def withdraw(
    home: HomeId,
    from_: Annotated[str, typer.Option("--from", help=f"From when; {dates.ALLOWED}. Default: now.")] = "",
    purpose: Annotated[str, typer.Option(help=f"To what: {', '.join(get_args(Purpose))}.")] = "mesure",
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Note that a home no longer agrees: nothing dated from then on is stored."""
    if purpose not in get_args(Purpose):
        stop(f"--purpose: {purpose!r}; allowed: {', '.join(get_args(Purpose))}")
    date = when("--from", from_)
    with directory(data, url) as opened:
        ended = opened.withdraw(home, from_ms=date, purpose=purpose)  # type: ignore[arg-type]
    if ended:
        typer.echo(f"{home}: consent to {purpose} withdrawn from {dates.write(date)}")
    else:
        typer.echo(f"{home}: no consent to {purpose} held from {dates.write(date)} on; nothing to withdraw")


@app.command()
def erase(
    home: HomeId,
    from_: Annotated[str, typer.Option("--from", help=f"From when; {dates.ALLOWED}. Default: all.")] = "",
    until: Annotated[str, typer.Option(help="Until when, excluded. Default: all.")] = "",
    influx_admin_file: Annotated[
        Path | None, typer.Option(help="Who may delete in InfluxDB: a file with a token, or user:password of 1.x.")
    ] = None,
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Erase what was measured in a home, in the journal and in every store. Whoever still agrees is measured on."""
    span = (when("--from", from_) if from_ else 0, when("--until", until) if until else ALL_MS)
    with directory(data, url) as opened:
        stood = [
            (one.probe, one.from_ms, ALL_MS if one.until_ms is None else one.until_ms)
            for one in opened.assignments()
            if one.home == home
        ]
        is_known = home in opened.export_homes().homes
    try:
        with files(data):
            taken = erasing.erase_here(data, home, span, now_ms(), stood)
            typer.echo(f"{taken.rows} rows of the journal, {taken.points} points of the store erased")
            there = erasing.erase_influx(data, home, span, influx_admin_file)
    except erasing.NotErased as exc:
        stop(exc)
    if there is not None:
        typer.echo(f"{there} points of InfluxDB erased")
    if not is_known and not (taken.rows or taken.points or there):
        typer.echo(f"balise: {home}: no such home, and nothing of it was here", err=True)
        raise typer.Exit(1)


@app.command()
def place(
    code: Annotated[str, typer.Argument(metavar="CODE", help="The operator's code for it.")],
    head_end: Annotated[str, typer.Option(help="Where it stands.")] = "",
    building: Annotated[str, typer.Option(help="Where it stands.")] = "",
    pon: Annotated[str, typer.Option(help="What it is connected by.")] = "",
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Make a place for a reference probe, or say more of one: no home, so no consent."""
    with directory(data, url) as opened:
        typer.echo(opened.put_place(code, head_end=head_end, building=building, pon=pon))


@app.command("list")
def list_(as_json: AsJson = False, data: Data = DEFAULT_DATA, url: DirectoryUrl = "") -> None:
    """Show each home with its line, its probes and whether it agrees, as of now."""
    now = now_ms()
    with directory(data, url) as opened:
        homes = opened.export_homes().homes.values()
        at: dict[str, list[str]] = {home.id: [] for home in homes}
        for probe in opened.probes(at_ms=now):
            if probe.assigned is not None and probe.assigned.home:
                at[probe.assigned.home].append(probe.id)
    columns = ("home", "building", "pon", "offer", "probes", "mesure", "aide", "evaluation")
    show([_row(home, at[home.id], now) for home in homes], columns, as_json=as_json)


def _inventory(file: Path, text: str, taken: frozenset[str] = frozenset()) -> Inventory:
    found = homes_csv.parse(text, taken)
    if isinstance(found, tuple):
        stop("\n".join(f"{file}: {fault}" for fault in found))
    return found


def _row(home: Home, probes: list[str], now: int) -> dict[str, Cell]:
    line = line_at(home, now)
    row: dict[str, Cell] = {"home": home.id, "building": home.building, "probes": " ".join(probes)}
    row |= {"pon": line.pon if line else "", "offer": line.offer if line else ""}
    return row | {purpose: "yes" if agrees(home, purpose, now) else "no" for purpose in get_args(Purpose)}


def _read(file: Path) -> str:
    try:
        return (sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()).decode("utf-8")
    except OSError as exc:
        stop(f"{file}: {exc.strerror}")
    except UnicodeDecodeError as exc:
        stop(f"{file}: byte {exc.start} is not UTF-8")
