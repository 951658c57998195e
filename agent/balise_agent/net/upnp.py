"""What does the home's box say of its own way out, over UPnP IGD?

SSDP finds it, its description names its services, SOAP asks them (UPnP Device Architecture 1.1; WANIPConnection:1,
WANPPPConnection:1 and WANCommonInterfaceConfig:1).

Rule 1: only the default route's router is asked and believed: anything in the home may answer a search, and a URL that
leads elsewhere would make the probe ask a stranger.
Rule 2: every answer is bounded in bytes and time, and total: what is not understood is None.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from balise_agent.net.http1 import Response
from balise_agent.net.resolve import Address
from balise_agent.net.xml_leaves import leaves

SSDP = ("239.255.255.250", 1900)
SEARCH_S = 5.0  # MX is 1: it answers within that, and a busy one a little later
ASK_S = 5.0
COUNT_S = 1.0  # while a test runs: a box that takes longer is asked again at once
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"  # version 2 answers to it too (UDA 1.1, § 1.3.3)
COMMON = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"
_CONNECTION = re.compile(r"urn:schemas-upnp-org:service:WAN(?:IP|PPP)Connection:[12]")
_LOCATION = re.compile(rb"^location:[ \t]*(\S{1,512})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"-?[0-9]{1,20}")
_WAN_STATES = {
    "connected": "connected",
    "connecting": "connecting",
    "authenticating": "connecting",
    "disconnected": "disconnected",
    "disconnecting": "disconnecting",
    "pendingdisconnect": "disconnecting",
    "unconfigured": "unconfigured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of the box: its type, and where it is asked."""

    kind: str
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Igd:
    """A box that was found."""

    address: Address
    common: Service
    connection: Service | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Of its way out; None: it does not say."""

    wan: str | None = None
    uptime_s: int | None = None
    link_up: bool | None = None


async def find(address: Address, port: int = SSDP[1], search_s: float = SEARCH_S) -> Igd | None:
    """The box at that address, if it speaks IGD. ``port``: where it hears searches."""
    location = await _search(address, port, search_s)
    if location is None or (where := _place(location, address)) is None:
        return None
    description = await _exchange(address, where[0], _get(address, where))
    elements = None if description is None else leaves(description)
    return None if elements is None else _igd(elements, location, address)


async def counters(igd: Igd, timeout_s: float = COUNT_S) -> tuple[int, int] | None:
    """Bytes received and sent by its way out, as its counters say: of 32 bits, signed ones too."""
    asked = [_number(igd, f"GetTotalBytes{way}", f"NewTotalBytes{way}", timeout_s) for way in ("Received", "Sent")]
    received, sent = await asyncio.gather(*asked)
    return None if received is None or sent is None else (received, sent)


async def status(igd: Igd) -> Status:
    """How its way out is."""
    link = await call(igd.address, igd.common, "GetCommonLinkProperties")
    told = {} if igd.connection is None else await call(igd.address, igd.connection, "GetStatusInfo")
    wan = told.get("NewConnectionStatus")
    uptime_s = _whole(told.get("NewUptime", ""))
    up = link.get("NewPhysicalLinkStatus")
    return Status(
        wan=None if wan is None else _WAN_STATES.get(wan.lower(), "other"),
        uptime_s=uptime_s if uptime_s is not None and 0 <= uptime_s < 2**32 else None,
        link_up=None if up is None else up.lower() == "up",
    )


async def call(address: Address, service: Service, action: str, timeout_s: float = ASK_S) -> Mapping[str, str]:
    """What the action says, by name; nothing where it does not answer, or answers with a fault."""
    body = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{service.kind}"/></s:Body></s:Envelope>'
    ).encode()
    lines = (
        f"POST {service.path} HTTP/1.1",
        f"Host: {_host(address, service.port)}",
        'Content-Type: text/xml; charset="utf-8"',
        f'SOAPAction: "{service.kind}#{action}"',
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + body
    answer = await _exchange(address, service.port, request, timeout_s)
    return dict((None if answer is None else leaves(answer)) or ())


async def _number(igd: Igd, action: str, name: str, timeout_s: float) -> int | None:
    return _whole((await call(igd.address, igd.common, action, timeout_s)).get(name, ""))


def _whole(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


async def _search(address: Address, port: int, search_s: float) -> str | None:
    """Where its description is: the first answer of the box itself. Asked by multicast, and directly (UDA 1.1)."""
    loop = asyncio.get_running_loop()
    request = (
        f'M-SEARCH * HTTP/1.1\r\nHOST: {SSDP[0]}:{SSDP[1]}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {DEVICE}\r\n\r\n'
    ).encode()
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        if address.family == socket.AF_INET:
            with contextlib.suppress(OSError):  # no multicast on this link
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
                sock.sendto(request, (SSDP[0], port))
        try:
            sock.sendto(request, address.at(port))
            async with asyncio.timeout(search_s):
                while True:
                    data, source = await loop.sock_recvfrom(sock, 2_048)
                    match = _LOCATION.search(data)
                    if source[0] == address.host and match is not None:
                        return match[1].decode("ascii", "replace")
        except (TimeoutError, OSError):
            return None


def _igd(elements: list[tuple[str, str]], location: str, address: Address) -> Igd | None:
    base, said = location, dict[str, str]()
    common: Service | None = None
    connection: Service | None = None
    for name, text in elements:
        said[name] = text
        if name == "URLBase" and text:
            base = text
        if name == "service":
            kind, where = said.pop("serviceType", ""), _place_of(base, said.pop("controlURL", ""), address)
            if where is not None and kind == COMMON:
                common = common or Service(kind=kind, port=where[0], path=where[1])
            elif where is not None and _CONNECTION.fullmatch(kind):
                connection = connection or Service(kind=kind, port=where[0], path=where[1])
    return None if common is None else Igd(address=address, common=common, connection=connection)


def _place_of(base: str, url: str, address: Address) -> tuple[int, str] | None:
    try:
        return _place(urljoin(base, url), address)
    except ValueError:  # half an IPv6 address
        return None


def _place(url: str, address: Address) -> tuple[int, str] | None:
    """Port and path of a URL of that very address; None: it leads elsewhere, or is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        host = (parts.hostname or "").partition("%")[0]
    except ValueError:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fine = re.fullmatch(r"/[!-~]{0,512}", path) is not None
    return (port, path) if parts.scheme == "http" and host == address.host and fine else None


def _get(address: Address, where: tuple[int, str]) -> bytes:
    lines = (f"GET {where[1]} HTTP/1.1", f"Host: {_host(address, where[0])}", "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _host(address: Address, port: int) -> str:
    return f"[{address.host}]:{port}" if address.af == 6 else f"{address.host}:{port}"


async def _exchange(address: Address, port: int, request: bytes, timeout_s: float = ASK_S) -> bytes | None:
    """The body of a 200, or None."""
    writer: asyncio.StreamWriter | None = None
    response = Response(keep=True)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(sock=await _connected(address, port))
            writer.write(request)
            while not response.complete and response.fault is None:
                data = await reader.read(16_384)
                if data:
                    response.feed(data)
                else:
                    response.end()
    except (TimeoutError, OSError):
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    return bytes(response.body) if response.complete and response.status == 200 else None


async def _connected(address: Address, port: int) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address.at(port))
    except BaseException:
        sock.close()
        raise
    return sock
