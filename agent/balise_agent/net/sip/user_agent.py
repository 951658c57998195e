"""How is a request asked over a channel until it has its final answer, and what else comes in meanwhile?

Rule 1: a request ends in an `Exchange`, whatever comes or does not: an answer, a reason, never an exception.
Rule 2: a final answer that comes again is acknowledged again; a call that is answered is ended, on every way out.
Rule 3: credentials go to a challenge of the one peer that was asked, twice at most (the second: a stale nonce).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from balise_agent.net.datagram import send_reason
from balise_agent.net.resolve import Address
from balise_agent.net.sip import digest
from balise_agent.net.sip.channel import Arrived, Channel
from balise_agent.net.sip.dialog import refused_ack
from balise_agent.net.sip.message import Headers, Request, Response, branch, cseq, encode, reply, value
from balise_agent.net.sip.transaction import TIMEOUT_S, ClientTransaction
from balise_agent.net.sip.uri import bracketed

COOKIE = "z9hG4bK"  # RFC 3261 § 8.1.1.7
PRODUCT = "Balise"
_MOST_CHALLENGES = 2
_MOST_KEPT = 64  # acknowledgements that may have to be sent again
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What became of a request; times are monotonic. ``reason``: why there is no final answer.

    ``first_s``: the question's first transmission, before any challenge; ``sent_s``, ``last_s``: the first and the
    last of the request that was answered; ``ring_s``: the first 180, 183 or 2xx.
    """

    request: Request
    response: Response | None = None
    reason: str | None = None
    transmissions: int = 0
    first_s: float = 0.0
    sent_s: float = 0.0
    last_s: float = 0.0
    ring_s: float | None = None
    final_s: float | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long is waited: for any answer, and for a ringing call's final one."""

    timeout_s: float = TIMEOUT_S
    ring_s: float = 60.0


class UserAgent:
    """One peer, one channel, and the requests under way on it."""

    def __init__(
        self,
        channel: Channel,
        peer: Address,
        port: int,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        times: Times,
        login: digest.Login | None = None,
    ) -> None:
        self.channel, self.peer, self.port = channel, peer, port
        self.clock, self.times, self.login, self.rng = clock, times, login, rng
        self.heard: dict[str, Callable[[Request], Response | None]] = {}
        self._waiting: dict[tuple[str, str], asyncio.Queue[Arrived]] = {}
        self._acks: dict[str, tuple[bytes, Address, int]] = {}
        self._reading = asyncio.create_task(self._read())

    def close(self) -> None:
        """Nothing is read or answered any more."""
        self._reading.cancel()
        self.channel.close()

    def token(self, chars: int = 16) -> str:
        """A word that nobody else has."""
        return "".join(self.rng.choices(_LETTERS, k=chars))

    def via(self) -> str:
        """A Via with a branch of its own; ``rport``: answers come back through the home's box (RFC 3581)."""
        host, port = self.channel.local
        return f"SIP/2.0/{self.channel.transport} {bracketed(host)}:{port};rport;branch={COOKIE}{self.token()}"

    def contact(self, user: str) -> str:
        """Where requests of the peer reach this agent."""
        host, port = self.channel.local
        over = ";transport=tcp" if self.channel.reliable else ""
        return f"<sip:{user}@{bracketed(host)}:{port}{over}>"

    def request(self, method: str, uri: str, to: str, own: str, extra: Headers = (), body: bytes = b"") -> Request:
        """A new question outside of any call; ``own``: our URI, ``to``: the other's, as URIs."""
        headers = (
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", f"<{own}>;tag={self.token(10)}"),
            ("To", f"<{to}>"),
            ("Call-ID", self.token(24)),
            ("CSeq", f"{self.rng.randrange(1, 10_000)} {method}"),
            ("User-Agent", PRODUCT),
            *extra,
        )
        return Request(method=method, uri=uri, headers=headers, body=body)

    async def ask(self, request: Request) -> Exchange:
        """Its final answer, challenges answered on the way."""
        exchange = await self.once(request, self.peer, self.port)
        first_s, ring_s = exchange.first_s, exchange.ring_s
        for asked in range(_MOST_CHALLENGES):
            again = self._answered_challenge(exchange, first=asked == 0)
            if again is None:
                break
            exchange = await self.once(again, self.peer, self.port)
            ring_s = ring_s if exchange.ring_s is None else exchange.ring_s
        return replace(exchange, first_s=first_s, ring_s=ring_s)

    async def once(self, request: Request, peer: Address, port: int) -> Exchange:
        """One client transaction."""
        key = (branch(request.headers) or "", request.method)
        arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
        self._waiting[key] = arrivals
        try:
            return await _Asking(self, request, peer, port, arrivals).run()
        finally:
            del self._waiting[key]

    async def still_final(self, request: Request) -> Response | None:
        """The final answer of an INVITE that was given up; None: none came in `Times.timeout_s`."""
        arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
        self._waiting[branch(request.headers) or "", "INVITE"] = arrivals
        asking = _Asking(self, request, self.peer, self.port, arrivals)
        try:
            async with asyncio.timeout(self.times.timeout_s):
                return await asking.final()
        except TimeoutError:
            return None
        finally:
            del self._waiting[branch(request.headers) or "", "INVITE"]

    def send(self, data: bytes, peer: Address, port: int) -> None:
        """Sent once, where it can be: what is missed is asked for again."""
        with contextlib.suppress(OSError):
            self.channel.send(data, peer, port)

    def acknowledge(self, request: Request, ack: bytes, peer: Address, port: int) -> None:
        """Sends an ACK now, and again for each time that the INVITE's final answer comes again."""
        self._acks[branch(request.headers) or ""] = (ack, peer, port)
        while len(self._acks) > _MOST_KEPT:
            del self._acks[next(iter(self._acks))]
        self.send(ack, peer, port)

    def _answered_challenge(self, exchange: Exchange, *, first: bool) -> Request | None:
        response = exchange.response
        if self.login is None or response is None or response.code not in (401, 407):
            return None
        asked, told = (
            ("www-authenticate", "Authorization")
            if response.code == 401
            else ("proxy-authenticate", "Proxy-Authorization")
        )
        offered = [text for name, text in response.headers if name == asked]
        challenge = digest.strongest(digest.parse(text) for text in offered)
        if challenge is None or not (first or challenge.stale):
            return None
        request = exchange.request
        proof = digest.answer(challenge, self.login, request.method, request.uri, self.token())
        number, method = cseq(request.headers) or (0, request.method)
        renewed = {"via": self.via(), "cseq": f"{number + 1} {method}"}
        kept = ((name, renewed.get(name.lower(), text)) for name, text in request.headers if name != told)
        return replace(request, headers=(*kept, (told, proof)))

    async def _read(self) -> None:
        while True:
            arrived = await self.channel.inbox.get()
            if arrived.fault is not None:
                for queue in self._waiting.values():
                    queue.put_nowait(arrived)
            elif isinstance(arrived.message, Response):
                self._take_response(arrived, arrived.message)
            elif isinstance(arrived.message, Request):
                self._take_request(arrived.message)

    def _take_response(self, arrived: Arrived, response: Response) -> None:
        mark, numbered = branch(response.headers) or "", cseq(response.headers)
        queue = self._waiting.get((mark, "" if numbered is None else numbered[1]))
        if queue is not None:
            queue.put_nowait(arrived)
        elif response.final and numbered is not None and numbered[1] == "INVITE" and mark in self._acks:
            self.send(*self._acks[mark])

    def _take_request(self, request: Request) -> None:
        """The peer's own requests: a call that it ends, a question whether we are there."""
        if request.method == "ACK":
            return
        hear = self.heard.get(value(request.headers, "call-id") or "")
        response = None if hear is None else hear(request)
        if response is None:
            known = request.method == "OPTIONS"
            response = reply(request, 200, "OK") if known else reply(request, 481, "Call Does Not Exist")
        self.send(encode(response), self.peer, self.port)


