"""Does each resolver answer, how fast, and what?

Two questions over UDP to each: a fixed name, which a cache answers, and a random label under it, which none can.

Rule 1: only an answer with our identifier and our question is one; whatever else comes in is passed over.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from dataclasses import dataclass

from balise_agent.contract import OK, Outcome, Record, Value, failed
from balise_agent.net import dnsmsg
from balise_agent.net.datagram import ask_for_errors, send_reason
from balise_agent.net.gateway import HOST_ALLOWED, HOST_PATTERN, addresses_of, no_address_reason
from balise_agent.net.resolve import Address
from balise_agent.probes.context import Context
from balise_agent.settings import flag, number, series_label, text

NAME_PATTERN = r"(?=.{1,220}\.?$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?"
NAME_ALLOWED = "a domain name of 220 characters at most"

_MAX_ANSWER_BYTES = 4_096  # without EDNS 512 are allowed (RFC 1035 § 4.2.1); boxes send more all the same
_LABEL_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_LABEL_CHARS = 16  # 83 bits: no other probe ever asks for the same name

_RCODES = {
    dnsmsg.FORMERR: "formerr",
    dnsmsg.SERVFAIL: "servfail",
    dnsmsg.NXDOMAIN: "nxdomain",
    dnsmsg.NOTIMP: "notimp",
    dnsmsg.REFUSED: "query_refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsResolver:
    """One resolver, and a name of ours that it is asked for."""

    label: str = series_label(dots=False)  # the one dot is in ``LABEL.unique``
    host: str = text(pattern=HOST_PATTERN, allowed=HOST_ALLOWED)
    port: int = number(53, low=1, high=65_535)
    name: str = text(pattern=NAME_PATTERN, allowed=NAME_ALLOWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """Which resolvers are asked, and how often."""

    enabled: bool = flag(True)
    interval_s: float = number(300.0, low=1, high=86_400, unit="s")
    timeout_s: float = number(5.0, low=0.1, high=30, unit="s")  # when glibc's resolver gives up a try (resolv.conf(5))
    resolvers: tuple[DnsResolver, ...] = ()


async def run(settings: DnsSettings, context: Context) -> list[Record]:
    """Resolvers side by side; of each first the fixed name, then the random one, whose target is ``LABEL.unique``."""
    asked = await asyncio.gather(*(_ask_both(resolver, settings.timeout_s, context) for resolver in settings.resolvers))
    return [record for pair in asked for record in pair]


def unique_name(name: str, rng: random.Random) -> str:
    """A name under ``name`` that nobody asked for before."""
    return "".join(rng.choices(_LABEL_LETTERS, k=_LABEL_CHARS)) + "." + name


def judge(answer: dnsmsg.Answer, *, unique: bool) -> Outcome:
    """ok, or which error it is. A random name need not exist: to be told so is a whole answer."""
    if answer.rcode == dnsmsg.NOERROR or (unique and answer.rcode == dnsmsg.NXDOMAIN):
        return OK
    return failed(_RCODES.get(answer.rcode, "rcode_other"))


async def _ask_both(resolver: DnsResolver, timeout_s: float, context: Context) -> list[Record]:
    addresses = await addresses_of(resolver.host)
    random_name = unique_name(resolver.name, context.rng)
    records = []
    for kind, name, target in (
        ("cached", resolver.name, resolver.label),
        ("unique", random_name, f"{resolver.label}.unique"),
    ):
        if addresses:
            outcome, fields = await ask(addresses[0], resolver.port, name, kind, timeout_s, context)
        else:
            outcome, fields = failed(no_address_reason(resolver.host)), {}
        record = Record(
            measurement="dns",
            bt_ms=context.now_bt_ms(),
            target=target,
            outcome=outcome,
            fields=fields | {"name_kind": kind},
        )
        records.append(record)
    return records


async def ask(
    address: Address, port: int, name: str, kind: str, timeout_s: float, context: Context
) -> tuple[Outcome, dict[str, Value]]:
    """One question to one resolver; ``kind``: cached or unique."""
    labels = dnsmsg.parse_name(name)
    if labels is None:
        return failed("bad_name"), {}
    ident = context.rng.randrange(1 << 16)
    question = dnsmsg.Question(name=labels, type=dnsmsg.TYPE_A)
    fields: dict[str, Value] = {"af": address.af}
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            ask_for_errors(sock).setblocking(False)
            sock.connect(address.at(port))  # of UDP: only this peer's answers, and its ICMP errors, come in
            async with asyncio.timeout(timeout_s):
                answer, query_ms = await _exchange(sock, ident, question, context)
    except TimeoutError:
        return failed("timeout"), fields
    except OSError as exc:
        return failed("refused" if exc.errno == errno.ECONNREFUSED else send_reason(exc)), fields
    fields |= {"query_ms": query_ms, "rcode": answer.rcode, "tc": answer.tc, "answers": answer.answers}
    return judge(answer, unique=kind == "unique"), fields


async def _exchange(
    sock: socket.socket, ident: int, question: dnsmsg.Question, context: Context
) -> tuple[dnsmsg.Answer, float]:
    """The first valid answer, and after how many ms."""
    loop = asyncio.get_running_loop()
    asked_s = context.monotonic()
    sock.send(dnsmsg.encode_query(ident, question))
    while True:
        answer = dnsmsg.decode_answer(await loop.sock_recv(sock, _MAX_ANSWER_BYTES))
        if answer is not None and answer.is_for(ident, question):
            return answer, round((context.monotonic() - asked_s) * 1_000, 3)
