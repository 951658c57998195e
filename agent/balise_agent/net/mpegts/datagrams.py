"""Which datagrams of a channel were lost, late or twice, and in which order are their packets read?

RTP numbers them: sorted by number before anything else is read, for three that swap look like 82 lost packets to a
continuity counter. Plain UDP does not: a datagram that is byte for byte one of the last eight is a repeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from balise_agent.net import rtp
from balise_agent.net.mpegts.packet import SIZE, SYNC

_SYNC = bytes([SYNC])
_WAIT = 16  # datagrams that a missing one is waited for: 20 ms of 8 Mbit/s
_LAST = 8
_FAR = 3_000  # numbers; a jump beyond that is another sender (RFC 3550 § A.1, MAX_DROPOUT)
_RTP_HZ = 90_000


class Datagram(NamedTuple):
    """A datagram's packets. ``dropped``: datagrams that the probe's own kernel dropped before it."""

    packets: bytes
    arrival_ns: int
    dropped: int = 0


class Order:
    """Datagrams in, in order out; counts as RFC 3550 and RFC 3357 define them."""

    def __init__(self) -> None:
        self.is_rtp: bool | None = None
        self.received = self.duplicates = self.reordered = self.unread = self.restarts = 0
        self.lost = self.events = self.longest = 0
        self.jitter = 0.0  # in units of the RTP clock
        self._next: int | None = None
        self._newest = 0
        self._held: dict[int, Datagram] = {}
        self._transit: float | None = None
        self._recent: deque[bytes] = deque(maxlen=_LAST)

    @property
    def jitter_ms(self) -> float:
        """RFC 3550 § 6.4.1."""
        return self.jitter * 1_000 / _RTP_HZ

    def push(self, data: bytes, arrival_ns: int, dropped: int = 0) -> list[Datagram]:
        """The datagrams that are next now."""
        if data.startswith(_SYNC) and len(data) % SIZE == 0:
            self.is_rtp = bool(self.is_rtp)
            return self._plain(data, arrival_ns, dropped)
        packet = rtp.decode(data)
        if packet is None or (packet.end - packet.start) % SIZE or packet.start == packet.end:
            self.unread += 1
            return []
        self.is_rtp = True
        return self._numbered(packet, Datagram(data[packet.start : packet.end], arrival_ns, dropped))

    def push_run(self, data: bytes, arrivals_ns: Sequence[int]) -> bytes | None:
        """Datagrams of one size: their packets, where each is the next one and whole; None: `push` each."""
        size = len(data) // len(arrivals_ns)
        if not size:
            return None
        packets = self._plain_run(data, size) if data.startswith(_SYNC) else self._numbered_run(data, size, arrivals_ns)
        if packets is not None:
            self.received += len(arrivals_ns)
        return packets

    def end(self) -> list[Datagram]:
        """What waited: nothing comes any more."""
        out = []
        while self._held:
            out += self._skip()
        return out

    def _plain(self, data: bytes, arrival_ns: int, dropped: int) -> list[Datagram]:
        if data in self._recent and not _is_null(data):  # they differ within some bytes: cheaper than any hash
            self.duplicates += 1
            return []
        self._recent.append(data)
        self.received += 1
        return [Datagram(data, arrival_ns, dropped)]

    def _plain_run(self, data: bytes, size: int) -> bytes | None:
        """Where none is a repeat."""
        if not _are_packets(data, size):
            return None
        recent = self._recent.copy()
        for at in range(0, len(data), size):
            part = data[at : at + size]
            if part in recent and not _is_null(part):
                return None
            recent.append(part)
        self._recent, self.is_rtp = recent, bool(self.is_rtp)
        return data

    def _numbered_run(self, data: bytes, size: int, arrivals_ns: Sequence[int]) -> bytes | None:
        """Where none is missing or late, and each has the shortest header."""
        places = range(0, len(data), size)
        if self._held or self._next is None or size < rtp.LEAST or set(data[::size]) != {rtp.SIMPLE}:
            return None
        if self._next != self._newest + 1:
            return None
        heads = [rtp.numbers(data, at) for at in places]
        first = self._next & 0xFFFF
        if [number for number, _ in heads] != [first + n & 0xFFFF for n in range(len(heads))]:
            return None
        packets = b"".join([data[at + rtp.LEAST : at + size] for at in places])
        if not _are_packets(packets, size - rtp.LEAST):
            return None
        for (_, timestamp), arrival_ns in zip(heads, arrivals_ns, strict=True):
            self._measure(timestamp, arrival_ns)
        self._newest += len(heads)
        self._next += len(heads)
        return packets

    def _numbered(self, packet: rtp.Packet, datagram: Datagram) -> list[Datagram]:
        self._measure(packet.timestamp, datagram.arrival_ns)
        if self._next is None:
            self._next = self._newest = packet.sequence
        number = rtp.extend(packet.sequence, self._newest)
        if abs(number - self._newest) > _FAR:
            return self._restart(packet, datagram)
        if number < self._next or number in self._held:
            self.duplicates += 1
            return []
        self.received += 1
        self.reordered += number < self._newest
        self._newest = max(self._newest, number)
        self._held[number] = datagram
        out = self._ready()
        while len(self._held) > _WAIT:
            out += self._skip()
        return out

    def _restart(self, packet: rtp.Packet, datagram: Datagram) -> list[Datagram]:
        """Another sender, or the same one again: its numbers begin anew, and nothing is lost between."""
        out = self.end()
        self.restarts += 1
        self.received += 1
        self._next, self._newest = packet.sequence + 1, packet.sequence
        return [*out, datagram]

    def _ready(self) -> list[Datagram]:
        out = []
        while self._next is not None and self._next in self._held:
            out.append(self._held.pop(self._next))
            self._next += 1
        return out

    def _skip(self) -> list[Datagram]:
        """Gives up what is missing before the first that is held."""
        first = min(self._held)
        missing = first - (self._next or first)
        self.lost += missing
        self.events += missing > 0
        self.longest = max(self.longest, missing)
        self._next = first
        return self._ready()

    def _measure(self, timestamp: int, arrival_ns: int) -> None:
        """Interarrival jitter; a timestamp that wraps or jumps is one sample of 2^32, so it is left out."""
        transit = arrival_ns * (_RTP_HZ / 1e9) - timestamp
        if self._transit is not None:
            step = abs(transit - self._transit)
            if step < _RTP_HZ * 10:
                self.jitter += (step - self.jitter) / 16
        self._transit = transit


def _are_packets(data: bytes, each: int) -> bool:
    """Whether so many bytes at a time are whole packets, each with its sync byte."""
    return not each % SIZE and each > 0 and data[::SIZE].count(SYNC) * SIZE == len(data)


def _is_null(data: bytes) -> bool:
    """Whether all of it is null packets: a mux at a constant rate sends many that are equal."""
    return all(data[at + 1] & 0x1F == 0x1F and data[at + 2] == 0xFF for at in range(0, len(data) - 2, SIZE))
