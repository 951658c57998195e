"""How is a transport stream analysed from its first byte to its report?

`feed` takes bytes of a file, or datagrams with their arrival; `finish` what waits; `report` says what it came to. NumPy
does the work where it is installed, in batches of about a second; else the plain engine, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from balise_agent.net.mpegts import plain
from balise_agent.net.mpegts.concluding import conclude, main_clock, rate
from balise_agent.net.mpegts.datagrams import Datagram, Order
from balise_agent.net.mpegts.delivery import Delivery
from balise_agent.net.mpegts.framing import Framer, are_packets
from balise_agent.net.mpegts.packet import SIZE, SYNC
from balise_agent.net.mpegts.report import Report
from balise_agent.net.mpegts.stream import Stream

Engine = Literal["numpy", "plain"]
BATCH = 32_768 * SIZE  # 6 MB: what NumPy costs a batch, half a millisecond, is then little a packet
_BATCH_NS = 1_000_000_000
_SECOND_NS = 1_000_000_000


def engines() -> tuple[Engine, ...]:
    """Those that can run here, the faster one first."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return ("plain",)
    return ("numpy", "plain")


class Reader(NamedTuple):
    """An engine: what reads whole packets, and what finds out whether that is what bytes are."""

    read: Callable[[Stream, bytes], None]
    are_packets: Callable[[bytes], bool]


class Analyser:
    """One channel or file. Any bytes: nothing raises, memory is bounded."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._read, in_step = _reader(engine or engines()[0])
        self._stream, self._framer = Stream(), Framer(in_step)
        self._order, self._delivery = Order(), Delivery()
        self._pending, self._size, self._since_ns = [], 0, 0  # type: tuple[list[bytes], int, int]
        self._drops, self._drop_seconds = 0, set[int]()
        self._sync_errors = 0

    def feed(self, data: bytes, arrival_ns: int | None = None, dropped: int = 0) -> None:
        """Bytes of a file, in any cuts; or, with its arrival, one datagram. ``dropped``: datagrams that this machine's
        own kernel dropped before it."""
        if arrival_ns is None:
            self._keep(self._framer.push(data))
            return
        self._drops += dropped
        for datagram in self._order.push(data, arrival_ns, dropped):
            self._arrived(datagram)

    def feed_run(self, data: bytes, arrivals_ns: Sequence[int], dropped: int = 0) -> None:
        """Datagrams of one size in a row: the same as `feed` for each, at a fifth of its cost. ``dropped``: before the
        first."""
        size, place = len(data) // len(arrivals_ns), 0
        while place < len(arrivals_ns):
            run = self._within_second(arrivals_ns[place:]) if place or not dropped else []
            packets = self._order.push_run(data[place * size : (place + len(run)) * size], run) if run else None
            if packets is not None:
                self._arrived_run(packets, run)
            for nth in range(place, place + (0 if packets is not None else max(1, len(run)))):
                self.feed(data[nth * size : (nth + 1) * size], arrivals_ns[nth], 0 if nth else dropped)
            place += max(1, len(run))

    def drop(self, datagrams: int) -> None:
        """Datagrams that this machine dropped after the last one that came."""
        self._drops += datagrams

    def finish(self) -> None:
        """Reads what waits; nothing comes any more."""
        self._keep(self._framer.push(b"", end=True))
        for datagram in self._order.end():
            self._arrived(datagram)
        self._flush()
        self._silences()

    def report(self) -> Report:
        """As of what was read so far."""
        return conclude(
            self._stream,
            self._order,
            self._delivery,
            local_drops=self._drops,
            local_seconds=frozenset(self._drop_seconds),
            sync=(
                self._framer.sync_errors + self._sync_errors,
                self._framer.sync_losses + self._order.unread,
            ),
        )

    def first_ns(self, what: Literal["pat", "pmt", "pcr", "pes", "rap"]) -> float | None:
        """When the first of a kind came, in ns since the first packet; None: none did."""
        return self._stream.reading.firsts.get(what)

    def _keep(self, packets: bytes) -> None:
        if packets:
            self._pending.append(packets)
            self._size += len(packets)
            if self._size >= BATCH:
                self._flush()

    def _arrived(self, datagram: Datagram) -> None:
        packets, arrival_ns, dropped = datagram
        size = len(packets)
        if packets[::SIZE].count(SYNC) * SIZE != size:
            packets = self._in_step(packets)
        if self._pending and arrival_ns - self._since_ns >= _BATCH_NS:
            self._flush()
        if not self._pending:
            self._since_ns = arrival_ns
        index = self._stream.index + self._size // SIZE
        self._stream.timeline.arrived(index, arrival_ns)
        self._delivery.came(arrival_ns, size, self._rate)
        if dropped:
            self._stream.dropped_before(index)
            self._drop_seconds.add(self._second(arrival_ns))
        self._keep(packets)

    def _within_second(self, arrivals_ns: Sequence[int]) -> Sequence[int]:
        """Those before the one that ends a batch or a second of the delivery's."""
        end_ns = (self._since_ns if self._pending else arrivals_ns[0]) + _BATCH_NS
        end_ns = min(end_ns, self._delivery.second_ends_ns)
        if max(arrivals_ns) < end_ns:
            return arrivals_ns
        return arrivals_ns[: next(nth for nth, arrival_ns in enumerate(arrivals_ns) if arrival_ns >= end_ns)]

    def _arrived_run(self, packets: bytes, arrivals_ns: Sequence[int]) -> None:
        """`_arrived` for each of a run within a second, nothing dropped, each packet with its sync byte."""
        if not self._pending:
            self._since_ns = arrivals_ns[0]
        size, index = len(packets) // len(arrivals_ns), self._stream.index + self._size // SIZE
        self._stream.timeline.arrived_run(index, size // SIZE, arrivals_ns)
        self._delivery.came_run(arrivals_ns, size)
        self._keep(packets)

    def _in_step(self, packets: bytes) -> bytes:
        parts = [packets[at : at + SIZE] for at in range(0, len(packets), SIZE)]
        good = [part for part in parts if part[0] == SYNC]
        self._sync_errors += len(parts) - len(good)
        return b"".join(good)

    def _flush(self) -> None:
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending, self._size = [], 0
            self._read(self._stream, data)

    def _silences(self) -> None:
        """Each second in which nothing came for 200 ms is bad."""
        first_ns = self._delivery.first_ns or 0
        for from_ns, to_ns in self._delivery.silences:
            self._stream.reading.absent(from_ns - first_ns, to_ns - first_ns)

    def _rate(self) -> float:
        return rate(main_clock(self._stream))

    def _second(self, arrival_ns: int) -> int:
        return (arrival_ns - (self._delivery.first_ns or arrival_ns)) // _SECOND_NS


def _reader(engine: Engine) -> Reader:
    if engine == "plain":
        return Reader(plain.read, are_packets)
    from balise_agent.net.mpegts import batch

    both = batch.Reader()
    return Reader(both.read, both.are_packets)
