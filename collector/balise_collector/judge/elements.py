"""How is what homes share, now: each PON, building, card, channel, registrar, and the fleet?

Every one that is expected has a row each 5 min and whenever an incident changes, well or not: an alert is a threshold
on it, and a series that vanished must never look like a fault that is over.

Rule 1: `down` of a place is what an open incident says of it, never a share of its homes: the judge has looked closer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from balise_collector.judge.facts import DEGRADED, DOWN, OK, SERVICES, UNKNOWN, Service
from balise_collector.judge.incidents import SERVICES as HITS
from balise_collector.judge.incidents import Incident
from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import Scope, Topology

STEP_S = 300.0
_HOUR_MS = 3_600_000
_ONES = ("core", "dns", "upstream", "target", "registrar")
"""What the whole plant has one of, as far as the judge can tell them apart."""
_NAMES = {"head_end": "headend"}
_PLACES: tuple[Scope, ...] = ("pon", "building")
_OTHERS: tuple[Scope, ...] = ("card", "olt", "head_end")


class Count(NamedTuple):
    """Homes behind something, by their state of one service. ``works``: down or degraded within declared works."""

    homes: int
    ok: int
    degraded: int
    down: int
    works: int

    @property
    def known(self) -> int:
        """Whose state is known."""
        return self.ok + self.degraded + self.down + self.works


State = Callable[[str, Service], tuple[int, bool]]
"""Of a home and a service: its state now, and whether declared works explain it."""


@dataclass(slots=True)
class Elements:
    """The elements of one plant. ``_hours``: what was added to each one's hour so far."""

    topology: Topology
    _members: dict[tuple[Scope, str], tuple[str, ...]] = field(default_factory=dict)
    _hours: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    _hour: int = -1

    def __post_init__(self) -> None:
        self._members = self.topology.members()

    def states(
        self, state: State, incidents: Sequence[Incident], channels: Iterable[str], now_ms: int
    ) -> list[Derived]:
        """A row of `element_state` for each. ``incidents``: those that are open."""
        rows = [self._row(tags, count, incidents, now_ms) for tags, count in self._counted(state)]
        rows += [self._other(scope, code, incidents, now_ms) for scope, code in self._others()]
        told = [i for i in incidents if not i.parent]
        rows += [_one(name, [i for i in told if i.what == name], now_ms) for name in _ONES]
        bad = {code: [i for i in told if i.what == "channel" and code in i.channels] for code in channels}
        return rows + [_one(f"channel:{code}", bad[code], now_ms) for code in sorted(bad)]

    def shares(self, state: State, now_ms: int) -> Iterator[Derived]:
        """The hour's `slo` so far, these five minutes added; written again each time, the same key."""
        hour = now_ms // _HOUR_MS
        if hour != self._hour:
            self._hour = hour
            self._hours.clear()
        for tags, count in self._counted(state):
            scope, service = tags["element"], tags["service"]
            sums = self._hours.setdefault((scope, tags.get(scope, ""), service), [0.0] * 5)
            parts = (count.ok + count.degraded, count.degraded, count.down, count.works, count.homes)
            for at, homes in enumerate(parts):
                sums[at] += homes * STEP_S
            yield _share(tags, sums, hour * _HOUR_MS)

    def _counted(self, state: State) -> Iterator[tuple[dict[str, str], Count]]:
        """Of each place and the fleet, for each service; its tags. A home that has no probe has no silent one."""
        for service in SERVICES:
            known = {
                home: state(home, service)
                for home, site in self.topology.homes.items()
                if service != "probe" or site.probe
            }
            yield {"element": "fleet", "service": service}, _count(known.values())
            for (scope, code), homes in self._members.items():
                if scope in _PLACES:
                    tags = {"element": scope, "service": service, scope: code}
                    yield tags, _count(known[home] for home in homes if home in known)

    def _others(self) -> list[tuple[Scope, str]]:
        return [element for element in self._members if element[0] in _OTHERS]

    def _row(self, tags: dict[str, str], count: Count, incidents: Sequence[Incident], now_ms: int) -> Derived:
        service = tags["service"]
        element = (tags["element"], tags.get(tags["element"], ""))
        mine = [i for i in incidents if i.element == element and service in HITS[i.kind]]
        state = _state(mine) if mine else OK
        if state == OK and not count.known:
            state = UNKNOWN
        elif state == OK and (count.down or count.degraded):
            state = DEGRADED
        fields: dict[str, object] = {"state": state, "homes": count.homes, "known": count.known}
        fields |= {"degraded": count.degraded, "down": count.down}
        return Derived(measurement="element_state", tags=tags, ts_ms=now_ms, fields=fields)

    def _other(self, scope: Scope, code: str, incidents: Sequence[Incident], now_ms: int) -> Derived:
        """A card or an OLT behind which all television is bad is no card that is down: that is its head-end's."""
        mine = [
            i for i in incidents if i.element == (scope, code) and (scope == "head_end" or "internet" in HITS[i.kind])
        ]
        if scope == "head_end":
            mine += [i for i in incidents if i.what == "head_end" and i.element[0] != "head_end" and not i.parent]
        return _one(f"{_NAMES.get(scope, scope)}:{code}", mine, now_ms, homes=len(self._members[scope, code]))


def _count(states: Iterable[tuple[int, bool]]) -> Count:
    found = list(states)
    plain = [state for state, works in found if not works or state in (OK, UNKNOWN)]
    excused = len(found) - len(plain)
    return Count(len(found), plain.count(OK), plain.count(DEGRADED), plain.count(DOWN), excused)


def _state(incidents: Sequence[Incident]) -> int:
    """Down where one says all of it is; a part of it, or slow, is degraded. Declared works are no fault."""
    worst = OK
    for one in incidents:
        if not one.works:
            worst = max(worst, DEGRADED if one.part or one.kind in ("slow", "loss") else DOWN)
    return worst


def _one(target: str, incidents: Sequence[Incident], now_ms: int, homes: int | None = None) -> Derived:
    name, _, code = target.partition(":")
    tags = {"element": name} | ({"of": code} if code else {})
    fields: dict[str, object] = {"state": _state(incidents)}
    if homes is not None:
        fields["homes"] = homes
    return Derived(measurement="element_state", tags=tags, ts_ms=now_ms, fields=fields)


def _share(tags: dict[str, str], sums: Sequence[float], hour_ms: int) -> Derived:
    scope = tags["element"]
    good, degraded, down, works, total = sums
    fields: dict[str, object] = {"good_s": good, "degraded_s": degraded, "down_s": down, "works_s": works}
    fields |= {"unknown_s": max(0.0, total - good - down - works), "total_s": total}
    whose = {name: value for name, value in tags.items() if name not in ("element", "service")}
    place = {"scope": scope, "service": tags["service"], **whose}
    return Derived(measurement="slo", tags=place, ts_ms=hour_ms, fields=fields)
