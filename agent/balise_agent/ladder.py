"""Where does it break?

What each echo of each rung met comes in; out comes a `Reading`: the line works, or since when it does not and where.

Rule 1: an echo counts by when it was sent; in which order answers and losses become known does not matter.
Rule 2: a rung that has never answered says nothing: nobody knows whether it would.
Rule 3: an ICMP error only ever adds: routers limit theirs, so plain silence must lead to the same place.
Rule 4: after the first answer from outside every silence before it is forgotten: what is still broken shows anew.

All times are ms on the boot clock, handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from balise_agent.ladder_rung import FEWEST, LOST_IN_A_ROW, Kind, Refusals, Rung, kind_of

Place = Literal[
    "lan.link",
    "home.box_or_lan",
    "access.wan",
    "access.line",
    "operator.core",
    "upstream",
    "dns",
    "operator.server",
    "unplaced",
]

FAST_FOR_MS = 300_000
"""1 Hz on every rung dates the end of an outage; a fault of days must not cost 0.2 GB a month and rung."""
FAST_UNKNOWN_MS = 30_000
"""As long as that for a rung that has never answered: it may be filtered for good."""
CALM = 3  # answers in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Each: True it answers, False it is silent, None there is no such rung or it is not decided yet.

    ``outside``: one external rung answers; False: all are silent. ``no_way``: the gateway says that it has no route.
    """

    link: bool | None = None
    gateway: bool | None = None
    no_way: bool | None = None
    isp: bool | None = None
    operator: bool | None = None
    anycast: bool | None = None
    outside: bool | None = None
    dns: bool | None = None
    web: bool | None = None

    @property
    def internet(self) -> bool | None:
        """Echoes may be filtered on the way: a page that comes is as good."""
        return True if self.web is True else self.anycast

    def __str__(self) -> str:
        said = {True: "yes", False: "no"}
        names = ("link", "gateway", "no_way", "isp", "operator", "anycast", "dns", "web")
        return " ".join(f"{n}={said[v]}" for n in names if (v := getattr(self, n)) is not None)


TABLE: tuple[tuple[Place, Mapping[str, bool]], ...] = (
    ("lan.link", {"link": False}),
    ("operator.core", {"outside": False, "isp": True}),  # before the gateway: what lies beyond it answers
    ("home.box_or_lan", {"outside": False, "gateway": False}),
    ("access.wan", {"outside": False, "gateway": True, "no_way": True}),
    ("access.line", {"outside": False, "gateway": True, "isp": False}),
    ("unplaced", {"outside": False}),
    ("upstream", {"operator": True, "internet": False}),
    ("dns", {"outside": True, "dns": False}),
    ("operator.server", {"operator": False, "internet": True}),
)
"""The first row that fits; what a row does not name may be anything."""


