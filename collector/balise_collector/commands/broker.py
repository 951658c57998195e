"""`balise broker`: mosquitto's configuration, and who may do what on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from balise_collector import broker
from balise_collector.commands.options import DEFAULT_DATA, Data, stop

app = typer.Typer(no_args_is_help=True, help="The broker: mosquitto's configuration, and who may do what on it.")

_PLAIN_PORT, _TLS_PORT = 1883, 8883


@app.callback()
def _several() -> None:
    """A command of its own name, although it is alone."""


@app.command()
def init(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Default: broker in --data.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 8883, without TLS 1883.")] = None,
    listen: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    cert: Annotated[Path | None, typer.Option(help="The broker's certificate: TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    ca: Annotated[Path | None, typer.Option(help="Clients show a certificate of these; its CN is their name.")] = None,
    crl: Annotated[Path | None, typer.Option(help="Certificates that are no longer taken.")] = None,
    persistence: Annotated[bool, typer.Option(help="Keep sessions over an orderly restart.")] = True,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write the configuration; probes, passwords and certificates that are there already are kept."""
    tls = _tls(cert, key, ca, crl)
    try:
        files = broker.init(
            folder or data / "broker",
            port=port or (_TLS_PORT if tls else _PLAIN_PORT),
            listen=listen,
            tls=tls,
            persistence=persistence,
        )
    except broker.BrokerError as exc:
        stop(exc)
    except OSError as exc:
        stop(f"{exc.filename or folder or data}: {exc.strerror}")
    typer.echo(f"mosquitto -c {files.conf}")


def _tls(cert: Path | None, key: Path | None, ca: Path | None, crl: Path | None) -> broker.Tls | None:
    if (cert is None) != (key is None):
        stop("--cert and --key: both, or none of them")
    if crl is not None and ca is None:
        stop("--crl: needs --ca")
    if cert is None or key is None:
        if ca is not None:
            stop("--ca: needs --cert and --key")
        return None
    for path in filter(None, (cert, key, ca, crl)):
        if not path.is_file():
            stop(f"{path}: no such file")
    return broker.Tls(certfile=cert, keyfile=key, cafile=ca, crlfile=crl)
