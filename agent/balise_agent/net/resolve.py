"""Which addresses has a host, asked of the system's resolver without holding up the loop or the agent's end?

Each question has a daemon thread of its own. The loop's executor would be joined when the agent stops, and
getaddrinfo() of a dead resolver takes 10-30 s (resolv.conf(5): 5 s, twice, a server): SIGTERM would wait for the line.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass

RESOLVE_TIMEOUT_S = 5.0  # what a program at home waits for at most, before its user gives up


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to send to. ``scope``: index of the interface that a link-local address (fe80::) is on, else 0."""

    family: int  # AF_INET or AF_INET6
    host: str
    scope: int = 0

    @property
    def af(self) -> int:
        """4 or 6, as in the catalogue."""
        return 6 if self.family == socket.AF_INET6 else 4

    def at(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """As a socket takes it. Of two items Python sets the scope to 0, whatever ``%`` says."""
        return (self.host, port, 0, self.scope) if self.family == socket.AF_INET6 else (self.host, port)


def literal(host: str) -> Address | None:
    """The address that the text is, or None where it is a name, or on an interface that is not there."""
    bare, _, interface = host.partition("%")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, bare)
            return Address(family=family, host=bare, scope=socket.if_nametoindex(interface) if interface else 0)
        except (OSError, ValueError):  # ValueError: a NUL in it
            continue
    return None


async def resolve(host: str, timeout_s: float = RESOLVE_TIMEOUT_S) -> list[Address]:
    """In the system's order of preference; empty where the name has none or nobody said so in time."""
    known = literal(host)
    if known is not None:
        return [known]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def ask() -> None:
        found = _system(host)
        try:
            loop.call_soon_threadsafe(_settle, answer, found)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except TimeoutError:
        return []


def _system(host: str) -> list[Address]:
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # UnicodeError: a label of more than 63 characters
        return []
    return [_address(family, where) for family, _, _, _, where in rows]


def _address(family: int, where: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> Address:
    scope = where[3] if len(where) == 4 else 0
    return Address(family=family, host=str(where[0]).partition("%")[0], scope=scope)


def _settle(answer: asyncio.Future[list[Address]], found: list[Address]) -> None:
    if not answer.done():
        answer.set_result(found)
