"""What would simpler watchers have said of the same town, and how often would they have called the operator?

Three that are in use: one that always says ok, an alert a home over plain thresholds, and a fixed share of a PON lost
in five minutes (30 %, three homes at least).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from balise_collector.town.notes import DEGRADED, DOWN, OK, Notes
from balise_collector.town.stream import Delivery
from balise_collector.town.topology import Town

SILENT_MS = 120_000
LOSS_SHARE = 0.05
RATE_SHARE = 0.8
LOADED_US = 100_000
ES_RATIO = 0.01
SHARE, LEAST, WINDOW_MS = 0.3, 3, 300_000


class Watcher(Protocol):
    """Takes what arrives and notes what it believes."""

    notes: Notes
    alerts: int

    def take(self, delivery: Delivery, now_ms: int) -> None:
        """What came within the minute that is over at ``now_ms``."""

    def look(self, now_ms: int) -> None:
        """The minute is over."""


@dataclass(slots=True)
class AlwaysOk:
    """Says once that all is well."""

    town: Town
    notes: Notes = field(default_factory=Notes)
    alerts: int = 0

    def take(self, delivery: Delivery, now_ms: int) -> None:
        """Does not."""

    def look(self, now_ms: int) -> None:
        """Does not either."""
        if not self.notes.changes:
            for home in self.town.probed:
                for service in ("internet", "television", "telephone"):
                    self.notes.state(home.id, service, OK, now_ms)


@dataclass(slots=True)
class PerHome:
    """The usual alert rules, each home by itself: no row for two minutes, loss, rate, delay, a bad sample."""

    town: Town
    notes: Notes = field(default_factory=Notes)
    alerts: int = 0
    _heard_ms: dict[str, int] = field(default_factory=dict)
    _contract: dict[str, int] = field(default_factory=dict)
    _state: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._contract = {home.id: home.down_bps for home in self.town.homes}

    def take(self, delivery: Delivery, now_ms: int) -> None:
        """Newest value against its threshold."""
        home = delivery.home.id
        if delivery.end_ms and now_ms - delivery.end_ms < 2 * SILENT_MS:
            self._heard_ms[home] = now_ms
            for point in delivery.points:
                found = _verdict(point.measurement, point.target, point.kind, point.fields, self._contract[home])
                if found is not None:
                    self._note(home, *found, now_ms)

    def look(self, now_ms: int) -> None:
        """Silence against its own."""
        for home, heard_ms in self._heard_ms.items():
            if now_ms - heard_ms > SILENT_MS:
                self._note(home, "internet", DOWN, now_ms)

    def _note(self, home: str, service: str, state: int, now_ms: int) -> None:
        before = self._state.get((home, service), OK)
        if state != before:
            self._state[home, service] = state
            self.alerts += before == OK
            self.notes.state(home, service, state, now_ms)


def _verdict(
    measurement: str, target: str, kind: str, fields: Mapping[str, object], contract: int
) -> tuple[str, int] | None:
    """Which service a value speaks of, and what it says; None: nothing."""
    if measurement == "reach" and target == "op":
        if kind == "failed":
            return "internet", DOWN
        return "internet", DEGRADED if _number(fields, "lost") > LOSS_SHARE * _number(fields, "sent") else OK
    if measurement == "throughput" and kind == "ok":
        return "internet", DEGRADED if _number(fields, "down_bps") < RATE_SHARE * contract else OK
    if measurement == "loaded" and kind == "ok":
        return "internet", DEGRADED if _number(fields, "down_delta_us") > LOADED_US else OK
    if measurement == "tv_zap" and kind == "failed":
        return "television", DOWN
    if measurement == "tv_window":
        return "television", DEGRADED if _number(fields, "es_ratio") > ES_RATIO else OK
    if measurement in ("voip_signal", "voip_call"):
        return "telephone", DOWN if kind == "failed" or fields.get("one_way_audio") is True else OK
    return None


def _number(fields: Mapping[str, object], name: str) -> float:
    value = fields.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(slots=True)
class FixedShare:
    """A PON is down where 30 % of its probes, three at least, were lost within five minutes; up where one is back."""

    town: Town
    notes: Notes = field(default_factory=Notes)
    alerts: int = 0
    _pons: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _lost: dict[str, deque[tuple[int, str]]] = field(default_factory=dict)
    _down: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place in self.town.places("pon"):
            self._pons[place[4:]] = tuple(home.id for home in self.town.at(place) if home.probe)
        for homes in self._pons.values():
            for home in homes:
                self.notes.state(home, "internet", OK, 0)

    def take(self, delivery: Delivery, now_ms: int) -> None:  # noqa: ARG002
        """Counts last wills."""
        if delivery.end_ms == 0:
            pon, home = delivery.home.pon, delivery.home.id
            if delivery.points[0].fields["online"]:
                self._back(pon, home, delivery.received_ms)
            else:
                self._gone(pon, home, delivery.received_ms)

    def look(self, now_ms: int) -> None:
        """It has no clock."""

    def _gone(self, pon: str, home: str, now_ms: int) -> None:
        lost = self._lost.setdefault(pon, deque())
        lost.append((now_ms, home))
        while lost[0][0] < now_ms - WINDOW_MS:
            lost.popleft()
        gone = {h for _, h in lost}
        if pon not in self._down and len(gone) >= max(LEAST, SHARE * len(self._pons[pon])):
            self.alerts += 1
            self._down[pon] = f"{pon}.{now_ms}"
            for each in self._pons[pon]:
                self.notes.state(each, "internet", DOWN, now_ms)
            self._tell(pon, "open", now_ms)

    def _back(self, pon: str, home: str, now_ms: int) -> None:
        if pon in self._down and any(h == home for _, h in self._lost.get(pon, ())):
            self._tell(pon, "closed", now_ms)
            del self._down[pon]
            self._lost.pop(pon, None)
            for each in self._pons[pon]:
                self.notes.state(each, "internet", OK, now_ms)

    def _tell(self, pon: str, state: str, now_ms: int) -> None:
        id_ = self._down[pon]
        fields: dict[str, object] = {"id": id_, "state": state, "element": "pon", "code": pon}
        fields |= {"since_ms": int(id_.rpartition(".")[2]), "cause": "unknown"}
        if state == "closed":
            fields["until_ms"] = now_ms
        self.notes.take("incident", {"kind": "silence", "scope": f"pon.{pon}"}, fields, now_ms)


def all_of(town: Town) -> dict[str, Watcher]:
    """By name, as the table prints them."""
    return {
        "always ok": AlwaysOk(town),
        "per-home thresholds": PerHome(town),
        "fixed share of the PON": FixedShare(town),
    }
