"""How does a town come before the judge: rows handed over as they are made, or by messages, journal and consumers?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from balise_collector.consumers import Consumer, StoreConsumer
from balise_collector.journal import Journal
from balise_collector.judge.evidence import Evidence
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Derived, Row
from balise_collector.judge.topology import HomeSite, Topology, Work
from balise_collector.judging.consumer import JudgeConsumer
from balise_collector.judging.state import State
from balise_collector.stats.rolling import Rolling
from balise_collector.store import Point
from balise_collector.store.chunks import open_store
from balise_collector.town.alarms import Alarm
from balise_collector.town.faults import Fault
from balise_collector.town.notes import Key
from balise_collector.town.running import Run, run
from balise_collector.town.spans import Span, union
from balise_collector.town.stream import Delivery, Stream
from balise_collector.town.topology import OPERATOR, Town
from balise_collector.trial.filling import Filling
from balise_collector.trial.full import Full

REWRITE_MS = 300_000
FAULTY = (1, 2)
HEAD_END = "HE1"
SERVICES = ("internet", "television", "telephone", "probe")


class Direct:
    """`Judging` over a judge. The stream must be made with ``make=Row``. ``filling``: all of it goes there too, with
    every home's facts each five minutes and the hours' roll-ups, as the collector writes them. ``alarms``: what the
    OLT says, in order."""

    def __init__(self, judge: Judge, filling: Filling | None = None, alarms: Sequence[Alarm] = ()) -> None:
        self.judge, self._filling = judge, filling
        self._alarms = deque(alarms)
        self._hours = Rolling(judge.topology.homes)

    def take(self, delivery: Delivery) -> None:
        """Its rows."""
        self.judge.take(cast("list[Row]", delivery.points))
        if self._filling is not None:
            self._filling.add(delivery.points)
            self._hours.add(delivery.points)

    def beat(self, points: Sequence[Point]) -> None:
        """The platform's."""
        self.judge.take(cast("Sequence[Row]", points))

    def tick(self, now_ms: int) -> Iterable[Derived]:
        """What is concluded."""
        while self._alarms and self._alarms[0].ts_ms < now_ms:
            self.judge.hear([_evidence(self._alarms.popleft())])
        said = self.judge.advance(now_ms)
        if self._filling is not None:
            rewritten = self.judge.rewrite(now_ms) if now_ms % REWRITE_MS == 0 else ()
            for one in (*said, *rewritten, *self._hours.over(now_ms)):
                self._filling.derived(one)
        return said

    def finish(self) -> None:
        """The town is over: the hours that are not are told as far as they went."""
        if self._filling is not None:
            for one in self._hours.rest():
                self._filling.derived(one)


def _evidence(alarm: Alarm) -> Evidence:
    what: Any = alarm.what
    return Evidence(source="olt", ts_ms=alarm.ts_ms, what=what, scope="home", code=alarm.home)


def through_journal(
    town: Town, stream: Stream, folder: Path, progress: Callable[[int, Run], None]
) -> tuple[Run, Judge]:
    """The run by the long way, before the judge as it stands behind the journal."""
    known = topology(town, stream.faults)
    store, state = open_store(folder / "store"), State(folder / "judge.db")
    judging: list[JudgeConsumer] = []

    def behind(journal: Journal) -> list[Consumer]:
        judging.append(JudgeConsumer(journal, state, known))
        return [StoreConsumer(store=store, journal=journal.name), *judging]

    with closing(store), closing(state), closing(Full(town, folder, behind)) as full:
        return run(stream, full, progress=progress), judging[0].judge


def topology(town: Town, faults: Sequence[Fault]) -> Topology:
    """What the operator's directory would say of the town; of works, only those that are declared."""
    return Topology(
        homes={
            home.id: HomeSite(
                building=home.building,
                pon=home.pon,
                card=home.card,
                olt=home.olt,
                head_end=HEAD_END,
                operator=OPERATOR,
                down_bps=home.down_bps,
                up_bps=home.up_bps,
                probe=home.probe,
            )
            for home in town.homes
        },
        works=tuple(_works(fault) for fault in faults if fault.declared),
    )


def _works(fault: Fault) -> Work:
    where, _, code = fault.place.partition(":")
    scope: Any = "pon" if where == "branch" else where
    return Work(
        code=f"W{fault.number}",
        scope=scope,
        scope_code=code.partition(".")[0] if where == "branch" else code,
        from_ms=fault.start_ms,
        until_ms=fault.end_ms,
    )


def settled(judge: Judge, town: Town, bounds: Span) -> dict[Key, list[Span]]:
    """When the history says in the end that a service did not work."""
    found: dict[Key, list[Span]] = {}
    for home in town.homes:
        for service in SERVICES:
            spans = judge.timeline(home.id, service, *bounds)  # type: ignore[arg-type]
            found[home.id, service] = union((span.start_ms, span.end_ms) for span in spans if span.state in FAULTY)
    return found
