"""When did packets of a batch come, and how far were they apart?"""

from __future__ import annotations

import numpy as np

from balise_agent.net.mpegts.heads import Array, gaps
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


def see(interval: Interval, times: Array, limit_ms: float) -> list[tuple[int, float]]:
    """`Interval.see` for each, its sum aside, which only random access is asked for; which were later than the limit,
    and by how much."""
    last_ns = interval.last_ns
    passed_ms = gaps(times, times[0] if last_ns is None else last_ns) / 1_000_000
    interval.last_ns = float(times[-1])
    interval.count += len(times)
    if last_ns is None and len(times) == 1:
        return []
    longest_ms = float(passed_ms.max())
    interval.longest_ms = max(interval.longest_ms or 0.0, longest_ms)
    if longest_ms <= limit_ms:
        return []
    return [(int(place), float(passed_ms[place])) for place in np.flatnonzero(passed_ms > limit_ms)]
