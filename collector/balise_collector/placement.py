"""Where does a record belong: to a home or place, to nobody, or to somebody who no longer agrees?

The answer is the directory's, for a probe and a date; ingest only asks. Tags are resolved once, at ingest, and kept
with the record: InfluxDB's identity holds all tags, so that a replay after a move would otherwise make a second
series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

OrphanReason = Literal["unassigned", "unsynced", "clock_suspect"]
"""unassigned: no assignment covers the date; unsynced: no date can be known; clock_suspect: dated in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A home (or a place, for a reference probe) and what it shares with others, as they were at the record's date.

    ``home`` is the random pseudonym of the home or place; "" stands for not known. None of these is a name or an
    address.
    """

    home: str
    kind: Literal["home", "place"] = "home"
    building: str = ""
    pon: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Authentic, but it cannot be put anywhere: kept apart, out of every figure."""

    reason: OrphanReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The home no longer agrees to being measured at that date: nothing of it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownProbe:
    """Not in the directory, or revoked: neither stored nor acknowledged, counted and said."""


Placement = Place | Orphan | Withdrawn | UnknownProbe
Resolve = Callable[[str, int], Placement]
"""``resolve(probe, ts_ms)``: pure over a snapshot of the directory, so fast that ingest may ask for each record."""
