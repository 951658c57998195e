"""What holds for a home over a period: its contract, declared works, and does it count in the pilot's figures?

Rule 1: where a home had two contracts, its rates are told of the one that lasted longer; tests of the other are left
out as `tier_change`, never held against a contract that was not theirs (method QOS-1 § 5).
Rule 2: what was measured within declared works is left out as `maintenance`.
"""

from __future__ import annotations

from dataclasses import dataclass

from balise_collector.judge.topology import HomeSite

Dates = tuple[tuple[int, int], ...]
"""From one date up to another, excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """``site``: with the contract that lasted longest, None: not in the directory; ``dates``: of that contract, None:
    always; ``works``: those that concern it; ``evaluates``: it agrees to count in the pilot's figures."""

    site: HomeSite | None = None
    offer: str = ""
    dates: Dates | None = None
    works: Dates = ()
    evaluates: bool = False

    def is_of_contract(self, ts_ms: int) -> bool:
        """A rate of that date may be held against the contract."""
        return self.dates is None or _within(ts_ms, self.dates)

    def is_in_works(self, ts_ms: int) -> bool:
        """Declared works concerned the home then."""
        return _within(ts_ms, self.works)

    def meets_works(self, start_ms: int, end_ms: int) -> bool:
        """Some of it was within declared works."""
        return any(start_ms < until_ms and from_ms <= end_ms for from_ms, until_ms in self.works)


def _within(ts_ms: int, dates: Dates) -> bool:
    return any(from_ms <= ts_ms < until_ms for from_ms, until_ms in dates)
