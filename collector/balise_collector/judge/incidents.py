"""What is an incident, and in which part of its life is it?

suspected -> open -> recovering -> closed -> reviewed, by `stage`; a pure function of its dates and the clock.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from balise_collector.judge.settings import Settings
from balise_collector.judge.shared import Element
from balise_collector.judge.topology import Topology, Work, elements

Kind = Literal["line", "box", "dns", "upstream", "target", "tv", "telephone", "loss", "slow", "platform"]
Stage = Literal["suspected", "open", "recovering", "closed", "reviewed"]
Confidence = Literal["sure", "probable", "undecided"]
Service = Literal["internet", "television", "telephone"]

SERVICES: dict[Kind, tuple[Service, ...]] = {
    "line": ("internet", "television", "telephone"),
    "box": ("internet", "television", "telephone"),
    "dns": ("internet",),
    "upstream": ("internet",),
    "target": (),
    "tv": ("television",),
    "telephone": ("telephone",),
    "loss": ("internet", "television"),
    "slow": ("internet",),
    "platform": (),
}
"""What a home in it cannot use, or not as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One home's part in an incident. ``end_ms`` None: it goes on."""

    home: str
    start_ms: int
    end_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One fault. ``element``: the place it is at; ``what``: what broke there, where that is more than the place (dns,
    registrar, channel, head_end). ``opened_ms``: when the evidence for it was complete, by the evidence's own dates.

    ``until_ms`` None: it goes on. ``settled_ms``: when it was long enough over to be closed. ``works``: their code.
    """

    kind: Kind
    element: Element
    what: str
    part: bool = False
    rival: Element | None = None
    since_ms: int
    opened_ms: int
    until_ms: int | None
    spells: tuple[Spell, ...]
    homes: int
    measured: int
    cause: str = "unknown"
    confidence: Confidence = "probable"
    evidence: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    works: str = ""
    parent: str = ""
    reviewed: bool = False

    key: str = field(init=False, compare=False)
    """Of what it is, where and since when: the same facts give the same."""

    def __post_init__(self) -> None:
        said = f"{self.kind}/{self.element[0]}/{self.element[1]}/{self.since_ms // 1_000}/{','.join(self.channels)}"
        digest = base64.b32encode(hashlib.sha256(said.encode()).digest()[:5]).decode().lower()
        object.__setattr__(self, "key", f"I{digest}")

    @property
    def scope(self) -> str:
        """``pon.P12``."""
        return ".".join(self.element)

    @property
    def hit(self) -> tuple[str, ...]:
        return tuple(spell.home for spell in self.spells)

    def stage(self, now_ms: int, settings: Settings) -> Stage:
        """Where in its life it is at that time."""
        if now_ms < self.opened_ms:
            return "suspected"
        if self.until_ms is not None and now_ms >= self.until_ms:
            if now_ms < self.until_ms + settings.quiet_s * 1_000:
                return "recovering"
            return "reviewed" if self.reviewed else "closed"
        return "open"


def reused(before: Iterable[Incident], now: Sequence[Incident]) -> list[Incident]:
    """``now``, with the objects of ``before`` where nothing changed: whoever compares looks at those that differ."""
    known = {(i.kind, i.element, i.since_ms, i.channels): i for i in before}
    return [i if (old := known.get((i.kind, i.element, i.since_ms, i.channels))) != i else old for i in now]


MayBeOff = Callable[[int, int, int], bool]
"""Whether so many, of so many homes, may have been switched off by that date."""


def until(spells: Sequence[tuple[int | None, bool, bool]], share: float, may_be_off: MayBeOff) -> int | None:
    """When so many were well again; exact dates before those of sessions, and what others hid only where nothing else
    is known. None: not yet."""
    found = [(end, exact) for end, exact, hidden in spells if not hidden]
    if not found:
        return max((end for end, _, _ in spells if end is not None), default=None)
    ends = sorted(end for end, _ in found if end is not None)
    needed = _needed(ends, len(found), share, may_be_off)
    if len(ends) < needed:
        return None
    exact = sorted(end for end, is_exact in found if is_exact and end is not None)
    if len(exact) * 2 >= len(ends):
        return exact[len(exact) // 2]
    return ends[needed - 1]


def _needed(ends: Sequence[int], homes: int, share: float, may_be_off: MayBeOff) -> int:
    """How many have to be back: a share; or fewer, half at least, where the rest may have switched off meanwhile: of
    those nobody tells that it is over until the morning."""
    most = max(1, int(-(-homes * share // 1)))
    for number in range(max(1, -(-homes // 2)), min(len(ends) + 1, most)):
        if may_be_off(homes - number, homes, ends[number - 1]):
            return number
    return most


def works_at(topology: Topology, homes: Sequence[str], ts_ms: int, declared: Iterable[Work] = ()) -> str:
    """Declared works that cover most of the homes then; "": none do."""
    for work in (*topology.works, *declared):
        if work.from_ms <= ts_ms < work.until_ms and _covers(topology, work, homes):
            return work.code
    return ""


def _covers(topology: Topology, work: Work, homes: Sequence[str]) -> bool:
    scope = (work.scope, work.scope_code)
    inside = sum(scope in elements(home, topology.homes[home]) for home in homes if home in topology.homes)
    return inside * 2 > len(homes)
