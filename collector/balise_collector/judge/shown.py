"""What is shown of homes and incidents, and when does that change?

Rule 1: a home is looked at again when something of it came, when an incident of it changed, or when what it said last
has grown too old; never all homes at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from balise_collector.judge import cells as c
from balise_collector.judge import facts
from balise_collector.judge.cells import MINUTE_MS
from balise_collector.judge.facts import OK, SERVICES, UNKNOWN, Part, Service, Span, timeline
from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Incident, Spell, Stage
from balise_collector.judge.log import HomeLog
from balise_collector.judge.names import Names
from balise_collector.judge.rows import Derived
from balise_collector.judge.runs import ttl_min

REWRITTEN_MS = 36 * 3_600_000  # a longer stretch of history is told by its incidents alone
STEP_MS = 300_000
COVERAGE_MIN = 60
LATE_MS = 3_600_000  # what is seen so long after it could be known is history, and pages nobody
AGAIN_MS = 300_000
FIFTH = 5
AT_ONCE = ("element", "what", "part", "cause", "works", "channels")
"""What of an incident is told as soon as it is another."""
FINAL: frozenset[Stage] = frozenset({"closed", "reviewed"})
Known = tuple[int, str]


class Shown:
    """The last that was said of each home and service, and of each incident."""

    __slots__ = (
        "_due",
        "_ground",
        "_heap",
        "_live",
        "_names",
        "_owed",
        "_parts",
        "_said",
        "_since",
        "_stages",
        "_told",
        "paged",
    )

    def __init__(self, ground: Ground, parts: Mapping[str, Sequence[Part]], names: Names) -> None:
        self._ground, self._parts, self._names = ground, parts, names
        self.paged: set[str] = set()
        self._said: dict[str, list[Known]] = {home: [(UNKNOWN, "silence")] * 4 for home in ground.logs}
        self._since: dict[str, list[int]] = {home: [0] * 4 for home in ground.logs}
        self._heap: list[tuple[int, str]] = []
        self._due: dict[str, int] = {}
        self._stages: dict[str, tuple[Incident, Stage]] = {}
        self._live: set[str] = set()
        self._told: dict[str, tuple[int, Incident]] = {}
        self._owed: set[str] = set()

    def said(self) -> dict[str, list[list[Any]]]:
        """What was last said of each home, in plain values."""
        return {
            home: [[*known, since] for known, since in zip(said, self._since[home], strict=True)]
            for home, said in self._said.items()
            if said != [(UNKNOWN, "silence")] * 4 or any(self._since[home])
        }

    def recall(self, told: dict[str, list[list[Any]]]) -> None:
        """What `said` gave; of homes that are not expected any more nothing."""
        for home, values in told.items():
            if home in self._said:
                self._said[home] = [(int(state), str(why)) for state, why, _ in values]
                self._since[home] = [int(since) for *_, since in values]

    def changes(
        self,
        now_ms: int,
        touched: Iterable[str],
        rewritten: Mapping[str, tuple[int, int]],
        incidents: Sequence[Incident] | None,
    ) -> list[Derived]:
        """What is to be said at that date; ``incidents`` None: none changed."""
        found = [row for home, dates in rewritten.items() for row in self._rewritten(home, *dates, now_ms)]
        again = {str(row.tags["home"]) for row in found}
        looked: set[str] = set()
        for home in touched:
            if home not in looked:
                looked.add(home)
                self._look(home, now_ms, found)
        while self._heap and self._heap[0][0] <= now_ms:
            due, home = heapq.heappop(self._heap)
            if self._due.get(home) == due and home not in looked:
                looked.add(home)
                self._look(home, now_ms, found)
        for home in sorted(again):  # who reads in the order of writing is left with what holds now
            found += [self._derived(home, s, self.fact(home, s, now_ms), now_ms) for s in SERVICES[:3]]
        found += self._of_incidents(incidents, now_ms)
        return found

    def fact(self, home: str, service: Service, now_ms: int) -> Span:
        """Now: from when on, what, why."""
        if home not in self._ground.logs:
            return Span(0, now_ms, UNKNOWN, "not measured")
        at = SERVICES.index(service)
        state, why = self._said[home][at]
        return Span(self._since[home][at], now_ms, state, why)

    def everything(self, now_ms: int) -> Iterator[Derived]:
        """Every expected home, measured or not."""
        for home in self._ground.topology.homes:
            for service in SERVICES:
                yield self._derived(home, service, self.fact(home, service, now_ms), now_ms)

    def _look(self, home: str, now_ms: int, found: list[Derived]) -> None:
        log = self._ground.logs[home]
        said, since = self._said[home], self._since[home]
        quick = self._quick(log, now_ms)
        now = quick if quick is not None else self._slow(log, now_ms)
        for at, service in enumerate(SERVICES):
            if now[at] != said[at]:
                if now[at][0] != said[at][0]:
                    since[at] = now_ms
                said[at] = now[at]
                found.append(self._derived(home, service, self.fact(home, service, now_ms), now_ms))
        self._next(log, now_ms, quick is None)

    def _quick(self, log: HomeLog, now_ms: int) -> list[Known] | None:
        """The common case: nothing is wrong, and all of it is fresh; None: look closer."""
        if log.sessions and not log.sessions[-1][1]:
            return None
        if any(spell.end_ms is None or spell.end_ms >= now_ms for spell, _ in self._parts.get(log.id, ())):
            return None
        minute = now_ms // MINUTE_MS
        newest = log.cells.newest
        bits = log.cells.at(newest) | log.cells.at(newest - 1)
        if minute - newest > 2 or not bits & c.LINE_UP or bits & (c.LINE_DOWN | c.OUT_LOST | c.CLOCK_BAD):
            return None
        if log.impaired or (log.last_outage_ms > now_ms - 3_600_000):
            return None
        settings = self._ground.settings
        tv = OK if minute - log.last_tv <= ttl_min("tv", log, settings) else UNKNOWN
        telephone = OK if minute - log.last_telephone <= settings.telephone_ttl_min else UNKNOWN
        return [(OK, "measured"), _known(tv), _known(telephone), (OK, "measured")]

    def _slow(self, log: HomeLog, now_ms: int) -> list[Known]:
        parts = [part for part in self._parts.get(log.id, ()) if _is_now(part[0], now_ms)]
        return facts.now(log, now_ms, parts, self._ground.settings)

    def _next(self, log: HomeLog, now_ms: int, soon: bool) -> None:
        """When it must be looked at again if nothing comes of it."""
        settings = self._ground.settings
        due = now_ms + MINUTE_MS
        if not soon:
            due = (log.cells.newest + settings.internet_ttl_min + 1) * MINUTE_MS
            for last, ttl in (
                (log.last_tv, ttl_min("tv", log, settings)),
                (log.last_telephone, settings.telephone_ttl_min),
            ):
                if last >= 0 and (last + ttl + 1) * MINUTE_MS > now_ms:
                    due = min(due, (last + ttl + 1) * MINUTE_MS)
            due = max(due, now_ms + 1_000)
        else:
            opens = self._opens(log.id, now_ms)
            if opens is not None:
                due = opens  # from then on it is down, though nothing comes of it
            elif all(state == UNKNOWN for state, _ in self._said[log.id]):
                self._due.pop(log.id, None)  # nothing can become less known
                return
        known = self._due.get(log.id)
        if known is None or known <= now_ms or due < known:
            self._due[log.id] = due
            heapq.heappush(self._heap, (due, log.id))

    def _opens(self, home: str, now_ms: int) -> int | None:
        """When the next of the incidents that it is in opens; None: none is held."""
        held = [
            incident.opened_ms
            for spell, incident in self._parts.get(home, ())
            if incident.opened_ms > now_ms and (spell.end_ms is None or spell.end_ms > now_ms)
        ]
        return min(held, default=None)

    def _rewritten(self, home: str, start_ms: int, end_ms: int, now_ms: int) -> Iterator[Derived]:
        """History that is now another: at its dates on the grid, and where it changes."""
        end_ms = min(end_ms, now_ms)
        if end_ms - start_ms > REWRITTEN_MS or end_ms < start_ms or now_ms - start_ms < STEP_MS:
            return
        log, parts = self._ground.logs[home], self._parts.get(home, ())
        for service in SERVICES[:3]:
            for span in timeline(log, service, start_ms, end_ms + 1, parts, self._ground.settings):
                grid = range(-(-span.start_ms // STEP_MS) * STEP_MS, span.end_ms, STEP_MS)
                for ts_ms in sorted({span.start_ms, *grid}):
                    yield self._derived(home, service, span, ts_ms)

    def _derived(self, home: str, service: Service, span: Span, ts_ms: int) -> Derived:
        site = self._ground.topology.homes[home]
        fields: dict[str, object] = {"state": span.state, "since_ms": span.start_ms, "evidence": span.why}
        log = self._ground.logs.get(home)
        if log is not None and log.cells.newest >= 0:
            fields["coverage"] = round(log.cells.share(c.ALIVE, ts_ms // MINUTE_MS - 1, COVERAGE_MIN), 3)
            fields["age_s"] = max(0.0, round(ts_ms / 1_000 - (log.cells.newest + 1) * 60.0, 1))
        if service == "internet" and site.down_bps:
            fields["contract_bps"] = site.down_bps
        fields["confidence"] = "sure" if span.why in ("measured", "silence") else "probable"
        incident = next((i for _, i in self._parts.get(home, ()) if i.key == span.why), None)
        if incident is not None:
            fields |= {"incident": self._names.id(span.why), "cause": incident.cause}
        tags = {"home": home, "building": site.building, "pon": site.pon, "service": service}
        return Derived(measurement="home_state", tags=tags, ts_ms=ts_ms, fields=fields)

    def _of_incidents(self, incidents: Sequence[Incident] | None, now_ms: int) -> Iterator[Derived]:
        """Those whose life went on; ``incidents`` None: they are the same as before, and only time went on."""
        if incidents is None:
            yield from self._aged(now_ms)
            return
        here: dict[str, tuple[Incident, Stage]] = {}
        for incident in incidents:
            id_ = self._names.id(incident.key)
            known = self._stages.get(id_)
            stage = incident.stage(now_ms, self._ground.settings)
            here[id_] = (incident, stage)
            if stage != "suspected" and (known is None or known[1] != stage or self._is_due(id_, incident, now_ms)):
                yield self._tell(id_, incident, stage, now_ms)
        for gone in sorted(self._stages.keys() - here.keys()):
            incident, stage = self._stages[gone]
            if stage != "suspected":
                yield self._row(gone, incident, "closed", now_ms, gone=True)
        self._stages = here
        self._owed &= here.keys()
        self._live = {id_ for id_, (_, stage) in here.items() if stage not in FINAL}

    def _aged(self, now_ms: int) -> Iterator[Derived]:
        for id_ in sorted(self._live):
            incident, before = self._stages[id_]
            stage = incident.stage(now_ms, self._ground.settings)
            if stage != before:
                self._stages[id_] = (incident, stage)
                yield self._tell(id_, incident, stage, now_ms)
            if stage in FINAL:
                self._live.discard(id_)
        for id_ in sorted(self._owed):
            incident, stage = self._stages[id_]
            if self._is_due(id_, incident, now_ms):
                yield self._tell(id_, incident, stage, now_ms)

    def _is_due(self, id_: str, incident: Incident, now_ms: int) -> bool:
        """Of what a reader sees something is other than it was told; of dates and counts not again within minutes."""
        if id_ not in self._told:
            return True
        told_ms, before = self._told[id_]
        if any(getattr(before, name) != getattr(incident, name) for name in AT_ONCE):
            return True
        if not _is_other(before, incident):
            self._owed.discard(id_)
            return False
        self._owed.add(id_)
        return now_ms - told_ms >= AGAIN_MS

    def _tell(self, id_: str, incident: Incident, stage: Stage, now_ms: int) -> Derived:
        self._told[id_] = (now_ms, incident)
        self._owed.discard(id_)
        return self._row(id_, incident, stage, now_ms)

    def _row(self, id_: str, incident: Incident, stage: Stage, now_ms: int, *, gone: bool = False) -> Derived:
        """Its row; the first while it lasts is told to somebody, unless works or a parent explain it."""
        parent = self._names.parents.get(id_, "") if gone else ""
        late = now_ms - incident.opened_ms > LATE_MS
        if stage == "open" and not (gone or incident.works or late) and incident.element[0] != "home":
            self.paged.add(id_)
        return of_incident(incident, id_, stage, now_ms, paged=id_ in self.paged, gone=gone, parent=parent)


def _is_other(before: Incident, now: Incident) -> bool:
    """Its dates are others by more than a minute, its homes by more than a fifth, or it is surer than it was."""
    if (before.until_ms is None) != (now.until_ms is None) or before.confidence != now.confidence:
        return True
    moved = max(abs(before.since_ms - now.since_ms), abs((before.until_ms or 0) - (now.until_ms or 0)))
    hit = len(set(before.hit))
    return moved > MINUTE_MS or abs(len(set(now.hit)) - hit) * FIFTH > hit


def _is_now(spell: Spell, now_ms: int) -> bool:
    return spell.start_ms <= now_ms and (spell.end_ms is None or now_ms < spell.end_ms)


def of_incident(
    incident: Incident,
    id_: str,
    stage: Stage,
    now_ms: int,
    *,
    paged: bool = False,
    gone: bool = False,
    parent: str = "",
) -> Derived:
    """An incident as a row. ``gone``: late evidence took it back, or made it part of another."""
    fields: dict[str, object] = {
        "id": id_,
        "state": stage,
        "element": incident.what,
        "code": incident.channels[0] if incident.what == "channel" else incident.element[1],
        "part": incident.part,
        "homes": incident.homes,
        "measured": incident.measured,
        "unmeasured": incident.homes - incident.measured,
        "hit": len(set(incident.hit)),
        "since_ms": incident.since_ms,
        "cause": "withdrawn" if gone and not parent else incident.cause,
        "confidence": incident.confidence,
        "paged": paged,
        "evidence": "; ".join(incident.evidence)[:250],
    }
    if incident.until_ms is not None or gone:
        fields["until_ms"] = now_ms if incident.until_ms is None else incident.until_ms
    fields |= {name: value for name, value in (("works", incident.works), ("parent", parent)) if value}
    tags = {"kind": incident.kind, "scope": incident.scope}
    if incident.element[0] == "home":  # so that it goes with the home when that is erased
        tags["home"] = incident.element[1]
    return Derived(measurement="incident", tags=tags, ts_ms=now_ms, fields=fields)


def _known(state: int) -> Known:
    return (state, "measured" if state == OK else "silence")
