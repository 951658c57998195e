"""On what do all rules stand: the plant, the homes' logs, the evidence from outside, and how often homes go silent?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from balise_collector.judge.evidence import Evidence, key
from balise_collector.judge.habits import Habits
from balise_collector.judge.incidents import works_at
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import NEVER
from balise_collector.judge.settings import Settings
from balise_collector.judge.shared import SHARED, Element
from balise_collector.judge.topology import Topology, Work, elements

Check = Callable[[HomeLog], bool]


@dataclass(slots=True)
class Ground:
    """``groups``: what each home shares, smallest first; ``members``: measured homes of an element; ``size``: all."""

    topology: Topology
    settings: Settings
    logs: dict[str, HomeLog] = field(default_factory=dict)
    groups: dict[str, tuple[Element, ...]] = field(default_factory=dict)
    members: dict[Element, tuple[str, ...]] = field(default_factory=dict)
    size: dict[Element, int] = field(default_factory=dict)
    said: list[tuple[int, tuple[str, int, str, str, str, str], Evidence]] = field(default_factory=list)
    heartbeats: list[tuple[int, bool]] = field(default_factory=list)
    references: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)
    habits: Habits = field(init=False)

    def __post_init__(self) -> None:
        members: dict[Element, list[str]] = {}
        for home in sorted(self.topology.homes):
            site = self.topology.homes[home]
            shared = tuple(e for e in elements(home, site) if e[0] in SHARED)
            shared = shared if shared[-1:] and shared[-1][0] == "operator" else (*shared, ("operator", ""))
            for element in shared:
                self.size[element] = self.size.get(element, 0) + 1
                if site.probe:
                    members.setdefault(element, []).append(home)
            self.groups[home] = tuple(sorted(shared, key=lambda e: (self.size[e], SHARED.index(e[0]))))
            if site.probe:
                self.logs[home] = HomeLog(home, site)
        for home, shared in self.groups.items():
            self.groups[home] = tuple(sorted(shared, key=lambda e: (self.size[e], SHARED.index(e[0]))))
        self.members = {element: tuple(homes) for element, homes in members.items()}
        self.habits = Habits(self.settings, {e: len(h) for e, h in self.members.items()}, len(self.logs))

    def measured(self, element: Element) -> int:
        return len(self.members.get(element, ()))

    def healthy(self, element: Element, failing: Collection[str], is_well: Check) -> int:
        """Measured homes of it that are well, the failing apart."""
        return sum(home not in failing and is_well(self.logs[home]) for home in self.members.get(element, ()))

    def hear(self, evidence: Evidence) -> bool:
        """Evidence from outside, once."""
        entry = (evidence.ts_ms, key(evidence), evidence)
        at = bisect_left(self.said, entry[:2], key=lambda e: e[:2])
        if at < len(self.said) and self.said[at][:2] == entry[:2]:
            return False
        self.said.insert(at, entry)
        return True

    def heard(self, from_ms: int, to_ms: int) -> Iterable[Evidence]:
        """What others said between these dates."""
        at = bisect_left(self.said, from_ms, key=lambda e: e[0])
        end = bisect_right(self.said, to_ms, key=lambda e: e[0])
        return [entry[2] for entry in self.said[at:end]]

    def declared(self, ts_ms: int) -> list[Work]:
        """Works that others declared, of that date."""
        found = []
        for _, _, e in self.said[: bisect_right(self.said, ts_ms, key=lambda e: e[0])]:
            if e.what == "works" and (e.until_ms is None or ts_ms < e.until_ms):
                until_ms = NEVER if e.until_ms is None else e.until_ms
                code = e.ref or e.what
                found.append(Work(code=code, scope=e.scope, scope_code=e.code, from_ms=e.ts_ms, until_ms=until_ms))
        return found

    def works(self, homes: Sequence[str], ts_ms: int) -> str:
        """The code of works that cover most of these homes then; "": none do."""
        return works_at(self.topology, homes, ts_ms, self.declared(ts_ms))

    def refer(self, channel: str, ts_ms: int, bad: bool) -> None:
        """A sample of a reference probe."""
        samples = self.references.setdefault(channel, [])
        if (ts_ms, bad) not in samples[-1:]:
            insort(samples, (ts_ms, bad))

    def referred(self, channel: str, from_ms: int, to_ms: int) -> list[tuple[int, bool]]:
        """The reference probes' samples between these dates."""
        samples = self.references.get(channel, [])
        return samples[bisect_left(samples, (from_ms, False)) : bisect_left(samples, (to_ms, False))]

    def forget(self, before_ms: int) -> None:
        """What is older goes."""
        self.heartbeats = self.heartbeats[max(0, bisect_left(self.heartbeats, (before_ms, False)) - 1) :]
        self.said = [entry for entry in self.said if (entry[2].until_ms or entry[0]) >= before_ms]
        self.references = {ch: [s for s in seen if s[0] >= before_ms] for ch, seen in self.references.items()}

    def beat(self, ts_ms: int, ok: bool) -> bool:
        """The collector's own minute."""
        beat = (ts_ms, ok)
        if self.heartbeats and self.heartbeats[-1] >= beat and beat in self.heartbeats:
            return False
        insort(self.heartbeats, beat)
        return True

    def blind(self, from_ms: int, to_ms: int) -> list[tuple[int, int | None]]:
        """When the platform did not hear, between these dates: a hole in its own minutes, or no broker."""
        beats, gap_ms = self.heartbeats, self.settings.heartbeat_s * 1_000
        found: list[tuple[int, int | None]] = []
        last_ok: int | None = None
        for at in range(self._last_beat(from_ms), len(beats)):
            ts_ms, ok = beats[at]
            if not ok:
                continue
            if last_ok is not None and ts_ms - last_ok > gap_ms and ts_ms >= from_ms and last_ok <= to_ms:
                found.append((last_ok, ts_ms))
            last_ok = ts_ms
            if last_ok > to_ms:
                break
        if last_ok is not None and to_ms - last_ok > gap_ms:
            found.append((last_ok, None))
        return found

    def _last_beat(self, from_ms: int) -> int:
        """Where the last good one before that date stands, of the day before it."""
        beats = self.heartbeats
        first = max(0, bisect_left(beats, (from_ms - 86_400_000, False)) - 1)
        at = bisect_left(beats, (from_ms, False))
        return next((i for i in range(at - 1, first, -1) if beats[i][1]), first)

    def is_blind(self, ts_ms: int) -> bool:
        """Nobody heard then, or everybody was just coming back."""
        warm_ms = self.settings.warm_up_s * 1_000
        return any(
            start <= ts_ms and (end is None or ts_ms < end + warm_ms)
            for start, end in self.blind(ts_ms - warm_ms, ts_ms + self.settings.heartbeat_s * 1_000)
        )
