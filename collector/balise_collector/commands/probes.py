"""`balise probes`: which probes may speak, and with which credential?

Rule 1: a password is written to a file of mode 0600 and nowhere else, unless `--show` asks for it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from balise_collector import broker
from balise_collector.commands.options import (
    DEFAULT_DATA,
    AsJson,
    Cell,
    Data,
    DirectoryUrl,
    directory,
    now_ms,
    show,
    stop,
    when,
)
from balise_collector.directory import Directory, DirectoryError, Probe, dates
from balise_collector.fleet import CutOffs

app = typer.Typer(no_args_is_help=True, help="Probes: which may speak, and with which credential.")


@app.command()
def add(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 1,
    assign: Annotated[str, typer.Option(metavar="HOME", help="The home where it will stand.")] = "",
    from_: Annotated[str, typer.Option("--from", help="With --assign: from when. Default: now.")] = "",
    host: Annotated[str, typer.Option(help="The broker's name as probes know it. Default: where it listens.")] = "",
    ca_file: Annotated[str, typer.Option(help="On the probe: the authorities that it checks the broker by.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for a file a probe. Default: probes in --data.")] = None,
    show_: Annotated[bool, typer.Option("--show", help="Print it, password and all, and write no file.")] = False,
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Make probes: each an id, its credential on the broker, and the part of the agent's configuration that says so."""
    if assign and count > 1:
        stop("--assign: one probe, not --count")
    start = when("--from", from_)
    try:
        files = broker.load(data / "broker")
    except broker.BrokerError as exc:
        stop(exc)
    address = host or _address(files)
    if ca_file and files.certfile is None:
        stop("--ca-file: the broker speaks without TLS")
    with directory(data, url, makes=True) as opened:
        passwords = {probe: broker.new_password() for probe in opened.draw_ids(count)}
        texts = {probe: snippet(files, probe, password, address, ca_file) for probe, password in passwords.items()}
        _register(opened, files, passwords, assign, start)
        for probe, text in texts.items():
            typer.echo(text if show_ else f"{probe}\t{_write(out or data / 'probes', probe, text)}")


@app.command()
def revoke(
    probe: Annotated[str, typer.Argument(metavar="ID", help="The probe's id.")],
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
) -> None:
    """Take a probe's credential away: its connection is cut, and what it sends is neither kept nor acknowledged."""
    with directory(data, url) as opened:
        files = broker.load(data / "broker")
        opened.revoke_probe(probe, now_ms=now_ms())
        had = broker.expel(files, probe)
        with closing(CutOffs(data / "fleet.db")) as cutoffs:
            cutoffs.end(probe, now_ms())
    typer.echo(f"{probe} is revoked" + ("" if had else "; the broker did not know it"))


@app.command()
def readmit(
    probes: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The probes' ids, as `balise status` says them.")
    ],
    data: Data = DEFAULT_DATA,
) -> None:
    """Let probes speak again that were cut off for what they sent; each comes back by itself within a minute or two."""
    try:
        files = broker.load(data / "broker")
        with closing(CutOffs(data / "fleet.db")) as cutoffs:
            for probe in probes:
                if not broker.readmit(files, probe):
                    stop(f"{probe}: the broker does not know it; was it revoked?")
                was = cutoffs.end(probe, now_ms())
                typer.echo(f"{probe} may speak again" if was else f"{probe} may speak; it was not cut off")
    except (broker.BrokerError, OSError, sqlite3.Error) as exc:
        stop(exc)


@app.command("list")
def list_(as_json: AsJson = False, data: Data = DEFAULT_DATA, url: DirectoryUrl = "") -> None:
    """Show each probe and where it stands now."""
    with directory(data, url) as opened:
        rows = [_row(probe) for probe in opened.probes(at_ms=now_ms())]
    show(rows, ("probe", "created", "revoked", "home", "place", "from", "until"), as_json=as_json)


def snippet(files: broker.BrokerFiles, probe: str, password: str, host: str, ca_file: str = "") -> str:
    """What the agent's configuration needs to say to be this probe; a JSON string is a TOML string."""
    lines = [
        "[probe]",
        f"id = {json.dumps(probe)}",
        "",
        "[broker]",
        f"host = {json.dumps(host)}",
        f"port = {files.port}",
        f"tls = {'true' if files.certfile else 'false'}",
        *([f"ca_file = {json.dumps(ca_file)}"] if ca_file else []),
    ]
    if files.asks_certificates:
        lines.append("# cert_file and key_file: a certificate whose CN is the id above")
    else:
        lines += [f"username = {json.dumps(probe)}", f"password = {json.dumps(password)}"]
    return "\n".join(lines) + "\n"


def _register(opened: Directory, files: broker.BrokerFiles, passwords: dict[str, str], home: str, from_ms: int) -> None:
    """The broker first: a probe that only it knows has a password that nobody was told."""
    broker.admit(files, passwords)
    try:
        opened.add_probes(list(passwords), now_ms=now_ms(), home=home, from_ms=from_ms)
    except DirectoryError:
        for probe in passwords:
            broker.expel(files, probe)
        raise


def _address(files: broker.BrokerFiles) -> str:
    if files.listen in {"0.0.0.0", "::"}:  # noqa: S104
        stop(f"--host: the broker listens on every address ({files.listen}); by which name do probes know it?")
    return files.listen


def _write(folder: Path, probe: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{probe}.toml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _row(probe: Probe) -> dict[str, Cell]:
    at = probe.assigned
    return {
        "probe": probe.id,
        "created": dates.write(probe.created_ms),
        "revoked": None if probe.revoked_ms is None else dates.write(probe.revoked_ms),
        "home": at.home if at else "",
        "place": at.place if at else "",
        "from": dates.write(at.from_ms) if at else None,
        "until": dates.write(at.until_ms) if at and at.until_ms is not None else None,
    }
