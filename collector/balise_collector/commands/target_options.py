"""What may be asked of `balise target` on its command line?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from balise_collector.target.dns import ADDRESSES, MAX_TTL_S
from balise_collector.target.throughput import ROLES


def _port(what: str) -> object:
    return typer.Option(min=0, max=65_535, help=f"{what}; 0: any.")


Listen = Annotated[str, typer.Option(help="Address; :: is every one, IPv4 too.")]
HttpPort = Annotated[int, _port("TCP port of HTTP or HTTPS")]
UdpPort = Annotated[int, _port("UDP port of STAMP")]
TlsCert = Annotated[Path | None, typer.Option(help="PEM certificate with its chain: then it is HTTPS.")]
TlsKey = Annotated[Path | None, typer.Option(help="PEM key; without it, the certificate's file has it.")]

DnsZone = Annotated[
    str | None, typer.Option(help="Answer DNS for this zone of yours, in which every name then exists.")
]
DnsPort = Annotated[int, _port("UDP port of DNS")]
DnsAddress = Annotated[
    list[str] | None,
    typer.Option(
        help="What every name has there, once a family; a public one, or boxes may drop it.",
        show_default=" ".join(ADDRESSES),
    ),
]
DnsTtl = Annotated[
    int, typer.Option(min=0, max=MAX_TTL_S, help="Seconds that a name below the zone's own may be cached.")
]

IsOpen = Annotated[bool, typer.Option("--open", help="Throughput tests without a token; on a loopback address only.")]
TokenKey = Annotated[
    Path | None, typer.Option(help="Throughput tests for who has a token: the file of the key that made it.")
]
Role = Annotated[str, typer.Option(help=f"Where it stands in the network: {' or '.join(ROLES)}.")]
NicBps = Annotated[
    float | None,
    typer.Option(min=1, help="Its interface in bit/s; tests reserve 70 % of it.", show_default="what the kernel says"),
]

IsTelephone = Annotated[
    bool, typer.Option("--telephone", help="Answer calls over SIP and repeat their voice; with --token-key, by token.")
]
SipPort = Annotated[int, _port("UDP and TCP port of SIP")]
VoicePort = Annotated[int, _port("UDP port of voice")]

AsJson = Annotated[bool, typer.Option("--json", help="Say the ports as one line of JSON.")]
