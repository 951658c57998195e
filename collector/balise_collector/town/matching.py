"""Which incident was told of which fault, in the right place, for the right cause?

An incident is matched by when it was and whose homes it named. Its place is right where the element is the fault's own,
or where that element holds the very same probed homes: nobody could tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from balise_collector.town.faults import Fault
from balise_collector.town.notes import Notes, Told
from balise_collector.town.topology import Town
from balise_collector.town.truth import Truth, is_platform

EARLY_MS, LATE_MS = 120_000, 900_000  # an incident's own begin may be off by so much
WHOLE = frozenset({"operator", "head_end", "district", "town"})
"""Scopes that every home hangs on."""

KINDS: Mapping[str, frozenset[str]] = {
    "cut": frozenset({"line", "box", "silence", ""}),
    "dns_down": frozenset({"dns"}),
    "upstream_down": frozenset({"upstream", "line"}),
    "target_down": frozenset({"target"}),
    "rate": frozenset({"slow"}),
    "tv": frozenset({"tv"}),
    "window": frozenset({"loss", "slow", "tv"}),  # what loses packets disturbs television too
    "register": frozenset({"telephone"}),
    "call": frozenset({"telephone"}),
    "registrar_down": frozenset({"telephone"}),
    "power_cut": frozenset({"line", "silence", ""}),
}
"""Kinds of incident that may be of a fault: by its own kind, else by how it shows."""

ELEMENTS: Mapping[str, frozenset[str]] = {
    "core_down": frozenset({"core", "operator"}),
    "dns_down": frozenset({"dns"}),
    "upstream_down": frozenset({"upstream", "core"}),
    "target_down": frozenset({"target"}),
    "tv_channels": frozenset({"channel", "head_end"}),
    "registrar_down": frozenset({"registrar"}),
    "broker_down": frozenset({"platform"}),
    "collector_down": frozenset({"platform"}),
    "late_delivery": frozenset({"platform"}),
}
"""What the element of a fault may be called that is not simply its place."""

CAUSES: Mapping[str, frozenset[str]] = {
    "fibre_cut": frozenset({"home_fibre", "fibre"}),
    "pon_cut": frozenset({"fibre"}),
    "card_down": frozenset({"olt", "card", "fibre"}),
    "olt_down": frozenset({"olt", "fibre"}),
    "core_down": frozenset({"core"}),
    "power_cut": frozenset({"power"}),
    "box_hung": frozenset({"box"}),
    "box_unplugged": frozenset({"box", "home_power", "box_power"}),
    "box_loop": frozenset({"box", "home_power", "box_power"}),
    "dns_down": frozenset({"dns"}),
    "upstream_down": frozenset({"upstream", "transit", "core"}),
    "target_down": frozenset({"target"}),
    "congestion": frozenset({"congestion"}),
    "bufferbloat": frozenset({"bufferbloat"}),
    "loss": frozenset({"loss"}),
    "slow_profile": frozenset({"provisioning"}),
    "tv_channels": frozenset({"head_end", "channel", "source"}),
    "tv_building": frozenset({"multicast"}),
    "tv_home": frozenset({"box", "multicast", "tv_box"}),
    "registrar_down": frozenset({"registrar"}),
    "unregistered": frozenset({"line", "account"}),
    "one_way_audio": frozenset({"audio", "path"}),
    "works": frozenset({"works", "fibre"}),
    "broker_down": frozenset({"broker", "platform"}),
    "collector_down": frozenset({"collector", "platform"}),
}
"""Names of a cause that are right; PON, card and OLT are one light to a home without the OLT's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A fault and the incidents told of it; the first is the one that is looked at."""

    fault: Fault
    ids: tuple[str, ...]
    opened_ms: int
    place_right: bool
    cause_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """``false``: ids of incidents that nothing was behind; ``missed``: faults that could be known and were not told."""

    firsts: tuple[Match, ...]
    false: tuple[str, ...]
    missed: tuple[Fault, ...]


def match(truth: Truth, notes: Notes, town: Town) -> Matches:
    """Each incident goes to the fault that it fits best."""
    wanted = [fault for fault in truth.faults if fault.what.is_incident]
    knowable = {one.fault.number for one in truth.broken if one.knowable and not one.fault.ordinary}
    knowable |= {fault.number for fault in wanted if not fault.what.hits}
    of_fault: dict[int, list[Told]] = {}
    false: list[str] = []
    for told in notes.incidents.values():
        if told.opened is None or told.settled.get("parent"):
            continue
        fault = _best(told, wanted, truth, town)
        if fault is not None and told.is_withdrawn:
            continue  # it was told better under another number
        if fault is not None:
            of_fault.setdefault(fault.number, []).append(told)
        elif not (_is_of_held_up_messages(told, truth, town) or _is_of_some_home(told, truth, town)):
            false.append(told.id)
    firsts = [_match(fault, of_fault[fault.number], truth, town) for fault in wanted if fault.number in of_fault]
    missed = [fault for fault in wanted if fault.number in knowable and fault.number not in of_fault]
    return Matches(firsts=tuple(firsts), false=tuple(false), missed=tuple(missed))


