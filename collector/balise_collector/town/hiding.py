"""Would a home's records of a moment be others without one of its faults?

Two conditions, with and without it, are asked for the same record: where one fault hides another, they say the same.

Rule 1: what is compared are the town's own records, never what anybody makes of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from balise_collector.town import events
from balise_collector.town.condition import Condition
from balise_collector.town.faults import Fault, condition
from balise_collector.town.kinds import Shows
from balise_collector.town.readings import line, rate, tv, voice
from balise_collector.town.readings.said import Said
from balise_collector.town.timeline import Stretch, place
from balise_collector.town.topology import Home

ANY_CHANNEL = ""

Record = Callable[[Home, Condition, Fault], object]
"""What of the record that shows it a fault could change."""


def shows_in(stretch: Stretch, fault: Fault, how: Shows, home: Home) -> bool:
    """Whether the home's records of that stretch differ by this fault."""
    without = condition(tuple(f for f in stretch.faults if f is not fault))
    record = RECORDS[how]
    return record(home, stretch.condition, fault) != record(home, without, fault)


def _outcome(said: Said) -> tuple[str, str | None]:
    return said.kind, said.reason


def _echoes(_home: Home, now: Condition, _fault: Fault) -> object:
    rungs = [(label, line.loss(label, now)) for label, *_ in line.RUNGS if line.answers(label, now)]
    return now.clock_ms, rungs, now.queue_us if len(rungs) > 1 else 0


def _test(home: Home, now: Condition, fault: Fault) -> object:
    if fault.kind == "bufferbloat":
        return _outcome(rate.loaded(home, now, random.Random(0))), now.bloat_us if now.line else 0
    said = rate.throughput(home, now, random.Random(0), "light")
    return _outcome(said), said.fields.get("down_bps")


def _sample(home: Home, now: Condition, fault: Fault) -> object:
    channel = fault.channels[0] if fault.channels else ANY_CHANNEL
    said = tv.sample(home, now, channel, random.Random(0))
    return [(_outcome(one), one.fields.get("es_ratio")) for one in said]


RECORDS: Mapping[Shows, Record] = {
    "cut": lambda _home, now, _fault: place(now),
    "window": _echoes,
    "rate": _test,
    "tv": _sample,
    "register": lambda home, now, _fault: _outcome(voice.register(home, now, random.Random(0))),
    "call": lambda home, now, _fault: _outcome(voice.call(home, now, random.Random(0))),
    "link": lambda _home, now, _fault: events.link(now, 0).fields,
}
"""By how a fault shows; what never shows has no record."""
