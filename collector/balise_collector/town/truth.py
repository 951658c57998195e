"""What was broken, where and when, and what of it could be known?

Decided by the town alone: a stretch of a fault counts from the first record of the home itself that differs from what
it would have said without it, to the first that does not differ any more; where another fault hides it, it does not
count. What a dead probe cannot say counts only where so many fell silent at once that their tenants' own habits do not
explain it.

Rule 1: nothing here looks at what anybody concluded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from balise_collector.town import calendar, hiding, plan, spans
from balise_collector.town.faults import PLATFORM, Fault, shows
from balise_collector.town.kinds import Service, Shows
from balise_collector.town.probe import Probe
from balise_collector.town.spans import Span
from balise_collector.town.stream import Stream
from balise_collector.town.timeline import Timeline
from balise_collector.town.topology import Home

MINUTE_MS = calendar.MINUTE_MS
CHANCE = 1e-6  # joint silence: one in a million that habits alone made it
STRAY_A_DAY = 1 / 15  # probes that go silent by no habit, a day: what `timeline.ordinary` draws


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One stretch of a fault in a home's service. ``knowable``: what of it the home's records can show; ``blurred``:
    where they cannot yet, or cannot yet show that it is over."""

    fault: Fault
    home: Home
    service: Service
    span: Span
    knowable: tuple[Span, ...]
    blurred: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The log of a run. ``watched``: by home id, when an agent measured."""

    bounds: Span
    faults: tuple[Fault, ...]
    broken: tuple[Broken, ...]
    watched: dict[str, tuple[Span, ...]]
    probed: frozenset[str]
    members: dict[int, frozenset[str]]  # probed homes that a fault reached, by its number

    def rows(self) -> Iterator[dict[str, object]]:
        """For a file: a line a fault of the script, then a line a home of daily life."""
        for fault in self.faults:
            knowable = spans.union(s for b in self.broken if b.fault is fault for s in b.knowable)
            yield _row(fault) | {
                "homes": sorted(self.members[fault.number]),
                "services": sorted({b.service for b in self.broken if b.fault is fault}),
                "knowable_s": spans.length(knowable) // 1_000,
            }
        for broken in self.broken:
            if broken.fault.ordinary:
                yield _row(broken.fault) | {"homes": [broken.home.id], "services": [broken.service]}


def _row(fault: Fault) -> dict[str, object]:
    row: dict[str, object] = {"kind": fault.kind, "place": fault.place, "from_ms": fault.start_ms}
    row |= {"to_ms": fault.end_ms, "strength": fault.strength, "ordinary": fault.ordinary}
    return row | ({"channels": list(fault.channels)} if fault.channels else {})


def tell(stream: Stream) -> Truth:
    """The whole log of a run; the same for any judge, and for none."""
    together = {
        fault.number: _is_together(fault, stream) for fault in stream.faults if fault.what.shows in ("cut", "never")
    }
    broken: list[Broken] = []
    for line in stream.lines:
        if line.home.probe:
            probe = Probe(line, stream.town.seed, stream.town.channels, stream.bounds)
            for fault in dict.fromkeys(f for stretch in line.stretches for f in stretch.faults):
                broken += _broken(fault, line, probe, stream, together.get(fault.number, False))
    reached: dict[int, set[str]] = {fault.number: set() for fault in stream.faults}
    for fault in stream.faults:
        homes = stream.town.at(fault.place)
        reached[fault.number] = {home.id for home in homes if home.probe}
    return Truth(
        bounds=stream.bounds,
        faults=tuple(stream.faults),
        broken=tuple(broken),
        watched={line.home.id: line.watched for line in stream.lines},
        probed=frozenset(line.home.id for line in stream.lines if line.home.probe),
        members={number: frozenset(homes) for number, homes in reached.items()},
    )


def _broken(fault: Fault, line: Timeline, probe: Probe, stream: Stream, together: bool) -> Iterator[Broken]:
    delivered = _delivered(line, stream.bounds)
    for start, end in _there(fault, line, stream):
        fell = together and spans.covers(line.watched, start - 1) is not None
        for service in fault.what.hits:
            if fault.what.shows == "never":
                back = spans.after(line.watched, end)
                over = back[0] + MINUTE_MS if back else stream.bounds[1]
                knowable = [(start, end)] if fell else []
            else:
                how = shows(fault, service)
                seen = [
                    _seen(how, fault, probe, span, stream.bounds) for span in _shown(how, fault, line, (start, end))
                ]
                over = max((over for _, over in seen), default=end)
                knowable = spans.cut(delivered, spans.union(span for span, _ in seen))
                knowable = [(start, end)] if fell and seen else knowable
            blurred = spans.without([(start, min(max(end, over), stream.bounds[1]))], knowable)
            yield Broken(
                fault=fault,
                home=line.home,
                service=service,
                span=(start, end),
                knowable=tuple(knowable),
                blurred=tuple(blurred),
            )


def _delivered(line: Timeline, bounds: Span) -> list[Span]:
    """When an agent watched, as far as its records came before the run was over."""
    last = line.open[-1][1] if line.open else bounds[0]
    return spans.cut(line.watched, [(bounds[0], last if last < bounds[1] else bounds[1])])


def _there(fault: Fault, line: Timeline, stream: Stream) -> list[Span]:
    """When it really was there; where several are, each as long as it is itself."""
    ends = [s.start_ms for s in line.stretches[1:]] + [stream.bounds[1]]
    return spans.union(
        (stretch.start_ms, end)
        for stretch, end in zip(line.stretches, ends, strict=True)
        if any(f is fault for f in stretch.faults)
    )


def _shown(how: Shows, fault: Fault, line: Timeline, span: Span) -> list[Span]:
    """Where no other fault hides it."""
    first = line.index(span[0])
    ends = [s.start_ms for s in line.stretches[first + 1 :]] + [span[1]]
    shown = spans.union(
        (stretch.start_ms, end)
        for stretch, end in zip(line.stretches[first:], ends, strict=True)
        if stretch.start_ms < span[1] and hiding.shows_in(stretch, fault, how, line.home)
    )
    return spans.cut(shown, [span])


def _seen(how: Shows, fault: Fault, probe: Probe, span: Span, bounds: Span) -> tuple[Span, int]:
    """When the home's own records show it, and from when they show that it is over."""
    start, end = span
    if how == "cut":  # by echoes, to a second
        return (start, end), end
    if how in ("window", "link"):
        return (start + MINUTE_MS, end), end + MINUTE_MS  # a window that straddles an end is both
    seen = _next(how, fault, probe, start, end) or end
    return (seen, end), _next(how, fault, probe, end, bounds[1]) or bounds[1]


