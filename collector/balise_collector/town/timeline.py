"""What happens to one home and its probe over the run?

The faults that reach the home and its tenant's days are laid out as stretches in which nothing changes; from them
follow the starts of the probe, its sessions with the broker and the outages that its ladder sees.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from balise_agent.contract import token
from balise_collector.town import calendar, spans
from balise_collector.town.condition import Condition
from balise_collector.town.faults import Fault, condition
from balise_collector.town.spans import Span
from balise_collector.town.topology import Habit, Home

BOOT_S = 25  # from current to the agent's first echo
RESTART_S = 8
MICROCUT_MS, OUTAGE_MS = 5_000, 30_000
EVENING = (19 * 60, 23 * 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Nothing changes from ``start_ms`` to the next one's. ``faults``: those that are there."""

    start_ms: int
    condition: Condition
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the agent. ``boot_ms``: start of its machine; ``clean``: it ended on purpose and said goodbye."""

    start_ms: int
    end_ms: int
    boot_ms: int
    boot: str
    clean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """With the broker. ``gone_ms``: when the broker says that it ended; None: it does not, or another began before."""

    start_ms: int
    end_ms: int
    gone_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """An outage as the ladder dates it. ``places``: its classes in order, each once."""

    start_ms: int
    end_ms: int
    places: tuple[str, ...]
    unwatched_ms: int
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One home's. ``open``: when its messages reach the collector at once."""

    home: Home
    stretches: tuple[Stretch, ...]
    runs: tuple[Run, ...]
    watched: tuple[Span, ...]
    sessions: tuple[Session, ...]
    open: tuple[Span, ...]
    cuts: tuple[Cut, ...]

    def index(self, at_ms: int) -> int:
        """Which stretch a moment is in."""
        return max(0, bisect_right(self.stretches, at_ms, key=_start) - 1)

    def run_at(self, at_ms: int) -> Run | None:
        """The agent's run at a moment; None: none."""
        index = bisect_right(self.runs, at_ms, key=_run_start) - 1
        return self.runs[index] if index >= 0 and at_ms < self.runs[index].end_ms else None


def _start(stretch: Stretch) -> int:
    return stretch.start_ms


def _run_start(run: Run) -> int:
    return run.start_ms


def spells(fault: Fault, bounds: Span, rng: random.Random) -> list[Span]:
    """When a fault is really there: all the time, in the evenings, or on and off."""
    start, end = max(fault.start_ms, bounds[0]), min(fault.end_ms, bounds[1])
    if start >= end:
        return []
    if fault.what.evening:
        days = range(calendar.ordinal(start), calendar.ordinal(end) + 1)
        evenings = [(calendar.civil_ms(day, EVENING[0]), calendar.civil_ms(day, EVENING[1])) for day in days]
        return spans.cut(evenings, [(start, end)])
    if fault.what.loop_s is None:
        return [(start, end)]
    found, at = [], start
    while at < end:
        off_s, on_s = (length * rng.uniform(0.8, 1.2) for length in fault.what.loop_s)
        found.append((at, min(end, at + int(off_s * 1_000))))
        at += int((off_s + on_s) * 1_000)
    return found


def ordinary(home: Home, bounds: Span, seed: str, number: int) -> list[Fault]:
    """What happens in any home: strips off at night, probes unplugged, boxes restarted, updates, weak Wi-Fi."""
    rng = random.Random(f"{seed}/days/{home.number}")
    found: list[Fault] = []

    def add(kind: str, start_ms: int, lasts_s: float, strength: float = 1.0) -> None:
        end_ms = start_ms + max(1, int(lasts_s)) * 1_000
        if start_ms < bounds[1] and end_ms > bounds[0]:
            place = f"home:{home.id}"
            found.append(
                Fault(number=number, kind=kind, place=place, start_ms=start_ms, end_ms=end_ms, strength=strength)
            )

    for day in range(calendar.ordinal(bounds[0]) - 1, calendar.ordinal(bounds[1]) + 1):
        _a_day(home.habit, home.on_wifi, day, rng, add)
    return [replace(fault, ordinary=True) for fault in found]


