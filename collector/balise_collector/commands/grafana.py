"""`balise grafana`: make the NOC's dashboards and alerts, prove their queries, and bring them into a Grafana.

The extra `grafana` holds what this needs; without it one line says so.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from balise_collector.commands.options import (
    DEFAULT_DATA,
    Data,
    DirectoryUrl,
    InfluxToken,
    files,
    now_ms,
    stop,
    when,
)
from balise_collector.commands.options import directory as opened_directory
from balise_collector.store import Unavailable
from balise_collector.store.influx import server as influx
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server, ServerError

if TYPE_CHECKING:
    from balise_collector.grafana.board import Lang as Language
    from balise_collector.grafana.checking import Answered
    from balise_collector.grafana.pushing import Pushed

app = typer.Typer(no_args_is_help=True, help="Dashboards and alerts of the operator's NOC.")

_NEEDS = ("grafana_foundation_sdk", "grafana_api", "yaml")
_SHOWN = 60  # characters of where a query stands

Lang = Annotated[str, typer.Option(help="fr or en.")]
Url = Annotated[str, typer.Option("--url", help="Grafana's address: https://grafana.example.net")]
Token = Annotated[
    str,
    typer.Option(
        envvar="GRAFANA_TOKEN",
        help="Of a service account with the role Editor; in the variable: arguments are seen by all on this machine.",
        show_default=False,
    ),
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]


@app.callback()
def _ready() -> None:
    """Every other command starts without what these import."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        stop(f"{missing[0]} is missing; dashboards need: pip install 'balise[collector,grafana]'")


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("dashboards"),
    lang: Lang = "fr",
    runbooks: Annotated[str, typer.Option(help="Where the pages of docs/runbooks stand, with a slash.")] = "",
) -> None:
    """Write dashboards (JSON) and alert rules (provisioning YAML); what is as it should be is left alone."""
    from balise_collector.grafana.building import write
    from balise_collector.grafana.provisioning import RUNBOOKS

    with files(out):
        changed = write(out, _lang(lang), runbooks=runbooks or RUNBOOKS)
    typer.echo("\n".join(f"wrote {out / name}" for name in changed) or "nothing to change")


@app.command()
def check(
    influx_url: Annotated[str, typer.Option(help="http://HOST:8086. Default: what `balise influx init` left.")] = "",
    token: InfluxToken = "",
    database: Annotated[str, typer.Option(help="Database, or first bucket on 2.x.")] = "",
    span: Annotated[str, typer.Option(help="How far back panels look: 24h, 30d.")] = "24h",
    until: Annotated[str, typer.Option(help="Where they look back from. Default: now.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Run every panel's and alert's query on an InfluxDB; exit status 1 where one is refused or finds nothing."""
    from balise_collector.grafana import checking
    from balise_collector.grafana.alerts import ALERTS
    from balise_collector.grafana.boards import BOARDS
    from balise_collector.grafana.expanding import Range, duration_ms

    end_ms = when("--until", until)
    try:
        over = Range(start_ms=end_ms - duration_ms(span), end_ms=end_ms)
        server = _influx(influx_url, token, database, data)
    except (ValueError, ServerError) as exc:
        stop(exc)
    asked = [*checking.queries_of(BOARDS), *checking.queries_of_alerts(ALERTS)]
    with closing(Asking(server)) as asking:
        try:
            chosen = checking.one_home(asking, over)
        except Unavailable as exc:
            stop(f"InfluxDB: {exc}")
        each = checking.ask_all(asking, asked, over, chosen)
        found = list(track(each, total=len(asked), transient=True, console=Console(stderr=True), description="asking"))
    _show(found, as_json=as_json)
    if any(one.outcome != "ok" for one in found):
        raise typer.Exit(1)


@app.command()
def push(
    url: Url,
    token: Token,
    folder: Annotated[str, typer.Option(help="Title of the main folder. Default: Balise.")] = "",
    lang: Lang = "fr",
    dry: Dry = False,
) -> None:
    """Bring the dashboards into a Grafana that runs: create, change, or leave alone."""
    from balise_collector.grafana.boards import BOARDS
    from balise_collector.grafana.pushing import push as push_boards
    from balise_collector.grafana.server import GrafanaError, check_version, open_grafana

    try:
        grafana = open_grafana(url, token)
        typer.echo(f"Grafana {check_version(grafana)}")
        _tell(push_boards(grafana, BOARDS, _lang(lang), folder=folder, dry=dry), dry=dry)
    except GrafanaError as exc:
        stop(f"{_host(url)}: {exc}")


@app.command()
def annotate(
    url: Url,
    token: Token,
    since: Annotated[str, typer.Option(help="From when on. Default: 30 days ago.")] = "",
    dry: Dry = False,
    data: Data = DEFAULT_DATA,
    directory: DirectoryUrl = "",
) -> None:
    """Mark incidents and works on Grafana's curves, each once, however often this runs."""
    from balise_collector.commands.marks import incidents, works
    from balise_collector.grafana.annotating import annotate as annotate_marks
    from balise_collector.grafana.expanding import duration_ms
    from balise_collector.grafana.server import GrafanaError, check_version, open_grafana

    since_ms = when("--since", since) if since else now_ms() - duration_ms("30d")
    with opened_directory(data, directory) as known:
        found = incidents(data, since_ms) + works(known, since_ms)
    try:
        grafana = open_grafana(url, token)
        check_version(grafana)
        _tell(annotate_marks(grafana, found, dry=dry), dry=dry)
    except GrafanaError as exc:
        stop(f"{_host(url)}: {exc}")


def _lang(lang: str) -> Language:
    from balise_collector.grafana.board import LANGUAGES

    found = next((known for known in LANGUAGES if known == lang), None)
    if found is None:
        stop(f"--lang: {lang!r}; allowed: {', '.join(LANGUAGES)}")
    return found


def _host(url: str) -> str:
    """Without a user's password."""
    return url.rpartition("@")[2]


def _influx(url: str, token: str, database: str, data: Path) -> Server:
    """The server that was named, or the one that this data folder knows, as Grafana reads it."""
    if url:
        name = database or influx.DEFAULT_DATABASE
        return Server(url=influx.check_url(url), database=name, credential=token)
    known = influx.load(data)
    if known is None:
        stop(f"--influx-url: which InfluxDB? {data} knows none")
    return known.reader()


def _tell(pushed: Iterable[Pushed], *, dry: bool) -> None:
    for one in pushed:
        typer.echo(f"{'would be ' if dry and one.change != 'left' else ''}{one.change:8} {one.what}")


def _show(found: list[Answered], *, as_json: bool) -> None:
    counts = {name: sum(one.outcome == name for one in found) for name in ("refused", "empty")}
    if as_json:
        typer.echo(json.dumps({"queries": len(found), **counts, "list": [asdict(one) for one in found]}))
        return
    table = Table("panel or alert", "outcome", "series", "rows", "ms")
    for one in found:
        outcome = one.outcome if not one.why else f"{one.outcome}: {one.why}"
        table.add_row(one.where[:_SHOWN], outcome, str(one.series), str(one.rows), f"{one.took_ms:.0f}")
    Console().print(table)
    typer.echo(f"{len(found)} queries, {counts['refused']} refused, {counts['empty']} empty")
