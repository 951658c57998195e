"""Where do PES packets of videos and sounds begin in a batch, and is one of them late?"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from balise_agent.net.mpegts.batch_times import Times, see
from balise_agent.net.mpegts.heads import ADAPTED, DAMAGED, PAYLOAD, SCRAMBLED, Array, Heads, by_pid, lookup
from balise_agent.net.mpegts.packet import SIZE
from balise_agent.net.mpegts.reading import PID_LIMIT_MS, PTS_LIMIT_MS, Interval, Reading

_PES_HEAD = 13


class Wanted(NamedTuple):
    """The videos and sounds that the tables refer to, as of a place of a batch."""

    starts: dict[int, Interval]
    videos: frozenset[int]


def wanted(reading: Reading) -> Wanted:
    """As of now."""
    return Wanted(reading.starts, reading.video_pids)


def begun(heads: Heads, repeats: Collection[int]) -> Array:
    """Places of packets that begin something, whole, clear and not for the second time."""
    places = heads.starting
    if heads.marks & (DAMAGED | SCRAMBLED):
        places = places[heads.words[places] & (DAMAGED | SCRAMBLED) == 0]
    return places[~np.isin(places, list(repeats))] if repeats else places


def begin(reading: Reading, heads: Heads, places: Array, of: Wanted, dates: Times) -> None:
    """`Reading.begins` for each, PID by PID."""
    places = places[lookup(of.starts)[heads.pids[places]]]
    if not len(places):
        return
    places = places[np.argsort(heads.pids[places], kind="stable")]
    pids, times = heads.pids[places], dates.at(places + heads.index)
    groups = by_pid(pids)
    for nth, passed_ms in see([of.starts[pid] for pid in groups.pids], times, groups, PID_LIMIT_MS):
        reading.gone(int(places[nth]) + heads.index, int(pids[nth]), passed_ms)
    dated = np.flatnonzero(_has_pts(heads, places))
    if len(dated):
        of_dated = by_pid(pids[dated])
        see([reading.pts.setdefault(pid, Interval()) for pid in of_dated.pids], times[dated], of_dated, PTS_LIMIT_MS)
    for pid, first in zip(groups.pids, times[groups.starts].tolist(), strict=True):
        if pid in of.videos:
            reading.firsts["pes"] = min(reading.firsts.get("pes", first), first)


def _has_pts(heads: Heads, places: Array) -> Array:
    """`packet.has_pts` of each packet's payload."""
    words, flat = heads.words[places], heads.packets.reshape(-1)
    begins = np.full(len(places), 4)
    adapted = words & ADAPTED != 0
    begins[adapted] = 5 + heads.packets[places[adapted], 4].astype(np.intp)
    fits = (words & PAYLOAD != 0) & (begins < SIZE - _PES_HEAD)
    at = places * SIZE + np.where(fits, begins, 0)
    is_pes = (flat[at] == 0) & (flat[at + 1] == 0) & (flat[at + 2] == 1)
    return fits & is_pes & (flat[at + 6] >> 6 == 2) & (flat[at + 7] & 0x80 != 0)
