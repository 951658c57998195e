"""What does the target say to a caller, and to the voice of its call?

A SIP answerer over UDP and TCP, and one UDP port for the voice of all calls. Each packet comes back in a packet of our
own, numbered by us: what was lost on the way here is known by our count, on the way back by ours against the caller's.

Rule 1: no answer is worth forging a sender for: SIP's is as long as its question, nearly, and is sent once for each
question (a lost 200 is asked for again by the caller: there is no provisional answer that would stop it); voice goes
only where a packet of voice came from, byte for byte, and only while its call lasts.
Rule 2: calls, their length and their rate are bounded; a call without voice is forgotten.
Rule 3: no caller is kept: neither an address nor a name is logged or outlives its call.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from balise_agent.net import rtp
from balise_agent.net.sip import sdp
from balise_agent.net.sip.message import Headers, Request, Response, encode, frame, parse, reply, value, values
from balise_agent.net.sip.uri import bracketed, place
from balise_collector.target.datagrams import answer, arrivals
from balise_collector.target.tokens import read_token

SIP_PORT = 5060
USER = "reflector"
FIRST_SEQUENCE = 1

_ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS"
_MOST_CONNECTIONS = 64
_CONNECTION_IDLE_S = 90.0  # a call, and a little
_READ_BYTES = 8_192
_IP_PKTINFO = 8  # linux/in.h


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How much callers may take. 64 kbit/s of voice are 87 on Ethernet: 200 calls fill 17 Mbit/s each way."""

    calls: int = 200
    call_s: float = 60.0
    idle_s: float = 40.0  # a call of which nothing arrives still asks, at its end, how much did
    over_s: float = 5.0  # how long the last question of a call may be asked again
    packets_s: float = 60.0  # a call's, over its whole length: 50 are sent


CALL_LIMITS = CallLimits()


@dataclass(slots=True, kw_only=True)
class _Call:
    began_s: float
    heard_s: float
    ended_s: float | None = None
    call_id: str
    tag: str
    caller: tuple[str, int]  # as its description says: of those that say no source
    ssrc: int | None
    own_ssrc: int
    body: bytes
    sent: int = 0
    numbers: set[int] = field(default_factory=set)
    last: int = 0

    @property
    def key(self) -> object:
        return self.caller if self.ssrc is None else self.ssrc

    def count(self, sequence: int) -> None:
        """Each of the caller's numbers once, without their wrap."""
        before = self.last if self.numbers else sequence
        self.last = before + ((sequence - before + 0x8000 & 0xFFFF) - 0x8000)
        self.numbers.add(self.last)


class Answering(Protocol):
    """What a socket of SIP or of voice asks."""

    voice_port: int

    def answer(self, request: Request, here: tuple[str, int], source: tuple[str, int], *, tcp: bool) -> Response | None:
        """The one answer to a request."""

    def heard(self, data: bytes, source: tuple[str, int]) -> bytes | None:
        """The packet that goes back for one of voice."""


