"""What becomes of a file that SQLite cannot read all of?

It is renamed, so that writing goes on in a new one, and what its checksums still vouch for is written into the new one.

Rule 1: `DAY.damaged-N` is still to be salvaged, `DAY.salvaged-N` has been: a crash in between begins it again.
Rule 2: nothing can be erased from the middle of such a file, so all of it goes: at the first erasure that concerns its
day, and else after the shortest time that any class is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from balise_agent.catalogue import RETENTION_DAYS
from balise_collector.store import layout, reading
from balise_collector.store.layout import HOURS
from balise_collector.store.points import Point
from balise_collector.store.reading import OnBad, Owned

KEPT_DAYS = min(days for days in RETENTION_DAYS.values() if days is not None)

T = TypeVar("T")

_DAMAGED, _SALVAGED = "damaged", "salvaged"


def set_aside(path: Path) -> Path:
    """Rename a file with its WAL, which belongs to it and to no other; its new name."""
    number = 1 + len([*path.parent.glob(f"{path.stem}.*aged-*[0-9]")])
    new = path.with_name(f"{path.stem}.{_DAMAGED}-{number}")
    _rename(path, new)
    return new


def waiting(folder: Path) -> list[Path]:
    """Files that are still to be salvaged."""
    return sorted(folder.glob(f"????-??-??.{_DAMAGED}-*[0-9]"))


def salvage(path: Path, on_bad: OnBad) -> Iterator[list[Point]]:
    """Points of a file that can still be read, to be written in this order: what was hot overwrites what was sealed.

    An hour at a time: a page that cannot be read takes no more with it than its hour.
    """
    owned = _try(path, reading.owned_by) or []
    for read in (_sealed, _hot):
        for one in owned:
            for hour in range(HOURS):
                yield _try(path, partial(read, day=layout.day_of(path), one=one, hour=hour, on_bad=on_bad)) or []


def salvaged(path: Path) -> None:
    """All that can be had of it is in the new file."""
    _rename(path, path.with_name(path.name.replace(_DAMAGED, _SALVAGED)))


def remove(folder: Path, first_day: int, last_day: int) -> int:
    """Take away what was set aside of these days; how many files that were."""
    named = [*folder.glob(f"????-??-??.{_DAMAGED}-*"), *folder.glob(f"????-??-??.{_SALVAGED}-*")]
    found = [path for path in named if first_day <= layout.day_of(path) <= last_day]
    for path in found:
        path.unlink()
    return len(found)


def _sealed(connection: sqlite3.Connection, day: int, one: Owned, hour: int, on_bad: OnBad) -> list[Point]:
    return [point for points in reading.chunks(connection, day, one, hour, hour, on_bad) for point in points]


def _hot(connection: sqlite3.Connection, day: int, one: Owned, hour: int, on_bad: OnBad) -> list[Point]:
    rows = reading.hot(connection, day, one.series, [hour], on_bad)
    return [point for point in rows.values() if point.tags == one.tags]


def _try(path: Path, question: Callable[[sqlite3.Connection], T]) -> T | None:
    try:
        return layout.ask(path, question)
    except sqlite3.DatabaseError as exc:
        if not layout.is_damage(exc):
            raise
        return None


def _rename(old: Path, new: Path) -> None:
    for suffix in ("-wal", ""):
        beside = old.with_name(old.name + suffix)
        if beside.exists():
            beside.rename(new.with_name(new.name + suffix))
    old.with_name(old.name + "-shm").unlink(missing_ok=True)
