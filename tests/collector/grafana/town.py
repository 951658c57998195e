"""What becomes of a town whose faults are known: the judge's rows, minute by minute, and the alerts that fire on them?

A town of 64 homes from afternoon to night: each minute what it said and what was concluded goes into InfluxDB, and then
every alert is evaluated, as Grafana would at that minute: nothing is seen before it was written. What a collector says
of itself, which a town does not have, is written beside it with faults of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from balise_collector.consumers import derived_point
from balise_collector.grafana.alerts import ALERTS
from balise_collector.journal_rows import DerivedEntry
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Derived, Row
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server
from balise_collector.town import calendar, running, script
from balise_collector.town.stream import Stream
from balise_collector.town.topology import build
from balise_collector.trial import ways
from balise_collector.trial.filling import Filling
from tests.collector.grafana.evaluator import MINUTE_MS, Evaluator

HOMES, SEED, WARM_UP = 64, "1", 15
BEGINS, ENDS = 16 * 60, 21 * 60 + 16  # minutes of the day in Paris
Stretch = tuple[int, int]


def minutes(begins: str, lasts: int) -> Stretch:
    """From a time by the clock in Paris, in minutes of the run."""
    hour, minute = begins.split(":")
    at = int(hour) * 60 + int(minute) - BEGINS
    return at, at + lasts


FAULTS: dict[str, tuple[Stretch, Mapping[str, Any]]] = {
    "channel": (minutes("16:05", 55), {"kind": "tv_channels", "channels": 1}),
    "pon": (minutes("16:20", 15), {"kind": "pon_cut", "place": "pon:P002"}),
    "building": (minutes("16:45", 15), {"kind": "power_cut", "place": "building:B001"}),
    "core": (minutes("17:10", 15), {"kind": "core_down"}),
    "dns": (minutes("17:35", 20), {"kind": "dns_down"}),
    "registrar": (minutes("18:05", 30), {"kind": "registrar_down"}),
    "headend": (minutes("18:05", 40), {"kind": "tv_channels", "channels": 27}),
    "clock": (minutes("19:00", 40), {"kind": "clock_wrong", "place": "home:20", "strength": -1.0}),
    **{
        f"mute{at}": (minutes(f"19:{3 * at:02d}", 40), {"kind": "probe_unplugged", "place": f"home:{home}"})
        for at, home in enumerate((3, 8, 13, 21, 34))
    },
    "works": (minutes("19:05", 20), {"kind": "works", "place": "pon:P002", "declared": True}),
    "tv": (minutes("19:10", 40), {"kind": "tv_building", "place": "building:B002"}),
    "full1": (minutes("20:00", 60), {"kind": "congestion", "place": "pon:P001", "strength": 1.6}),
    "full2": (minutes("20:00", 60), {"kind": "congestion", "place": "pon:P002", "strength": 1.6}),
}
JUDGE_MUTE, LATE, REFUSED, FULL = (minutes(at, 20) for at in ("18:50", "19:20", "19:45", "20:10"))
"""What goes wrong with the collector itself: it writes nothing, its forwarder is behind, messages, the disk."""


@dataclass(slots=True)
class Told:
    """What judge and collector said, as it was said: by measurement, target and place, then by date."""

    rows: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, said: Derived) -> None:
        (point,) = derived_point(DerivedEntry(0, said.measurement, said.tags, said.ts_ms, said.fields))
        place = point.home or point.building or point.pon
        row = self.rows[point.measurement, point.target, place].setdefault(point.ts_ms, {})
        row |= point.fields


class Recording(Filling):
    """Into InfluxDB, and noted."""

    told: Told

    def derived(self, said: Derived) -> None:
        if said.measurement in ("home_state", "element_state", "platform") or said.tags.get("scope") == "fleet":
            self.told.add(said)
        super().derived(said)


@dataclass(slots=True, kw_only=True)
class Lived:
    """``fired``: by minute of the run; ``expected``: the same, of what was told alone."""

    start_ms: int
    end_ms: int
    told: Told
    fired: dict[str, set[int]]
    expected: dict[str, set[int]]


Expect = Callable[[Told, int], dict[str, set[Any]]]
"""Of what was told by a date: of each alert the series that are in a bad state then."""


def live(server: Server, now_ms: int, expect: Expect) -> Lived:
    """The last afternoon and evening in Paris that are over: InfluxDB keeps television for a week only."""
    day = calendar.ordinal(now_ms - (ENDS + 120) * MINUTE_MS)
    start_ms, until_ms = calendar.civil_ms(day, BEGINS), calendar.civil_ms(day, ENDS)
    town = build(homes=HOMES, seed=SEED)
    broken = script.faults(script.parse(asked(), "the town of the alerts"), town, (start_ms, until_ms))
    stream = Stream(town=town, faults=broken, bounds=(start_ms, until_ms), make=Row, life=False)
    filling = Recording.open(server.url, token=server.credential, database=server.database, org=server.org)
    filling.told = Told()
    holds = {alert.uid: alert.hold_s // 60 for alert in ALERTS}
    expected = {uid: set[int]() for uid in holds}
    since: dict[str, dict[Any, int]] = {uid: {} for uid in holds}
    with closing(filling), closing(Asking(server)) as asking:
        evaluator = Evaluator(asking, ALERTS)

        def minute(now_ms: int, _found: running.Run) -> None:
            at = (now_ms - start_ms) // MINUTE_MS
            for said in platform(at, now_ms):
                filling.derived(said)
            filling.flush()
            if at < WARM_UP:
                return
            evaluator.minute(now_ms)
            for uid, bad in expect(filling.told, now_ms).items():
                since[uid] = {key: since[uid].get(key, at) for key in bad}
                if any(at - begun >= holds[uid] for begun in since[uid].values()):
                    expected[uid].add(at)

        judged = ways.Direct(Judge(ways.topology(town, broken)), filling)
        running.run(stream, judged, tick_ms=MINUTE_MS, progress=minute)
        judged.finish()
    fired = {uid: {(date - start_ms) // MINUTE_MS for date in dates} for uid, dates in evaluator.fired.items()}
    return Lived(start_ms=start_ms, end_ms=until_ms, told=filling.told, fired=fired, expected=expected)


def asked() -> dict[str, Any]:
    """The script, as TOML would give it."""
    faults = [{**what, "after": f"{begins}m", "lasts": f"{ends - begins}m"} for (begins, ends), what in FAULTS.values()]
    return {"title": "each alert once", "life": False, "fault": faults}


def platform(minute: int, now_ms: int) -> Iterator[Derived]:
    """As `balise serve` tells it each minute."""
    row = partial(Derived, measurement="platform", ts_ms=now_ms)
    if within(minute, JUDGE_MUTE):
        return
    refused, free_kb = 150 if within(minute, REFUSED) else 0, 4_000_000 if within(minute, FULL) else 9_000_000
    yield row(tags={"part": "ingest"}, fields={"messages": minute, "dead_letters": refused, "disk_free_kb": free_kb})
    yield row(tags={"part": "judge:journal"}, fields={"lag_rows": 0, "lag_s": 0.0})
    late_s = 400.0 if within(minute, LATE) else 0.0
    yield row(tags={"part": "influx:journal"}, fields={"lag_rows": int(late_s), "lag_s": late_s})


def within(minute: int, stretch: Stretch) -> bool:
    return stretch[0] <= minute < stretch[1]
