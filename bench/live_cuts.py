"""How long after a PON is cut does its incident stand in the journal, and is a home meanwhile shown green?

The real broker, `balise serve` and the town's live homes as they are: a keep-alive of 40 s, a batch each 60 s. PONs are
cut one after the other, for good, some of one card. A cut's time is the clock's, from its begin in the script to when a
reader of the journal finds an incident that is open at this PON.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from balise_collector.demo import town as demo_town
from balise_collector.demo.programs import prepare_broker
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry
from balise_collector.trial import live
from bench import ground
from bench.rows import Runs, scratch
from bench.table import Row

HOMES = 500
PONS = (1, 3, 5, 7, 9)  # of two cards, four of the eight of the first
LEAD_S, APART_S = 35, 13  # before the first cut, by when all sessions are open; and between two
GOAL_S, GREEN_S = 90.0, 120.0
LIMIT_S = 150.0  # after the first cut: what was not found by then is missing
OK = 0
_LOOK_S = 0.1
_ROWS = 100_000


@dataclass(slots=True)
class Seen:
    """What a reader of the journal found, by when it found it. ``opened``: incident by PON; ``shown``: a home's
    states of its internet; ``unfounded``: green without a measurement that says so."""

    opened: dict[str, int] = field(default_factory=dict)
    shown: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    unfounded: int = 0

    def take(self, row: DerivedEntry, now_ms: int) -> None:
        """A conclusion, when it stood there."""
        if row.measurement == "incident" and row.fields["state"] == "open":
            if row.fields["element"] == "pon":
                self.opened.setdefault(str(row.fields["code"]), now_ms)
            else:
                self.elsewhere.add(str(row.fields["id"]))
        elif row.measurement == "home_state" and row.tags["service"] == "internet":
            self.shown.setdefault(row.tags["home"], []).append((now_ms, int(row.fields["state"])))
            self.unfounded += row.fields["state"] == OK and "age_s" not in row.fields

    def green(self, home: str, at_ms: int) -> bool:
        """What was shown of it last, at that moment."""
        before = [state for seen_ms, state in self.shown.get(home, ()) if seen_ms <= at_ms]
        return bool(before) and before[-1] == OK

    def green_s(self, home: str, cut_ms: int, end_ms: int) -> float:
        """For how long it was green on; of one that still is, until the end."""
        later = (seen_ms for seen_ms, state in self.shown[home] if seen_ms > cut_ms and state != OK)
        return (next(later, end_ms) - cut_ms) / 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """``found_s``: by cut, None: not found; ``green_s``: of each home that was green when it was cut, for how long on;
    ``elsewhere``: incidents at anything but a PON; ``unfounded``: rows that say green of no measurement."""

    found_s: tuple[float | None, ...]
    green_s: tuple[float, ...]
    elsewhere: int
    unfounded: int


def measure(folder: Path, homes: int = HOMES, pons: Sequence[int] = PONS) -> Figures:
    """One town, each of these PONs cut once."""
    data = folder / "data"
    files = prepare_broker(data)
    begun_ms = _now_ms()
    script = folder / "cuts.toml"
    script.write_text(_script(pons, begun_ms))
    settings = demo_town.prepare(folder, data, files, homes, script, begun_ms)
    where = ground.Ground(data=data, files=files, passwords={}, homes={})
    with (
        ground.mosquitto(files),
        ground.serve(where, folder / "serve.log"),
        ground.module(live.__name__, str(data), str(settings), str(os.getpid()), log=folder / "town.log"),
    ):
        return _watched(data, live.read(settings), begun_ms + int((LEAD_S + LIMIT_S) * 1_000))


def _script(pons: Sequence[int], begun_ms: int) -> str:
    """The town's own begin is the minute's."""
    lead_s = LEAD_S + begun_ms % 60_000 // 1_000
    return "life = false\n" + "".join(
        f'[[fault]]\nkind = "pon_cut"\nplace = "pon:{pon}"\nafter = "{lead_s + n * APART_S}s"\nlasts = "1h"\n'
        for n, pon in enumerate(pons)
    )


def _watched(data: Path, settings: live.Settings, until_ms: int) -> Figures:
    """Until each PON has an incident and none of its homes is green, or until then."""
    faults, town, seen = settings.stream().faults, settings.town(), Seen()
    cut = {home.id: fault.start_ms for fault in faults for home in town.at(fault.place)}
    last_ms = max(cut.values())
    for now_ms in _reading(data, seen):
        is_told = now_ms > last_ms and len(seen.opened) == len(faults)
        if now_ms > until_ms or (is_told and not any(seen.green(home, now_ms) for home in cut)):
            break
    opened = [(fault, seen.opened.get(fault.place.partition(":")[2])) for fault in faults]
    return Figures(
        found_s=tuple(None if at_ms is None else (at_ms - fault.start_ms) / 1_000 for fault, at_ms in opened),
        green_s=tuple(seen.green_s(home, at_ms, now_ms) for home, at_ms in cut.items() if seen.green(home, at_ms)),
        elsewhere=len(seen.elsewhere),
        unfounded=seen.unfounded,
    )


def _reading(data: Path, seen: Seen) -> Iterator[int]:
    """Takes what is concluded as soon as it stands in the journal; when it looked."""
    last = 0
    with closing(Journal(data / "journal.db")) as journal:
        while True:
            rows, last = journal.derived(last, _ROWS)
            now_ms = _now_ms()
            for row in rows:
                seen.take(row, now_ms)
            yield now_ms
            time.sleep(_LOOK_S)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def live_rows(runs: Runs) -> Iterator[Row]:
    """A cut until it is told, and until none of its homes is green."""
    found = []
    for _ in range(runs or 1):
        with scratch() as folder:
            found.append(measure(folder))
    cuts = [seconds for one in found for seconds in one.found_s]
    times = tuple(seconds for seconds in cuts if seconds is not None)
    green = tuple(seconds for one in found for seconds in one.green_s)
    if not times or not green:
        raise RuntimeError("no cut was found at its PON")
    conditions = (
        f"{HOMES} homes live over MQTT, mosquitto and balise serve on the same cores, keep-alive 40 s, batches of 60 s;"
        f" {len(PONS)} PONs of two cards cut one after the other, {APART_S} s apart"
    )
    yield Row(
        work="PON cut to its incident, live, the worst",
        unit="s",
        figure=max(times),
        goal=f"<= {GOAL_S:.0f}, each",
        holds=len(times) == len(cuts) and max(times) <= GOAL_S,
        runs=times,
        conditions=conditions,
        beside=f"median {statistics.median(times):.1f} s; {len(times)} of {len(cuts)} found in their place,"
        f" {sum(one.elsewhere for one in found)} incidents elsewhere",
    )
    ordered = sorted(green)
    yield Row(
        work="a home's line cut to not green any more, live, p95",
        unit="s",
        figure=ordered[int(0.95 * (len(ordered) - 1))],
        goal=f"<= {GREEN_S:.0f}",
        holds=ordered[int(0.95 * (len(ordered) - 1))] <= GREEN_S,
        runs=(statistics.median(green), max(green)),
        conditions=conditions,
        beside=f"{len(green)} homes that were green; {sum(one.unfounded for one in found)} rows say green of no"
        " measurement; runs: median and longest",
    )
