"""How is the measurement peer started from the command line?"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from pathlib import Path
from typing import Annotated

import typer

from balise_collector.target import STAMP_PORT, Ports, serve_target


def target(
    listen: Annotated[str, typer.Option(help="Address; :: is every one, IPv4 too.")] = "::",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="TCP port of HTTP or HTTPS; 0: any.")] = 8080,
    udp_port: Annotated[int, typer.Option(min=0, max=65_535, help="UDP port of STAMP; 0: any.")] = STAMP_PORT,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate with its chain: then it is HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key; without it, the certificate's file has it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say the ports as one line of JSON.")] = False,
) -> None:
    """Be what probes measure against: STAMP echo over UDP, GET /ping and GET /small over HTTP."""
    tls = _tls(tls_cert, tls_key)
    try:
        asyncio.run(_serve(listen, port, udp_port, tls, as_json=as_json))
    except OSError as exc:
        raise typer.BadParameter(f"cannot listen on {listen}, TCP {port} and UDP {udp_port}: {exc.strerror}") from exc


async def _serve(listen: str, port: int, udp_port: int, tls: ssl.SSLContext | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(ports: Ports) -> None:
        said = {"http": ports.http, "udp": ports.udp}
        scheme = "HTTP" if tls is None else "HTTPS"
        plain = f"{scheme} on TCP port {ports.http}, STAMP on UDP port {ports.udp} of {listen}"
        print(json.dumps(said) if as_json else plain, flush=True)

    await serve_target(listen, port, udp_port, tls, stop, ready)


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise typer.BadParameter("--tls-key is of no use without --tls-cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as exc:  # ssl.SSLError too: a file that is no PEM, or a key of another certificate
        raise typer.BadParameter(f"cannot use {cert} with {key or cert}: {exc}") from exc
    return context
