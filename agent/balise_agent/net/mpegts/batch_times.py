"""When did packets of a batch come, and how far were they apart?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from balise_agent.net.mpegts.heads import Array, Groups, gaps
from balise_agent.net.mpegts.reading import Interval
from balise_agent.net.mpegts.timeline import Timeline


class Times:
    """Of a timeline as it is now: its parts are made arrays of once for all who ask."""

    def __init__(self, timeline: Timeline) -> None:
        self._starts, self._base_ns, self._each_ns = map(np.asarray, timeline.parts())

    def at(self, indices: Array) -> Array:
        """`Timeline.at` of each, in ns."""
        part = np.maximum(np.searchsorted(self._starts, indices, "right") - 1, 0)
        return self._base_ns[part] + (indices - self._starts[part]) * self._each_ns[part]


def see(intervals: Sequence[Interval], times: Array, groups: Groups, limit_ms: float) -> list[tuple[int, float]]:
    """`Interval.see` for each time of each PID, its sum aside, which only random access is asked for; which were later
    than the limit, and by how much."""
    firsts = times[groups.starts].tolist()
    before = [first if one.last_ns is None else one.last_ns for one, first in zip(intervals, firsts, strict=True)]
    passed_ms = gaps(times, groups.starts, before) / 1_000_000
    longest_ms = np.maximum.reduceat(passed_ms, groups.starts).tolist()
    lasts = times[np.asarray(groups.ends) - 1].tolist()
    for nth, one in enumerate(intervals):
        count = groups.ends[nth] - groups.starts[nth]
        if count > 1 or one.last_ns is not None:
            one.longest_ms = max(one.longest_ms or 0.0, longest_ms[nth])
        one.last_ns = lasts[nth]
        one.count += count
    if max(longest_ms) <= limit_ms:
        return []
    return [(int(place), float(passed_ms[place])) for place in np.flatnonzero(passed_ms > limit_ms)]
