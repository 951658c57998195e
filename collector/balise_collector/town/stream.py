"""What does the whole town say, in the order in which the collector gets it?

Each probe closes a minute at its own second, seals it and sends it; where its way is broken the minute waits and goes
out, in order, when the way is back. A minute is made when it is delivered: an outbox is numbers, not records.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter

from balise_collector.store.points import Point
from balise_collector.town import calendar, spans
from balise_collector.town.faults import Fault
from balise_collector.town.probe import Probe
from balise_collector.town.spans import Span
from balise_collector.town.timeline import Run, Timeline, build, ordinary
from balise_collector.town.topology import Home, Town

MINUTE_MS = calendar.MINUTE_MS
SEALED_MS = 2_000  # a window stays open for its last echoes
SENT_MS = 1_000
DRAIN_MS = 50  # an outbox is emptied at 20 messages a second
VERSION = "0.1.0"


class Heard(Point, frozen=True, kw_only=True, gc=False):
    """A point, and when the collector got it."""

    received_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the collector gets of one probe at once. ``end_ms``: of the minute, 0: it is the probe's presence."""

    received_ms: int
    home: Home
    end_ms: int
    boot: str
    points: list[Point]


Make = Callable[..., Point]
"""What a point is made with: all of `Heard`'s fields, by name."""


@dataclass(slots=True)
class Stream:
    """One run of a town. ``make``: the points' type, so that nobody has to copy 300 million of them."""

    town: Town
    faults: Sequence[Fault]
    bounds: Span
    make: Make = Heard
    life: bool = True  # ordinary life goes on beside the faults
    lines: list[Timeline] = field(init=False)

    def __post_init__(self) -> None:
        by_home: dict[int, list[Fault]] = {home.number: [] for home in self.town.homes}
        for fault in self.faults:
            for number in self.town.members[fault.place]:
                by_home[number].append(fault)
        self.lines = [self._line(home, by_home[home.number]) for home in self.town.homes]

    def _line(self, home: Home, faults: list[Fault]) -> Timeline:
        seed = self.town.seed
        if self.life:
            faults = [*faults, *ordinary(home, self.bounds, seed, -1)]
        return build(home, faults, self.bounds, seed)

    def deliveries(self) -> Iterator[Delivery]:
        """In order of their arrival, each made when it is asked for; nothing arrives after the end."""
        writers = [Writer(self, line) for line in self.lines if line.home.probe]
        writers.sort(key=lambda w: (w.home.phase_ms, w.home.number))
        presences = sorted(chain.from_iterable(w.presences() for w in writers), key=_received, reverse=True)
        waiting: list[tuple[int, int, int, Writer]] = []
        for start_ms in range(self.bounds[0], self.bounds[1], MINUTE_MS):
            for writer in writers:
                end_ms = start_ms + writer.home.phase_ms
                found = writer.arrival(end_ms)
                if found is not None:
                    heapq.heappush(waiting, (found, end_ms, writer.home.number, writer))
            until_ms = start_ms + MINUTE_MS
            while waiting and waiting[0][0] < until_ms:
                received_ms, end_ms, _, writer = heapq.heappop(waiting)
                while presences and presences[-1].received_ms <= received_ms:
                    yield presences.pop()
                delivery = writer.delivery(end_ms, received_ms)
                if delivery.points:
                    yield delivery
            while presences and presences[-1].received_ms < until_ms:
                yield presences.pop()


_received = attrgetter("received_ms")


class Writer:
    """One probe's minutes on their way."""

    __slots__ = ("_at", "_last_ms", "_make", "_tags", "home", "line", "probe")

    def __init__(self, stream: Stream, line: Timeline) -> None:
        home = line.home
        self.line, self.home, self._make = line, home, stream.make
        self.probe = Probe(line, stream.town.seed, stream.town.channels, stream.bounds)
        self._tags = {"home": home.id, "building": home.building, "pon": home.pon, "probe": home.probe}
        self._last_ms = self._at = 0

    def arrival(self, end_ms: int) -> int | None:
        """When the minute that ends there reaches the collector; None: nothing was measured, or it never does.

        Minutes are asked for in their order.
        """
        watched, line_open = self.line.watched, self.line.open
        while self._at < len(watched) and watched[self._at][1] <= end_ms - MINUTE_MS:
            self._at += 1
        if self._at == len(watched) or watched[self._at][0] >= end_ms:
            return None
        sealed_ms = end_ms + SEALED_MS
        if spans.covers(line_open, sealed_ms) is not None:
            first_ms = sealed_ms
        else:
            later = spans.after(line_open, sealed_ms)
            if later is None:
                return None
            first_ms = later[0]
        self._last_ms = max(first_ms + SENT_MS, self._last_ms + DRAIN_MS)
        return self._last_ms

    def presences(self) -> Iterator[Delivery]:
        """Each session's begin and, where the broker says it, end; the same word again is no change."""
        last = ("", False)
        for session in self.line.sessions:
            run = self.line.run_at(session.start_ms)
            now = (run.boot if run else "", True)
            if now != last and (heard_ms := self._taken(session.start_ms + 200)) is not None:
                yield self.presence(heard_ms, True, run)
                last = now
            if session.gone_ms is not None:
                yield self.presence(session.gone_ms, False, run)
                last = (now[0], False)

    def _taken(self, at_ms: int) -> int | None:
        """While the collector is away the broker keeps the last word for it."""
        if spans.covers(self.line.open, at_ms) is not None:
            return at_ms
        later = spans.after(self.line.open, at_ms)
        return None if later is None else later[0] + 500

    def presence(self, at_ms: int, online: bool, run: Run | None) -> Delivery:
        """Its session's begin or end, as the collector sees it."""
        boot = run.boot if run else ""
        fields = {"online": online, "agent": VERSION, "boot": boot, "config": 1}
        point = self._make(**self._tags, measurement="presence", ts_ms=at_ms, received_ms=at_ms, fields=fields)
        return Delivery(received_ms=at_ms, home=self.home, end_ms=0, boot=boot, points=[point])

    def delivery(self, end_ms: int, received_ms: int) -> Delivery:
        """The minute that ends there, made now."""
        make, says = self._make, self.probe.says(end_ms)
        wrong_ms = self.probe.clock_ms(end_ms)
        at_ms = end_ms + (wrong_ms + 7 if wrong_ms else 0)  # a clock wrong by whole minutes never meets its own dates
        home, building, pon, probe = self.home.id, self.home.building, self.home.pon, self.home.probe
        points = [
            make(  # tags by name: with ** it takes five times as long, and there are 300 million
                home=home,
                building=building,
                pon=pon,
                probe=probe,
                measurement=measurement,
                target=target,
                ts_ms=at_ms - before_ms,
                received_ms=received_ms,
                kind=kind,
                reason=reason,
                fields=fields,
            )
            for measurement, target, before_ms, fields, kind, reason in says
        ]
        run = self.line.run_at(end_ms - 1)
        return Delivery(
            received_ms=received_ms, home=self.home, end_ms=at_ms, boot=run.boot if run else "", points=points
        )
