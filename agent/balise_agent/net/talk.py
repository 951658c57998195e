"""How is voice sent on time, and what comes back meanwhile?

G.711 in packets of 20 ms, the tone of ITU-T G.711 table 5, which no silence detector cuts. In a thread of its own: the
agent's loop may be late by more than the 10 ms that make a call invalid.

Rule 1: what is kept is bounded by what was sent; what comes above that is dropped, and only counted.
Rule 2: what is heard is written down as it came; `voice_figures` makes sense of it.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from balise_agent.net import datagram, rtcp, rtp
from balise_agent.net.resolve import Address
from balise_agent.net.sip.sdp import PCMA, PCMU

PACKET_NS = 20_000_000
SAMPLES = 160
RATE_HZ = 8_000
LINGER_S = 0.5
"""After the last packet: an answer that is later than this is lost to any conversation (G.114: 400 ms)."""

RTCP_EVERY_NS = 5_000_000_000  # RFC 3550 § 6.2
_FIRST_RTCP_NS = 1_000_000_000  # a call of a few seconds should have one too
_MOST_TIMES_SENT = 4
_MOST_RTCP = 64
_MAX_BYTES = 2_048
_ANCILLARY_BYTES = 256
_EXPEDITED = 0xB8  # DSCP EF, RFC 3246: as telephones mark their voice
_OLDEST_STAMP_NS = 50_000_000

# 1 kHz at 0 dBm0, eight samples a period
_TONES = {
    PCMA: bytes.fromhex("34212134b4a1a1b4"),
    PCMU: bytes.fromhex("1e0b0b1e9e8b8b9e"),
}
_HEAD = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where to, what and as whom. ``control``: where RTCP goes; None: nowhere."""

    peer: tuple[Address, int]
    control: tuple[Address, int] | None
    codec: int
    ssrc: int
    first_sequence: int
    first_time: int
    seconds: float
    linger_s: float = LINGER_S


@dataclass(frozen=True, slots=True)
class Heard:
    """A voice packet that came; ``at_ns`` is monotonic."""

    ssrc: int
    sequence: int
    time: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class Talk:
    """All that was sent and heard. ``sent_ns``: when each packet left, in order; None: the probe could not send it."""

    line: Line
    sent_ns: list[int | None] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    reports: list[tuple[rtcp.Report, int]] = field(default_factory=list)  # and its arrival, NTP
    late_ns: int = 0
    dropped: int = 0
    refused: str | None = None  # why the peer's machine takes no voice (ICMP)


def open_pair(peer: Address, own: str) -> tuple[socket.socket, socket.socket]:
    """Sockets for RTP and RTCP, an even port and the next one (RFC 3550 § 11); OSError where there are none."""
    last: OSError | None = None
    for _ in range(16):
        voice = socket.socket(peer.family, socket.SOCK_DGRAM)
        control = socket.socket(peer.family, socket.SOCK_DGRAM)
        try:
            voice.bind((own, 0))
            port = voice.getsockname()[1]
            if port % 2 == 0:
                control.bind((own, port + 1))
                return _prepared(voice), _prepared(control)
        except OSError as exc:
            last = exc
        voice.close()
        control.close()
    raise last or OSError("no pair of ports is free")


