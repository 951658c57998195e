"""What did somebody say about the town, and when?

Takes derived rows (`home_state`, `incident`) as they are emitted, by a judge or by a baseline alike; keeps only what
changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from balise_collector.town import spans
from balise_collector.town.spans import Span

OK, DEGRADED, DOWN, UNKNOWN = 0, 1, 2, 3

Key = tuple[str, str]
"""Home and service."""


@dataclass(slots=True, kw_only=True)
class Told:
    """One incident as it was told. ``rows``: each change, with the moment at which it was said."""

    id: str
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def opened(self) -> tuple[int, dict[str, Any]] | None:
        """The first time that it was more than a suspicion."""
        return next((row for row in self.rows if row[1].get("state") != "suspected"), None)

    @property
    def live(self) -> dict[str, Any]:
        """As it stood when it was last open."""
        last = [row for _, row in self.rows if row.get("state") in ("open", "recovering")]
        return last[-1] if last else self.rows[-1][1]

    @property
    def is_withdrawn(self) -> bool:
        """It was taken back."""
        return self.rows[-1][1].get("cause") == "withdrawn"

    @property
    def settled(self) -> dict[str, Any]:
        """As it stands now."""
        return self.rows[-1][1]


@dataclass(slots=True, kw_only=True)
class Notes:
    """``changes``: by home and service, when it was said and what; ``incidents`` by id; ``settled``: spans that the
    history calls faulty in the end, by home and service, where somebody keeps one."""

    changes: dict[Key, list[tuple[int, int]]] = field(default_factory=dict)
    incidents: dict[str, Told] = field(default_factory=dict)
    settled: dict[Key, list[Span]] | None = None
    _last: dict[Key, int] = field(default_factory=dict)

    def take(self, measurement: str, tags: Mapping[str, str], fields: Mapping[str, Any], said_ms: int) -> None:
        """One row, said now."""
        if measurement == "home_state":
            self.state(tags["home"], tags["service"], int(fields["state"]), said_ms)
        elif measurement == "incident":
            told = self.incidents.setdefault(str(fields["id"]), Told(id=str(fields["id"])))
            told.rows.append((said_ms, {**tags, **fields}))

    def state(self, home: str, service: str, state: int, said_ms: int) -> None:
        """What is believed now."""
        key = (home, service)
        if self._last.get(key) != state:
            self._last[key] = state
            self.changes.setdefault(key, []).append((said_ms, state))

    def called(self, key: Key, states: Iterable[int], end_ms: int) -> list[Span]:
        """When one of these states was shown."""
        wanted, changes = set(states), self.changes.get(key, [])
        ends = [*[at for at, _ in changes[1:]], end_ms][: len(changes)]
        return spans.union(
            (at, until) for (at, state), until in zip(changes, ends, strict=True) if state in wanted and at < until
        )

    def faulty(self, key: Key, end_ms: int) -> list[Span]:
        """When the history says that it did not work: the settled one, else what was shown."""
        if self.settled is not None:
            return self.settled.get(key, [])
        return self.called(key, (DEGRADED, DOWN), end_ms)
