"""Rows in, facts and incidents out: what changed is judged again, and nothing else.

    judge = Judge(topology)
    judge.take(rows); judge.hear(evidence)
    judge.advance(now_ms)      # what changed, as derived rows
    judge.timeline(home, service, from_ms, to_ms); judge.incidents(); judge.fact(home, service)

Rule 1: `take` only remembers; `advance` concludes. After `advance` at one date the state is that of all rows taken,
whatever their order and however often it was advanced before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

from balise_collector.judge.cells import MINUTE_MS
from balise_collector.judge.channels import Channels
from balise_collector.judge.elements import Elements, State
from balise_collector.judge.evidence import Evidence
from balise_collector.judge.facts import SERVICES, Part, Service, Span, timeline
from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Incident, Spell
from balise_collector.judge.ladder import Outage
from balise_collector.judge.line import Cuts
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import NEVER, Marks
from balise_collector.judge.memory import Memory
from balise_collector.judge.names import Names
from balise_collector.judge.platform import Blindness
from balise_collector.judge.quality import Quality
from balise_collector.judge.rating import Rating
from balise_collector.judge.reading import READERS, is_bad_channel
from balise_collector.judge.rows import Derived, Row
from balise_collector.judge.runs import Skip, episodes
from balise_collector.judge.settings import Settings
from balise_collector.judge.shown import Shown
from balise_collector.judge.symptoms import BY_PLACE, SYMPTOMS, Episode
from balise_collector.judge.together import Shared
from balise_collector.judge.topology import Topology

LATE_MS = 180_000  # older than this when it comes, a row may explain a silence
CHANNEL_MS = 1_800_000
SILENCE_BACK_MS = 3 * 86_400_000
SINCE_BACK_MS = 2 * 86_400_000  # what has lasted longer has lasted as long


class Judge:
    """The whole of it over one topology. Not for two threads at once."""

    def __init__(self, topology: Topology, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._ground = Ground(topology, self.settings)
        self._marks = Marks(self.settings)
        self._cuts = Cuts(self._ground)
        self._shared = {symptom.name: Shared(self._ground, symptom) for symptom in SYMPTOMS}
        self._channels = Channels(self._ground, self._marks.samples)
        self._quality, self._rating = Quality(self._ground), Rating(self._ground)
        self._blindness = Blindness(self._ground)
        self._touched: dict[str, int] = {}
        self._parts: dict[str, list[Part]] = {}
        self._known: dict[int, Incident] = {}
        self._sorted: list[Incident] = []
        self._names = Names()
        self._shown = Shown(self._ground, self._parts, self._names)
        self._elements = Elements(topology)
        self._memory = Memory(
            ground=self._ground,
            marks=self._marks,
            names=self._names,
            shown=self._shown,
            blindness=self._blindness,
        )
        self.now_ms = 0

    @property
    def homes(self) -> Iterable[str]:
        """Those that are measured."""
        return self._ground.logs

    def take(self, rows: Iterable[Row]) -> None:
        """Remembers what they say; rows of homes that nobody expects are passed over."""
        logs, marks, readers, touched = self._ground.logs, self._marks, READERS, self._touched
        for row in rows:
            log = logs.get(row.home)
            if log is None:
                self._other(row)
                continue
            reader = readers.get(row.measurement)
            if reader is None:
                continue
            reader(log, row, marks)
            home, ts_ms = row.home, row.ts_ms
            if touched.get(home, NEVER) > ts_ms:
                touched[home] = ts_ms

    def hear(self, said: Iterable[Evidence]) -> None:
        """Evidence from outside."""
        for evidence in said:
            if self._ground.hear(evidence):
                self._marks.line(evidence.ts_ms - 1_200_000)

    def advance(self, now_ms: int) -> list[Derived]:
        """Concludes at that date, which never goes back; what is shown differently from then on."""
        self.now_ms = max(self.now_ms, now_ms)
        self._note_late()
        self._lay_out()
        self._conclude_line()
        self._conclude_services()
        self._conclude_quality()
        changed = self._compare()
        touched, self._touched = self._touched, {}
        stretches = changed or {}
        incidents = None if changed is None else self._sorted
        found = self._shown.changes(self.now_ms, [*touched, *stretches], stretches, incidents)
        if any(row.measurement == "incident" for row in found):
            found += self._elements.states(self._state(), self._open(), self._marks.samples, self.now_ms)
        return found

    # reading

    def incidents(self) -> list[Incident]:
        """All of them, by their start."""
        return list(self._sorted)

    def number(self, incident: Incident) -> str:
        """What it is called in rows and towards people."""
        return self._names.id(incident.key)

    def timeline(self, home: str, service: Service, from_ms: int, to_ms: int) -> list[Span]:
        """The history of a fact."""
        log = self._ground.logs.get(home)
        if log is None:
            return [Span(from_ms, to_ms, 3, "not measured")]
        return timeline(log, service, from_ms, to_ms, self._parts.get(home, ()), self.settings)

    def facts(self, home: str) -> dict[Service, Span]:
        """What is believed now, and since when by the history; rows say since when it was shown, which is when somebody
        looked."""
        return {service: self._since(home, service) for service in SERVICES}

    def _since(self, home: str, service: Service) -> Span:
        shown = self._shown.fact(home, service, self.now_ms)
        spans = self.timeline(home, service, self.now_ms - SINCE_BACK_MS, self.now_ms + 1)
        start_ms = self.now_ms
        for span in reversed(spans):
            if span.state != shown.state:
                break
            start_ms = span.start_ms
        return shown._replace(start_ms=start_ms)

    def was_heard(self, home: str) -> bool:
        """Anything was ever known of it."""
        return any(self._shown.fact(home, service, self.now_ms).start_ms for service in SERVICES)

    def outages(self, home: str) -> list[Outage]:
        """The home's own account of its cuts."""
        log = self._ground.logs.get(home)
        return [] if log is None else sorted(log.outages.values(), key=lambda o: o.start_ms)

    def rewrite(self, now_ms: int) -> Iterator[Derived]:
        """Every expected home's facts and all that homes share, changed or not; each 5 min."""
        yield from self._shown.everything(now_ms)
        state = self._state()
        yield from self._elements.states(state, self._open(), self._marks.samples, now_ms)
        yield from self._elements.shares(state, now_ms)

    def _open(self) -> list[Incident]:
        return [one for one in self._sorted if one.stage(self.now_ms, self.settings) == "open"]

    def _state(self) -> State:
        """Of each home and service now, and whether declared works explain it, until all of their homes are back."""
        excused = {
            home
            for one in self._sorted
            if one.works and one.stage(self.now_ms, self.settings) in ("open", "recovering")
            for home in one.hit
        }
        return lambda home, service: (self._shown.fact(home, service, self.now_ms).state, home in excused)

    @property
    def topology(self) -> Topology:
        return self._ground.topology

    def hit(self, number: str) -> list[str]:
        """The homes that an incident of that number has hit."""
        found = next((i for i in self._sorted if self.number(i) == number), None)
        return [] if found is None else sorted(set(found.hit))

    # its memory

    def remembered(self) -> Iterator[tuple[str, Any]]:
        """What is to be kept of it, by name; of homes' minutes those that changed since they were last asked for."""
        yield from self._memory.told()

    def parts_known(self) -> set[str]:
        """The names of all that it remembers, changed or not."""
        return self._memory.names_known()

    def recall(self, parts: Iterable[tuple[str, Any]]) -> None:
        """Into a judge that knows nothing yet. Homes that are not expected any more are passed over."""
        self._memory.recall(parts)

    def replanted(self, topology: Topology) -> Judge:
        """The same memory on another plant."""
        other = Judge(topology, self.settings)
        for log in self._ground.logs.values():
            log.cells.changed.update(log.cells.pages)
        other.recall(list(self.remembered()))
        other.hear(entry[2] for entry in self._ground.said)
        other.now_ms = self.now_ms
        return other

    def forget(self, before_ms: int) -> None:
        """What is older goes: it stands in the store, and late rows of that time change nothing any more."""
        for log in self._ground.logs.values():
            log.forget(before_ms)
        for samples in self._marks.samples.values():
            samples.forget(before_ms)
        self._ground.forget(before_ms)

    # concluding

    def _other(self, row: Row) -> None:
        """The platform's minutes, and probes at the head-end."""
        if row.measurement == "platform" and row.target in ("ingest", ""):
            if self._ground.beat(row.ts_ms, row.fields.get("broker_ok") is not False):
                self._blindness.beat(row.ts_ms)
                self._marks.line(row.ts_ms - self.settings.warm_up_s * 1_000)
        elif row.home in self._ground.topology.places and row.measurement in ("tv_window", "tv_zap"):
            bad = is_bad_channel(row, self.settings.tv_es_ratio)
            if bad is not None and (row.measurement == "tv_window" or bad):
                self._ground.refer(row.target, row.ts_ms, bad)
                self._marks.channels[row.target] = min(row.ts_ms, self._marks.channels.get(row.target, NEVER))

    def _note_late(self) -> None:
        """Rows of a silence tell what it was; rows near an incident tell who was well."""
        for home, ts_ms in self._touched.items():
            log = self._ground.logs[home]
            self._quality.late(home, ts_ms)
            if ts_ms < self.now_ms - LATE_MS or self.now_ms - ts_ms < 0:
                self._explain(log, ts_ms)
        if self._touched:
            oldest = min(self._touched.values())
            for shared in self._shared.values():
                since = shared.watches(oldest)
                if since is not None:
                    shared.mark(since)
        self._cuts.tick(self._marks, self.now_ms)
        for shared in self._shared.values():
            shared.tick(self.now_ms)

    def _explain(self, log: HomeLog, ts_ms: int) -> None:
        for silence in log.silences(ts_ms - SILENCE_BACK_MS):
            if silence.back_ms is None or silence.back_ms + 900_000 >= ts_ms:
                self._marks.line(silence.lost_ms)
                return

    def _lay_out(self) -> None:
        """What homes told of their outages, and their minutes' marks, make parts of one fault each."""
        for home in self._marks.told:
            log = self._ground.logs[home]
            for stretch in log.laid_out():
                self._marks.outage(log, stretch)
        self._marks.told.clear()

    def _conclude_line(self) -> None:
        marks, groups = self._marks, self._ground.groups
        for ts_ms, home in marks.began:
            self._cuts.began(ts_ms, home)
        marks.began.clear()
        for ts_ms, home in marks.lost:
            self._cuts.began(ts_ms, home)
            changed_ms = self._ground.habits.lost(ts_ms, groups[home])
            if changed_ms is not None:
                marks.line(changed_ms)
        marks.lost.clear()
        if marks.line_ms < NEVER:
            from_ms, marks.line_ms = marks.line_ms, NEVER
            self._cuts.conclude(from_ms, self.now_ms)

    def _conclude_services(self) -> None:
        marks, logs = self._marks, self._ground.logs
        for home, from_ms in marks.outages.items():
            self._from_outages(logs[home], from_ms)
        marks.outages.clear()
        changed, marks.channels = marks.channels, {}
        since = self._channels.conclude(changed)
        if since is not None:
            for log in logs.values():
                if log.bad_tv and log.bad_tv[-1][0] >= since:
                    marks.runs[("tv", log.id)] = min(since // MINUTE_MS, marks.runs.get(("tv", log.id), NEVER))
        for (name, home), minute in marks.runs.items():
            log = logs[home]
            skip = self._skip(log) if name == "tv" else _nothing
            from_ms, found = episodes(log, name, minute, self.settings, skip)
            self._shared[name].put(home, from_ms, found)
        marks.runs.clear()
        for shared in self._shared.values():
            shared.conclude_marked(self.now_ms)

    def _from_outages(self, log: HomeLog, from_ms: int) -> None:
        for place, name in BY_PLACE.items():
            found = [
                Episode(
                    start_ms=o.start_ms,
                    home=log.id,
                    end_ms=o.end_ms,
                    known_ms=o.told_ms,
                    well_ms=o.start_ms,
                    last_ms=o.end_ms if o.end_ms is not None else o.told_ms,
                    hidden=o.hidden,
                )
                for o in log.stretches
                if o.place == place and o.start_ms >= from_ms
            ]
            self._shared[name].put(log.id, from_ms, found)

    def _skip(self, log: HomeLog) -> Skip:
        """Bad samples of a channel that is bad for everybody are not the home's."""
        bad = log.bad_tv
        channels = self._channels

        def skip(minute: int) -> bool:
            first = bisect_left(bad, (minute * MINUTE_MS, ""))
            seen = [ch for _, ch in bad[first : bisect_left(bad, ((minute + 1) * MINUTE_MS, ""))]]
            return bool(seen) and all(channels.is_bad(ch, minute * MINUTE_MS) for ch in seen)

        return skip

    def _conclude_quality(self) -> None:
        marks = self._marks
        for home, buckets in marks.lossy.items():
            self._quality.mark(home, buckets)
        marks.lossy.clear()
        self._quality.conclude(self.now_ms)
        if marks.rated:
            rated, marks.rated = marks.rated, {}
            self._rating.conclude(rated)

    def _all(self) -> Iterator[Incident]:
        yield from self._cuts.incidents
        for shared in self._shared.values():
            yield from shared.incidents
        everywhere = [i for i in self._shared["tv"].incidents if i.element[0] == "operator" and not i.part]
        yield from (i for i in self._channels.incidents if not any(_explains(e, i) for e in everywhere))
        yield from self._quality.incidents
        yield from self._rating.incidents
        yield from self._blindness.incidents(self.now_ms)

    def _compare(self) -> dict[str, tuple[int, int]] | None:
        """Homes whose incidents changed, and over which dates; None: no incident did."""
        now = {id(incident): incident for incident in self._all()}
        if now.keys() == self._known.keys():
            return None
        gone = [incident for key, incident in self._known.items() if key not in now]
        new = [incident for key, incident in now.items() if key not in self._known]
        stretches = self._exchanged(gone, new)
        self._names.follow(gone, new, now.values())
        self._known = now
        self._sorted = sorted(now.values(), key=lambda i: (i.since_ms, i.key))
        return stretches

    def _exchanged(self, gone: Iterable[Incident], new: Iterable[Incident]) -> dict[str, tuple[int, int]]:
        """The homes' parts in incidents, brought up to date; and over which dates a home's are now others."""
        stretches: dict[str, tuple[int, int]] = {}
        homes: set[str] = set()
        left = {id(incident) for incident in gone}
        before = {(incident.kind, spell) for incident in gone for spell in incident.spells}
        for home in {spell.home for _, spell in before}:
            self._parts[home] = [p for p in self._parts[home] if id(p[1]) not in left]
        after: set[tuple[str, Spell]] = set()
        for incident in new:
            for spell in incident.spells:
                self._parts.setdefault(spell.home, []).append((spell, incident))
                after.add((incident.kind, spell))
                homes.add(spell.home)
        for home in homes:
            self._parts[home].sort(key=_by_start)
        for _, spell in before ^ after:
            _stretch(stretches, spell.home, spell.start_ms, spell.end_ms, self.now_ms)
        return stretches


def _explains(everything: Incident, channel: Incident) -> bool:
    """Where all channels are bad everywhere, no channel is a fault of its own."""
    since_ms, until_ms = channel.since_ms, everything.until_ms
    return everything.since_ms - CHANNEL_MS <= since_ms and (until_ms is None or since_ms < until_ms)


def _by_start(part: Part) -> tuple[int, str]:
    return (part[0].start_ms, part[1].key)


def _stretch(into: dict[str, tuple[int, int]], home: str, start_ms: int, end_ms: int | None, now_ms: int) -> None:
    start, end = into.get(home, (NEVER, 0))
    into[home] = (min(start, start_ms), max(end, now_ms if end_ms is None else end_ms))


def _nothing(_minute: int) -> bool:
    return False
