"""`balise serve`: what does it listen to, and where does it keep it?"""

from __future__ import annotations

import sqlite3
import sys
from typing import Annotated

import typer

from balise_agent.logs import set_up
from balise_collector.broker import BrokerError
from balise_collector.commands.options import DEFAULT_DATA, Data, DirectoryUrl, stop
from balise_collector.directory import DirectoryError, sqlite_url
from balise_collector.serve import ServeSettings, broker_of
from balise_collector.serve import serve as run


def serve(
    data: Data = DEFAULT_DATA,
    url: DirectoryUrl = "",
    http_listen: Annotated[str, typer.Option(help="Address of /metrics and /healthz.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="Its port; 0: any.")] = 9464,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Collect: take what probes send, keep it, acknowledge it. Ends on SIGTERM or Ctrl-C."""
    if log_level not in ("debug", "info", "warning", "error"):
        stop(f"--log-level: {log_level!r}; allowed: debug, info, warning, error")
    set_up(log_level, sys.stdout)
    try:
        settings = ServeSettings(
            data=data,
            directory_url=url or sqlite_url(data),
            broker=broker_of(data),
            http=(http_listen, http_port),
        )
        status = run(settings)
    except (BrokerError, DirectoryError) as exc:
        stop(exc)
    except sqlite3.Error as exc:
        stop(f"{data}: {exc}")
    except OSError as exc:
        stop(f"{exc.filename or f'{http_listen}:{http_port}'}: {exc.strerror or exc}")
    raise typer.Exit(status)
