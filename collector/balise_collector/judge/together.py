"""Which homes have the same symptom, and is it one fault?

A symptom's episodes come from the homes' logs; those that begin together, more than chance explains, are placed
together; what is left is one home's.

Rule 1: a home spares an element only by something good that is younger than the fault.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from balise_collector.judge import cells as c
from balise_collector.judge.cells import DAY_MIN, MINUTE_MS
from balise_collector.judge.ground import Check, Ground
from balise_collector.judge.incidents import Incident, Spell, reused
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import NEVER
from balise_collector.judge.shared import Element, Place, is_shared, places
from balise_collector.judge.symptoms import OF_THE_OPERATOR, Episode, Symptom

SPREAD_MS = 5_000  # homes date the same fault so far apart: some miss an echo sooner
ALPHA = 1e-8  # a service fails alone far more seldom than a probe goes silent, and is looked at far less often


class Shared:
    """One symptom: its episodes by home and in order, and what was concluded from them."""

    __slots__ = (
        "_by_home",
        "_changed",
        "_dates",
        "_from_ms",
        "_ground",
        "_own",
        "_together",
        "again_ms",
        "incidents",
        "symptom",
    )

    def __init__(self, ground: Ground, symptom: Symptom) -> None:
        self._ground, self.symptom = ground, symptom
        self._by_home: dict[str, list[Episode]] = {}
        self._dates: list[tuple[int, str]] = []
        self.incidents: list[Incident] = []
        self._own: list[Incident] = []
        self._together: list[Incident] = []
        self.again_ms: int | None = None  # by then more is known of where it is
        self._from_ms = NEVER
        self._changed: set[str] = set()  # homes: one that has no episode any more is in no window

    def episodes(self, home: str) -> Sequence[Episode]:
        return self._by_home.get(home, ())

    def replace(self, home: str, from_ms: int, episodes: Sequence[Episode]) -> int | None:
        """Those of a home from that date on are these; from when on it changed, None: it did not."""
        before = self._by_home.get(home, [])
        kept = [e for e in before if e.start_ms < from_ms]
        gone = before[len(kept) :]
        if gone == list(episodes):
            return None
        for episode in gone:
            del self._dates[bisect_left(self._dates, (episode.start_ms, home))]
        for episode in episodes:
            self._dates.insert(bisect_left(self._dates, (episode.start_ms, home)), (episode.start_ms, home))
        self._by_home[home] = [*kept, *episodes]
        changed = {*gone} ^ {*episodes}
        return min(e.start_ms for e in changed)

    def put(self, home: str, from_ms: int, episodes: Sequence[Episode]) -> None:
        """Those of a home from that date on are these."""
        changed_ms = self.replace(home, from_ms, episodes)
        if changed_ms is not None:
            self._changed.add(home)
            self.mark(changed_ms)

    def mark(self, from_ms: int) -> None:
        self._from_ms = min(self._from_ms, from_ms)

    def tick(self, now_ms: int) -> None:
        """What was placed with half of the evidence is placed again when the rest is there."""
        if self.again_ms is not None and now_ms >= self.again_ms:
            self.mark(self.again_ms - 2 * int(self.symptom.window_min * MINUTE_MS))
            self.again_ms = None

    def conclude_marked(self, now_ms: int) -> None:
        """Judges again from the first mark on."""
        if self._from_ms < NEVER:
            from_ms, self._from_ms = self._from_ms, NEVER
            self.conclude(from_ms, now_ms)

    def conclude(self, from_ms: int, now_ms: int) -> None:
        """Judges again what began from that date on."""
        window_ms = int(self.symptom.window_min * MINUTE_MS)
        from_ms -= window_ms
        while True:  # never from the middle of an incident, nor in the middle of its window
            reaching = [i for i in self._together if _first(i) < from_ms <= _last(i) + 2 * window_ms]
            if not reaching:
                break
            from_ms = min(_first(i) for i in reaching) - window_ms
        kept = [i for i in self._together if _first(i) < from_ms]
        used = {(s.home, s.start_ms) for i in kept for s in i.spells}
        at = bisect_left(self._dates, (from_ms - window_ms, ""))
        order = [e for ts_ms, home in self._dates[at:] if (e := self._episode(home, ts_ms)) is not None]
        fresh = [e for e in order if (e.home, e.start_ms) not in used]
        found, alone = self._scan(fresh, from_ms, now_ms)
        shared = self._absorbed([*kept, *found], alone)
        self._conclude_own(shared, {*self._changed, *(e.home for e in order)})
        self._changed.clear()
        self._together = reused(self._together, shared)
        self.incidents = sorted([*self._together, *self._own], key=lambda i: i.since_ms)
        ends = [_last(i) + window_ms for i in found]
        self.again_ms = max((end for end in ends if end > now_ms), default=None)

    def _conclude_own(self, shared: Sequence[Incident], homes: set[str]) -> None:
        """Episodes of these homes that no shared incident explains; between two of one fault nobody looked."""
        used = {(s.home, s.start_ms) for i in shared for s in i.spells if s.home in homes}
        left = [e for home in sorted(homes) for e in self._by_home[home] if (e.home, e.start_ms) not in used]
        others = [i for i in self._own if i.element[1] not in homes]
        fresh = [incident for run in _going_on(left) if (incident := self._own_incident(run)) is not None]
        self._own = reused(self._own, [*others, *fresh])

    def _episode(self, home: str, start_ms: int) -> Episode | None:
        return next((e for e in self._by_home.get(home, ()) if e.start_ms == start_ms), None)

    def watches(self, from_ms: int) -> int | None:
        """Since when an incident began whose place depends on samples of that date; None: no one's does."""
        window_ms = int(self.symptom.window_min * MINUTE_MS)
        shared = [i for i in self._together if _last(i) + 2 * window_ms >= from_ms]
        return min((_first(i) for i in shared if _first(i) - window_ms <= from_ms), default=None)

    def _scan(self, order: Sequence[Episode], from_ms: int, now_ms: int) -> tuple[list[Incident], list[Episode]]:
        window_ms = int(self.symptom.window_min * MINUTE_MS)
        found, used = list[Incident](), set[tuple[str, int]]()
        for number, episode in enumerate(order):
            if (episode.home, episode.start_ms) in used or episode.start_ms < from_ms:
                continue
            if any(_explains(self._ground, i, episode) for i in found):
                continue  # another fault hid it for a while: it is one of those that go on
            near = [
                e
                for e in order[max(0, number - 4_000) : number + 1]
                if e.start_ms > episode.start_ms - window_ms and (e.home, e.start_ms) not in used
            ]
            if not self._passes_anywhere(episode, near):
                continue
            after = [
                e
                for e in order[number + 1 :]
                if e.start_ms <= episode.start_ms + window_ms and (e.home, e.start_ms) not in used
            ]
            for incident, taken in self._shared([*near, *after], now_ms):
                found.append(incident)
                used |= {(e.home, e.start_ms) for e in taken}
        alone = [e for e in order if (e.home, e.start_ms) not in used]
        return found, alone

    def _passes(self, element: Element, k: int) -> bool:
        ground, minutes = self._ground, self.symptom.window_min
        p = ground.settings.starts_per_day * minutes / DAY_MIN * ground.settings.overdispersion
        return k >= 3 and is_shared(k, max(k, ground.measured(element)), p, ALPHA)

    def _passes_anywhere(self, episode: Episode, near: Sequence[Episode]) -> bool:
        if len(near) < 3:
            return False
        counts: dict[Element, set[str]] = {}
        for other in near:
            for element in self._ground.groups[other.home]:
                counts.setdefault(element, set()).add(other.home)
        return any(self._passes(e, len(counts[e])) for e in self._ground.groups[episode.home])

    def _shared(self, cluster: Sequence[Episode], now_ms: int) -> list[tuple[Incident, list[Episode]]]:
        ground, symptom = self._ground, self.symptom
        first: dict[str, Episode] = {}
        for episode in cluster:
            first.setdefault(episode.home, episode)
        starts = sorted(e.start_ms for e in first.values())
        since_ms = starts[len(starts) // 20]
        is_well = self._is_well(since_ms, min(now_ms, starts[-1] + int(symptom.window_min * MINUTE_MS)))
        found = places(
            sorted(first),
            lambda home: ground.groups[home],
            lambda element: ground.healthy(element, first, is_well),
            ground.size,
            lambda element, homes: self._passes(element, len(homes)),
            ground.settings.spared,
            large=symptom.what in OF_THE_OPERATOR,
        )
        return [self._incident(place, first, is_well) for place in found]

    def _is_well(self, since_ms: int, check_ms: int) -> Check:
        since_min, ok = since_ms // MINUTE_MS, self.symptom.ok
        check_min = min(check_ms // MINUTE_MS, since_min + max(4, int(self.symptom.window_min)))

        def is_well(log: HomeLog) -> bool:
            return log.cells.last(ok, check_min, check_min - since_min - 1) >= 0

        return is_well

    def _incident(self, place: Place, first: dict[str, Episode], is_well: Check) -> tuple[Incident, list[Episode]]:
        ground, symptom = self._ground, self.symptom
        taken = [first[home] for home in place.homes]
        since_ms = _began(taken)
        ended = _ended(taken, 0.3 if symptom.sampled else ground.settings.recovering)
        known = sorted(e.known_ms for e in taken)[: max(3, len(taken) // 4)]
        scope = place.element[0]
        spells = [Spell(home=e.home, start_ms=e.start_ms, end_ms=e.end_ms) for e in taken]
        if symptom.sampled and not place.part:
            others = [h for h in ground.members[place.element] if h not in first and not is_well(ground.logs[h])]
            spells += [
                Spell(home=h, start_ms=since_ms, end_ms=ended) for h in others if _was_measured(ground, h, ended)
            ]
        incident = Incident(
            kind=symptom.kind,
            element=place.element,
            what=symptom.what if scope == "operator" else scope,
            part=place.part,
            rival=place.rival,
            since_ms=since_ms,
            opened_ms=known[-1] + ground.settings.hold_s * 1_000,
            until_ms=ended,
            spells=tuple(spells),
            homes=ground.size[place.element],
            measured=ground.measured(place.element),
            cause=symptom.causes.get(scope, symptom.causes[""]),
            confidence="undecided" if place.rival is not None and symptom.kind != "tv" else "sure",
            evidence=(f"{symptom.name} failed in {len(taken)} of {ground.measured(place.element)} measured homes",),
            works=ground.works(place.homes, since_ms),
            reviewed=ended is not None,
        )
        return incident, taken

    def _absorbed(self, incidents: Sequence[Incident], alone: Sequence[Episode]) -> list[Incident]:
        """A home of an element that has the fault has it by that, also where it was seen later."""
        shared = list(incidents)
        for episode in alone:
            at = next((n for n, i in enumerate(shared) if _explains(self._ground, i, episode)), None)
            if at is None:
                continue
            since_ms = shared[at].since_ms  # what was only taken of this home, it now says itself
            spells = [s for s in shared[at].spells if s.home != episode.home or s.start_ms != since_ms]
            spell = Spell(home=episode.home, start_ms=episode.start_ms, end_ms=episode.end_ms)
            shared[at] = replace(shared[at], spells=(*spells, spell))
        return shared

    def _own_incident(self, run: Sequence[Episode]) -> Incident | None:
        symptom, ground, first, last = self.symptom, self._ground, run[0], run[-1]
        if symptom.own_min is None:
            return None
        if last.end_ms is not None and last.end_ms - first.start_ms < symptom.own_min * MINUTE_MS:
            return None
        opened_ms = max(first.known_ms, first.start_ms + symptom.own_min * MINUTE_MS)
        return Incident(
            kind=symptom.kind,
            element=("home", first.home),
            what="home",
            since_ms=first.start_ms,
            opened_ms=opened_ms + ground.settings.hold_s * 1_000,
            until_ms=last.end_ms,
            spells=tuple(Spell(home=e.home, start_ms=e.start_ms, end_ms=e.end_ms) for e in run),
            homes=1,
            measured=1,
            cause=symptom.causes.get("home", symptom.causes[""]),
            confidence="probable",
            evidence=(f"{symptom.name} failed in this home, its neighbours' works",),
            works=ground.works([first.home], first.start_ms),
            reviewed=last.end_ms is not None,
        )


def _going_on(episodes: Sequence[Episode]) -> list[list[Episode]]:
    """Those of one home between which nothing good was seen are one fault's."""
    runs: list[list[Episode]] = []
    for episode in episodes:
        before = runs[-1][-1] if runs else None
        if before is not None and before.home == episode.home and before.hidden:
            runs[-1].append(episode)
        else:
            runs.append([episode])
    return runs


def _first(incident: Incident) -> int:
    return min(s.start_ms for s in incident.spells)


def _last(incident: Incident) -> int:
    return max(s.start_ms for s in incident.spells)


def _began(taken: Sequence[Episode]) -> int:
    """Between the last time that somebody was still well and the first that somebody was not, a few odd ones apart."""
    odd = len(taken) // 20
    first_bad = sorted(e.start_ms for e in taken)[odd]
    last_well = sorted(e.well_ms for e in taken)[-1 - odd]
    return (first_bad + last_well) // 2 if last_well < first_bad else first_bad


def _ended(taken: Sequence[Episode], share: float) -> int | None:
    """Likewise, once so many have ended."""
    seen = [e for e in taken if not e.hidden]
    if not seen:
        return max((e.end_ms for e in taken if e.end_ms is not None), default=None)
    taken = seen
    ended = [e for e in taken if e.end_ms is not None]
    if len(ended) < max(1, -int(-len(taken) * share // 1)):
        return None
    odd = len(ended) // 20
    first_well = sorted(e.end_ms for e in ended if e.end_ms is not None)[odd]
    last_bad = sorted(e.last_ms for e in taken)[-1 - odd]
    return (first_well + last_bad) // 2 if last_bad < first_well else first_well


def _was_measured(ground: Ground, home: str, end_ms: int | None) -> bool:
    """Its probe was there: the silent are unknown, whatever is out."""
    log = ground.logs[home]
    minute = log.cells.newest if end_ms is None else end_ms // MINUTE_MS
    return log.cells.last(c.ALIVE, minute, 30) >= 0


def _explains(ground: Ground, incident: Incident, episode: Episode) -> bool:
    if incident.part or incident.element not in ground.groups[episode.home]:
        return False
    end_ms = incident.until_ms
    return incident.since_ms - SPREAD_MS <= episode.start_ms and (end_ms is None or episode.start_ms < end_ms)
