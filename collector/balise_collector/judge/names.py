"""What is an incident called, while it becomes clearer what it is?

Its number is given when it is first told and stays with it: a start that late rows move by seconds, a place that
narrows, a cause that is found are changes of one incident. One that is seen to be part of another says so.

Rule 1: a number depends on when rows came, as paging does; nothing that is concluded depends on a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from balise_collector.judge.incidents import Incident
from balise_collector.judge.marks import NEVER

FAMILIES = {"box": "line", "platform": "line"}
APART_MS = 900_000


class Names:
    """Numbers by an incident's key. ``parents``: of numbers that are no incident of their own any more."""

    __slots__ = ("_ids", "_taken", "parents")

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._taken: set[str] = set()
        self.parents: dict[str, str] = {}

    def id(self, key: str) -> str:
        """Of an incident that is known."""
        return self._ids.get(key, key)

    def told(self) -> dict[str, dict[str, str]]:
        """All numbers, in plain values."""
        return {"ids": self._ids, "parents": self.parents}

    def recall(self, told: dict[str, dict[str, str]]) -> None:
        """What `told` gave."""
        self._ids, self.parents = dict(told["ids"]), dict(told["parents"])
        self._taken = {*self._ids.values(), *self.parents}

    def follow(self, gone: Sequence[Incident], new: Sequence[Incident], known: Iterable[Incident]) -> None:
        """New ones take over the numbers of those that they were before."""
        left = [incident for incident in gone if incident.key in self._ids]
        same = {incident.key for incident in new}
        left = [incident for incident in left if incident.key not in same]
        for incident in sorted(new, key=lambda i: -len(i.spells)):
            if incident.key in self._ids:
                self.parents.pop(self._ids[incident.key], None)
                continue
            before = max(left, key=lambda old: _likeness(old, incident), default=None)
            if before is not None and _likeness(before, incident) > 0:
                left.remove(before)
                self._ids[incident.key] = self._ids.pop(before.key)
            else:
                self._ids[incident.key] = self._fresh(incident.key)
            self._taken.add(self._ids[incident.key])
        if left:
            self._orphaned(left, list(known))

    def _orphaned(self, left: Sequence[Incident], known: Sequence[Incident]) -> None:
        for incident in left:
            mother = max(known, key=lambda other: _likeness(incident, other), default=None)
            number = self._ids[incident.key]  # kept: it may come back
            if mother is not None and _likeness(incident, mother) > 0:
                self.parents[number] = self.id(mother.key)

    def _fresh(self, key: str) -> str:
        number, again = key, 1
        while number in self._taken:
            again += 1
            number = f"{key}-{again}"
        return number


def _likeness(one: Incident, other: Incident) -> float:
    """0: not the same fault; else the more, the more of their homes are the same."""
    if FAMILIES.get(one.kind, one.kind) != FAMILIES.get(other.kind, other.kind):
        return 0.0
    if one.since_ms > _end(other) + APART_MS or other.since_ms > _end(one) + APART_MS:
        return 0.0
    if one.kind == "platform" and other.kind == "platform":
        return 1.0
    ours, theirs = set(one.hit), set(other.hit)
    common = len(ours & theirs)
    return common / max(1, min(len(ours), len(theirs))) if common * 2 >= min(len(ours), len(theirs)) else 0.0


def _end(incident: Incident) -> int:
    return NEVER if incident.until_ms is None else incident.until_ms