def _next(how: Shows, fault: Fault, probe: Probe, from_ms: int, to_ms: int) -> int | None:
    """When the first measurement that it would show in is over."""
    first, last = -(-from_ms // MINUTE_MS), to_ms // MINUTE_MS
    for minute in range(first, last):
        if _measures(how, fault, probe, minute) and spans.covers(probe.line.watched, minute * MINUTE_MS - 1):
            return (minute + 1) * MINUTE_MS
    return None


def _measures(how: Shows, fault: Fault, probe: Probe, minute: int) -> bool:
    home = probe.home
    match how:
        case "rate":
            tests = probe.tests(minute)
            return ("loaded" in tests) if fault.kind == "bufferbloat" else any(t != "loaded" for t in tests)
        case "tv":
            channel = probe.channel(minute)
            return channel is not None and (not fault.channels or channel in fault.channels)
        case "register" | "call":
            return plan.is_due(home, minute, plan.CALL_EVERY)
    return True


def _is_together(fault: Fault, stream: Stream) -> bool:
    """Whether so many probes fell silent in one minute that chance does not explain it, by the town's own habits."""
    homes = [stream.lines[home.number] for home in stream.town.at(fault.place) if home.probe]
    silent = [line for line in homes if spans.covers(line.watched, fault.start_ms - 1)]
    expected = sum(_stray(line.home, fault.start_ms) for line in silent)
    return len(silent) > 1 and _tail(len(silent), expected) < CHANCE


def _stray(home: Home, at_ms: int) -> float:
    """How many silences of its own one expects of a home in a minute."""
    away = (calendar.minute_of_day(at_ms) - home.habit.off_minute + 720) % 1_440 - 720
    evening = home.habit.off_share * math.exp(-0.5 * (away / 20) ** 2) / (20 * math.sqrt(2 * math.pi))
    return evening + STRAY_A_DAY / 1_440


def _tail(count: int, expected: float) -> float:
    """Chance of so many or more, where so many are expected (Poisson)."""
    return sum(math.exp(-expected + n * math.log(expected) - math.lgamma(n + 1)) for n in range(count, count + 60))


def is_platform(fault: Fault) -> bool:
    """It is ours."""
    return fault.kind in PLATFORM


def group(fault: Fault) -> Sequence[str]:
    """Kind and code of its place."""
    kind, _, code = fault.place.partition(":")
    return kind, code


__all__ = ["Broken", "Truth", "group", "is_platform", "tell"]
