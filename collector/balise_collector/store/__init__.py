"""Which points are kept, by series and time, and for how long?

One protocol; `chunks` implements it on files of this machine, `influx` on an InfluxDB.

Rule 1: `Store.write` returns when its points are on disk, and a feed's cursor never stands before them: after a crash
the feed is read again from its cursor, and the same points overwrite themselves.
Rule 2: a point comes back as it was given or not at all; what is damaged is reported.
Rule 3: what is deleted is in no file any more when `Store.delete` returns, and stays away after a crash in its middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from balise_collector.store.points import Kind, Point, Series, Tags

__all__ = [
    "Damage",
    "Kind",
    "OnDamage",
    "Point",
    "Reader",
    "Retained",
    "Series",
    "Store",
    "StoreBusy",
    "Tags",
    "Unavailable",
]


class StoreBusy(Exception):  # noqa: N818 - what it is, not that it is an error
    """Another process has the store open to write, or reads in the way of an erasure."""


class Unavailable(Exception):  # noqa: N818 - what it is, not that it is an error
    """A server that keeps points does not take or give them now; nothing is wrong with the points: ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something kept that is not what was written. ``hour_ms`` and ``tags`` where it is known whose."""

    file: str
    what: str
    hour_ms: int | None = None
    tags: Tags | None = None


OnDamage = Callable[[Damage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What one run of the retention job took away: points by measurement, files that became empty.

    ``unknown``: measurements found that this version's catalogue does not have; they are left alone.
    """

    deleted: Mapping[str, int]
    files: int
    unknown: tuple[str, ...]


class Reader(Protocol):
    """What any process may do while another writes. Times are UTC in ms; ``end_ms`` is not included."""

    def cursor(self, feed: str) -> int:
        """Up to where the feed has been written; 0 for one that never was."""

    def read(self, home: str, measurement: str, target: str | None, start_ms: int, end_ms: int) -> Iterator[Point]:
        """Points of a home in order of time, then target, then probe. ``target`` None: of all of them."""

    def series(self, home: str | None = None) -> list[Series]:
        """All that anything is kept of, sorted."""

    def latest(self, home: str | None = None, *, since_ms: int) -> list[Point]:
        """The last point of each series, of those that have one from ``since_ms`` on, sorted by series."""

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many points are kept of all homes."""

    def close(self) -> None:
        """Let go of files and connections."""


class Store(Reader, Protocol):
    """The one writer."""

    def write(self, points: Sequence[Point], feed: str, cursor: int) -> None:
        """Keep the points, then the feed's cursor; the last of one key counts. ValueError: see `points.refusal`."""

    def seal(self, now_ms: int) -> int:
        """Bring hours that are over into their small form; how many were written. Nothing that is read changes."""

    def delete(self, home: str, from_ms: int, to_ms: int) -> int:
        """Erase a home's points from ``from_ms`` up to ``to_ms``, without trace; how many there were."""

    def retain(self, now_ms: int) -> Retained:
        """Erase what is older than its class in the catalogue allows, to the hour."""
