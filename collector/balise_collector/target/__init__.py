"""What do probes measure against? A reflector of STAMP, a web server of one small object, the DNS of one zone,
streams of random bytes, and a telephone that repeats what it hears.

Rule 1: no answer over UDP is worth forging a sender for: STAMP's is as long as its question, DNS's three times at most.
Rule 2: no client is kept: neither an address nor a name that was asked for is stored or logged.
Rule 3: any bytes are borne. What is not a question of ours is dropped, what is slow or too much is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from balise_agent.net import stamp
from balise_collector.target.bursts import Bursts
from balise_collector.target.datagrams import Datagram, ask_for_ancillary
from balise_collector.target.dns import DNS_PORT, Responder, Zone, make_zone
from balise_collector.target.reflector import Reflector
from balise_collector.target.telephone import SIP_PORT, Answering, SipSocket, Telephone, VoiceSocket, accept_sip
from balise_collector.target.throughput import Throughput
from balise_collector.target.web import LIMITS, Limits, accept

__all__ = [
    "DNS_PORT",
    "SIP_PORT",
    "STAMP_PORT",
    "Limits",
    "Ports",
    "Telephone",
    "Telephony",
    "Throughput",
    "Zone",
    "make_zone",
    "serve_target",
    "serve_telephony",
]

STAMP_PORT = stamp.PORT

_BACKLOG = 1_024
_TRIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where it listens. ``dns``: None without a zone; ``sip`` (UDP and TCP) and ``voice``: without telephony."""

    http: int
    udp: int
    dns: int | None = None
    sip: int | None = None
    voice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephony:
    """A telephone and where it listens; 0: any port."""

    telephone: Answering
    sip_port: int = SIP_PORT
    voice_port: int = 0


async def serve_target(
    listen: str,
    http_port: int,
    udp_port: int,
    tls: ssl.SSLContext | None,
    stop: asyncio.Event,
    ready: Callable[[Ports], None],
    limits: Limits = LIMITS,
    zone: Zone | None = None,
    dns_port: int = DNS_PORT,
    throughput: Throughput | None = None,
    telephony: Telephony | None = None,
) -> None:
    """Serve until ``stop``; port 0 lets the kernel choose, ``ready`` says which. ``::`` listens for IPv4 too."""
    with contextlib.ExitStack() as closing:
        web = closing.enter_context(_bound(listen, http_port, socket.SOCK_STREAM))
        udp = closing.enter_context(_bound(listen, udp_port, socket.SOCK_DGRAM))
        dns = None if zone is None else closing.enter_context(_bound(listen, dns_port, socket.SOCK_DGRAM))
        web.listen(_BACKLOG)
        reflector = Reflector(udp) if throughput is None else Reflector(udp, _bursts(udp, throughput, closing))
        _answer(udp, reflector.readable, closing)
        if dns is not None and zone is not None:
            _answer(dns, Responder(dns, zone).readable, closing)
        if throughput is not None:
            throughput.udp_port = _port(udp)
            closing.callback(throughput.close)
        sip, voice, serving = None, None, list[asyncio.Task[None]]()
        if telephony is not None:
            sip, voice, calls = _telephony(listen, telephony, closing)
            serving.append(calls)
        serving.append(asyncio.create_task(accept(web, tls, limits, throughput)))  # once nothing can be refused
        try:
            named = None if dns is None else _port(dns)
            ready(Ports(http=_port(web), udp=_port(udp), dns=named, sip=sip, voice=voice))
            await _first_of(stop.wait(), serving)
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)


async def serve_telephony(
    listen: str, telephony: Telephony, stop: asyncio.Event, ready: Callable[[int, int], None]
) -> None:
    """A telephone alone, until ``stop``; ``ready``: its ports, of SIP and of voice."""
    with contextlib.ExitStack() as closing:
        sip, voice, calls = _telephony(listen, telephony, closing)
        try:
            ready(sip, voice)
            await _first_of(stop.wait(), [calls])
        finally:
            calls.cancel()
            await asyncio.gather(calls, return_exceptions=True)


def _bursts(udp: socket.socket, throughput: Throughput, closing: contextlib.ExitStack) -> Callable[[Datagram], bool]:
    """Takes what is of a burst of UDP."""
    bursts = Bursts(udp, throughput.leases, throughput.monotonic)
    closing.callback(bursts.close)
    return bursts.take


def _telephony(listen: str, telephony: Telephony, closing: contextlib.ExitStack) -> tuple[int, int, asyncio.Task[None]]:
    """Its ports, of SIP and of voice, and its connections."""
    telephone = telephony.telephone
    streams, datagrams = _same_port(listen, telephony.sip_port, closing)
    voice = closing.enter_context(_bound(listen, telephony.voice_port, socket.SOCK_DGRAM))
    telephone.voice_port = _port(voice)
    streams.listen(_BACKLOG)
    _answer(datagrams, SipSocket(datagrams, telephone).readable, closing)
    _answer(voice, VoiceSocket(voice, telephone).readable, closing)
    return _port(datagrams), _port(voice), asyncio.create_task(accept_sip(streams, telephone))


def _same_port(listen: str, port: int, closing: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """TCP and UDP on one port; where any will do, one that is free for both."""
    for last in range(_TRIES - 1, -1, -1):
        streams = closing.enter_context(_bound(listen, port, socket.SOCK_STREAM))
        try:
            return streams, closing.enter_context(_bound(listen, _port(streams), socket.SOCK_DGRAM))
        except OSError:
            streams.close()
            if port != 0 or last == 0:
                raise
    raise OSError("no port is free for both")


def _answer(sock: socket.socket, readable: Callable[[], None], closing: contextlib.ExitStack) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(sock, readable)
    closing.callback(loop.remove_reader, sock)


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _bound(listen: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """OSError: with the port in place of a file's name; one of many is taken, and it says which."""
    try:
        family, _, _, _, address = socket.getaddrinfo(listen, port, type=kind, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind)
        try:
            _bind(sock, address)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        raise OSError(exc.errno, exc.strerror, f"{protocol} port {port} of {listen}") from exc
    return sock


def _bind(sock: socket.socket, address: tuple[Any, ...]) -> None:
    sock.setblocking(False)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        ask_for_ancillary(sock)
    sock.bind(address)


async def _first_of(stopped: Awaitable[object], serving: list[asyncio.Task[None]]) -> None:
    """Until it is told to stop, or serving ends by a fault, which is raised."""
    stopping = asyncio.ensure_future(stopped)
    try:
        await asyncio.wait((stopping, *serving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    for task in serving:
        if task.done():
            task.result()