class Telephone:
    """The calls under way. `answer` is for SIP, `heard` for voice; sockets are somebody else's."""

    def __init__(
        self,
        limits: CallLimits = CALL_LIMITS,
        key: bytes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._limits, self._key, self._monotonic, self._wall_s = limits, key, monotonic, wall_s
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._voices: dict[object, _Call] = {}
        self.voice_port = 0

    def __len__(self) -> int:
        return len(self._calls)

    def answer(self, request: Request, here: tuple[str, int], source: tuple[str, int], *, tcp: bool) -> Response | None:
        """The one answer to a request; None: there is none (ACK). ``here``: the address that was asked."""
        self._forget()
        match request.method:
            case "ACK":
                return None
            case "OPTIONS":
                return answer_to(request, 200, "OK", source, (("Accept", "application/sdp"), ("Allow", _ALLOW)))
            case "INVITE":
                return self._invited(request, here, source, tcp=tcp)
            case "BYE":
                return self._ended(request, source)
            case "CANCEL":
                return answer_to(request, 200 if self._of(request) else 481, "Answered Already", source)
            case _:
                return answer_to(request, 405, "Method Not Allowed", source, (("Allow", _ALLOW),))

    def heard(self, data: bytes, source: tuple[str, int]) -> bytes | None:
        """The packet that goes back for one of voice; None: it is of no call."""
        packet = rtp.decode(data)
        call = None if packet is None else self._voices.get(packet.ssrc) or self._voices.get(source)
        if packet is None or call is None or call.ended_s is not None:
            return None
        now_s = self._monotonic()
        age_s = now_s - call.began_s
        if age_s > self._limits.call_s or call.sent >= 50 + age_s * self._limits.packets_s:
            return None
        call.heard_s = now_s
        call.count(packet.sequence)
        call.sent += 1
        number = FIRST_SEQUENCE + call.sent - 1 & 0xFFFF
        return data[:2] + number.to_bytes(2) + data[4:8] + call.own_ssrc.to_bytes(4) + data[12:]

    def _invited(self, request: Request, here: tuple[str, int], source: tuple[str, int], *, tcp: bool) -> Response:
        call = self._of(request)
        if call is None:
            made = self._made(request, here)
            if isinstance(made, tuple):
                return answer_to(request, *made, source)
            call = made
        routes = tuple(("Record-Route", text) for text in values(request.headers, "record-route"))
        over = ";transport=tcp" if tcp else ""
        contact = f"<sip:{USER}@{bracketed(here[0])}:{here[1]}{over}>"
        extra = (*routes, ("Contact", contact), ("Content-Type", "application/sdp"))
        return answer_to(request, 200, "OK", source, extra, call.body, tag=call.tag)

    def _made(self, request: Request, here: tuple[str, int]) -> _Call | tuple[int, str]:
        to = place(request.headers, "to")
        call_id, offered = value(request.headers, "call-id"), sdp.decode(request.body)
        if to is None or to.param("tag") is not None or not call_id:
            return 481, "Call Does Not Exist"
        token = value(request.headers, "x-balise-token") or ""
        if self._key is not None and read_token(self._key, token, self._wall_s()) is None:
            return 403, "Forbidden"
        if offered is None:
            return 488, "Not Acceptable Here"
        if len(self._calls) >= self._limits.calls:
            return 486, "Busy Here"
        now_s = self._monotonic()
        own_ssrc = secrets.randbits(32)
        media = sdp.Media(host=here[0], port=self.voice_port, codecs=offered.codecs[:1], ssrc=own_ssrc)
        call = _Call(
            began_s=now_s,
            heard_s=now_s,
            call_id=call_id,
            tag=secrets.token_hex(8),
            caller=(offered.host, offered.port),
            ssrc=offered.ssrc,
            own_ssrc=own_ssrc,
            body=sdp.encode(media, secrets.randbits(31)),
        )
        before = self._voices.get(call.key)
        if before is not None and before.ended_s is None:
            return 486, "Busy Here"
        self._calls[call_id] = self._voices[call.key] = call
        return call

    def _ended(self, request: Request, source: tuple[str, int]) -> Response:
        call = self._of(request)
        if call is None:
            return answer_to(request, 481, "Call Does Not Exist", source)
        call.ended_s = self._monotonic() if call.ended_s is None else call.ended_s
        told = f"PR={len(call.numbers)};PS={call.sent};FS={FIRST_SEQUENCE}"
        return answer_to(request, 200, "OK", source, (("X-RTP-Stat", told),))

    def _of(self, request: Request) -> _Call | None:
        return self._calls.get(value(request.headers, "call-id") or "")

    def _forget(self) -> None:
        """Calls that are over, too long or silent."""
        now_s, limits = self._monotonic(), self._limits
        over = [
            call
            for call in self._calls.values()
            if now_s - call.heard_s > limits.idle_s
            or now_s - call.began_s > limits.call_s
            or (call.ended_s is not None and now_s - call.ended_s > limits.over_s)
        ]
        for call in over:
            del self._calls[call.call_id]
            if self._voices.get(call.key) is call:
                del self._voices[call.key]


class SipSocket:
    """SIP over one UDP socket."""

    def __init__(self, sock: socket.socket, telephone: Answering) -> None:
        self._sock, self._telephone = sock, telephone

    def readable(self) -> None:
        """Answers what waits, some at a time."""
        for arrival in arrivals(self._sock):
            source, here = _plain(arrival.source), _asked_at(self._sock, arrival.asked_at)
            data = _answered(self._telephone, arrival.data, here, source, tcp=False)
            if data is not None:
                answer(self._sock, arrival, data)


class VoiceSocket:
    """The voice of all calls over one UDP socket."""

    def __init__(self, sock: socket.socket, telephone: Answering) -> None:
        self._sock, self._telephone = sock, telephone

    def readable(self) -> None:
        """Sends back what waits, some at a time."""
        for arrival in arrivals(self._sock):
            data = self._telephone.heard(arrival.data, _plain(arrival.source))
            if data is not None:
                answer(self._sock, arrival, data)


async def accept_sip(listener: socket.socket, telephone: Answering) -> None:
    """SIP over TCP, so many connections at once."""
    loop = asyncio.get_running_loop()
    free = asyncio.Semaphore(_MOST_CONNECTIONS)
    async with asyncio.TaskGroup() as connections:
        while True:
            await free.acquire()
            try:
                sock, source = await loop.sock_accept(listener)
            except OSError:
                free.release()
                await asyncio.sleep(1)  # descriptors have run out, or the connection's own error: some come back
                continue
            connections.create_task(_converse(sock, source, telephone)).add_done_callback(lambda _: free.release())


async def _converse(sock: socket.socket, source: tuple[str, int], telephone: Answering) -> None:
    """One connection; what is no stream of SIP ends it."""
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    with sock, contextlib.suppress(OSError, TimeoutError, ValueError):
        sock.setblocking(False)
        here = _plain(sock.getsockname())
        while True:
            async with asyncio.timeout(_CONNECTION_IDLE_S):
                part = await loop.sock_recv(sock, _READ_BYTES)
                if not part:
                    return
                buffer += part
                for data in _messages(buffer):
                    told = _answered(telephone, data, here, _plain(source), tcp=True)
                    if told is not None:
                        await loop.sock_sendall(sock, told)


def _messages(buffer: bytearray) -> list[bytes]:
    found: list[bytes] = []
    while True:
        data, done = frame(buffer)
        del buffer[:done]
        if data is None:
            return found
        found.append(data)


def _answered(
    telephone: Answering, data: bytes, here: tuple[str, int], source: tuple[str, int], *, tcp: bool
) -> bytes | None:
    message = parse(data)
    if not isinstance(message, Request) or not values(message.headers, "via"):
        return None
    response = telephone.answer(message, here, source, tcp=tcp)
    return None if response is None else encode(response)


def answer_to(
    request: Request,
    code: int,
    phrase: str,
    source: tuple[str, int],
    extra: Headers = (),
    body: bytes = b"",
    tag: str = "",
) -> Response:
    """With the caller's place as it is seen here (RFC 3581), and a tag where To has none."""
    told = reply(request, code, phrase, extra, body)
    headers: list[tuple[str, str]] = []
    first = True
    for name, text in told.headers:
        if name == "Via" and first:
            first = False
            text = re.sub(r";rport(?=[;,]|$)", f";received={source[0]};rport={source[1]}", text, count=1)  # noqa: PLW2901
        elif name == "To" and ";tag=" not in text.lower():
            text = f"{text};tag={tag or secrets.token_hex(8)}"  # noqa: PLW2901
        headers.append((name, text))
    return Response(code=told.code, phrase=told.phrase, headers=tuple(headers), body=told.body)


def _plain(address: tuple[object, ...]) -> tuple[str, int]:
    """IPv4 on a socket of both families is written as IPv4."""
    return str(address[0]).removeprefix("::ffff:"), int(str(address[1]))


def _asked_at(sock: socket.socket, asked_at: list[tuple[int, int, bytes]]) -> tuple[str, int]:
    """Which of our addresses was asked."""
    host, port = _plain(sock.getsockname())
    for level, kind, payload in asked_at:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            host = socket.inet_ntop(socket.AF_INET, payload[4:8])
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            host = socket.inet_ntop(socket.AF_INET6, payload[:16]).removeprefix("::ffff:")
    return host, port
