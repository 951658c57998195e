"""Which routers lie on the way to a peer, and which is the first one beyond the box?

Echoes whose hop limit grows by one, over a ping socket, without root. All are one flow: a router that spreads flows
over several ways looks at the checksum too, so the payload makes up for the sequence number and it stays the same.

Rule 1: an address is used for asking, and told to nobody but as a hash.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from dataclasses import dataclass

from balise_agent.net import icmp
from balise_agent.net.datagram import Refusal, arrivals, reports, send
from balise_agent.net.resolve import Address

MOST_HOPS = 12  # an operator's own target is nearer
MOST_SILENT = 4  # hops in a row; beyond them nobody answers
TRIES = 2  # an echo each; one alone is lost once in a hundred
TIMEOUT_S = 1.0

_TIME_EXCEEDED = {socket.AF_INET: 11, socket.AF_INET6: 3}
_LIMIT = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_FULL_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """``routers[n]``: address of hop n + 1, None where it was silent; ``length``: hop at which the peer answered."""

    routers: tuple[str | None, ...]
    length: int | None


class Trace:
    """One flow to one peer. PermissionError where this user may not ping."""

    def __init__(self, peer: Address, rng: random.Random, timeout_s: float = TIMEOUT_S) -> None:
        self._peer = peer
        self._timeout_s = timeout_s
        self._token = rng.randbytes(icmp.TOKEN_BYTES - 2)
        self._sequence = 0
        self._sock = icmp.open_ping_socket(peer.family)

    def close(self) -> None:
        """Its socket with it."""
        self._sock.close()

    async def way(self) -> Way:
        """One hop after the other."""
        routers: list[str | None] = []
        while len(routers) < MOST_HOPS and routers[-MOST_SILENT:] != [None] * MOST_SILENT:
            router = await self._hop(len(routers) + 1)
            if router == self._peer.host:
                return Way(routers=tuple(routers), length=len(routers) + 1)
            routers.append(router)
        return Way(routers=tuple(routers), length=None)

    async def first_beyond(self, way: Way) -> tuple[int, str] | None:
        """Hop and address of the first router after the gateway that answers echoes too; None: none of three does."""
        beyond = [(n, host) for n, host in enumerate(way.routers, start=1) if n > 1 and host is not None]
        for hop, host in beyond[:3]:
            if host != way.routers[0] and await self._answers(host):
                return hop, host
        return None

    async def _hop(self, limit: int) -> str | None:
        for _ in range(TRIES):
            if (router := await self._ask(self._peer, limit)) is not None:
                return router
        return None

    async def _answers(self, host: str) -> bool:
        peer = Address(family=self._peer.family, host=host)
        for _ in range(TRIES):
            if await self._ask(peer, _FULL_LIMIT) == host:
                return True
        return False

    async def _ask(self, peer: Address, limit: int) -> str | None:
        """Who answered: the peer itself, the router at which the limit ended, or None."""
        self._sequence += 1
        level, option = _LIMIT[socket.AddressFamily(peer.family)]
        self._sock.setsockopt(level, option, limit)
        token = self._token + struct.pack("!H", 0xFFFF - self._sequence)
        try:
            send(self._sock, icmp.encode_request(peer.family, self._sequence, token), peer.at(0))
        except OSError:
            return None
        return await self._who(peer, token)

    async def _who(self, peer: Address, token: bytes) -> str | None:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._sock, heard.set)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    await heard.wait()
                    heard.clear()
                    if (router := self._heard(peer, token)) is not None:
                        return router
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self._sock)

    def _heard(self, peer: Address, token: bytes) -> str | None:
        found: str | None = None
        for report in reports(self._sock):
            if isinstance(report, Refusal) and report.type == _TIME_EXCEEDED[socket.AddressFamily(report.family)]:
                quoted = icmp.decode_quoted(peer.family, report.quoted)
                if quoted is not None and quoted.sequence == self._sequence:
                    found = report.router
        for arrival in arrivals(self._sock):
            reply = icmp.decode_reply(peer.family, arrival.data)
            if reply is not None and reply.token == token and arrival.source[0].partition("%")[0] == peer.host:
                found = peer.host
        return found
