"""Why were they cut off? From their own records on return, and from what others say; before that nobody knows.

One table, `BY_ACCOUNT`: what most of the returned homes say -> the cause, and the elements that such a cause has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from balise_collector.judge.evidence import Evidence
from balise_collector.judge.ground import Ground
from balise_collector.judge.items import Account, Item
from balise_collector.judge.topology import elements

MOST = 0.6  # of those whose account is known say the same
HEARD_MS = 600_000  # an OLT's alarm comes within seconds, its clock may be minutes wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """``elements``: where such a cause can be; none: anywhere. ``complete``: nothing more is to be expected.
    ``name`` "": nothing that is a fault of the home's line."""

    name: str = "unknown"
    elements: frozenset[str] = frozenset()
    said: tuple[str, ...] = ()
    complete: bool = False


PLANT = frozenset({"pon", "card", "olt", "operator", "home"})
BY_ACCOUNT: Mapping[Account, tuple[str, frozenset[str]]] = {
    "line": ("fibre", PLANT),
    "core": ("core", frozenset({"operator", "olt"})),
    "power": ("power", frozenset({"building", "operator"})),
    "delivery": ("delivery", frozenset()),
    "box": ("box", frozenset()),
}
MEANINGS: Mapping[Account, str] = {
    "line": "their probes went on and lost everything beyond the box",
    "core": "their probes reached the operator's first router and nothing beyond it",
    "power": "their probes' machines started anew",
    "delivery": "their probes went on and had Internet: only their messages did not come through",
    "box": "their probes lost the box",
    "quiet": "their probes went on and saw nothing",
}


def cause_of(ground: Ground, items: Sequence[Item], now_ms: int) -> Cause:
    """Of a shared cut."""
    heard = _heard(ground, items, now_ms)
    by_olt = _by_olt(ground, [i.home for i in items], heard)
    if by_olt is not None:
        return by_olt
    accounts = Counter(i.account for i in items if i.account)
    known = sum(accounts.values())
    if not known:
        return Cause(said=("no record of theirs tells why yet",))
    account, count = max(accounts.items(), key=lambda a: (a[1], a[0]))
    said = (f"{count} of {known}: {MEANINGS[account]}",)
    if account not in BY_ACCOUNT or count < MOST * known:
        return Cause(said=said)
    name, where = BY_ACCOUNT[account]
    return Cause(name=name, elements=where, said=said, complete=known * 10 >= 8 * len(items))


def home_cause(ground: Ground, home: str, run: Sequence[Item], now_ms: int) -> Cause:
    """Of one home's cuts. A home that was only silent, or whose probe was off, has no incident."""
    heard = _heard(ground, run, now_ms)
    what = {e.what for e in heard if (e.scope, e.code) == ("home", home)}
    if "los" in what:
        return Cause(name="home_fibre", said=("the OLT reports no light from it",), complete=True)
    account = run[0].account
    if account in ("line", "box", "core"):
        name = "box" if account == "box" else "home_fibre"
        return Cause(name=name, said=(MEANINGS[account],), complete=True)
    return Cause(name="")


def _heard(ground: Ground, items: Sequence[Item], now_ms: int) -> list[Evidence]:
    first = min(i.start_ms for i in items)
    ends = [i.end_ms for i in items if i.end_ms is not None]
    last = max(ends) if len(ends) == len(items) else now_ms
    return list(ground.heard(first - HEARD_MS, max(last, first + HEARD_MS)))


def _by_olt(ground: Ground, homes: Sequence[str], heard: Sequence[Evidence]) -> Cause | None:
    """Its alarms, by home or by an element that the homes hang on."""
    told: dict[str, set[str]] = {"los": set(), "dying_gasp": set()}
    for evidence in heard:
        if evidence.what in told:
            scope = (evidence.scope, evidence.code)
            told[evidence.what] |= {h for h in homes if scope in elements(h, ground.topology.homes[h])}
    power, light = len(told["dying_gasp"]), len(told["los"] - told["dying_gasp"])
    if power * 2 > len(homes):
        return Cause(
            name="power", elements=frozenset({"building", "operator"}), said=_olt(power, "gasp"), complete=True
        )
    if light * 2 > len(homes):
        return Cause(name="fibre", elements=PLANT, said=_olt(light, "los"), complete=True)
    return None


def _olt(count: int, what: str) -> tuple[str, ...]:
    meaning = "their power went" if what == "gasp" else "no light from them"
    return (f"the OLT reports for {count} of them: {meaning}",)
