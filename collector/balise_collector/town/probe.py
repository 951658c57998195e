"""What does one probe say of one minute?

In a minute like those before it, what is measured each minute is one of a few variants made once a condition; in a
minute in which something changes each echo is drawn.

Rule 1: it depends on the seed, the home and the minute alone, never on when it is delivered.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from balise_agent.contract import Value
from balise_collector.town import calendar, events, plan, spans
from balise_collector.town.condition import Condition
from balise_collector.town.events import Event
from balise_collector.town.readings import line, rate, tv, voice
from balise_collector.town.readings.said import Said
from balise_collector.town.timeline import Run, Timeline

MINUTE_MS, HOUR_MS = calendar.MINUTE_MS, calendar.HOUR_MS
VARIANTS = 8
SETTLED_MS = 2 * MINUTE_MS  # after a change
SIGNALLED_MS, LISTENED_MS, NAMED_MS = 41_000, 24_000, 20_000  # before the end of a minute: samples of a moment
TV_LATER = 20  # minutes after the hourly registration
_SPREAD = 2_654_435_761  # Knuth's multiplier: minutes take the variants in no visible order


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variants:
    """Of one condition: what is said each minute, what each five, and by what is rarer."""

    each: Sequence[list[Said]]
    five: Sequence[list[Said]]
    register: Sequence[Said]
    call: Sequence[Said]
    channels: dict[tuple[str, int], list[Said]]


class Probe:
    """One home's. ``channels``: those that it samples, in an order of its own."""

    def __init__(self, timeline: Timeline, seed: str, channels: Sequence[str], bounds: spans.Span) -> None:
        self.line, self.home, self._seed = timeline, timeline.home, seed
        self._channels = random.Random(f"{seed}/channels/{self.home.number}").sample(channels, len(channels))
        self._events = events.of(timeline, bounds)
        self._dates = [event.ts_ms for event in self._events]
        self._variants: dict[int, _Variants] = {}
        self._day = plan.Day(ordinal=0)
        self._starts, self._conditions = _measured(timeline)
        self._ends = [*self._starts[1:], 2**62]
        self._mem_kb = random.Random(f"{seed}/host/{self.home.number}").randrange(380_000, 420_000)

    def says(self, end_ms: int) -> list[Said]:
        """The minute that ends there."""
        start_ms, minute = end_ms - MINUTE_MS, end_ms // MINUTE_MS
        index, run = bisect_right(self._starts, start_ms) - 1, self.line.run_at(start_ms)
        index = max(0, index)
        settled = index == 0 or start_ms - self._starts[index] >= SETTLED_MS
        if run is not None and run.end_ms >= end_ms and self._ends[index] >= end_ms and settled:
            said = self._steady(self._conditions[index], run, minute, end_ms)
        else:
            said = self._mixed(start_ms, end_ms, minute)
        low, high = bisect_left(self._dates, start_ms), bisect_left(self._dates, end_ms)
        if low < high:
            said += [_said(event, end_ms) for event in self._events[low:high]]
        return said

    def clock_ms(self, end_ms: int) -> int:
        """By how much its dates are wrong in that minute."""
        return self.line.stretches[self.line.index(end_ms - 1)].condition.clock_ms

    def tests(self, minute: int) -> Sequence[plan.Test]:
        """Those of that minute since 1970."""
        ordinal = calendar.ordinal(minute * MINUTE_MS)
        if ordinal != self._day.ordinal:
            self._day = plan.day(self.home, ordinal, self._seed)
        return self._day.tests.get(minute, ())

    def channel(self, minute: int) -> str | None:
        """The channel that it samples in that minute; None: none."""
        every = plan.tv_every(self.home)
        if not self._channels or not plan.is_due(self.home, minute, every, TV_LATER):
            return None
        return self._channels[minute // every % len(self._channels)]

    # a minute like those before it

    def _steady(self, condition: Condition, run: Run, minute: int, end_ms: int) -> list[Said]:
        variants = self._variants.get(id(condition)) or self._draw(condition)
        number = (minute * _SPREAD >> 8) % VARIANTS
        said = variants.each[number][:]
        said.append(line.alive(condition, run.boot))
        said.append(self._host(condition, run, end_ms))
        home = self.home
        if plan.is_due(home, minute, plan.SOME_EVERY):
            said += variants.five[number]
            if plan.is_due(home, minute, plan.CALL_EVERY):
                self._half_hourly(condition, variants, minute, number, said)
            if (channel := self.channel(minute)) is not None:
                said += self._sample(condition, variants, channel, number)
        return self._rarely(condition, minute, end_ms, said)

    def _half_hourly(
        self, condition: Condition, variants: _Variants, minute: int, number: int, said: list[Said]
    ) -> None:
        said.append(variants.call[number])
        if plan.is_due(self.home, minute, plan.REGISTER_EVERY):
            said.append(variants.register[number])
            said.append(events.link(condition, 10_000))

    def _sample(self, condition: Condition, variants: _Variants, channel: str, number: int) -> list[Said]:
        key = (channel, number % 2)
        found = variants.channels.get(key)
        if found is None:
            rng = self._rng(f"tv/{channel}/{number % 2}", condition)
            found = variants.channels[key] = tv.sample(self.home, condition, channel, rng)
        return found

    def _draw(self, condition: Condition) -> _Variants:
        """Made once a condition; a probe meets few, of which the last dozen is kept."""
        home, rng = self.home, self._rng("variants", condition)
        parts = ((condition, 60.0),)
        numbers = range(VARIANTS)
        found = _Variants(
            each=[[*line.reach(home, parts, rng), voice.options(home, condition, rng)] for _ in numbers],
            five=[self._five(condition, rng) for _ in numbers],
            register=[voice.register(home, condition, rng) for _ in numbers],
            call=[voice.call(home, condition, rng) for _ in numbers],
            channels={},
        )
        if len(self._variants) > 12:
            self._variants.clear()
        self._variants[id(condition)] = found
        return found

    def _five(self, condition: Condition, rng: random.Random) -> list[Said]:
        """What comes each five minutes."""
        said = [*line.dns(self.home, condition, rng), *line.web(self.home, condition, rng), events.box(condition)]
        return [*said, events.wifi(condition, rng)] if self.home.on_wifi and condition.has_box else said

    def _rng(self, name: str, condition: Condition) -> random.Random:
        return random.Random(f"{self._seed}/{self.home.number}/{name}/{events.text(condition)}")

    # any minute

    def _rarely(self, condition: Condition, minute: int, end_ms: int, said: list[Said]) -> list[Said]:
        tests = self.tests(minute)
        if tests or (end_ms // HOUR_MS != (end_ms - MINUTE_MS) // HOUR_MS):
            rng = random.Random(f"{self._seed}/{self.home.number}/{minute}")
            for test in tests:
                if test == "loaded":
                    said.append(rate.loaded(self.home, condition, rng))
                else:
                    said.append(rate.throughput(self.home, condition, rng, test))
            if end_ms // HOUR_MS != (end_ms - MINUTE_MS) // HOUR_MS:
                said += events.hourly(self.line, self._day, end_ms)
                if calendar.minute_of_day(end_ms) < 60 and self._channels:
                    said.append(tv.joins(condition, 1_440 // plan.tv_every(self.home), rng))
        return said

    def _mixed(self, start_ms: int, end_ms: int, minute: int) -> list[Said]:
        """Something changes: conditions are laid end to end, as far as an agent watched."""
        rng = random.Random(f"{self._seed}/{self.home.number}/{minute}/mixed")
        parts = self._parts(start_ms, end_ms)
        run = self.line.run_at(end_ms - 1)
        if not parts or run is None:  # a window dies with its agent
            return []
        last, signalled = parts[-1][0], self._at(end_ms - SIGNALLED_MS)
        said = line.reach(self.home, parts, rng)
        said += [line.alive(last, run.boot), self._host(last, run, end_ms), voice.options(self.home, signalled, rng)]
        if plan.is_due(self.home, minute, plan.SOME_EVERY):
            said += self._five(self._at(end_ms - NAMED_MS), rng)
            if plan.is_due(self.home, minute, plan.CALL_EVERY):
                said.append(voice.call(self.home, last, rng))
                if plan.is_due(self.home, minute, plan.REGISTER_EVERY):
                    said.append(voice.register(self.home, signalled, rng))
            if (channel := self.channel(minute)) is not None:
                said += tv.sample(self.home, self._at(end_ms - LISTENED_MS), channel, rng)
        return self._rarely(last, minute, end_ms, said)

    def _at(self, at_ms: int) -> Condition:
        """What a sample of that moment meets."""
        return self._conditions[max(0, bisect_right(self._starts, at_ms) - 1)]

    def _parts(self, start_ms: int, end_ms: int) -> list[tuple[Condition, float]]:
        found = []
        for watched in spans.cut(self.line.watched, [(start_ms, end_ms)]):
            index, at = max(0, bisect_right(self._starts, watched[0]) - 1), watched[0]
            while at < watched[1]:
                until = min(watched[1], self._ends[index])
                if until - at >= 500:
                    found.append((self._conditions[index], (until - at) / 1_000))
                at, index = until, index + 1
        return found

    def _host(self, condition: Condition, run: Run, end_ms: int) -> Said:
        minute = end_ms // MINUTE_MS
        small = minute * 37 % 23
        fields: dict[str, Value] = {
            "cpu_pct": 1.5 + small / 10,
            "mem_available_kb": self._mem_kb - small * 97,
            "mem_total_kb": 948_304,
            "agent_rss_kb": 33_000 + small * 8,
            "agent_cpu_pct": 0.25,
            "temp_c": 46.5 + small / 4,
            "disk_free_kb": 22_000_000,
            "uptime_s": (end_ms - run.boot_ms) // 1_000,
            "agent_uptime_s": (end_ms - run.start_ms) // 1_000,
            "rows_waiting": 9 * events.waited_minutes(self.line, end_ms),
            "clock_ok": condition.clock_ms == 0,
        }
        if fields["clock_ok"]:
            fields["clock_error_ms"] = minute % 17 * 30.0  # 0.5 ms a second since a time server's last answer
        return Said("host", "", 1_000, fields)


def _measured(timeline: Timeline) -> tuple[list[int], list[Condition]]:
    """The stretches as far as a probe can measure them: how its messages travel changes nothing that they say."""
    starts: list[int] = []
    conditions: list[Condition] = []
    for stretch in timeline.stretches:
        now = _known(stretch.condition)
        if not conditions or conditions[-1] is not now:
            starts.append(stretch.start_ms)
            conditions.append(now)
    return starts, conditions


_kept: dict[Condition, Condition] = {}


def _known(condition: Condition) -> Condition:
    """The same condition is the same object: variants are kept by it."""
    plain = replace(condition, uplink=True, broker=True, collector=True, store=True)
    return _kept.setdefault(plain, plain)


def _said(event: Event, end_ms: int) -> Said:
    return Said(event.measurement, event.target, end_ms - event.ts_ms, event.fields)
