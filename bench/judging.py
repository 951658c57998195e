"""How many records a second does the judge take, and does a record cost more in a larger fleet?

The town's rows, made a minute at a time; only what the judge does with them is on the clock, which is processor time.
Beside it, with the same rows, the usual alert rule: plain thresholds a home.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Derived, Row
from balise_collector.store import Point
from balise_collector.town import calendar, running, script
from balise_collector.town.baselines import PerHome
from balise_collector.town.running import Run
from balise_collector.town.script import Script
from balise_collector.town.stream import Delivery, Stream
from balise_collector.town.topology import build
from balise_collector.trial import ways
from bench import table

MIDNIGHT_MS = calendar.midnight_ms(0, 1_794_000_000_000)
HOMES, DAY_MIN = 200, 1_440
FLEETS, FLEET_FROM_MIN, FLEET_MIN, ONE_FAULT_IN = (100, 1_000, 10_000), 20 * 60, 30, 100
GOAL_RATE, GOAL_FLAT = 50_000, 1.2


@dataclass(slots=True)
class Timed:
    """The judge and the plain thresholds under one clock. ``judge_s``, ``plain_s``: what each took."""

    direct: ways.Direct
    plain: PerHome
    records: int = 0
    judge_s: float = 0.0
    plain_s: float = 0.0
    _minute: list[Delivery] = field(default_factory=list)

    def take(self, delivery: Delivery) -> None:
        """Of one probe."""
        began_s = time.process_time()
        self.direct.take(delivery)
        self.judge_s += time.process_time() - began_s
        self._minute.append(delivery)
        self.records += len(delivery.points)

    def beat(self, points: Sequence[Point]) -> None:
        """The collector's own."""
        self.direct.beat(points)

    def tick(self, now_ms: int) -> Iterable[Derived]:
        """What the judge concludes."""
        began_s = time.process_time()
        said = self.direct.tick(now_ms)
        self.judge_s += time.process_time() - began_s
        return said

    def over(self, now_ms: int, _run: Run) -> None:
        """A minute: the thresholds get its rows too."""
        began_s = time.process_time()
        for delivery in self._minute:
            self.plain.take(delivery, now_ms)
        self.plain.look(now_ms)
        self.plain_s += time.process_time() - began_s
        self._minute = []


def judged(asked: Script, homes: int, start_ms: int, minutes: int, seed: str) -> Timed:
    """A town's run; the judge looks each 20 s, as in `balise town run`."""
    town = build(homes=homes, seed=seed)
    bounds = (start_ms, start_ms + minutes * calendar.MINUTE_MS)
    faults = script.faults(asked, town, bounds)
    stream = Stream(town=town, faults=faults, bounds=bounds, make=Row, life=asked.life)
    timed = Timed(ways.Direct(Judge(ways.topology(town, faults))), PerHome(town))
    running.run(stream, timed, progress=timed.over)
    return timed


def judging_rows(runs: int | None) -> Iterator[table.Row]:
    """Faults stacked on each other, then one size of fleet after the other."""
    asked = script.read(script.shipped("every-kind.toml"))
    found = [judged(asked, HOMES, MIDNIGHT_MS, DAY_MIN, f"bench{n}") for n in range(runs or 1)]
    rates = tuple(one.records / one.judge_s for one in found)
    yield table.Row(
        work="judging, faults stacked",
        unit="records/s",
        figure=statistics.median(rates),
        goal=f">= {GOAL_RATE:,}",
        holds=statistics.median(rates) >= GOAL_RATE,
        runs=rates,
        peer="plain thresholds a home, same rows",
        peer_figure=statistics.median(one.records / one.plain_s for one in found),
        conditions=f"one core's processor time; {HOMES} homes, a day, 36 faults of every kind beside ordinary life; a"
        " look each 20 s; rows ready made",
        beside=f"{found[0].records:,} records",
    )
    yield _flat(runs or 1)


def _flat(runs: int) -> table.Row:
    """What a record costs in the largest fleet, by what it does in the smallest."""
    costs: dict[int, list[float]] = {homes: [] for homes in FLEETS}
    for n in range(runs):
        for homes in FLEETS:
            turns = FLEETS[1] // homes or 1  # a small fleet's half hour is short: ten of them
            asked = Script(count=max(1, homes // ONE_FAULT_IN))
            start_ms = MIDNIGHT_MS + FLEET_FROM_MIN * calendar.MINUTE_MS
            some = [judged(asked, homes, start_ms, FLEET_MIN, f"bench{n}.{turn}") for turn in range(turns)]
            costs[homes].append(1e6 * sum(one.judge_s for one in some) / sum(one.records for one in some))
    middle = {homes: statistics.median(of) for homes, of in costs.items()}
    ratio = max(middle[homes] for homes in FLEETS[1:]) / middle[FLEETS[0]]
    return table.Row(
        work=f"judging, a record's cost from {FLEETS[0]} to {FLEETS[-1]:,} homes",
        unit="x",
        figure=ratio,
        goal=f"<= {GOAL_FLAT:g} x",
        holds=ratio <= GOAL_FLAT,
        runs=(ratio,),
        conditions=f"one core's processor time; {FLEET_MIN} min of an evening, a fault in {ONE_FAULT_IN} homes; the"
        " worse of the larger fleets by the smallest",
        beside="; ".join(f"{homes:,} homes {us:.1f} us" for homes, us in middle.items()),
    )
