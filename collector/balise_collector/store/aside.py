"""Where does a file go that SQLite cannot read any more?

It is renamed, so that writing goes on in a new one, and reported. The journal can fill the new one again.

Rule 1: nothing can be erased from the middle of such a file, so all of it goes: at the first erasure that concerns its
day, and else after the shortest time that any class is kept.
"""

from __future__ import annotations

from pathlib import Path

from balise_agent.catalogue import RETENTION_DAYS
from balise_collector.store.layout import day_of

KEPT_DAYS = min(days for days in RETENTION_DAYS.values() if days is not None)


def set_aside(path: Path) -> None:
    """Rename a file with its WAL, which belongs to it and to no other."""
    number = 1 + len(list(path.parent.glob(f"{path.stem}.damaged-*[0-9]")))
    name = f"{path.stem}.damaged-{number}"
    for suffix in ("-wal", ""):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(path.with_name(name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)


def remove(folder: Path, first_day: int, last_day: int) -> int:
    """Take away what was set aside of these days; how many files that were."""
    found = [path for path in folder.glob("????-??-??.damaged-*") if first_day <= day_of(path) <= last_day]
    for path in found:
        path.unlink()
    return len(found)
