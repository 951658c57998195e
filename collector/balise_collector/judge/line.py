"""Which cuts are one fault? Shared silence first, then each home's own.

Cuts in the order of their start; where more of a group began within a minute than chance explains, all that began
around then is placed together. What is left is one home's: an incident only where its own probe told what broke.

Rule 1: what is found in a stretch of time depends on the cuts in it and a minute before, never on what came when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from balise_collector.judge import cells as c
from balise_collector.judge.causes import BY_ACCOUNT, Cause, cause_of, home_cause
from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Confidence, Incident, Kind, Spell, reused, until
from balise_collector.judge.items import Item, of_outage, of_silence, of_start
from balise_collector.judge.ladder import RANK, rung
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import NEVER, Marks
from balise_collector.judge.shared import Element, Place, is_shared, places

BEFORE_MS = 900_000  # an outage is told of minutes after it began: so far back its cut may have begun
CLUSTER_MS = 65_000  # after the first group that passes: the last of one cut are missed 23 s after the first
SPREAD_MS = 5_000  # homes date the same cut so far apart: some miss an echo sooner
SETTLE_MS = 130_000  # by then the broker has missed everybody

ACCOUNTS = {cause: account for account, (cause, _) in BY_ACCOUNT.items()} | {"works": "line"}
"""What a home in an incident of that cause says of itself, where it says anything."""

BROKE = frozenset({"line", "core"})

Passes = Callable[[Element, Collection[str]], bool]
"""Whether these homes of an element are more than chance."""


class _Window:
    """The cuts of the last minute, and how many of each element they are. ``told``: by their own account."""

    __slots__ = ("_ground", "counts", "items", "told")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.items: deque[Item] = deque()
        self.counts: dict[Element, int] = {}
        self.told: dict[Element, int] = {}

    def slide(self, ts_ms: int) -> None:
        """What began more than a window before that date leaves it."""
        while self.items and self.items[0].start_ms < ts_ms - self._ground.settings.window_s * 1_000:
            self._count(self.items.popleft(), -1)

    def add(self, item: Item) -> None:
        """The next one."""
        self.items.append(item)
        self._count(item, 1)

    def drop(self, used: Collection[tuple[int, str]]) -> None:
        """These are explained."""
        left = [i for i in self.items if (i.start_ms, i.home) not in used]
        self.items.clear()
        self.counts.clear()
        self.told.clear()
        for item in left:
            self.add(item)

    def _count(self, item: Item, step: int) -> None:
        for element in self._ground.groups[item.home]:
            self.counts[element] = self.counts.get(element, 0) + step
            if item.account in BROKE:
                self.told[element] = self.told.get(element, 0) + step


class Cuts:
    """All dates at which a cut may have begun, in order, and what was concluded from them."""

    __slots__ = ("_dates", "_ground", "_own", "_shared_ones", "again_ms", "incidents")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._dates: list[tuple[int, str]] = []
        self.incidents: list[Incident] = []
        self._own: list[Incident] = []
        self._shared_ones: list[Incident] = []
        self.again_ms: int | None = None  # by then the broker has missed everybody

    def began(self, ts_ms: int, home: str) -> None:
        """A session was lost, an outage began, or a machine started anew."""
        entry = (ts_ms, home)
        at = bisect_left(self._dates, entry)
        if at == len(self._dates) or self._dates[at] != entry:
            self._dates.insert(at, entry)

    def tick(self, marks: Marks, now_ms: int) -> None:
        """What was placed before everybody was missed is placed again."""
        if self.again_ms is not None and now_ms >= self.again_ms:
            marks.line(self.again_ms - 2 * SETTLE_MS)
            self.again_ms = None

    def conclude(self, from_ms: int, now_ms: int) -> None:
        """Judges again what began from that date on."""
        from_ms -= BEFORE_MS
        while True:  # never from the middle of an incident
            reaching = [i.since_ms for i in self._shared_ones if i.since_ms < from_ms <= _edge(i)]
            if not reaching:
                break
            from_ms = min(reaching) - 2 * CLUSTER_MS
        kept = [i for i in self._shared_ones if i.since_ms < from_ms]
        consumed = {(spell.home, spell.start_ms) for i in kept for spell in i.spells}
        fresh = self._items(self._homes(from_ms - CLUSTER_MS), from_ms - CLUSTER_MS, now_ms)
        left = [i for i in fresh if (i.home, i.start_ms) not in consumed]
        found, alone = self._scan(left, from_ms, now_ms)
        shared, alone = _absorbed(self._ground, [*kept, *found], alone)
        self._conclude_own(shared, {item.home for item in fresh}, now_ms)
        self._shared_ones = reused(self._shared_ones, shared)
        self.incidents = sorted([*self._shared_ones, *self._own], key=lambda i: i.since_ms)
        checks = [max(s.start_ms for s in i.spells) + SETTLE_MS for i in found]
        self.again_ms = max((check for check in checks if check > now_ms), default=None)

    def _conclude_own(self, shared: Sequence[Incident], homes: set[str], now_ms: int) -> None:
        """What no shared incident explains of these homes' whole history, for a box that comes and goes is one."""
        used = {(s.home, s.start_ms) for i in shared for s in i.spells if s.home in homes}
        items = [i for i in self._items(homes, 0, now_ms) if (i.home, i.start_ms) not in used]
        others = [i for i in self._own if i.element[1] not in homes]
        self._own = reused(self._own, [*others, *own_incidents(self._ground, items, now_ms)])

    def _homes(self, from_ms: int) -> set[str]:
        """Those of which something began at that date or soon before."""
        return {home for _, home in self._dates[bisect_left(self._dates, (from_ms - BEFORE_MS, "")) :]}

    def _items(self, homes: Collection[str], from_ms: int, now_ms: int) -> list[Item]:
        """Their cuts from that date on, in order."""
        ground, found = self._ground, dict[tuple[int, str], Item]()
        for home in homes:
            log = ground.logs[home]
            items = [of_silence(log, s, now_ms, ground.settings) for s in log.silences(from_ms - BEFORE_MS)]
            items += [of_outage(log, o) for o in log.stretches if o.start_ms >= from_ms]
            items += [of_start(log, at_ms, ground.settings) for at_ms in log.boots if at_ms >= from_ms]
            for item in items:
                if item is not None and from_ms <= item.start_ms <= now_ms:
                    found[item.start_ms, home] = item
        return [found[key] for key in sorted(found)]

    def _scan(self, items: Sequence[Item], from_ms: int, now_ms: int) -> tuple[list[Incident], list[Item]]:
        ground, found = self._ground, list[Incident]()
        window = _Window(ground)
        used: set[tuple[int, str]] = set()
        for number, item in enumerate(items):
            if (item.start_ms, item.home) in used:
                continue
            window.slide(item.start_ms)
            if item.account == "box" or (not item.exact and ground.is_blind(item.start_ms)):
                continue  # its own probe says that it is not shared; or nobody heard, and it does not say either
            if item.account and any(_explains(ground, i, item) for i in found):
                continue  # another fault hid it for a while: it is one of those that go on
            window.add(item)
            if item.start_ms < from_ms or not self._passes_anywhere(item, window):
                continue
            cluster = [*window.items, *_following(items, number + 1, item.start_ms + CLUSTER_MS, used)]
            begun = {i.home for i in window.items}
            for incident in self._shared(cluster, now_ms):
                if begun.isdisjoint(incident.hit):
                    continue  # the next cut, of which the cluster has a part
                found.append(incident)
                used |= {(i.start_ms, i.home) for i in cluster if i.home in incident.hit}
            window.drop(used)
        alone = [i for i in items if (i.start_ms, i.home) not in used]
        return found, alone

    def _passes_anywhere(self, item: Item, window: _Window) -> bool:
        return any(
            window.counts[element] >= 2
            and self._passes(element, window.counts[element], window.told.get(element, 0), item.start_ms)
            for element in self._ground.groups[item.home]
        )

    def _passes(self, element: Element, k: int, told: int, ts_ms: int) -> bool:
        """So many fell silent together, or so many of them say themselves that their line broke."""
        ground, settings = self._ground, self._ground.settings
        m = max(k, ground.measured(element))
        if is_shared(k, m, ground.habits.rate(element, ts_ms), settings.alpha):
            return True
        broke = settings.starts_per_day / 1_440 * settings.window_s / 60 * settings.overdispersion
        return told >= 3 and is_shared(told, m, broke, settings.alpha)

    def _shared(self, cluster: Sequence[Item], now_ms: int) -> list[Incident]:
        first = {item.home: item for item in reversed(cluster)}
        seed_ms = cluster[-1].start_ms
        check_ms = min(now_ms, max(i.start_ms for i in cluster) + SETTLE_MS)
        found = self._placed(
            first,
            None,
            check_ms,
            lambda element, homes: self._passes(element, len(homes), _told(first, homes), seed_ms),
        )
        return [self._incident(place, [first[h] for h in place.homes], now_ms, check_ms) for place in found]

    def _placed(
        self, items: dict[str, Item], only: Collection[str] | None, check_ms: int, passes: Passes
    ) -> list[Place]:
        ground = self._ground

        def groups(home: str) -> list[Element]:
            return [e for e in ground.groups[home] if only is None or e[0] in only]

        return places(
            sorted(items),
            groups,
            lambda element: ground.healthy(element, items, lambda log: is_spared(log, check_ms, _rank(items.values()))),
            ground.size,
            passes,
            ground.settings.spared,
        )

    def _incident(self, place: Place, items: Sequence[Item], now_ms: int, check_ms: int) -> Incident:
        ground, settings = self._ground, self._ground.settings
        cause = cause_of(ground, items, now_ms)
        place = self._by_cause(place, {item.home: item for item in items}, cause, check_ms)
        exact = sorted(i.start_ms for i in items if i.exact)
        starts = exact if len(exact) * 2 >= len(items) else sorted(i.start_ms for i in items)
        since_ms = starts[len(starts) // 2]
        may_be_off = partial(ground.habits.may_be_off, place.element, since_ms)
        ended = until([(i.end_ms, i.exact, i.hidden) for i in items], settings.recovering, may_be_off)
        kind: Kind = "platform" if cause.name == "delivery" else "line"
        works = ground.works([i.home for i in items], since_ms)
        known = sorted(i.known_ms for i in items)[: max(2, len(items) // 4)]
        return Incident(
            kind=kind,
            element=place.element,
            what=_what(kind, cause.name, place.element),
            part=place.part,
            rival=place.rival,
            since_ms=since_ms,
            opened_ms=max(min(known[-1], since_ms + 90_000), known[0]) + settings.hold_s * 1_000,
            until_ms=ended,
            spells=tuple(_spell(item, ended) for item in items),
            homes=ground.size[place.element],
            measured=ground.measured(place.element),
            cause="works" if works and cause.name in ("unknown", "fibre") else cause.name,
            confidence=_confidence(place, cause),
            evidence=(f"{len(items)} of {ground.measured(place.element)} measured homes lost together", *cause.said),
            works=works,
            reviewed=cause.complete and ended is not None,
        )

    def _by_cause(self, place: Place, items: dict[str, Item], cause: Cause, check_ms: int) -> Place:
        """Power follows buildings, light follows the plant: a known cause decides between two that explain the same.
        That it is no chance is known by then: of the elements that hold most of them none has to show it again."""
        if not cause.elements:
            return place
        if place.element[0] in cause.elements:
            return replace(place, rival=None)
        found = self._placed(items, cause.elements, check_ms, lambda _, homes: len(homes) * 10 >= 8 * len(items))
        if found:
            return Place(element=found[0].element, homes=place.homes, part=found[0].part)
        return place


def is_spared(log: HomeLog, ts_ms: int, rank: int) -> bool:
    """What broke there, of that rank on the ladder, did not break here: its session was open, or its own records show
    that it was well, or broken further away."""
    if log.online_at(ts_ms) or log.cells.at(ts_ms // c.MINUTE_MS) & (c.LINE_UP | c.OUT_OK):
        return True
    there = [
        RANK[rung(s.place)] for s in log.stretches if s.start_ms <= ts_ms and (s.end_ms is None or ts_ms < s.end_ms)
    ]
    return bool(there) and min(there) > rank


def _rank(items: Collection[Item]) -> int:
    """Of what most of these homes say on the ladder; beyond all where none says anything."""
    said = Counter(i.account for i in items if i.account in RANK)
    return RANK[max(said.items(), key=lambda a: (a[1], a[0]))[0]] if said else len(RANK)


def own_incidents(ground: Ground, items: Sequence[Item], now_ms: int) -> list[Incident]:
    """One home's cuts: those whose place its probe, or the OLT, named; a box that comes and goes is one."""
    by_home: dict[str, list[Item]] = {}
    for item in items:
        by_home.setdefault(item.home, []).append(item)
    found = []
    for home, cuts in sorted(by_home.items()):
        for run in _runs(cuts):
            incident = _own(ground, home, run, now_ms)
            if incident is not None:
                found.append(incident)
    return found


def _runs(cuts: Sequence[Item]) -> list[list[Item]]:
    """Cuts of one account with less than half an hour between."""
    runs: list[list[Item]] = []
    for cut in cuts:
        last = runs[-1][-1] if runs else None
        near = last is not None and last.end_ms is not None and cut.start_ms - last.end_ms < 1_800_000
        if near and last is not None and last.account == cut.account:
            runs[-1].append(cut)
        else:
            runs.append([cut])
    return runs


def _own(ground: Ground, home: str, run: Sequence[Item], now_ms: int) -> Incident | None:
    settings = ground.settings
    cause = home_cause(ground, home, run, now_ms)
    ends = [cut.end_ms for cut in run]
    ended = None if None in ends else max(end for end in ends if end is not None)
    longest = max((cut.end_ms if cut.end_ms is not None else NEVER) - cut.start_ms for cut in run)
    least_s = settings.home_line_s if cause.name == "home_fibre" else settings.home_box_s
    loops = len(run) >= settings.loop_count and run[settings.loop_count - 1].start_ms - run[0].start_ms < 3_600_000
    if not cause.name or (longest < least_s * 1_000 and not loops):
        return None
    since_ms = run[0].start_ms
    kind: Kind = "box" if cause.name == "box" else "line"
    return Incident(
        kind=kind,
        element=("home", home),
        what="home",
        since_ms=since_ms,
        opened_ms=max(*(cut.known_ms for cut in run[: settings.loop_count]), since_ms + least_s * 1_000),
        until_ms=ended,
        spells=tuple(Spell(home=home, start_ms=cut.start_ms, end_ms=cut.end_ms) for cut in run),
        homes=1,
        measured=1,
        cause=cause.name,
        confidence="sure" if cause.complete else "probable",
        evidence=cause.said,
        works=ground.works([home], since_ms),
        reviewed=cause.complete and ended is not None,
    )


def _absorbed(
    ground: Ground, incidents: Sequence[Incident], items: Sequence[Item]
) -> tuple[list[Incident], list[Item]]:
    """A home of an element that is out is cut off by that, also where it was not missed with the others."""
    shared, left = list(incidents), list[Item]()
    for item in items:
        at = next((n for n, i in enumerate(shared) if _explains(ground, i, item)), None)
        if at is None:
            left.append(item)
            continue
        incident = shared[at]
        spell = _spell(item, incident.until_ms)
        shared[at] = replace(incident, spells=(*incident.spells, spell))
    return shared, left


def _explains(ground: Ground, incident: Incident, item: Item) -> bool:
    if incident.part or item.account in ("box", "delivery") or incident.element not in ground.groups[item.home]:
        return False
    if item.account and ACCOUNTS.get(incident.cause, item.account) != item.account:
        return False  # what its own records say is another fault
    end_ms = incident.until_ms
    return incident.since_ms - SPREAD_MS <= item.start_ms and (end_ms is None or item.start_ms < end_ms)


def _edge(incident: Incident) -> int:
    last = max((spell.start_ms for spell in incident.spells), default=incident.since_ms)
    return max(last, incident.since_ms) + 2 * CLUSTER_MS


def _told(items: Mapping[str, Item], homes: Collection[str]) -> int:
    """Of these homes, those that say themselves that their line broke."""
    return sum(items[home].account in BROKE for home in homes)


def _following(items: Sequence[Item], at: int, to_ms: int, used: set[tuple[int, str]]) -> list[Item]:
    found = []
    while at < len(items) and items[at].start_ms <= to_ms:
        if (items[at].start_ms, items[at].home) not in used and items[at].account != "box":
            found.append(items[at])
        at += 1
    return found


def _spell(item: Item, ended_ms: int | None) -> Spell:
    """A home whose own account is exact keeps it; another ended when it was back, or when most were; and where nobody
    could see whether it went on, it did as long as for most."""
    if item.hidden and item.end_ms is not None:
        end_ms = None if ended_ms is None else max(item.end_ms, ended_ms)
        return Spell(home=item.home, start_ms=item.start_ms, end_ms=end_ms)
    if item.exact:
        return Spell(home=item.home, start_ms=item.start_ms, end_ms=item.end_ms)
    ends = [end for end in (item.end_ms, ended_ms) if end is not None]
    return Spell(home=item.home, start_ms=item.start_ms, end_ms=min(ends) if ends else None)


def _what(kind: Kind, cause: str, element: Element) -> str:
    """What broke there, where that is more than the place."""
    if kind == "platform":
        return "platform"
    return "core" if cause == "core" else element[0]


def _confidence(place: Place, cause: Cause) -> Confidence:
    if place.rival is not None:
        return "undecided"
    return "sure" if cause.complete and not place.part else "probable"