async def talk(voice: socket.socket, control: socket.socket, line: Line, ended: asyncio.Event) -> Talk:
    """Sends for ``line.seconds`` or until ``ended``, and listens a little longer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Talk] = loop.create_future()
    stop = threading.Event()

    def run() -> None:
        told = _Talking(voice, control, line, stop).run()
        try:
            loop.call_soon_threadsafe(_settle, done, told)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    # A daemon of its own: the loop's executor would be joined when the agent stops.
    thread = threading.Thread(target=run, name="voice", daemon=True)
    watching = asyncio.create_task(_stop_when(ended, stop))
    thread.start()
    try:
        return await asyncio.shield(done)
    finally:
        watching.cancel()
        stop.set()
        await asyncio.shield(done)  # its sockets are closed next: 20 ms at most


async def _stop_when(ended: asyncio.Event, stop: threading.Event) -> None:
    await ended.wait()
    stop.set()


def _settle(done: asyncio.Future[Talk], told: Talk) -> None:
    if not done.done():
        done.set_result(told)


def _prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, datagram.SO_TIMESTAMPNS, 1)
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if sock.family == socket.AF_INET6 else (0, socket.IP_TOS)
    sock.setsockopt(level, option, _EXPEDITED)
    return datagram.ask_for_errors(sock)


class _Talking:
    """The thread's own: nothing else touches it while it runs."""

    def __init__(self, voice: socket.socket, control: socket.socket, line: Line, stop: threading.Event) -> None:
        self._voice, self._control, self._line, self._stop = voice, control, line, stop
        self._told = Talk(line=line)
        self._packets = max(1, round(line.seconds * 1e9 / PACKET_NS))
        self._payload = _TONES[line.codec] * (SAMPLES // 8)
        self._poll = select.poll()
        for sock in (voice, control):
            self._poll.register(sock, select.POLLIN)

    def run(self) -> Talk:
        start_ns = time.monotonic_ns()
        control_ns = start_ns + _FIRST_RTCP_NS
        for index in range(self._packets):
            due_ns = start_ns + index * PACKET_NS
            self._listen(due_ns, self._stop.is_set)
            if self._stop.is_set():
                return self._told
            now_ns = time.monotonic_ns()
            self._told.late_ns = max(self._told.late_ns, now_ns - due_ns)
            self._told.sent_ns.append(now_ns if self._send(index) else None)
            if now_ns >= control_ns:
                control_ns += RTCP_EVERY_NS
                self._report()
        self._report()
        self._listen(time.monotonic_ns() + round(self._line.linger_s * 1e9), self._is_over)
        return self._told

    def _is_over(self) -> bool:
        """Nothing more is awaited: as much came as went."""
        if len(self._told.heard) < len(self._told.sent_ns):
            return self._stop.is_set()
        return self._stop.is_set() or len({p.sequence for p in self._told.heard}) >= len(self._told.sent_ns)

    def _send(self, index: int) -> bool:
        line = self._line
        marker = 0x80 if index == 0 else 0  # RFC 3551 § 4.1: the first of a talkspurt
        head = _HEAD.pack(
            0x80,
            marker | line.codec,
            line.first_sequence + index & 0xFFFF,
            line.first_time + index * SAMPLES & 0xFFFFFFFF,
            line.ssrc,
        )
        address, port = line.peer
        return self._sent(self._voice, head + self._payload, address.at(port))

    def _report(self) -> None:
        if self._line.control is None:
            return
        sent = [at_ns for at_ns in self._told.sent_ns if at_ns is not None]
        sender = rtcp.Sender(
            ntp=rtcp.ntp(time.time_ns()),
            rtp_time=self._line.first_time + len(self._told.sent_ns) * SAMPLES & 0xFFFFFFFF,
            packets=len(sent),
            payload_bytes=len(sent) * SAMPLES,
        )
        address, port = self._line.control
        data = rtcp.encode(rtcp.Report(ssrc=self._line.ssrc, sender=sender, blocks=()))
        muxed = self._line.control == self._line.peer
        self._sent(self._voice if muxed else self._control, data, address.at(port))

    def _sent(self, sock: socket.socket, data: bytes, to: tuple[str, int] | tuple[str, int, int, int]) -> bool:
        for _ in range(2):  # the first may report an ICMP error of an earlier one and send nothing (ip(7))
            try:
                sock.sendto(data, to)
                return True
            except OSError as exc:
                self._told.refused = self._told.refused or datagram.send_reason(exc)
        return False

    def _listen(self, until_ns: int, ended: Callable[[], bool]) -> None:
        """Takes in what comes until then; what waits already is taken even when it is late."""
        while True:
            left_ns = until_ns - time.monotonic_ns()
            # poll() waits whole ms: the last one is slept, a packet that comes in it has its kernel stamp
            if ended():
                return
            if not self._poll.poll(max(0, left_ns // 1_000_000)):
                if left_ns > 0:
                    time.sleep(max(0, until_ns - time.monotonic_ns()) / 1e9)
                return
            self._take(self._voice)
            self._take(self._control)
            if time.monotonic_ns() >= until_ns:
                return

    def _take(self, sock: socket.socket) -> None:
        for _ in range(datagram.MOST_AT_ONCE):
            try:
                data, ancillary, _, _ = sock.recvmsg(_MAX_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError:
                continue
            self._note(data, ancillary)
        for report in datagram.reports(sock):
            if isinstance(report, datagram.Refusal) and sock is self._voice:
                self._told.refused = datagram.refusal_reason(report.family, report.type, report.code)

    def _note(self, data: bytes, ancillary: datagram.Ancillary) -> None:
        stamp, wall_ns, mono_ns = datagram.stamp_ns(ancillary), time.time_ns(), time.monotonic_ns()
        age_ns = 0 if stamp is None else wall_ns - stamp
        at_ns = mono_ns - age_ns if 0 <= age_ns < _OLDEST_STAMP_NS else mono_ns
        told = self._told
        if len(data) >= 2 and 192 <= data[1] <= 223:  # RTCP, also where it shares the port (RFC 5761 § 4)
            arrived = rtcp.ntp(wall_ns - (mono_ns - at_ns))
            told.reports += [(report, arrived) for report in rtcp.decode(data)]
            del told.reports[:-_MOST_RTCP]
            return
        packet = rtp.decode(data)
        if packet is None:
            return
        if len(told.heard) >= _MOST_TIMES_SENT * self._packets:
            told.dropped += 1
            return
        told.heard.append(Heard(packet.ssrc, packet.sequence, packet.timestamp, at_ns))