def _a_day(
    habit: Habit, on_wifi: bool, day: int, rng: random.Random, add: Callable[[str, int, float, float], None]
) -> None:
    def some_time() -> int:
        return calendar.civil_ms(day, 0) + rng.randrange(86_400) * 1_000

    if rng.random() < habit.off_share:
        off = calendar.civil_ms(day, 0) + int((habit.off_minute + rng.gauss(0, 20)) * 60_000)
        on = calendar.civil_ms(day + 1, 0) + int((habit.on_minute + rng.gauss(0, 20)) * 60_000)
        add("strip_off", off, (on - off) / 1_000, 1.0)
    if rng.random() < 1 / 20:
        add("probe_unplugged", some_time(), rng.lognormvariate(6.5, 1.2), 1.0)
    if rng.random() < 1 / 30:
        add("box_unplugged", some_time(), rng.uniform(60, 150), 1.0)
    if rng.random() < 1 / 30:
        add("agent_restart", some_time(), rng.uniform(10, 40), 1.0)
    if on_wifi and rng.random() < 1 / 7:
        add("wifi_weak", some_time(), rng.uniform(1_800, 10_800), rng.uniform(0.1, 0.4))


def build(home: Home, faults: Sequence[Fault], bounds: Span, seed: str) -> Timeline:
    """A home under these faults, ordinary ones among them."""
    rng = random.Random(f"{seed}/line/{home.number}")
    stretches = _stretches(faults, bounds, rng)
    runs = _runs(stretches, bounds, rng)
    watched = spans.union((run.start_ms, run.end_ms) for run in runs)
    sessions = _sessions(stretches, runs, bounds, rng)
    taken = spans.union((s.start_ms, s.end_ms) for s in sessions)
    closed = _where(stretches, bounds, lambda c: not c.collector)
    return Timeline(
        home=home,
        stretches=tuple(stretches),
        runs=tuple(runs),
        watched=tuple(watched),
        sessions=tuple(sessions),
        open=tuple(spans.without(taken, closed)),
        cuts=tuple(_cuts(stretches, watched, runs, bounds)),
    )


_known: dict[tuple[object, ...], Condition] = {}


def _condition(active: tuple[Fault, ...]) -> Condition:
    """The same condition is the same object: what is made from one is kept by it."""
    key = tuple((fault.kind, fault.strength, fault.channels) for fault in active)
    found = _known.get(key)
    if found is None:
        made = condition(active)
        found = _known[key] = next((known for known in _known.values() if known == made), made)
    return found


def _stretches(faults: Sequence[Fault], bounds: Span, rng: random.Random) -> list[Stretch]:
    changes: list[tuple[int, int, int]] = []
    for index, fault in enumerate(faults):
        for start, end in spells(fault, bounds, rng):
            changes += [(start, 1, index), (end, 0, index)]
    active: dict[int, None] = {}
    found = [Stretch(start_ms=bounds[0], condition=_condition(()), faults=())]
    for at, begins, index in sorted(changes):
        if begins:
            active[index] = None
        else:
            active.pop(index, None)
        now = tuple(faults[i] for i in sorted(active))
        stretch = Stretch(start_ms=at, condition=_condition(now), faults=now)
        if found[-1].start_ms == at:
            found[-1] = stretch
        else:
            found.append(stretch)
    return found


def _where(stretches: Sequence[Stretch], bounds: Span, holds: Callable[[Condition], bool]) -> list[Span]:
    ends = [stretch.start_ms for stretch in stretches[1:]] + [bounds[1]]
    return spans.union(
        (stretch.start_ms, end) for stretch, end in zip(stretches, ends, strict=True) if holds(stretch.condition)
    )


def _runs(stretches: Sequence[Stretch], bounds: Span, rng: random.Random) -> list[Run]:
    powered = _where(stretches, bounds, lambda c: c.mains and c.strip and c.probe_power)
    working = _where(stretches, bounds, lambda c: c.agent)
    stopped = [f for s in stretches for f in s.faults if f.kind == "agent_restart"]
    goodbyes = {fault.start_ms for fault in stopped}
    found = []
    for on_ms, off_ms in powered:
        boot_ms = on_ms if on_ms > bounds[0] else bounds[0] - rng.randrange(1, 20 * 86_400) * 1_000
        boot = token(rng.randbytes(16))
        for start, end in spans.cut([(on_ms, off_ms)], working):
            later = BOOT_S if start == on_ms else RESTART_S
            first = start if start == bounds[0] else start + later * 1_000
            if first < end:
                found.append(Run(start_ms=first, end_ms=end, boot_ms=boot_ms, boot=boot, clean=end in goodbyes))
    return found


