"""Which of some values stands at a share of them?"""

from __future__ import annotations


def nearest_rank(ordered: list[int], percent: int) -> int:
    """The smallest value that at least ``percent`` of all are not above; ``ordered`` is sorted and not empty."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
