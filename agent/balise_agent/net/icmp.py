"""How is an ICMP echo asked and answered over a ping socket, without root?

Linux's ping sockets (SOCK_DGRAM, IPPROTO_ICMP or IPPROTO_ICMPV6) set identifier and checksum themselves and hand back
only answers to their own identifier. They need the agent's group within `net.ipv4.ping_group_range`, for IPv6 too.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from balise_agent.net.datagram import prepare

TOKEN_BYTES = 8
ECHO_BYTES = 64  # header and payload as ping and fping send them, so that figures compare

_HEADER = struct.Struct("!BBHHH")
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}  # RFC 792; RFC 4443 § 4
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PADDING = bytes(ECHO_BYTES - _HEADER.size - TOKEN_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What an echo carries. ``token`` tells this run's from another's; None in an error that quotes only 8 bytes."""

    sequence: int
    token: bytes | None


def open_ping_socket(family: int) -> socket.socket:
    """PermissionError where this user may not: `net.ipv4.ping_group_range`."""
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    return prepare(socket.socket(family, socket.SOCK_DGRAM, protocol))


def encode_request(family: int, sequence: int, token: bytes) -> bytes:
    """64 bytes; the kernel fills in identifier and checksum."""
    return _HEADER.pack(_REQUEST[socket.AddressFamily(family)], 0, 0, 0, sequence) + token + _PADDING


def decode_reply(family: int, data: bytes) -> Echo | None:
    """An echo reply, or None; longer ones are no matter, a shorter payload than the token's is none of ours."""
    echo = _decode(_REPLY[socket.AddressFamily(family)], data)
    return echo if echo is not None and echo.token is not None else None


def decode_quoted(family: int, data: bytes) -> Echo | None:
    """The request that an ICMP error quotes. RFC 792 promises 8 bytes of it: then there is no token."""
    return _decode(_REQUEST[socket.AddressFamily(family)], data)


def decode_departed(family: int, frame: bytes) -> Echo | None:
    """The request in a frame as the driver took it: link and IP headers, then our 64 bytes."""
    return decode_quoted(family, frame[-ECHO_BYTES:])


def _decode(kind: int, data: bytes) -> Echo | None:
    if len(data) < _HEADER.size:
        return None
    found, code, _checksum, _identifier, sequence = _HEADER.unpack_from(data)
    if (found, code) != (kind, 0):
        return None
    token = data[_HEADER.size : _HEADER.size + TOKEN_BYTES]
    return Echo(sequence=sequence, token=token if len(token) == TOKEN_BYTES else None)
