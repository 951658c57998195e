"""Which rungs of the ladder are no echoes, and how is each asked while a window of `reach` goes on?

A name of a resolver, a page that answers 204; and the names of the peers, so that their addresses are known when no
name resolves any more.

Rule 1: what is asked here ends with the sending of its window.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

from balise_agent.net import dnsmsg
from balise_agent.net.gateway import GATEWAY, addresses_of
from balise_agent.net.resolve import literal
from balise_agent.probes import dns, web
from balise_agent.probes.context import Context
from balise_agent.probes.line import Line

DNS, WEB = "dns", "web"
PAGE_TIMEOUT_S = 5.0
_NO_CONTENT = 204
_ANSWERS = (dnsmsg.NOERROR, dnsmsg.NXDOMAIN)  # a resolver that says "no such name" has asked and been answered


class Peer(Protocol):
    """What is asked of a target."""

    @property
    def label(self) -> str: ...
    @property
    def host(self) -> str: ...


class Rungs(Protocol):
    """What is asked of `ReachSettings`."""

    @property
    def targets(self) -> Iterable[Peer]: ...
    @property
    def learn_hop(self) -> bool: ...
    @property
    def fast_s(self) -> float: ...
    @property
    def lost_s(self) -> float: ...
    @property
    def dns_host(self) -> str: ...
    @property
    def dns_port(self) -> int: ...
    @property
    def dns_name(self) -> str | None: ...
    @property
    def dns_every_s(self) -> float: ...
    @property
    def web_url(self) -> str | None: ...
    @property
    def web_every_s(self) -> float: ...


@contextlib.asynccontextmanager
async def other_rungs(settings: Rungs, context: Context, wake: asyncio.Event) -> AsyncIterator[None]:
    """Asks them as long as it is entered. ``wake`` is set when the ladder changes its pace."""
    line = context.line
    if line is None:
        yield
        return
    line.wakes.add(wake)
    works = [_attend(line, settings, context), _refresh(line, [target.host for target in settings.targets])]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        line.wakes.discard(wake)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (exc := task.exception()) is not None:
            raise exc


async def _attend(line: Line, settings: Rungs, context: Context) -> None:
    asks: dict[str, tuple[float, Callable[[], Awaitable[bool]]]] = {}
    if settings.dns_name is not None:
        asks[DNS] = settings.dns_every_s, lambda: _name_is_answered(settings, context)
    if settings.web_url is not None:
        asks[WEB] = settings.web_every_s, lambda: _page_is_there(settings, context)
    beyond = next((t.host for t in settings.targets if t.label.startswith(("op", "any"))), None)
    await line.attend(asks, beyond if settings.learn_hop else None, settings.fast_s)


async def _refresh(line: Line, hosts: Iterable[str]) -> None:
    for host in hosts:
        if host != GATEWAY and literal(host) is None and (found := await addresses_of(host)):
            line.found(host, found[0])


async def _name_is_answered(settings: Rungs, context: Context) -> bool:
    addresses = await addresses_of(settings.dns_host)
    if not addresses or settings.dns_name is None:
        return False
    _, fields = await dns.ask(addresses[0], settings.dns_port, settings.dns_name, "cached", settings.lost_s, context)
    return fields.get("rcode") in _ANSWERS


async def _page_is_there(settings: Rungs, context: Context) -> bool:
    page = web.WebObject(label=WEB, url=settings.web_url or "")
    (record,) = await web.run(web.WebSettings(timeout_s=PAGE_TIMEOUT_S, objects=(page,)), context)
    return record.fields.get("status") == _NO_CONTENT