def _match(fault: Fault, told: Sequence[Told], truth: Truth, town: Town) -> Match:
    told = sorted(told, key=lambda t: (not place_is_right(fault, t.live, truth, town), _opened_ms(t)))
    first = told[0]
    return Match(
        fault=fault,
        ids=tuple(t.id for t in told),
        opened_ms=_opened_ms(first),
        place_right=place_is_right(fault, first.live, truth, town),
        cause_right=str(first.settled.get("cause", "")) in CAUSES.get(fault.kind, frozenset()),
    )


def _opened_ms(told: Told) -> int:
    return told.opened[0] if told.opened else told.rows[0][0]


def scope_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and code of the place that an incident was told of: its scope, where it has one beside its element."""
    where, _, code = str(row.get("scope", "")).partition(".")
    if where:
        return where, code or str(row.get("code", ""))
    return str(row.get("element", "")), str(row.get("code", ""))


def homes_of(row: Mapping[str, Any], truth: Truth, town: Town) -> frozenset[str]:
    """The probed homes of an incident's scope."""
    where, code = scope_of(row)
    if where in WHOLE or any(where in names for names in ELEMENTS.values()):
        return truth.probed
    place = f"{where}:{code}"
    return frozenset(h.id for h in town.at(place) if h.probe) if place in town.members else frozenset()


def place_is_right(fault: Fault, row: Mapping[str, Any], truth: Truth, town: Town) -> bool:
    """Its own element, or one with the same probed homes."""
    where, code = scope_of(row)
    wanted, _, which = fault.place.partition(":")
    if fault.kind in ELEMENTS and where in WHOLE | ELEMENTS[fault.kind]:
        return str(row.get("element", "")) in ELEMENTS[fault.kind]
    if wanted == "branch":
        return where == "branch" or (where == "pon" and code == which.partition(".")[0] and bool(row.get("part")))
    if (where, code) == (wanted, which):
        return True
    return homes_of(row, truth, town) == truth.members[fault.number] and not row.get("part")


def _best(told: Told, faults: Sequence[Fault], truth: Truth, town: Town) -> Fault | None:
    row = told.settled
    fits = [fault for fault in faults if _touches(row, fault, truth, town)]
    return min(fits, key=lambda fault: _distance(told, fault, truth, town), default=None)


def _distance(told: Told, fault: Fault, truth: Truth, town: Town) -> tuple[bool, bool, int]:
    since_ms = int(told.settled.get("since_ms", told.rows[0][0]))
    right_cause = str(told.settled.get("cause", "")) in CAUSES.get(fault.kind, frozenset())
    return not place_is_right(fault, told.live, truth, town), not right_cause, abs(since_ms - fault.start_ms)


def _touches(row: Mapping[str, Any], fault: Fault, truth: Truth, town: Town) -> bool:
    since_ms = int(row.get("since_ms", 0))
    until_ms = int(row.get("until_ms") or truth.bounds[1])
    if since_ms > fault.end_ms + LATE_MS or until_ms < fault.start_ms - EARLY_MS:
        return False
    ours = str(row.get("element", "")) == "platform"
    if ours or is_platform(fault):
        return ours and (is_platform(fault) or fault.kind == "late_delivery")
    allowed = KINDS.get(fault.kind) or KINDS[fault.what.shows]
    if "kind" in row and row["kind"] not in allowed:
        return False
    return bool(homes_of(row, truth, town) & truth.members[fault.number])


def _is_of_held_up_messages(told: Told, truth: Truth, town: Town) -> bool:
    """Homes fell silent together and it says in the end that only their messages did not come: nobody's fault, and so
    it was."""
    if told.is_withdrawn or told.settled.get("element") != "platform":
        return False
    return any(fault.kind == "late_delivery" and _touches(told.settled, fault, truth, town) for fault in truth.faults)


def _is_of_some_home(told: Told, truth: Truth, town: Town) -> bool:
    """One home's incident may be of its daily life; it is nobody's fault, and it was there."""
    row = told.settled
    homes = homes_of(row, truth, town)
    if scope_of(row)[0] != "home":
        return False
    since_ms, until_ms = int(row.get("since_ms", 0)), int(row.get("until_ms") or truth.bounds[1])
    return any(
        one.home.id in homes and one.span[0] - EARLY_MS <= until_ms and since_ms <= one.span[1] + LATE_MS
        for one in truth.broken
        if one.service != "probe" or not one.fault.ordinary
    )
