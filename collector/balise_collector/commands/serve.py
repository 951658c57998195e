"""`balise serve`: what does it listen to, and where does it keep it?"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import typer

from balise_agent.logs import set_up
from balise_collector.broker import BrokerError
from balise_collector.commands import serve_options as asked
from balise_collector.commands.options import DEFAULT_DATA, Data, DirectoryUrl, stop
from balise_collector.directory import DirectoryError, sqlite_url
from balise_collector.serve import ServeSettings, broker_of
from balise_collector.serve import serve as run
from balise_collector.store.influx import server
from balise_collector.target.tokens import read_key


def serve(
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
    http_listen: asked.HttpListen = "127.0.0.1",
    http_port: asked.HttpPort = 9464,
    influx: asked.Influx = "",
    token_file: asked.TokenFile = None,
    org: asked.Org = "",
    database: asked.Database = "",
    store: asked.Store = True,
    token_key: asked.TokenKey = None,
    log_level: asked.LogLevel = "info",
) -> None:
    """Collect: take what probes send, keep it, acknowledge it. Ends on SIGTERM or Ctrl-C."""
    if log_level not in ("debug", "info", "warning", "error"):
        stop(f"--log-level: {log_level!r}; allowed: debug, info, warning, error")
    if not store and not influx:
        stop("--no-store: nothing would keep the measurements; --influx URL says where else they go")
    set_up(log_level, sys.stdout)
    os.umask(0o077)  # what it keeps is the homes': for its own account alone
    try:
        if influx:
            server.choose(data, influx, database=database, org=org, write_file=token_file, alone=not store)
        settings = ServeSettings(
            data=data,
            directory_url=url or sqlite_url(data),
            broker=broker_of(data),
            http=(http_listen, http_port),
            store=store,
            influx=bool(influx),
            token_key=_key(token_key, data / "target.key"),
        )
        status = run(settings)
    except (BrokerError, DirectoryError, server.ServerError) as exc:
        stop(exc)
    except sqlite3.Error as exc:
        stop(f"{data}: {exc}")
    except OSError as exc:
        stop(f"{exc.filename or f'{http_listen}:{http_port}'}: {exc.strerror or exc}")
    raise typer.Exit(status)


def _key(given: Path | None, usual: Path) -> bytes | None:
    """None where no file was named and the usual one is not there."""
    path = given or (usual if usual.exists() else None)
    if path is None:
        return None
    try:
        return read_key(path.read_text("ascii"))
    except ValueError as exc:  # UnicodeDecodeError too
        stop(f"{path}: {exc}")
