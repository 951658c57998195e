"""The long way: messages by the real codec, through ingest and journal to the consumers, on a virtual clock.

Rule 1: what the judge says is read from the journal's derived rows, as any other reader has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from balise_collector.consumers import Consumer, Loop
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry
from balise_collector.store import Point
from balise_collector.town.messages import Outbox
from balise_collector.town.stream import Delivery
from balise_collector.town.topology import Town
from balise_collector.trial.inventory import resolver

ROWS = 20_000  # derived rows read at once


@runtime_checkable
class Ticking(Consumer, Protocol):
    """A consumer that concludes by the clock."""

    def tick(self, now_ms: int) -> None:
        """Appends to the journal's derived rows what is concluded by now."""


class Full:
    """`Judging` over a journal in a folder, with the consumers that ``behind`` gives for it."""

    def __init__(self, town: Town, folder: Path, behind: Callable[[Journal], Sequence[Consumer]]) -> None:
        self.journal = Journal(folder / "journal.db", synchronous="OFF")  # a trial that a power cut ends begins anew
        self._now_ms = self._read = 0
        self._ingest = Ingest(self.journal, resolver(town), lambda: self._now_ms)
        self._outboxes = {home.probe: Outbox(home.probe, town.seed) for home in town.probed}
        self._consumers = tuple(behind(self.journal))
        self._loop = Loop(self.journal, self._consumers)
        self._came: list[Incoming] = []
        self.messages = self.bytes = 0

    def close(self) -> None:
        """The journal's file."""
        self.journal.close()

    @property
    def counts(self) -> dict[str, int]:
        """What became of the messages, by outcome."""
        return dict(self._ingest.counts)

    def take(self, delivery: Delivery) -> None:
        """Written as the probe writes it; taken in together with what came in the same moment."""
        if delivery.received_ms != self._now_ms:
            self._take_in()
            self._now_ms = delivery.received_ms
        for name, payload in self._outboxes[delivery.home.probe].messages(delivery):
            self._came.append(Incoming(name, payload))
            self.messages += 1
            self.bytes += len(payload)

    def beat(self, points: Sequence[Point]) -> None:
        """The collector's own minute, derived as `balise serve` does it."""
        self._take_in()
        with self.journal.transaction():
            for point in points:
                self.journal.derive(point.measurement, {"part": point.target}, point.ts_ms, point.fields)

    def tick(self, now_ms: int) -> Iterator[DerivedEntry]:
        """Consumers run until nothing is left, then the clock is told."""
        self._take_in()
        self._loop.drain()
        for consumer in self._consumers:
            if isinstance(consumer, Ticking):
                consumer.tick(now_ms)
        while True:
            rows, last = self.journal.derived(self._read, ROWS)
            if last == self._read:
                return
            self._read = last
            yield from rows

    def _take_in(self) -> None:
        if self._came:
            self._ingest.take(self._came)
            self._came = []