def _sessions(stretches: Sequence[Stretch], runs: Sequence[Run], bounds: Span, rng: random.Random) -> list[Session]:
    """A session ends where its way breaks; the broker says so after 1.5 keep-alives, or at a goodbye at once."""
    way = _where(stretches, bounds, lambda c: c.line and c.uplink and c.broker)
    broker = _where(stretches, bounds, lambda c: c.broker)
    collector = _where(stretches, bounds, lambda c: c.collector)
    found: list[Session] = []
    for run in runs:
        for start, end in spans.cut([(run.start_ms, run.end_ms)], way):
            first = start if start == bounds[0] else start + int(rng.uniform(1.0, 20.0) * 1_000)
            if first >= end:
                continue
            said = end + 300 if run.clean and end == run.end_ms else end + int(rng.uniform(40.0, 63.0) * 1_000)
            found.append(Session(start_ms=first, end_ms=end, gone_ms=_heard(said, end, broker, collector, bounds)))
    return [_unless_back(session, later) for session, later in zip(found, [*found[1:], None], strict=False)]


def _heard(said_ms: int, end_ms: int, broker: list[Span], collector: list[Span], bounds: Span) -> int | None:
    """When the collector hears of it: never where the broker died with the session, later where it was away itself."""
    if end_ms >= bounds[1] or spans.covers(broker, end_ms) is None or spans.covers(broker, said_ms) is None:
        return None
    if spans.covers(collector, said_ms) is not None:
        return said_ms
    later = spans.after(collector, said_ms)
    return None if later is None else later[0] + 1_000


def _unless_back(session: Session, later: Session | None) -> Session:
    """A new session of the same probe takes the old one over: nobody hears that it was gone."""
    if later is None or session.gone_ms is None or session.gone_ms < later.start_ms:
        return session
    return replace(session, gone_ms=None)


def place(condition: Condition) -> str | None:
    """Where the ladder says that it breaks; None: it does not."""
    if not condition.has_box:
        return "lan.link"
    order = (
        (condition.box, "home.box_or_lan"),
        (condition.light, "access.line"),
        (condition.core, "operator.core"),
        (condition.upstream, "upstream"),
        (condition.dns, "dns"),
        (condition.target, "operator.server"),
    )
    return next((name for works, name in order if not works), None)


def _cuts(stretches: Sequence[Stretch], watched: Sequence[Span], runs: Sequence[Run], bounds: Span) -> Iterable[Cut]:
    """Each stretch of time with something cut, where an agent saw 5 s of it or more."""
    for holds in (_is_line_cut, _is_server_out):  # an outage of the server alone is none of the line
        broken = _where(stretches, bounds, holds)
        for start, end in broken:
            seen = spans.cut([(start, end)], watched)
            down = spans.length(seen)
            if down < MICROCUT_MS:
                continue
            first, last = seen[0][0], seen[-1][1]
            until = end if last == end or spans.covers(watched, end) else _next_run(runs, end)
            if until is None:
                continue
            at = range(bisect_right(stretches, first, key=_start) - 1, bisect_right(stretches, last - 1, key=_start))
            places = dict.fromkeys(p for i in at if (p := place(stretches[i].condition)) is not None)
            yield Cut(
                start_ms=first,
                end_ms=until,
                places=tuple(places),
                unwatched_ms=until - first - down,
                restarts=sum(first < run.start_ms <= until for run in runs),
            )


def _is_line_cut(condition: Condition) -> bool:
    return place(condition) not in (None, "operator.server")


def _is_server_out(condition: Condition) -> bool:
    return place(condition) == "operator.server"


def _next_run(runs: Sequence[Run], at_ms: int) -> int | None:
    return next((run.start_ms for run in runs if run.start_ms >= at_ms), None)
