"""Does each rung of the path answer, how fast, and how much is lost?

A window (60 s) of echoes to each target, ICMP over ping sockets or UDP in STAMP format; one record a target. With a
`Line` each echo is told to the ladder too, which asks faster while something is missing; its records come along.

Rule 1: one socket for each family and method, one timer for all targets; answers come by the loop's reader.
Rule 2: an echo is lost when no answer came within 2 s of its sending; a router's refusal says so at once.
Rule 3: echoes sent while a test of the probe's own fills the line are the ladder's alone: their times and losses would
be blamed on the line.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field

from balise_agent.contract import Record, Value, failed, skipped
from balise_agent.net import icmp, stamp
from balise_agent.net.datagram import (
    Arrival,
    Departure,
    Refusal,
    arrivals,
    prepare,
    refusal_reason,
    reports,
    round_trip_ns,
    send,
    send_reason,
)
from balise_agent.net.fetch import URL_PATTERN
from balise_agent.net.gateway import GATEWAY, HOST_ALLOWED, HOST_PATTERN, addresses_of, no_address_reason
from balise_agent.net.resolve import Address
from balise_agent.probes.context import Context
from balise_agent.probes.dns import NAME_ALLOWED, NAME_PATTERN
from balise_agent.probes.echoes import ECHO_TIMEOUT_S, Echo, summarise
from balise_agent.probes.line import ISP, Line
from balise_agent.probes.line_rungs import other_rungs
from balise_agent.probes.web import URL_ALLOWED
from balise_agent.settings import choice, flag, number, series_label, text


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachTarget:
    """One rung. ``every_s``: 1.5 for the operator's STAMP target, 10 for the other rungs; ``port`` is STAMP's."""

    label: str = series_label()
    host: str = text(pattern=HOST_PATTERN, allowed=HOST_ALLOWED)
    method: str = choice("icmp", ("icmp", "stamp"))
    port: int = number(stamp.PORT, low=1, high=65_535)
    every_s: float = number(10.0, low=0.05, high=3_600, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachSettings:
    """``interval_s`` is the length of a window; windows follow one another without a hole.

    The ladder's rungs are the targets by their labels (gw, op, any1, …), a name asked of a resolver (``dns_name``) and
    a page that answers 204 (``web_url``); None: there is no such rung. ``overdue_s``: an echo makes the ladder ask
    faster; ``lost_s``: it counts as lost there; ``fast_s``: spacing meanwhile.
    """

    enabled: bool = flag(True)
    interval_s: float = number(60.0, low=1, high=3_600, unit="s")
    targets: tuple[ReachTarget, ...] = ()
    learn_hop: bool = flag(True)
    fast_s: float = number(1.0, low=0.05, high=10, unit="s")
    overdue_s: float = number(1.0, low=0.05, high=10, unit="s")
    lost_s: float = number(ECHO_TIMEOUT_S, low=0.1, high=10, unit="s")
    dns_host: str = text(GATEWAY, pattern=HOST_PATTERN, allowed=HOST_ALLOWED)
    dns_port: int = number(53, low=1, high=65_535)
    dns_name: str | None = text(None, pattern=NAME_PATTERN, allowed=NAME_ALLOWED)
    dns_every_s: float = number(10.0, low=0.1, high=3_600, unit="s")
    web_url: str | None = text(None, pattern=URL_PATTERN, allowed=URL_ALLOWED)
    web_every_s: float = number(60.0, low=0.1, high=3_600, unit="s")


@dataclass(slots=True, kw_only=True)
class Rung:
    """A target with its address and the echoes of this window."""

    target: ReachTarget
    address: Address
    asked_s: float  # monotonic, of its last echo by the grid
    session: int = 0
    echoes: list[Echo] = field(default_factory=list)


async def run(settings: ReachSettings, context: Context) -> list[Record]:
    """One window; it lasts ``interval_s``, and up to 2 s more while answers are still awaited."""
    if not settings.targets:
        return []
    window = Window(settings, context)
    try:
        records = await window.measure()
    finally:
        window.close()
    return records if context.line is None else records + context.line.records()


def _refuse(echo: Echo, refusal: Refusal) -> None:
    """By a router; when it did is the kernel's word, for the loop may read it a second later."""
    echo.refused = refusal_reason(refusal.family, refusal.type, refusal.code)
    if echo.watch is not None and echo.sent is not None:
        took_ns, _stamped = round_trip_ns(echo.sent, echo.departed_ns, refusal)
        echo.watch.refused(echo.refused, refusal.router, took_ns // 1_000_000)


def _with_hop(settings: ReachSettings, line: Line) -> tuple[ReachTarget, ...]:
    """The targets, and the first hop beyond the gateway where it was learned and none is named."""
    if line.hop is None or not settings.learn_hop or any(target.label == ISP for target in settings.targets):
        return settings.targets
    return (*settings.targets, ReachTarget(label=ISP, host=line.hop))


class Window:
    """The thin shell: sockets, timer, and which answer is whose."""

    def __init__(self, settings: ReachSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._token = context.rng.randbytes(icmp.TOKEN_BYTES)
        self._start_s = context.monotonic()
        self._end_s = self._start_s + settings.interval_s
        self.rungs: list[Rung] = []
        self._sockets: dict[tuple[int, str], socket.socket] = {}
        self._awaited: dict[tuple[int, int, int], Echo] = {}  # (family, session, sequence); session 0: ICMP
        self._echoes_asked = 0  # ICMP: one numbering for all rungs, since they share the socket
        self._wake = asyncio.Event()
        self._sending = True
        self._line = context.line
        self._targets = settings.targets if context.line is None else _with_hop(settings, context.line)

    async def measure(self) -> list[Record]:
        """All targets side by side; one whose name does not resolve holds up no other."""
        targets = self._targets
        joining = [asyncio.ensure_future(self._join(target)) for target in targets]
        try:
            async with other_rungs(self._settings, self._context, self._wake):
                await self._send_until_end()
            await self._await_stragglers()
            bt_ms = self._context.now_bt_ms()
            return [self._record(task, target, bt_ms) for task, target in zip(joining, targets, strict=True)]
        finally:
            for task in joining:
                task.cancel()

    def close(self) -> None:
        """Sockets are one window's: a new one is a new STAMP session, with its own numbering."""
        loop = asyncio.get_running_loop()
        for watch in (echo.watch for rung in self.rungs for echo in rung.echoes):
            if watch is not None:
                watch.drop()
        for sock in self._sockets.values():
            loop.remove_reader(sock)
            sock.close()

    async def _join(self, target: ReachTarget) -> Rung | str:
        """The target as a rung that is being measured, or why it is not."""
        address = await self._address(target.host)
        if address is None:
            return no_address_reason(target.host)
        try:
            self._open(address.family, target.method)
        except PermissionError:
            return "no_ping_permission"
        except OSError:  # EAFNOSUPPORT: a kernel without IPv6
            return "no_route"
        session = self._context.rng.randrange(1, 1 << 16) if target.method == "stamp" else 0
        asked_s = self._context.monotonic() - target.every_s
        rung = Rung(target=target, address=address, asked_s=asked_s, session=session)
        self.rungs.append(rung)
        self._wake.set()
        return rung

    async def _address(self, host: str) -> Address | None:
        """Where the peer is; where it was last, if that is known, for its name may not resolve just now."""
        known = None if self._line is None else self._line.known(host)
        if known is not None:
            return known
        address = next(iter(await addresses_of(host)), None)
        if address is not None and self._line is not None:
            self._line.found(host, address)
        return address

    def _open(self, family: int, method: str) -> None:
        if (family, method) in self._sockets:
            return
        sock = icmp.open_ping_socket(family) if method == "icmp" else prepare(socket.socket(family, socket.SOCK_DGRAM))
        self._sockets[family, method] = sock
        asyncio.get_running_loop().add_reader(sock, self._readable, sock, family, method)

    async def _send_until_end(self) -> None:
        while (now_s := self._context.monotonic()) < self._end_s:
            due_s = [self._end_s]
            for rung in self.rungs:
                every_s = self._spacing_s(rung.target)
                if rung.asked_s + every_s <= now_s:
                    self._send(rung)
                    rung.asked_s += every_s * ((now_s - rung.asked_s) // every_s)  # late leaves a hole, never a burst
                due_s.append(rung.asked_s + every_s)
            await self._sleep_until(min(due_s))
        self._sending = False

    def _spacing_s(self, target: ReachTarget) -> float:
        if self._line is None:
            return target.every_s
        return self._line.spacing_s(target.label, target.every_s, self._settings.fast_s)

    async def _await_stragglers(self) -> None:
        """Until the last echo that can still be answered is, or is lost."""
        while (last_s := self._last_deadline_s()) > self._context.monotonic():
            await self._sleep_until(last_s)

    def _last_deadline_s(self) -> float:
        still = (e.sent.mono_ns / 1e9 for r in self.rungs for e in r.echoes if e.open and e.sent is not None)
        return max(still, default=-ECHO_TIMEOUT_S) + ECHO_TIMEOUT_S

    async def _sleep_until(self, when_s: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, when_s - self._context.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _send(self, rung: Rung) -> None:
        family, port = rung.address.family, 0
        if rung.target.method == "icmp":
            echo = Echo(sequence=self._echoes_asked % (1 << 16))
            self._echoes_asked += 1
            data = icmp.encode_request(family, echo.sequence, self._token)
        else:
            echo = Echo(sequence=len(rung.echoes) + stamp.FIRST_SEQUENCE, asked_ns=time.time_ns())
            packet = stamp.SenderPacket(sequence=echo.sequence, time_ns=echo.asked_ns, session=rung.session)
            data, port = stamp.encode_sender(packet), rung.target.port
        rung.echoes.append(echo)
        echo.loaded = self._context.own_load()
        if self._line is not None:
            echo.watch = self._line.watch(rung.target.label, self._settings)
        self._awaited[family, rung.session, echo.sequence] = echo
        sock = self._sockets[family, rung.target.method]
        try:
            echo.sent = send(sock, data, rung.address.at(port))
        except OSError as exc:
            echo.refused = send_reason(exc)
            if echo.watch is not None:
                echo.watch.refused(echo.refused)
            return
        self._read_reports(
            sock, family, rung.target.method
        )  # most drivers have stamped it by now: no wake-up of its own

    def _readable(self, sock: socket.socket, family: int, method: str) -> None:
        self._read_reports(sock, family, method)
        for arrival in arrivals(sock):
            echo = self._asked(family, method, arrival)
            if echo is not None and echo.sent is not None and echo.rtt_ns is None:
                took_ns, echo.stamped = round_trip_ns(echo.sent, echo.departed_ns, arrival)
                echo.rtt_ns = took_ns - echo.held_ns if 0 <= echo.held_ns <= took_ns else took_ns
                if echo.watch is not None:
                    echo.watch.answered(round(echo.rtt_ns / 1_000))
        if not self._sending:
            self._wake.set()

    def _read_reports(self, sock: socket.socket, family: int, method: str) -> None:
        for report in reports(sock):
            if isinstance(report, Departure):
                echo = self._departed(family, method, report)
                if echo is not None:
                    echo.departed_ns = report.stamp_ns
            else:
                echo = self._refused(family, method, report)
                if echo is not None and echo.open:
                    _refuse(echo, report)

    def _asked(self, family: int, method: str, arrival: Arrival) -> Echo | None:
        """The echo that this answers; None where it answers none of this window."""
        if method == "icmp":
            reply = icmp.decode_reply(family, arrival.data)
            return self._awaited.get((family, 0, reply.sequence)) if reply and reply.token == self._token else None
        packet = stamp.decode_reflected(arrival.data)
        echo = packet and self._awaited.get((family, packet.session, packet.sender_sequence))
        if not packet or not echo or packet.sender_time_ns != echo.asked_ns:
            return None
        if echo.rtt_ns is None:
            echo.reflected, echo.held_ns = packet.sequence, packet.time_ns - packet.received_ns
        return echo

    def _departed(self, family: int, method: str, departure: Departure) -> Echo | None:
        if method == "icmp":
            asked = icmp.decode_departed(family, departure.frame)
            return self._awaited.get((family, 0, asked.sequence)) if asked else None
        packet = stamp.decode_sender(departure.frame[-stamp.PACKET_BYTES :])
        return self._awaited.get((family, packet.session, packet.sequence)) if packet else None

    def _refused(self, family: int, method: str, refusal: Refusal) -> Echo | None:
        """The echo that was refused. A router may quote UDP's header alone (RFC 792): then it is that peer's latest."""
        if method == "icmp":
            asked = icmp.decode_quoted(family, refusal.quoted)
            return self._awaited.get((family, 0, asked.sequence)) if asked else None
        packet = stamp.decode_sender(refusal.quoted)
        if packet is not None:
            return self._awaited.get((family, packet.session, packet.sequence))
        to = refusal.destination
        rungs = (r for r in self.rungs if r.echoes and (r.address.host, r.target.port) == to and r.session)
        return next((r.echoes[-1] for r in rungs), None)

    def _record(self, joining: asyncio.Future[Rung | str], target: ReachTarget, bt_ms: int) -> Record:
        joined = joining.result() if joining.done() else "resolve"
        if isinstance(joined, str) or not joined.echoes:
            reason = joined if isinstance(joined, str) else "resolve"  # its name came too late for this window
            fields: dict[str, Value] = {"method": target.method}
            return Record(measurement="reach", bt_ms=bt_ms, target=target.label, outcome=failed(reason), fields=fields)
        quiet = [echo for echo in joined.echoes if not echo.loaded]
        if not quiet:
            loaded: dict[str, Value] = {"method": target.method, "af": joined.address.af}
            outcome = skipped("own_test")
            return Record(measurement="reach", bt_ms=bt_ms, target=target.label, outcome=outcome, fields=loaded)
        outcome, fields = summarise(
            quiet, method=target.method, af=joined.address.af, window_s=self._end_s - self._start_s
        )
        if len(quiet) < len(joined.echoes):  # the reflector counted those too
            fields = {name: value for name, value in fields.items() if name not in ("fwd_lost", "rev_lost")}
        return Record(measurement="reach", bt_ms=bt_ms, target=target.label, outcome=outcome, fields=fields)
