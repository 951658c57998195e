"""How is the measurement peer started from the command line, and a token made for it?"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from balise_collector.commands import target_options as asked
from balise_collector.commands.options import stop
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
from balise_collector.target.dns import ADDRESSES
from balise_collector.target.leases import Leases
from balise_collector.target.throughput import ROLES
from balise_collector.target.tokens import ALLOWS, Grant, make_token, read_key

VOICE_PORT = 5062  # one for all calls: a firewall opens one

app = typer.Typer(invoke_without_command=True)


@app.callback()
def target(
    context: typer.Context,
    listen: asked.Listen = "::",
    port: asked.HttpPort = 8080,
    udp_port: asked.UdpPort = STAMP_PORT,
    tls_cert: asked.TlsCert = None,
    tls_key: asked.TlsKey = None,
    dns_zone: asked.DnsZone = None,
    dns_port: asked.DnsPort = DNS_PORT,
    dns_address: asked.DnsAddress = None,
    dns_ttl: asked.DnsTtl = 0,
    is_open: asked.IsOpen = False,
    token_key: asked.TokenKey = None,
    role: asked.Role = ROLES[0],
    nic_bps: asked.NicBps = None,
    telephone: asked.IsTelephone = False,
    sip_port: asked.SipPort = SIP_PORT,
    voice_port: asked.VoicePort = VOICE_PORT,
    as_json: asked.AsJson = False,
) -> None:
    """Be what probes measure against: STAMP echo over UDP, GET /ping and /small over HTTP, DNS of a zone of yours.

    With --open or --token-key, throughput too, over plain HTTP; with --telephone, calls.
    """
    if context.invoked_subcommand is not None:
        return
    tls, zone = _tls(tls_cert, tls_key), _zone(dns_zone, dns_address, dns_ttl)
    throughput = _throughput(listen, tls, token_key, role, nic_bps, is_open=is_open)
    telephony = _telephony(token_key, sip_port, voice_port) if telephone else None
    serving = partial(serve_target, listen, port, udp_port, tls)
    serving = partial(serving, zone=zone, dns_port=dns_port, throughput=throughput, telephony=telephony)

    def ready(ports: Ports) -> None:
        print(_json(ports) if as_json else _sentence(ports, listen, "HTTP" if tls is None else "HTTPS"), flush=True)

    try:
        asyncio.run(_until_told_to_stop(serving, ready))
    except OSError as exc:
        stop(f"cannot listen on {exc.filename or listen}: {exc.strerror or exc}")


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
        stop(exc)


async def _until_told_to_stop(serving: Callable[..., Awaitable[None]], ready: Callable[[Ports], None]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await serving(told, ready)


def _telephony(token_key: Path | None, sip_port: int, voice_port: int) -> Telephony:
    key = None if token_key is None else _key(token_key)
    return Telephony(telephone=Telephone(key=key), sip_port=sip_port, voice_port=voice_port)


def _json(ports: Ports) -> str:
    return json.dumps({name: port for name, port in asdict(ports).items() if port is not None})


def _sentence(ports: Ports, listen: str, scheme: str) -> str:
    dns = "" if ports.dns is None else f", DNS on UDP port {ports.dns}"
    calls = "" if ports.sip is None else f", SIP on port {ports.sip} with voice on UDP port {ports.voice}"
    return f"{scheme} on TCP port {ports.http}, STAMP on UDP port {ports.udp}{dns}{calls} of {listen}"


def _zone(name: str | None, addresses: list[str] | None, ttl_s: int) -> Zone | None:
    if name is None:
        if addresses:
            stop("--dns-address is of no use without --dns-zone")
        return None
    try:
        return make_zone(name, addresses or ADDRESSES, ttl_s)
    except ValueError as exc:
        stop(f"--dns-zone, --dns-address: {exc}")


def _throughput(
    listen: str, tls: ssl.SSLContext | None, token_key: Path | None, role: str, nic_bps: float | None, *, is_open: bool
) -> Throughput | None:
    """None: it was not asked for."""
    if role not in ROLES:
        stop(f"--role: {role!r}; allowed: {', '.join(ROLES)}")
    if not is_open and token_key is None:
        return None
    if is_open and token_key is not None:
        stop("--open is without tokens, --token-key with: one of them")
    if tls is not None:
        stop("throughput is over plain HTTP: start a second target, without --tls-cert")
    if is_open and not _is_loopback(listen):
        stop(f"--open lets anybody fill the line: it listens on a loopback address, not on {listen}")
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
        stop(f"{path}: {exc.strerror}")
    except ValueError as exc:  # UnicodeDecodeError too
        stop(f"{path}: {exc}")


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            stop("--tls-key is of no use without --tls-cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as exc:  # ssl.SSLError too: a file that is no PEM, or a key of another certificate
        stop(f"--tls-cert, --tls-key: cannot use {cert} with {key or cert}: {exc.strerror or exc}")
    return context
