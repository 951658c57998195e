"""How is one SIP server asked: found, spoken to, called, and left as it was?

Rule 1: a session ends without a trace: a registration is taken back, a call has its BYE.
Rule 2: a server that cannot be reached is passed over for the next that SRV names (RFC 3263 § 4.3), three at most.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from balise_agent.contract import OK, Outcome, Value, failed
from balise_agent.net import link, srv, talk, voice_figures
from balise_agent.net.datagram import send_reason
from balise_agent.net.gateway import addresses_of
from balise_agent.net.resolve import Address, literal
from balise_agent.net.sip import call as sip_call
from balise_agent.net.sip import sdp
from balise_agent.net.sip.channel import Channel, TcpChannel, UdpChannel, own_address
from balise_agent.net.sip.digest import Login
from balise_agent.net.sip.message import Headers, Request, Response, values
from balise_agent.net.sip.uri import bracketed, parse_place
from balise_agent.net.sip.user_agent import Exchange, Times, UserAgent
from balise_agent.probes.voice_outcome import code_of, fail_class, is_there, outcome

REGISTER_S = 600
"""Asked for; it is taken back a moment later. One that a killed agent leaves is over soon."""

_MOST_PLACES = 3
_OK_SIP = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``domain``: of the URIs; ``host``: where to send, None: as SRV says; ``token``: a reflector's."""

    domain: str
    host: str | None
    port: int
    transport: str
    user: str
    login: str | None = None
    password: str = ""
    token: str | None = None

    @property
    def own(self) -> str:
        """Our address of record."""
        return f"sip:{self.user}@{bracketed(self.domain)}"

    def uri(self, user: str = "") -> str:
        """Of somebody there, or of the domain; a reflector's has its port."""
        at = f"{user}@" if user else ""
        port = f":{self.port}" if self.port and self.login is None else ""
        return f"sip:{at}{bracketed(self.domain)}{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a question or a call ended."""

    outcome: Outcome
    fields: Mapping[str, Value]


