"""How is one call made, kept and ended?

INVITE, ACK, BYE; CANCEL where nobody answers in time. Never a redirect: the peer does not choose whom we call.

Rule 1: whatever ends the caller's wait (an error, a cancelled task), an answered call gets its BYE.
Rule 2: ACK and BYE go where the route set says, over the same channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from balise_agent.net.resolve import Address, literal, resolve
from balise_agent.net.sip import dialog, sdp
from balise_agent.net.sip.dialog import Dialog, Routed
from balise_agent.net.sip.message import Headers, Request, Response, encode, reply, value
from balise_agent.net.sip.transaction import T1_S
from balise_agent.net.sip.uri import host_port
from balise_agent.net.sip.user_agent import Exchange, Times, UserAgent

CANCEL_TIMES = Times(timeout_s=8 * T1_S, ring_s=8 * T1_S)
BYE_TIMES = Times(timeout_s=8 * T1_S, ring_s=8 * T1_S)
"""Less than 64 T1: what a call measured is known; the peer's own timers end it where a BYE is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whom to call, as whom, and with which voice. ``user``: the user part of our Contact."""

    uri: str
    own: str
    user: str
    offer: sdp.Media
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How it went. ``talked``: there was voice to exchange; ``bye``: the answer to ours; ``peer_ended``: it hung up."""

    invite: Exchange
    reason: str | None = None
    talked: bool = False
    bye: Response | None = None
    peer_ended: bool = False
    peer_bye: Request | None = None


Talk = Callable[[sdp.Media, asyncio.Event], Awaitable[None]]
"""Exchanges voice with the described peer until it is done or the event says that the peer has hung up."""


Answered = Callable[[Request, Response], None]
"""Takes the two messages that make a dialog, before the second is acknowledged."""


async def call(
    agent: UserAgent, asked: Asked, talk: Talk, on_answer: Answered = lambda _invite, _answer: None
) -> Called:
    """One call, from INVITE to BYE."""
    body = sdp.encode(asked.offer, agent.rng.randrange(1, 2**31))
    own = (("Contact", agent.contact(asked.user)), ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS"))
    kind = (("Content-Type", "application/sdp"),)
    invite = await agent.ask(
        agent.request("INVITE", asked.uri, asked.uri, asked.own, (*own, *kind, *asked.headers), body)
    )
    if invite.reason == "sip_timeout" and invite.provisional:
        invite = await _cancelled(agent, invite)
    response = invite.response
    if response is None or not 200 <= response.code < 300:
        return Called(invite=invite, reason=invite.reason)
    established = _established(agent, invite, response)
    if invite.reason is not None:  # it was answered after it had been given up
        if established is not None:
            await established.end()
        return Called(invite=replace(invite, response=None), reason=invite.reason)
    if established is None:
        return Called(invite=invite, reason="bad_sip")
    on_answer(invite.request, response)
    return await established.run(talk, response)


async def hang_up(agent: UserAgent, invite: Request, answer: Response) -> bool:
    """Ends a call of another life of this program; whether the far end said that it is over."""
    left = _established(agent, Exchange(request=invite), answer)
    told = None if left is None else await left.bye()
    return told is not None and (200 <= told.code < 300 or told.code == 481)  # 481: it knew already


class _Established:
    """An answered call."""

    def __init__(self, agent: UserAgent, invite: Exchange, made: Dialog, routed: Routed) -> None:
        self._agent, self._invite, self._dialog, self._routed = agent, invite, made, routed
        self._to: tuple[Address, int] = agent.peer, agent.port
        self._ended = asyncio.Event()
        self._peer_bye: Request | None = None

    async def run(self, talk: Talk, response: Response) -> Called:
        media = sdp.decode(response.body)
        self._agent.heard[self._dialog.call_id] = self._hear
        bye: Exchange | None = None
        try:
            await self._acknowledge()
            if media is not None:
                await talk(media, self._ended)
        except BaseException:
            self._send_bye()
            raise
        else:
            bye = None if self._ended.is_set() else await self._bye()
        finally:
            self._agent.heard.pop(self._dialog.call_id, None)
        return Called(
            invite=self._invite,
            reason=None if media is not None else "no_sdp",
            talked=media is not None,
            bye=None if bye is None else bye.response,
            peer_ended=self._ended.is_set(),
            peer_bye=self._peer_bye,
        )

    async def end(self) -> None:
        """ACK and BYE of a call that nobody wants any more."""
        await self._acknowledge()
        await self._bye()

    async def bye(self) -> Response | None:
        """BYE of one that was acknowledged long ago."""
        self._to = await _address(self._routed, self._agent)
        return (await self._bye()).response

    async def _acknowledge(self) -> None:
        self._to = await _address(self._routed, self._agent)
        ack = dialog.request(self._dialog, self._routed, "ACK", self._dialog.invite_number, self._agent.via())
        self._agent.acknowledge(self._invite.request, encode(ack), *self._to)

    def _bye_request(self) -> Request:
        return dialog.request(self._dialog, self._routed, "BYE", self._dialog.invite_number + 1, self._agent.via())

    async def _bye(self) -> Exchange:
        times, self._agent.times = self._agent.times, BYE_TIMES
        try:
            return await self._agent.once(self._bye_request(), *self._to)
        finally:
            self._agent.times = times

    def _send_bye(self) -> None:
        """Once, without waiting: the caller has no time."""
        self._agent.send(encode(self._bye_request()), *self._to)

    def _hear(self, request: Request) -> Response | None:
        if request.method == "BYE":
            self._peer_bye = request
            self._ended.set()
            return reply(request, 200, "OK")
        if request.method in ("INVITE", "UPDATE"):
            return reply(request, 488, "Not Acceptable Here")  # the voice stays as it is
        return reply(request, 200, "OK") if request.method in ("OPTIONS", "INFO") else None


def _established(agent: UserAgent, invite: Exchange, response: Response) -> _Established | None:
    made = dialog.from_answer(invite.request, response)
    routed = None if made is None else dialog.route(made)
    return None if made is None or routed is None else _Established(agent, invite, made, routed)


async def _cancelled(agent: UserAgent, invite: Exchange) -> Exchange:
    """Nobody answered in time: the call is taken back, and its final answer awaited, which may still be a 200."""
    times, agent.times = agent.times, CANCEL_TIMES
    final = asyncio.create_task(agent.still_final(invite.request))
    try:
        await agent.once(dialog.cancel(invite.request), agent.peer, agent.port)
        late = await final
    finally:
        final.cancel()
        agent.times = times
    reason = "no_answer_to_call"
    return replace(invite, response=late, reason=reason)


async def _address(routed: Routed, agent: UserAgent) -> tuple[Address, int]:
    """Where the next hop is; the peer itself where its name has no address, or over a connection."""
    host, port = host_port(routed.next_hop)
    known = literal(host)
    found = [known] if known is not None else await resolve(host)
    same = next((address for address in found if address.family == agent.peer.family), None)
    return (agent.peer, agent.port) if same is None or agent.channel.reliable else (same, port)


def far_counts(called: Called) -> dict[str, int]:
    """What the far end says of the voice (``X-RTP-Stat`` of a BYE or its answer): PR received, PS sent, and others."""
    said = (called.bye, called.peer_bye)
    headers = tuple(pair for message in said if message is not None for pair in message.headers)
    text = value(headers, "x-rtp-stat") or value(headers, "p-rtp-stat") or ""
    pairs = (part.strip().partition("=") for part in text.replace(";", ",").split(","))
    return {
        name: int(told)
        for name, _, told in pairs
        if name.isascii() and told.isascii() and told.isdigit() and len(name) <= 8 and len(told) <= 10
    }
