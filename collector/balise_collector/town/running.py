"""How is a town run before somebody who judges it?

Rows go in as they arrive, the clock ticks, what is said is noted; baselines see the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from balise_collector.store.points import Point
from balise_collector.town.baselines import Watcher, all_of
from balise_collector.town.notes import Notes
from balise_collector.town.stream import MINUTE_MS, Delivery, Stream
from balise_collector.town.timeline import Stretch

TICK_MS = 20_000


class Said(Protocol):
    """A derived row."""

    @property
    def measurement(self) -> str:
        """home_state, incident, …"""

    @property
    def tags(self) -> Mapping[str, str]:
        """Whose it is."""

    @property
    def ts_ms(self) -> int:
        """Its date."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """What it says."""


class Judging(Protocol):
    """Whoever is scored."""

    def take(self, delivery: Delivery) -> None:
        """What the collector gets of one probe at once."""

    def beat(self, points: Sequence[Point]) -> None:
        """The collector's own rows."""

    def tick(self, now_ms: int) -> Iterable[Said]:
        """What is concluded by now and was not said yet."""


@dataclass(slots=True, kw_only=True)
class Run:
    """What came of it."""

    notes: Notes = field(default_factory=Notes)
    alerts: int = 0
    records: int = 0
    deliveries: int = 0
    watchers: dict[str, Watcher] = field(default_factory=dict)


def run(
    stream: Stream,
    judge: Judging,
    *,
    tick_ms: int = TICK_MS,
    progress: Callable[[int, Run], None] = lambda _now_ms, _run: None,
) -> Run:
    """The whole run. ``progress`` is called each minute of the run."""
    found = Run(watchers=all_of(stream.town))
    paged: set[str] = set()
    closed = _Platform(stream)
    coming = stream.deliveries()
    first = next(coming, None)
    for until_ms in range(stream.bounds[0] + MINUTE_MS, stream.bounds[1] + 1, MINUTE_MS):
        for tick in range(until_ms - MINUTE_MS + tick_ms, until_ms + 1, tick_ms):
            while first is not None and first.received_ms < tick:
                _hand_over(first, judge, found, until_ms)
                first = next(coming, None)
            if tick == until_ms:
                judge.beat(closed.rows(tick))
            for said in judge.tick(tick):
                _note(said, found, paged, tick)
        for watcher in found.watchers.values():
            watcher.look(until_ms)
        progress(until_ms, found)
    found.alerts = len(paged)
    return found


def _hand_over(delivery: Delivery, judge: Judging, found: Run, until_ms: int) -> None:
    """One at a time, and nobody keeps it: a minute in which all outboxes are emptied holds half a gigabyte of rows."""
    found.records += len(delivery.points)
    found.deliveries += 1
    judge.take(delivery)
    for watcher in found.watchers.values():
        watcher.take(delivery, until_ms)


def _note(said: Said, found: Run, paged: set[str], now_ms: int) -> None:
    """A state of an earlier date corrects the history, and was shown to nobody."""
    if said.measurement != "home_state" or said.ts_ms >= now_ms:
        found.notes.take(said.measurement, said.tags, said.fields, now_ms)
    if said.measurement == "incident" and said.fields.get("paged"):
        paged.add(str(said.fields["id"]))


class _Platform:
    """The collector's own rows, once a minute: absent while it is down itself."""

    def __init__(self, stream: Stream) -> None:
        self._make = stream.make
        self._stretches: Sequence[Stretch] = stream.lines[0].stretches if stream.lines else ()
        self._line = stream.lines[0] if stream.lines else None

    def rows(self, now_ms: int) -> list[Point]:
        """Those of this minute; every home's line knows of broker and collector, the first is asked."""
        if self._line is None:
            return []
        condition = self._stretches[self._line.index(now_ms)].condition
        if not condition.collector:
            return []
        fields: dict[str, Any] = {"broker_ok": condition.broker, "lag_rows": 0}
        return [
            self._make(
                home="",
                building="",
                pon="",
                probe="collector",
                measurement="platform",
                target="ingest",
                ts_ms=now_ms,
                received_ms=now_ms,
                kind="ok",
                reason=None,
                fields=fields,
            )
        ]