class Session:
    """One server, from finding it to leaving it."""

    def __init__(
        self,
        target: Target,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        timeout_s: float,
        ring_s: float,
        linger_s: float,
        resolver: tuple[str, int] | None,
    ) -> None:
        self._target, self._rng, self._clock = target, rng, clock
        self._times = Times(timeout_s=timeout_s, ring_s=ring_s)
        self._linger_s, self._resolver = linger_s, resolver
        self._agent: UserAgent | None = None
        self._reason = "resolve"
        self._registered = False
        self._rest: list[srv.Place] = []

    async def __aenter__(self) -> Session:
        self._rest = (await self._places())[:_MOST_PLACES]
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._registered and kind is None:
                await self._register(0)
        finally:
            self._leave()

    async def options(self) -> Called:
        """Whether somebody is there; the next server where this one is not."""
        while self._agent is not None:
            exchange = await self._agent.once(self._options(self._agent), self._agent.peer, self._agent.port)
            if is_there(code_of(exchange)) or not self._rest:
                return self._signalled("options", exchange, ok=is_there(code_of(exchange)))
            await self._connect()
        return self._unreached("options")

    async def register(self) -> Called:
        """The registrar's answer."""
        if self._agent is None:
            return self._unreached("register")
        exchange = await self._register(REGISTER_S)
        self._registered = code_of(exchange) in _OK_SIP
        called = self._signalled("register", exchange, ok=self._registered)
        expires_s = None if exchange.response is None else _expires_s(exchange.response)
        more = {"register_expires_s": expires_s} if self._registered and expires_s is not None else {}
        return Called(outcome=called.outcome, fields={**called.fields, **more})

    async def hang_up(self, invite: Request, answer: Response) -> bool:
        """Ends a call that a killed agent left; whether it is over."""
        return self._agent is not None and await sip_call.hang_up(self._agent, invite, answer)

    async def call(self, user: str, seconds: float, *, reflector: bool, on_answer: sip_call.Answered) -> Called:
        """One call and its voice."""
        agent, carriers = self._agent, link.carrier_changes()
        if agent is None:
            return Called(outcome=failed(self._reason), fields={"setup_ok": False, "fail_class": "network"})
        try:
            sockets = talk.open_pair(agent.peer, own_address(agent.peer, agent.port))
        except OSError as exc:
            return Called(outcome=failed(send_reason(exc)), fields={"setup_ok": False, "fail_class": "local"})
        with sockets[0] as voice, sockets[1] as control:
            speaking = _Speaking(self, agent, voice, control, seconds)
            asked = sip_call.Asked(
                uri=self._target.uri(user),
                own=self._target.own,
                user=self._target.user,
                offer=speaking.offer,
                headers=self._token(),
            )
            called = await sip_call.call(agent, asked, speaking.talk, on_answer)
        if link.was_cut(carriers, link.carrier_changes()):
            return Called(outcome=failed("link_down"), fields=self._common(called.invite) | {"fail_class": "local"})
        return self._judged(called, speaking.told, reflector=reflector)

    def stream_of(self, media: sdp.Media, offer: sdp.Media, seconds: float) -> talk.Line | None:
        """Where voice goes and what it is; None: nowhere that this probe can reach."""
        agent, address = self._agent, literal(media.host)
        if agent is None or address is None or address.family != agent.peer.family:
            return None
        codec = next((c for c in offer.codecs if c in media.codecs), media.codecs[0])
        control = media.port if media.rtcp_mux else media.rtcp_port or media.port + 1
        return talk.Line(
            peer=(address, media.port),
            control=(address, control) if control <= 65_535 else None,
            codec=codec,
            ssrc=offer.ssrc or 0,
            first_sequence=self._rng.randrange(0x4000),  # its wrap, and that of what was lost before it, is far
            first_time=self._rng.randrange(2**31),
            seconds=seconds,
            linger_s=self._linger_s,
        )

    @property
    def is_loopback(self) -> bool:
        """The peer is on this machine."""
        return self._agent is not None and ipaddress.ip_address(self._agent.peer.host).is_loopback

    def _judged(self, called: sip_call.Called, told: talk.Talk | None, *, reflector: bool) -> Called:
        invite, code = called.invite, code_of(called.invite)
        reason, set_up = called.reason, code is not None and code in _OK_SIP
        fields: dict[str, Value] = self._common(invite) | {"setup_ok": set_up}
        if code is not None:
            fields["code"] = code
        if invite.ring_s is not None:
            fields["pdd_ms"] = round((invite.ring_s - invite.first_s) * 1_000, 3)
        if set_up and invite.final_s is not None:
            fields["answer_ms"] = round((invite.final_s - invite.first_s) * 1_000, 3)
        if told is not None:
            fields |= voice_figures.figures(told, sip_call.far_counts(called), reflector=reflector)
            if not fields["received"]:
                reason = told.refused or "no_media"
        elif set_up and reason is None:
            reason = "no_sdp"
        if (whose := fail_class(code, reason)) is not None:
            fields["fail_class"] = whose
        return Called(outcome=outcome(code, reason), fields=fields)

    def _signalled(self, kind: str, exchange: Exchange, *, ok: bool) -> Called:
        code = code_of(exchange)
        fields: dict[str, Value] = self._common(exchange) | {f"{kind}_ok": ok}
        if code is not None and exchange.final_s is not None:
            since_s = exchange.last_s if kind == "options" else exchange.sent_s
            fields |= {f"{kind}_code": code}
            fields["options_rtt_ms" if kind == "options" else "register_ms"] = round(
                (exchange.final_s - since_s) * 1_000, 3
            )
        whose = None if ok else fail_class(code, exchange.reason)
        if whose is not None:
            fields["fail_class"] = whose
        return Called(outcome=OK if ok else outcome(code, exchange.reason), fields=fields)

    def _common(self, exchange: Exchange) -> dict[str, Value]:
        agent = self._agent
        if agent is None:
            return {}
        over = agent.channel.transport.lower()
        return {"af": agent.peer.af, "transport": over, "tx_count": exchange.transmissions}

    def _unreached(self, kind: str) -> Called:
        return Called(outcome=failed(self._reason), fields={f"{kind}_ok": False, "fail_class": "network"})

    def _options(self, agent: UserAgent) -> Request:
        uri = self._target.uri()
        extra = (("Contact", agent.contact(self._target.user)), ("Accept", "application/sdp"))
        return agent.request("OPTIONS", uri, uri, self._target.own, extra)

    async def _register(self, seconds: int) -> Exchange:
        agent = self._agent
        assert agent is not None  # noqa: S101 - both callers have looked
        extra = (("Contact", agent.contact(self._target.user)), ("Expires", str(seconds)))
        return await agent.ask(agent.request("REGISTER", self._target.uri(), self._target.own, self._target.own, extra))

    def _token(self) -> Headers:
        return () if self._target.token is None else (("X-Balise-Token", self._target.token),)

    async def _places(self) -> list[srv.Place]:
        target = self._target
        if target.host is not None:
            over = "udp" if target.transport == "any" else target.transport
            return [srv.Place(host=target.host, port=target.port or 5060, transport=over)]
        servers = srv.system_servers()
        if self._resolver is not None:
            servers = tuple((address, self._resolver[1]) for address in await addresses_of(self._resolver[0]))
        return await srv.places(target.domain, target.transport, servers, self._rng)

    async def _connect(self) -> None:
        """To the next server that takes it; none: `_reason` says why of the last."""
        self._leave()
        while self._rest and self._agent is None:
            place = self._rest.pop(0)
            addresses = await addresses_of(place.host)
            if addresses:
                self._agent = await self._opened(addresses[0], place)

    async def _opened(self, address: Address, place: srv.Place) -> UserAgent | None:
        try:
            if place.transport == "tcp":
                channel: Channel = await TcpChannel.connect(address, place.port, self._clock)
            else:
                channel = UdpChannel(address, place.port, self._clock)
        except TimeoutError:
            self._reason = "connect_timeout"
            return None
        except OSError as exc:
            self._reason = "connect_refused" if isinstance(exc, ConnectionRefusedError) else send_reason(exc)
            return None
        login = None if self._target.login is None else Login(user=self._target.login, password=self._target.password)
        return UserAgent(channel, address, place.port, rng=self._rng, clock=self._clock, times=self._times, login=login)

    def _leave(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None


class _Speaking:
    """The voice of one call: what is offered, and what came of it."""

    def __init__(
        self, session: Session, agent: UserAgent, voice: socket.socket, control: socket.socket, seconds: float
    ) -> None:
        self._session, self._voice, self._control, self._seconds = session, voice, control, seconds
        self.told: talk.Talk | None = None
        host, port = voice.getsockname()[:2]
        self.offer = sdp.Media(
            host=host,
            port=port,
            codecs=(sdp.PCMA, sdp.PCMU),
            rtcp_port=control.getsockname()[1],
            rtcp_mux=True,
            ssrc=agent.rng.getrandbits(32),
        )

    async def talk(self, media: sdp.Media, ended: asyncio.Event) -> None:
        line = self._session.stream_of(media, self.offer, self._seconds)
        if line is not None:
            self.told = await talk.talk(self._voice, self._control, line, ended)


def _expires_s(response: Response) -> int | None:
    """What the registrar grants: of our Contact, which is the only one or the longest, else of the whole answer."""
    places = [parse_place(text) for text in values(response.headers, "contact")]
    told = [p.param("expires") for p in places if p is not None] + values(response.headers, "expires")[:1]
    seconds = [int(text) for text in told if text is not None and text.isascii() and text.isdigit() and len(text) < 10]
    return max(seconds, default=None)
