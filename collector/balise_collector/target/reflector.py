"""What does the target send back to a STAMP sender (RFC 8762, stateful)?

Rule: no address of a client is kept. A session is known by a hash that dies with the process.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable

from balise_agent.net import stamp
from balise_collector.target.datagrams import Datagram, answer, arrivals

MAX_SESSIONS = 50_000  # 1,000 probes open one a minute each; 50,000 take 11 MB
SESSION_IDLE_NS = 300 * 1_000_000_000  # a probe's session is one window, 60 s: a pause of minutes is another's


class Sessions:
    """How many packets came in each session: what tells a loss on the way here from one on the way back."""

    def __init__(self, most: int = MAX_SESSIONS, idle_ns: int = SESSION_IDLE_NS) -> None:
        self._most = most
        self._idle_ns = idle_ns
        self._seen: OrderedDict[int, tuple[int, int]] = (
            OrderedDict()
        )  # hash -> (packets, monotonic ns), longest idle first

    def __len__(self) -> int:
        return len(self._seen)

    def count(self, key: tuple[object, ...], now_ns: int) -> int:
        """The reflector's sequence number for the next answer: 0 in a new session (RFC 8762 § 4.3)."""
        hashed = hash(key)  # keyed by this process's own secret (PYTHONHASHSEED): it tells nobody an address
        self._forget(now_ns)
        packets, _ = self._seen.pop(hashed, (0, 0))
        self._seen[hashed] = (packets + 1, now_ns)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return packets & 0xFFFFFFFF

    def _forget(self, now_ns: int) -> None:
        while self._seen and next(iter(self._seen.values()))[1] < now_ns - self._idle_ns:
            self._seen.popitem(last=False)


class Reflector:
    """Answers the packets of STAMP senders on one UDP socket. ``others``: takes what is no packet of theirs."""

    def __init__(self, sock: socket.socket, others: Callable[[Datagram], bool] = lambda _: False) -> None:
        self._sock = sock
        self._others = others
        self._sessions = Sessions()

    def readable(self) -> None:
        """Answer what waits, some at a time."""
        for arrival in arrivals(self._sock):
            if self._others(arrival):
                continue
            packet = stamp.decode_sender(arrival.data)
            if packet is not None:
                answer(self._sock, arrival, self._reflected(packet, arrival) + arrival.data[stamp.PACKET_BYTES :])

    def _reflected(self, packet: stamp.SenderPacket, arrival: Datagram) -> bytes:
        sequence = self._sessions.count((*arrival.source[:2], packet.session), time.monotonic_ns())
        reflected = stamp.ReflectedPacket(
            sequence=sequence,
            time_ns=time.time_ns(),
            session=packet.session,
            received_ns=arrival.arrived_ns or time.time_ns(),
            sender_sequence=packet.sequence,
            sender_time_ns=packet.time_ns,
            sender_error=packet.error,
            sender_ttl=arrival.ttl,
        )
        return stamp.encode_reflected(reflected)