class _Asking:
    """The waiting of one transaction."""

    def __init__(
        self, agent: UserAgent, request: Request, peer: Address, port: int, arrivals: asyncio.Queue[Arrived]
    ) -> None:
        self._agent, self._request, self._peer, self._port, self._arrivals = agent, request, peer, port, arrivals
        self._data = encode(request)
        self._found = Exchange(request=request)

    async def run(self) -> Exchange:
        agent, times = self._agent, self._agent.times
        transaction = ClientTransaction(
            agent.clock(),
            invite=self._request.method == "INVITE",
            reliable=agent.channel.reliable,
            timeout_s=times.timeout_s,
            ring_s=times.ring_s,
        )
        while True:
            due = transaction.due(agent.clock())
            if due == "timeout":
                return replace(self._found, reason="sip_timeout")
            if due == "send":
                # The last that the loop does before it sleeps: our own work is in no round trip.
                asyncio.get_running_loop().call_soon(self._send)
            arrived = await self._next(transaction.next_s)
            if arrived is None:
                continue
            if arrived.fault is not None:
                return replace(self._found, reason=arrived.fault)
            if isinstance(arrived.message, Response) and self._take(arrived.message, arrived.at_s, transaction):
                return self._found

    async def final(self) -> Response:
        """Only waits: nothing is sent but the ACK of what comes."""
        while True:
            message = (await self._arrivals.get()).message
            if isinstance(message, Response) and message.final:
                self._refused(message)
                return message

    def _send(self) -> None:
        sent_s = self._agent.clock()
        try:
            self._agent.channel.send(self._data, self._peer, self._port)
        except OSError as exc:
            reason = "closed_early" if isinstance(exc, ConnectionError) else send_reason(exc)
            self._arrivals.put_nowait(Arrived(fault=reason))
            return
        count = self._found.transmissions
        begun = {} if count else {"first_s": sent_s, "sent_s": sent_s}
        self._found = replace(self._found, transmissions=count + 1, last_s=sent_s, **begun)  # type: ignore[arg-type]

    async def _next(self, until_s: float) -> Arrived | None:
        try:
            async with asyncio.timeout(max(0.0, until_s - self._agent.clock())):
                return await self._arrivals.get()
        except TimeoutError:
            return None

    def _take(self, response: Response, at_s: float, transaction: ClientTransaction) -> bool:
        final = transaction.answered(response.code, at_s)
        rings = response.code in (180, 183) or 200 <= response.code < 300
        if rings and self._found.ring_s is None:
            self._found = replace(self._found, ring_s=at_s)
        if not final:
            self._found = replace(self._found, provisional=True)
            return False
        self._found = replace(self._found, response=response, final_s=at_s)
        left_s = self._agent.channel.left_s(self._data)
        if left_s is not None and left_s <= at_s:
            once = self._found.transmissions == 1
            self._found = replace(self._found, last_s=left_s, sent_s=left_s if once else self._found.sent_s)
        self._refused(response)
        return True

    def _refused(self, response: Response) -> None:
        if self._request.method == "INVITE" and response.code >= 300:
            ack = encode(refused_ack(self._request, response))
            self._agent.acknowledge(self._request, ack, self._peer, self._port)
