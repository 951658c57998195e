"""How is the measurement peer started from the command line?"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from balise_collector.target import DNS_PORT, STAMP_PORT, Ports, Zone, make_zone, serve_target
from balise_collector.target.dns import ADDRESSES, MAX_TTL_S


def target(
    listen: Annotated[str, typer.Option(help="Address; :: is every one, IPv4 too.")] = "::",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="TCP port of HTTP or HTTPS; 0: any.")] = 8080,
    udp_port: Annotated[int, typer.Option(min=0, max=65_535, help="UDP port of STAMP; 0: any.")] = STAMP_PORT,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate with its chain: then it is HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key; without it, the certificate's file has it.")] = None,
    dns_zone: Annotated[
        str | None, typer.Option(help="Answer DNS for this zone of yours, in which every name then exists.")
    ] = None,
    dns_port: Annotated[int, typer.Option(min=0, max=65_535, help="UDP port of DNS; 0: any.")] = DNS_PORT,
    dns_address: Annotated[
        list[str] | None,
        typer.Option(
            help="What every name has there, once a family; a public one, or boxes may drop it.",
            show_default=" ".join(ADDRESSES),
        ),
    ] = None,
    dns_ttl: Annotated[
        int, typer.Option(min=0, max=MAX_TTL_S, help="Seconds that a name below the zone's own may be cached.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Say the ports as one line of JSON.")] = False,
) -> None:
    """Be what probes measure against: STAMP echo over UDP, GET /ping and /small over HTTP, DNS of a zone of yours."""
    tls = _tls(tls_cert, tls_key)
    zone = _zone(dns_zone, dns_address, dns_ttl)
    serving = _serve(listen, port, udp_port, tls, zone, dns_port, as_json=as_json)
    try:
        asyncio.run(serving)
    except OSError as exc:
        ports = f"TCP {port} and UDP {udp_port}" + ("" if zone is None else f" and {dns_port}")
        raise typer.BadParameter(f"cannot listen on {listen}, {ports}: {exc.strerror}") from exc


async def _serve(
    listen: str,
    port: int,
    udp_port: int,
    tls: ssl.SSLContext | None,
    zone: Zone | None,
    dns_port: int,
    *,
    as_json: bool,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(ports: Ports) -> None:
        print(_json(ports) if as_json else _sentence(ports, listen, "HTTP" if tls is None else "HTTPS"), flush=True)

    await serve_target(listen, port, udp_port, tls, stop, ready, zone=zone, dns_port=dns_port)


def _json(ports: Ports) -> str:
    return json.dumps({name: port for name, port in asdict(ports).items() if port is not None})


def _sentence(ports: Ports, listen: str, scheme: str) -> str:
    dns = "" if ports.dns is None else f", DNS on UDP port {ports.dns}"
    return f"{scheme} on TCP port {ports.http}, STAMP on UDP port {ports.udp}{dns} of {listen}"


def _zone(name: str | None, addresses: list[str] | None, ttl_s: int) -> Zone | None:
    if name is None:
        if addresses:
            raise typer.BadParameter("--dns-address is of no use without --dns-zone")
        return None
    try:
        return make_zone(name, addresses or ADDRESSES, ttl_s)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


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
