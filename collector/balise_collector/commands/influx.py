"""`balise influx`: is InfluxDB ready for Balise, has it got everything, and shall it be sent again?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from balise_collector import forward
from balise_collector.commands.options import DEFAULT_DATA, Data, files, now_ms, stop, when
from balise_collector.directory import dates
from balise_collector.journal import Journal
from balise_collector.store import Unavailable, comparing
from balise_collector.store.chunks import ChunkReader
from balise_collector.store.chunks import open_reader as open_chunks
from balise_collector.store.influx import filling, setup, state_path
from balise_collector.store.influx import open_reader as open_influx
from balise_collector.store.influx import server as influx
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server, ServerError, Settings
from balise_collector.store.influx.state import State

app = typer.Typer(no_args_is_help=True, help="InfluxDB as a store of measurements.")

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_LOOK_BACK_DAYS = 6  # less than the shortest class is kept: what retention takes is no difference
_SHOWN = 20  # hours and series

Org = Annotated[str, typer.Option(help="Organisation, of 2.x; without it the API of 1.x is spoken.")]
Database = Annotated[str, typer.Option(help="Database of 1.x, first bucket of 2.x. Default: balise.")]


@app.command()
def init(
    url: Annotated[str, typer.Argument(metavar="URL", help="http://HOST:8086")],
    org: Org = "",
    database: Database = influx.DEFAULT_DATABASE,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="Who may make databases: a token of 2.x, user:password of 1.x.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Make the database with its retention and two identities: one that writes, one that reads. Safe to run twice."""
    with _faults(data):
        credential = influx.read_credential(str(admin_token_file or ""))
        server = Server(url=influx.check_url(url), database=database, org=org, credential=credential)
        known = influx.load(data)
        files = {role: influx.folder(data).absolute() / f"{role}.token" for role in setup.ROLES}
        wanted = Settings(
            url=server.url,
            database=database,
            org=org,
            write_file=str(files["collector"]),
            read_file=str(files["grafana"]),
        )
        kept = {role: influx.read_credential(str(file)) for role, file in files.items() if file.exists()}
        changes = setup.prepare(server)
        done = setup.grant(server, kept if wanted.is_same(known) else {})
        for role, made in done.made.items():
            influx.write_private(files[role], made + "\n")
        influx.save(data, wanted)
        for change in changes + done.changes or ["nothing to change"]:
            typer.echo(change)
        if not org and setup.asks_nobody(server):
            typer.echo("this InfluxDB asks nobody who he is: set auth-enabled = true in its configuration")
        typer.echo(f"balise serve --influx {server.url}   # Grafana's: {files['grafana']}")