def place(evidence: Evidence) -> Place | None:
    """Where it breaks; None: nothing that is known does."""
    fitting = (name for name, row in TABLE if all(getattr(evidence, rung) is value for rung, value in row.items()))
    return next(fitting, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """``state``: up, down, or unsure (an echo is overdue, or nothing has answered yet).

    ``since_ms``: down: when the first lost echo was sent; up: when the last answered one was.
    """

    at_ms: int
    state: Literal["up", "down", "unsure"]
    since_ms: int
    place: Place | None = None
    evidence: str = ""


class Ladder:
    """The rungs of one line."""

    def __init__(self, answered_ever: Iterable[str] = ()) -> None:
        self._rungs: dict[str, Rung] = {}
        self._ever = set(answered_ever)
        self._alarm_ms: int | None = None
        self._link_lost_ms: int | None = None
        self._neighbour: bool | None = None
        self._refusals = Refusals()
        self._latest_ms = self._from_ms = 0

    @property
    def answered_ever(self) -> list[str]:
        """Labels that have answered at least once, to be handed to the next agent on this machine."""
        return sorted(self._ever)

    def answered(self, label: str, sent_ms: int) -> None:
        """An echo came back."""
        rung = self._rung(label)
        if rung is None:
            return
        if rung.external:
            self._refusals = Refusals()
            if self._outside() is False:
                self._forget(sent_ms)
        rung.answered_ever = True
        self._ever.add(label)
        rung.ok_ms = sent_ms if rung.ok_ms is None else max(sent_ms, rung.ok_ms)
        rung.calm += 1
        if rung.late_ms is None or sent_ms >= rung.late_ms:
            rung.forget()
        if rung.calm >= CALM:
            rung.fast_ms = None
        if self._quiet():
            rung.remember(True)
            if all(r.calm >= CALM for r in self._external()):
                self._alarm_ms = None
        if rung.external or rung.kind in ("dns", "web"):
            self._latest_ms = max(self._latest_ms, sent_ms)

    def late(self, label: str, sent_ms: int, now_ms: int) -> None:
        """An echo is overdue; it may still come back. Only the pace follows from it."""
        rung = self._rung(label)
        if rung is None or self._is_past(rung, sent_ms):
            return
        rung.late, rung.calm = rung.late + 1, 0
        rung.late_ms = sent_ms if rung.late_ms is None else min(rung.late_ms, sent_ms)
        if rung.fast_ms is None and rung.enough() == LOST_IN_A_ROW:
            rung.fast_ms = now_ms
        if rung.external and rung.late == LOST_IN_A_ROW:
            self._alarm_ms = now_ms

    def lost(self, label: str, sent_ms: int, *, no_route: bool = False) -> None:
        """An overdue echo will not come back, or the probe could not send it (``no_route``)."""
        rung = self._rung(label)
        if rung is None or self._is_past(rung, sent_ms):
            return
        rung.lost += 1
        if rung.lost <= LOST_IN_A_ROW:
            rung.sure_ms = sent_ms if rung.sure_ms is None else max(sent_ms, rung.sure_ms)
        rung.no_route = no_route
        if self._quiet():
            rung.remember(False)

    def refused_by_gateway(self, label: str, took_ms: int, *, no_network: bool) -> None:
        """The gateway sent an ICMP error: it has no way to that network, or else to that host, which once answered.

        ``took_ms`` by the kernel's stamps: a probe that waits for its processor reads it late, which is no word of it.
        """
        rung = self._rung(label)
        if rung is None or not rung.answered_ever or rung.kind == "gateway":
            return
        self._refusals.add(took_ms, no_network=no_network)

    def link(self, up: bool | None, now_ms: int) -> None:
        """What the interface says of its carrier; None: it does not say."""
        if up is not False:
            if self._link_lost_ms is not None:
                self._forget_all(now_ms)
            self._link_lost_ms = None
        elif self._link_lost_ms is None:
            self._link_lost_ms = now_ms

    def neighbour(self, alive: bool | None) -> None:
        """What the kernel knows of the gateway by ARP or ND, for one that does not answer echoes."""
        self._neighbour = alive

    def reset(self, now_ms: int) -> None:
        """Nothing was watched for a while: what was seen before it says nothing of now."""
        self._forget_all(now_ms)
        self._alarm_ms = self._link_lost_ms = None

    def drop(self, label: str) -> None:
        """That target is another one from now on, or none."""
        self._rungs.pop(label, None)
        self._ever.discard(label)

    def is_fast(self, label: str, now_ms: int) -> bool:
        """Whether the rung is asked at 1 Hz now."""
        if self._alarm_ms is not None and now_ms - self._alarm_ms < FAST_FOR_MS:
            return True
        rung = self._rung(label)
        if rung is None or rung.fast_ms is None:
            return False
        return now_ms - rung.fast_ms < (FAST_FOR_MS if rung.answered_ever else FAST_UNKNOWN_MS)

    def share(self, label: str) -> float | None:
        """Of how many echoes that rung answers in quiet times; None: too few were asked."""
        rung = self._rungs.get(label)
        return None if rung is None or rung.asked < FEWEST else rung.share()

    def is_hasty(self, now_ms: int) -> bool:
        """Whether any rung is asked at 1 Hz now: those that are no echoes are to be looked at as often."""
        return self.is_fast("", now_ms) or any(self.is_fast(label, now_ms) for label in self._rungs)

    def reading(self, now_ms: int) -> Reading:
        """What all that came in says of this moment."""
        silent = self._silent()
        since_ms = self._since(silent)
        evidence = self.evidence(since_ms, min((r.sure_ms for r in silent if r.sure_ms is not None), default=since_ms))
        found = place(evidence)
        if found is not None:
            start_ms = self._start(found, since_ms, now_ms)
            return Reading(at_ms=now_ms, state="down", since_ms=start_ms, place=found, evidence=str(evidence))
        if evidence.outside is None or self._undecided() or (silent and not evidence.web):
            return Reading(at_ms=now_ms, state="unsure", since_ms=now_ms if since_ms is None else since_ms)
        return Reading(at_ms=now_ms, state="up", since_ms=min(self._latest_ms, now_ms))

    def evidence(self, since_ms: int | None, sure_ms: int | None) -> Evidence:
        """Each rung's word, of echoes sent since ``sure_ms``: an older answer says nothing of a later silence.

        Not since ``since_ms``, when it began: all rungs are asked in one moment, and a cut that comes when the kernels
        have answered and a server has not would read as that server's silence alone. A page is asked too seldom.
        """
        web = None if since_ms is None else self._any("web", since_ms)
        outside = self._outside(sure_ms)
        return Evidence(
            link=self._link(),
            gateway=self._gateway(sure_ms),
            no_way=self._refusals.no_way,
            isp=self._any("isp", sure_ms),
            operator=self._any("operator", sure_ms),
            anycast=self._any("anycast", sure_ms),
            outside=True if web is True and outside is False else outside,
            dns=self._any("dns", sure_ms),
            web=web,
        )

    def _silent(self) -> list[Rung]:
        """The rungs whose silence is to be explained: all outside, else the farthest kind that is."""
        if self._outside() is False:
            return self._external()
        kinds: tuple[Kind, ...] = ("operator", "anycast", "dns")
        silent = next((kind for kind in kinds if self._any(kind, None) is False), None)
        return [rung for rung in self._rungs.values() if rung.kind == silent and rung.answered_ever]

    def _rung(self, label: str) -> Rung | None:
        if label not in self._rungs:
            kind = kind_of(label)
            if kind is None:
                return None
            self._rungs[label] = Rung(kind=kind, answered_ever=label in self._ever)
        return self._rungs[label]

    def _external(self) -> list[Rung]:
        return [r for r in self._rungs.values() if r.external and r.answered_ever]

    def _outside(self, since_ms: int | None = None) -> bool | None:
        said = [r.answers(since_ms) for r in self._external()]
        if said and all(s is False for s in said):
            return False
        return True if True in said else None

    def _any(self, kind: Kind, since_ms: int | None) -> bool | None:
        """One that answers will do; silent are they only together."""
        said = [r.answers(since_ms) for r in self._rungs.values() if r.kind == kind and r.answered_ever]
        if True in said:
            return True
        return False if said and all(s is False for s in said) else None

    def _gateway(self, since_ms: int | None) -> bool | None:
        if self._refusals.any:
            return True
        said = self._any("gateway", since_ms)
        return self._neighbour if said is None and not self._gateway_is_asked() else said

    def _gateway_is_asked(self) -> bool:
        """Whether its echoes can decide."""
        return any(r.kind == "gateway" and r.answered_ever and r.enough() for r in self._rungs.values())

    def _link(self) -> bool | None:
        if self._link_lost_ms is not None:
            return False
        external = self._external()
        return False if external and all(r.no_route and r.lost for r in external) else None

    def _since(self, rungs: Iterable[Rung]) -> int | None:
        """When the first echo was sent that is overdue and later than every answered one; None: there is none."""
        rungs = list(rungs)
        last_ok_ms = max((r.ok_ms for r in rungs if r.ok_ms is not None), default=-1)
        return min((r.late_ms for r in rungs if r.late_ms is not None and r.late_ms > last_ok_ms), default=None)

    def _start(self, found: Place, since_ms: int | None, now_ms: int) -> int:
        if found == "lan.link":
            overdue_ms = self._since(self._external())
            known = [ms for ms in (self._link_lost_ms, overdue_ms) if ms is not None]
            return min(known, default=now_ms)
        if found == "dns":
            since_ms = self._since(r for r in self._rungs.values() if r.kind == "dns")
        return now_ms if since_ms is None else since_ms

    def _undecided(self) -> bool:
        """An echo of a rung that matters to the home is overdue, and it may be the first of many."""
        mine = (r for r in self._rungs.values() if r.answered_ever and (r.external or r.kind == "dns"))
        return any(r.late and r.answers() is not False for r in mine)

    def _quiet(self) -> bool:
        return self._link_lost_ms is None and self._outside() is True and not any(r.late for r in self._external())

    def _is_past(self, rung: Rung, sent_ms: int) -> bool:
        """Whether what became of an echo sent then no longer matters."""
        return sent_ms < self._from_ms or (rung.ok_ms is not None and sent_ms < rung.ok_ms)

    def _forget(self, from_ms: int) -> None:
        self._from_ms = from_ms
        self._refusals = Refusals()
        self._neighbour = None
        for rung in self._rungs.values():
            rung.forget()

    def _forget_all(self, from_ms: int) -> None:
        """The answers too: whether it works now is to be seen."""
        self._forget(from_ms)
        for rung in self._rungs.values():
            rung.ok_ms = rung.fast_ms = None
            rung.calm = 0
