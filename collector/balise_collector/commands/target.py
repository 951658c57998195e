"""How is the measurement peer started from the command line, and a token made for it?"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import ssl
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from balise_collector.target import (
    DNS_PORT,
    SIP_PORT,
    STAMP_PORT,
    Ports,
    Telephone,
    Telephony,
    Throughput,
    Zone,
    make_zone,
    serve_target,
)
from balise_collector.target.bulk import interface_bps
from balise_collector.target.dns import ADDRESSES, MAX_TTL_S
from balise_collector.target.leases import Leases
from balise_collector.target.throughput import ROLES
from balise_collector.target.tokens import ALLOWS, Grant, make_token, read_key

VOICE_PORT = 5062  # one for all calls: a firewall opens one

app = typer.Typer(invoke_without_command=True)


@app.callback()
def target(
    context: typer.Context,
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
    is_open: Annotated[
        bool, typer.Option("--open", help="Throughput tests without a token; on a loopback address only.")
    ] = False,
    token_key: Annotated[
        Path | None, typer.Option(help="Throughput tests for who has a token: the file of the key that made it.")
    ] = None,
    role: Annotated[str, typer.Option(help=f"Where it stands in the network: {' or '.join(ROLES)}.")] = ROLES[0],
    nic_bps: Annotated[
        float | None,
        typer.Option(
            min=1, help="Its interface in bit/s; tests reserve 70 % of it.", show_default="what the kernel says"
        ),
    ] = None,
    telephone: Annotated[
        bool,
        typer.Option("--telephone", help="Answer calls over SIP and repeat their voice; with --token-key, by token."),
    ] = False,
    sip_port: Annotated[int, typer.Option(min=0, max=65_535, help="UDP and TCP port of SIP; 0: any.")] = SIP_PORT,
    voice_port: Annotated[int, typer.Option(min=0, max=65_535, help="UDP port of voice; 0: any.")] = VOICE_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="Say the ports as one line of JSON.")] = False,
) -> None:
    """Be what probes measure against: STAMP echo over UDP, GET /ping and /small over HTTP, DNS of a zone of yours.

    With --open or --token-key, throughput too, over plain HTTP; with --telephone, calls.
    """
    if context.invoked_subcommand is not None:
        return
    tls = _tls(tls_cert, tls_key)
    zone = _zone(dns_zone, dns_address, dns_ttl)
    throughput = _throughput(listen, tls, token_key, role, nic_bps, is_open=is_open)
    telephony = None
    if telephone:
        key = None if token_key is None else _key(token_key)
        telephony = Telephony(telephone=Telephone(key=key), sip_port=sip_port, voice_port=voice_port)
    serving = _serve(listen, port, udp_port, tls, zone, dns_port, throughput, telephony, as_json=as_json)
    try:
        asyncio.run(serving)
    except OSError as exc:
        ports = f"TCP {port} and UDP {udp_port}" + ("" if zone is None else f" and {dns_port}")
        ports += f", SIP {sip_port} and voice {voice_port}" if telephone else ""
        raise typer.BadParameter(f"cannot listen on {listen}, {ports}: {exc.strerror}") from exc


@app.command()
def token(
    key: Annotated[Path, typer.Option(help="The file of the target's key: 32 bytes or more in base64url.")],
    segment: Annotated[str, typer.Option(help="Random label that stands for the PON.")],
    shape: Annotated[str, typer.Option(help=" or ".join(ALLOWS))] = "light",
    hours: Annotated[float, typer.Option(min=0.01, max=8_784, help="How long it is good for.")] = 24.0,
) -> None:
    """Make a token for heavy tests by hand."""
    try:
        grant = Grant(segment=segment, shape=shape, expires_s=int(time.time() + hours * 3_600))
        print(make_token(_key(key), grant))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


async def _serve(
    listen: str,
    port: int,
    udp_port: int,
    tls: ssl.SSLContext | None,
    zone: Zone | None,
    dns_port: int,
    throughput: Throughput | None,
    telephony: Telephony | None,
    *,
    as_json: bool,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(ports: Ports) -> None:
        print(_json(ports) if as_json else _sentence(ports, listen, "HTTP" if tls is None else "HTTPS"), flush=True)

    await serve_target(
        listen,
        port,
        udp_port,
        tls,
        stop,
        ready,
        zone=zone,
        dns_port=dns_port,
        throughput=throughput,
        telephony=telephony,
    )


def _json(ports: Ports) -> str:
    return json.dumps({name: port for name, port in asdict(ports).items() if port is not None})


def _sentence(ports: Ports, listen: str, scheme: str) -> str:
    dns = "" if ports.dns is None else f", DNS on UDP port {ports.dns}"
    calls = "" if ports.sip is None else f", SIP on port {ports.sip} with voice on UDP port {ports.voice}"
    return f"{scheme} on TCP port {ports.http}, STAMP on UDP port {ports.udp}{dns}{calls} of {listen}"


def _zone(name: str | None, addresses: list[str] | None, ttl_s: int) -> Zone | None:
    if name is None:
        if addresses:
            raise typer.BadParameter("--dns-address is of no use without --dns-zone")
        return None
    try:
        return make_zone(name, addresses or ADDRESSES, ttl_s)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def _throughput(
    listen: str, tls: ssl.SSLContext | None, token_key: Path | None, role: str, nic_bps: float | None, *, is_open: bool
) -> Throughput | None:
    """None: it was not asked for."""
    if role not in ROLES:
        raise typer.BadParameter(f"--role: {role} is not {' or '.join(ROLES)}")
    if not is_open and token_key is None:
        return None
    if is_open and token_key is not None:
        raise typer.BadParameter("--open is without tokens, --token-key with: one of them")
    if tls is not None:
        raise typer.BadParameter("throughput is over plain HTTP: start a second target, without --tls-cert")
    if is_open and not _is_loopback(listen):
        raise typer.BadParameter(
            f"--open lets anybody fill the line: it listens on a loopback address, not on {listen}"
        )
    leases = Leases(nic_bps=nic_bps if nic_bps is not None or is_open else interface_bps())
    return Throughput(key=None if token_key is None else _key(token_key), role=role, leases=leases)


def _is_loopback(listen: str) -> bool:
    try:
        return ipaddress.ip_address(listen).is_loopback
    except ValueError:
        return False


def _key(path: Path) -> bytes:
    try:
        return read_key(path.read_text("ascii"))
    except OSError as exc:
        raise typer.BadParameter(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:  # UnicodeDecodeError too
        raise typer.BadParameter(f"{path}: {exc}") from exc


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
