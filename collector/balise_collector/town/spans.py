"""How are stretches of time joined, cut and added up?

A span is (start, end) in ms, the end excluded; a list of spans is in order and none touches another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """All that at least one of them covers."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def cut(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What both lists cover."""
    found: list[Span] = []
    i = j = 0
    while i < len(spans) and j < len(others):
        start, end = max(spans[i][0], others[j][0]), min(spans[i][1], others[j][1])
        if start < end:
            found.append((start, end))
        if spans[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return found


def without(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """What the first list covers and the second does not."""
    found: list[Span] = []
    j = 0
    for start, end in spans:
        while j < len(holes) and holes[j][1] <= start:
            j += 1
        k, at = j, start
        while k < len(holes) and holes[k][0] < end:
            if at < holes[k][0]:
                found.append((at, holes[k][0]))
            at = max(at, holes[k][1])
            k += 1
        if at < end:
            found.append((at, end))
    return found


def length(spans: Iterable[Span]) -> int:
    """In ms, all together."""
    return sum(end - start for start, end in spans)


def covers(spans: Sequence[Span], at: int) -> Span | None:
    """The span that a moment is in; None: none."""
    index = bisect_right(spans, (at, 2**62)) - 1
    return spans[index] if index >= 0 and at < spans[index][1] else None


def after(spans: Sequence[Span], at: int) -> Span | None:
    """The first span that begins at that moment or later; None: none."""
    index = bisect_right(spans, (at, -1))
    return spans[index] if index < len(spans) else None