@app.command()
def check(
    since: Annotated[str, typer.Option(help=f"From when on. Default: {_LOOK_BACK_DAYS} days ago.")] = "",
    every_point: Annotated[bool, typer.Option(help="Compare each point, not only how many an hour has.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Compare the embedded store and InfluxDB hour by hour; exit status 1 where they differ."""
    start_ms = (when("--since", since) if since else now_ms() - _LOOK_BACK_DAYS * _DAY_MS) // _HOUR_MS * _HOUR_MS
    with _faults(data):
        settings = _settings(data)
        path = state_path(influx.folder(data))
        with closing(_chunks(data)) as ours, closing(open_influx(settings.reader(), path)) as theirs:
            _say_lag(data, settings)
            end_ms = now_ms() + _DAY_MS
            counted, there = comparing.hours(ours, start_ms, end_ms), theirs.hours(start_ms, end_ms)
            hours = comparing.differing(counted, there)
            for hour_ms in hours[:_SHOWN]:
                typer.echo(f"{dates.write(hour_ms)}\tstore {counted.get(hour_ms, 0)}\tInfluxDB {there.get(hour_ms, 0)}")
            if hours or every_point:
                span = (start_ms, end_ms) if every_point else (hours[0], hours[-1] + _HOUR_MS)
                found = list(comparing.compare(ours, theirs, *span))
                _say_differences(found)
                if not hours and found:
                    raise typer.Exit(1)
            if hours:
                raise typer.Exit(1)
            typer.echo(f"equal: {sum(counted.values())} points in {len(counted)} hours")


@app.command()
def rewind(
    since: Annotated[str, typer.Option(help=f"{dates.ALLOWED}. What came since then is sent again.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Send again what came since a date, as after InfluxDB lost it: the same points overwrite themselves."""
    since_ms = when("--since", since)
    with _faults(data):
        settings = _settings(data)
        with closing(_journal(data)) as journal, closing(State(state_path(influx.folder(data)))) as state:
            for feed in forward.FEEDS:
                key = forward.feed_key(journal.name, settings.identity, feed)
                to, at = journal.came_before(feed, since_ms), state.cursor(key)
                if to < at:
                    state.set(key, to)
                    with journal.transaction():
                        journal.move(f"{forward.NAME}:{feed}", to)
                typer.echo(f"{feed}\t{max(0, at - to)} rows again")


@app.command()
def fill(
    since: Annotated[str, typer.Option(help="From when on. Default: all that is kept.")] = "", data: Data = DEFAULT_DATA
) -> None:
    """Copy what the embedded store keeps, as before it is left: the journal holds a week only."""
    start_ms = when("--since", since) if since else 0
    with _faults(data):
        settings = _settings(data)
        with closing(_chunks(data)) as ours, closing(open_post(settings.writer())) as post:
            done = filling.fill(ours, post, start_ms, now_ms() + _DAY_MS)
    typer.echo(f"{done.points} points sent, {done.too_old} of them older than InfluxDB keeps")
    for line, why in done.refused[:_SHOWN]:
        typer.echo(f"refused\t{line}\t{why}")
    if done.refused:
        raise typer.Exit(1)


@app.command()
def forget(data: Data = DEFAULT_DATA) -> None:
    """Keep nothing for InfluxDB any more: the journal is pruned whether it got its rows or not."""
    with files(data), closing(_journal(data)) as journal, journal.transaction():
        typer.echo("forgotten" if journal.forget_consumer(forward.NAME) else "nothing was kept for it")


def _settings(data: Path) -> Settings:
    settings = influx.load(data)
    if settings is None:
        raise ServerError(f"{influx.folder(data)}: no InfluxDB is known here: balise influx init URL")
    return settings


def _journal(data: Path) -> Journal:
    path = data / "journal.db"
    if not path.exists():
        stop(f"{path}: no journal here; `balise serve` makes it")
    return Journal(path)


def _chunks(data: Path) -> ChunkReader:
    folder = data / "store"
    if not folder.exists():
        stop(f"{folder}: no embedded store here")
    return open_chunks(folder)


def _say_lag(data: Path, settings: Settings) -> None:
    with closing(_journal(data)) as journal, closing(State(state_path(influx.folder(data)))) as state:
        for feed in forward.FEEDS:
            at = state.cursor(forward.feed_key(journal.name, settings.identity, feed))
            behind = journal.last_id(feed) - at
            if behind > 0:
                typer.echo(f"{feed}: {behind} rows are still to be sent", err=True)
        refused = journal.dead_letter_reasons().get(forward.REFUSED, 0)
        if refused:
            typer.echo(f"{refused} lines were refused: balise dead-letters list", err=True)


def _say_differences(found: list[comparing.Difference]) -> None:
    for one in found[:_SHOWN]:
        home, probe, measurement, target = one.series
        what = f"{one.only_first} only in the store, {one.only_second} only in InfluxDB, {one.unequal} unequal"
        typer.echo(f"{dates.write(one.hour_ms)}\t{home or '-'} {probe} {measurement} {target or '-'}\t{what}")
    if len(found) > _SHOWN:
        typer.echo(f"… and {len(found) - _SHOWN} more")


@contextmanager
def _faults(data: Path) -> Iterator[None]:
    """What cannot be done is one line and exit status 2."""
    try:
        with files(data):
            yield
    except Unavailable as exc:
        stop(f"InfluxDB: {exc}")
    except ServerError as exc:
        stop(exc)
