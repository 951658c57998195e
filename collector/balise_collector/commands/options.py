"""Which directory and which broker does a command mean, and how does it end when it cannot do what was asked?

Rule 1: a fault is one line on standard error and exit status 2; nothing was changed.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from balise_collector.broker import BrokerError
from balise_collector.directory import Directory, DirectoryError, dates, sqlite_url

Data = Annotated[
    Path, typer.Option("--data", envvar="BALISE_DATA", help="Folder of the server's files.", show_default=True)
]
DEFAULT_DATA = Path("balise-data")
DirectoryUrl = Annotated[
    str,
    typer.Option(
        "--directory",
        envvar="BALISE_DIRECTORY",
        help="URL of the directory: sqlite:///PATH or postgresql://USER@HOST/NAME. Default: directory.db in --data.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
InfluxToken = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="INFLUX_TOKEN",
        help="A token, or user:password on 1.x; in the variable: arguments are seen by all who use this machine.",
        show_default=False,
    ),
]
When = Annotated[str, typer.Option(help=f"{dates.ALLOWED[0].upper()}{dates.ALLOWED[1:]}. Default: now.")]

Cell = str | int | None

_PAGE_BYTES = 65_536  # SQLite's largest; it makes no file within less


def stop(message: object) -> NoReturn:
    """A line for each fault."""
    for line in str(message).splitlines():
        typer.echo(f"balise: {line}", err=True)
    raise typer.Exit(2)


@contextmanager
def directory(data: Path, url: str, *, makes: bool = False) -> Iterator[Directory]:
    """Open for one command; what goes wrong with it or the broker ends the command.

    ``makes``: the command may be the first; any other that was given a wrong folder leaves nothing in it.
    """
    try:
        if makes and not url:
            data.mkdir(parents=True, exist_ok=True)
        elif not url and not any((data / name).exists() for name in ("directory.db", "journal.db")):
            stop(f"{data / 'directory.db'}: no directory here; `balise homes import` makes it")
        with Directory(url or sqlite_url(data)) as opened:
            yield opened
    except (DirectoryError, BrokerError) as exc:
        stop(f"{exc}{_why_full(data)}")
    except OSError as exc:
        stop(f"{exc.filename or data}: {exc.strerror}")


@contextmanager
def files(data: Path) -> Iterator[None]:
    """What the files of DATA refuse ends the command: damaged, of another program, in use, on a full disk."""
    try:
        yield
    except sqlite3.Error as exc:
        if why := _why_full(data):  # then SQLite can open none of them
            stop(f"{data}: {exc}{why}")
        stop(f"{', '.join(map(str, _unreadable(data))) or data}: {exc}")
    except OSError as exc:
        stop(f"{exc.filename or data}: {exc.strerror or exc}")


def _why_full(data: Path) -> str:
    """SQLite says "disk I/O error" where it cannot make the little file by which its readers agree."""
    with suppress(OSError):
        if shutil.disk_usage(data).free < _PAGE_BYTES:
            return " (the disk is full)"
    return ""


def _unreadable(data: Path) -> Iterator[Path]:
    """The files that no database can be read from: SQLite names none."""
    for path in sorted(data.glob("*.db")):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            yield path


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def when(option: str, text: str) -> int:
    """The date of an option; now where it is not given."""
    if not text:
        return now_ms()
    found = dates.read(text)
    if found is None:
        stop(f"{option}: {text!r}; allowed: {dates.ALLOWED}")
    return found


def show(rows: Iterable[Mapping[str, Cell]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """A table on a terminal, cells apart by tabs elsewhere (to cut and sort), or JSON."""
    rows = list(rows)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    console = Console()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(_text(row[column]) for column in columns))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_text(row[column]) for column in columns))
    console.print(table)


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)
