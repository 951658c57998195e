"""How long do round trips take while the line is full?

50 echoes a second, 34 kbit/s, by ICMP, which the target's kernel answers; where this user may not ping, by STAMP, whose
reflector shares the target's processor with the streams. Kernel stamps both ways: the loop that drains is late by ms.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from balise_agent.net import icmp, stamp
from balise_agent.net.datagram import Departure, Sent, arrivals, prepare, reports, round_trip_ns, send
from balise_agent.net.throughput.dialogue import Peer

EVERY_S = 0.02
_SEQUENCES = 1 << 16


@dataclass(slots=True, kw_only=True)
class Echo:
    """One echo: when it was asked for, and its round trip, None while it is not back."""

    asked_s: float
    sent: Sent
    departed_ns: int | None = None
    rtt_ns: int | None = None


@dataclass(slots=True)
class Pings:
    """Call `turn` often: it asks when an echo is due, and takes what has come. ``method`` is icmp or stamp."""

    sock: socket.socket
    method: str
    address: tuple[object, ...]
    family: int
    monotonic: Callable[[], float] = time.monotonic
    echoes: dict[int, Echo] = field(default_factory=dict)
    _token: bytes = field(default_factory=lambda: os.urandom(icmp.TOKEN_BYTES))
    _due_s: float = 0.0
    _next: int = 1

    def turn(self) -> None:
        """What is to be done now."""
        now_s = self.monotonic()
        if now_s >= self._due_s:
            self._ask(now_s)
            self._due_s = max(self._due_s + EVERY_S, now_s)
        self.take()

    def take(self) -> None:
        """What has come."""
        for report in reports(self.sock):
            if isinstance(report, Departure):
                echo = self.echoes.get(self._departed(report.frame))
                if echo is not None:
                    echo.departed_ns = report.stamp_ns
        for arrival in arrivals(self.sock):
            echo = self.echoes.get(self._answered(arrival.data))
            if echo is not None and echo.rtt_ns is None:
                echo.rtt_ns, _stamped = round_trip_ns(echo.sent, echo.departed_ns, arrival)

    def between(self, start_s: float, end_s: float) -> tuple[list[int], int]:
        """Round trips in us of the echoes asked for then, sorted, and how many are missing."""
        asked = [e for e in self.echoes.values() if start_s <= e.asked_s < end_s]
        return sorted(round(e.rtt_ns / 1_000) for e in asked if e.rtt_ns is not None), sum(
            e.rtt_ns is None for e in asked
        )

    def close(self) -> None:
        """No more of it."""
        self.sock.close()

    def _ask(self, now_s: float) -> None:
        sequence, self._next = self._next, self._next % (_SEQUENCES - 1) + 1
        if self.method == "icmp":
            data = icmp.encode_request(self.family, sequence, self._token)
        else:
            packet = stamp.SenderPacket(sequence=sequence, time_ns=time.time_ns(), session=self._session)
            data = stamp.encode_sender(packet)
        try:
            self.echoes[sequence] = Echo(asked_s=now_s, sent=send(self.sock, data, self.address))  # type: ignore[arg-type]
        except OSError:
            return  # a full queue of the probe's own: the next one is due in 20 ms

    @property
    def _session(self) -> int:
        return int.from_bytes(self._token[:2], "big") or 1

    def _departed(self, frame: bytes) -> int:
        if self.method == "icmp":
            echo = icmp.decode_departed(self.family, frame)
            return -1 if echo is None else echo.sequence
        packet = stamp.decode_sender(frame[-stamp.PACKET_BYTES :])
        return -1 if packet is None else packet.sequence

    def _answered(self, data: bytes) -> int:
        if self.method == "icmp":
            echo = icmp.decode_reply(self.family, data)
            return -1 if echo is None or echo.token != self._token else echo.sequence
        packet = stamp.decode_reflected(data)
        return -1 if packet is None or packet.session != self._session else packet.sender_sequence


def open_pings(peer: Peer, udp_port: int) -> Pings:
    """OSError: neither ICMP nor UDP can be sent there."""
    try:
        sock = icmp.open_ping_socket(peer.family)
    except OSError:  # ping_group_range; no IPv6
        sock = prepare(socket.socket(peer.family, socket.SOCK_DGRAM))
        return Pings(sock, "stamp", (peer.address[0], udp_port, *peer.address[2:]), peer.family)
    return Pings(sock, "icmp", (peer.address[0], 0, *peer.address[2:]), peer.family)
