"""How often and how long was a home cut off, and how much of the time is known? (method QOS-1 § 4)

Rule 1: a cut is counted in the period in which it began, once, however often it was told.
Rule 2: what nobody watched is neither up nor down: it is a share of its own, and gives the bounds of availability.
Rule 3: a cut that declared works explain is counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from balise_collector.stats.terms import Terms
from balise_collector.store import Point

AT_HOME = ("lan.", "home.")
"""Classes of cuts that are the flat's own: its box, its cable, its power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """``down_s``: seen down; 0 where it was not told: it is not over, or the probe was off within it."""

    start_ms: int
    end_ms: int
    kind: str
    where: str
    down_s: float


@dataclass(slots=True)
class Cuts:
    """The cuts of a period and the hours that were watched."""

    start_ms: int
    end_ms: int
    terms: Terms
    observed_s: float = 0.0
    down_s: float = 0.0
    hours: int = 0
    _told: dict[str, Cut] = field(default_factory=dict)

    def watched(self, point: Point) -> bool:
        """An hour's account (`avail`); False: it is none."""
        observed, down = point.fields.get("observed_s"), point.fields.get("down_s")
        if not isinstance(observed, int | float) or not isinstance(down, int | float):
            return False
        self.observed_s += observed
        self.down_s += down
        self.hours += 1
        return True

    def told(self, point: Point) -> None:
        """An outage, open or ended; the end says more than the beginning."""
        start_ms = _ms(point, "start_ms", point.ts_ms)
        id_, is_over = str(point.fields.get("id", start_ms)), point.fields.get("state") == "ended"
        if not self.start_ms <= start_ms < self.end_ms or (id_ in self._told and not is_over):
            return
        down_s = point.fields.get("down_s", point.fields.get("dur_s", 0.0))
        self._told[id_] = Cut(
            start_ms=start_ms,
            end_ms=_ms(point, "end_ms", max(start_ms, point.ts_ms)),
            kind=str(point.fields.get("kind", "outage")),
            where=str(point.fields.get("class", "")),
            down_s=float(down_s) if isinstance(down_s, int | float) else 0.0,
        )

    def of_kind(self, kind: str, *, works: bool = False) -> list[Cut]:
        """microcut or outage; ``works``: those that declared works explain, else those that none do."""
        return [
            cut
            for cut in self._told.values()
            if cut.kind == kind and self.terms.meets_works(cut.start_ms, cut.end_ms) == works
        ]

    @property
    def known_share(self) -> float:
        """Of the period's seconds, those that were watched."""
        return min(1.0, self.observed_s * 1_000 / max(1, self.end_ms - self.start_ms))

    def availability(self) -> float | None:
        """Up / watched; None: nothing was."""
        return 1 - self.down_s / self.observed_s if self.observed_s else None

    def bounds(self) -> tuple[float, float]:
        """Were all that is unknown down, and were it up."""
        total_s = max((self.end_ms - self.start_ms) / 1_000, self.observed_s)
        return (self.observed_s - self.down_s) / total_s, 1 - self.down_s / total_s


def _ms(point: Point, name: str, other: int) -> int:
    found = point.fields.get(name)
    return found if type(found) is int else other
