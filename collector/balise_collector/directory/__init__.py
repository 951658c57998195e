"""Which probes, homes and places are there, who stands where, and who agreed to what?

Rule 1: dates come in as arguments, UTC in ms since 1970; the directory has no clock.
Rule 2: each method is one transaction; `DirectoryError` means that nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from balise_collector.directory import database, homes, probes, resolver, sites
from balise_collector.directory.resolver import Resolver
from balise_collector.directory.values import (
    PURPOSES,
    Assignment,
    Consent,
    DirectoryError,
    Home,
    Imported,
    Inventory,
    Line,
    Offer,
    Pon,
    Probe,
    Purpose,
    Site,
    Works,
    draw_id,
)

__all__ = [
    "PURPOSES",
    "Assignment",
    "Consent",
    "Directory",
    "DirectoryError",
    "Home",
    "Imported",
    "Inventory",
    "Line",
    "Offer",
    "Pon",
    "Probe",
    "Purpose",
    "Resolver",
    "Site",
    "Works",
    "draw_id",
    "sqlite_url",
]


def sqlite_url(data: Path) -> str:
    """Where the directory is that no URL names: DATA/directory.db."""
    return f"sqlite:///{data / 'directory.db'}"


class Directory:
    """One directory by its URL: sqlite:///PATH or postgresql://USER@HOST/DATABASE. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Made, or brought up to this version, where needed."""
        self._engine = database.connect(url)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generation(self) -> int:
        """Raised by each writing: a snapshot of another generation is out of date. One row is read."""
        with database.reading(self._engine) as connection:
            return database.current_generation(connection)

    def snapshot(self) -> Resolver:
        """What `resolve` answers from, as of one moment; it never changes."""
        with database.reading(self._engine) as connection:
            return resolver.build(
                database.current_generation(connection),
                [probe.id for probe in probes.load(connection, at_ms=0) if probe.revoked_ms is None],
                probes.load_assignments(connection),
                homes.load(connection).homes,
                probes.load_places(connection),
            )

    def sites(self, at_ms: int) -> dict[str, Site]:
        """By probe, what its configuration needs; those that are not revoked and stand somewhere at that date."""
        with database.reading(self._engine) as connection:
            return sites.load(connection, at_ms)

    def works(self) -> list[Works]:
        """Declared works, by their code."""
        with database.reading(self._engine) as connection:
            return sites.load_works(connection)

    def add_probes(self, new: Sequence[str], *, now_ms: int, home: str = "", from_ms: int = 0) -> None:
        """Ids from `draw_ids`; where a home is given, all are assigned to it from that date on."""
        with database.writing(self._engine) as connection:
            probes.add(connection, new, now_ms)
            for probe in new if home else ():
                probes.assign(connection, Assignment(probe=probe, home=home, from_ms=from_ms))

    def revoke_probe(self, probe: str, *, now_ms: int) -> None:
        with database.writing(self._engine) as connection:
            probes.revoke(connection, probe, now_ms)

    def probes(self, *, at_ms: int) -> list[Probe]:
        """Revoked ones too, in the order of their making."""
        with database.reading(self._engine) as connection:
            return probes.load(connection, at_ms)

    def draw_ids(self, count: int) -> list[str]:
        """Fresh pseudonyms that no probe, home or place has."""
        with database.reading(self._engine) as connection:
            taken = probes.ids(connection)
        drawn: list[str] = []
        for _ in range(count):
            drawn.append(draw_id(taken))
            taken.add(drawn[-1])
        return drawn

    def taken_ids(self) -> frozenset[str]:
        """Of probes and places: what no home may be called."""
        with database.reading(self._engine) as connection:
            return frozenset(probes.ids(connection)) - frozenset(homes.load(connection).homes)

    def assign(self, probe: str, *, from_ms: int, until_ms: int | None = None, home: str = "", place: str = "") -> None:
        """To a home by its id or to a place by its code."""
        if bool(home) == bool(place):
            raise DirectoryError("a probe is assigned to a home or to a place")
        with database.writing(self._engine) as connection:
            id_ = probes.place_id(connection, place) if place else ""
            probes.assign(connection, Assignment(probe=probe, home=home, place=id_, from_ms=from_ms, until_ms=until_ms))

    def unassign(self, probe: str, *, at_ms: int) -> Assignment:
        """End what holds at that date; it is returned as it was."""
        with database.writing(self._engine) as connection:
            return probes.unassign(connection, probe, at_ms)

    def assignments(self) -> list[Assignment]:
        """By probe, then by date."""
        with database.reading(self._engine) as connection:
            return probes.load_assignments(connection)

    def put_place(self, code: str, *, head_end: str = "", building: str = "", pon: str = "") -> str:
        """A place for reference probes, by the operator's code; its id."""
        with database.writing(self._engine) as connection:
            return probes.put_place(connection, code, head_end=head_end, building=building, pon=pon)

    def import_homes(self, inventory: Inventory) -> Imported:
        """Homes and plant are merged in; nothing is removed, and no withdrawal undone."""
        with database.writing(self._engine) as connection:
            return homes.merge(connection, inventory)

    def export_homes(self) -> Inventory:
        with database.reading(self._engine) as connection:
            return homes.load(connection)

    def withdraw(self, home: str, *, from_ms: int, purpose: Purpose = "mesure") -> int:
        """End its consents to this purpose from that date on; how many held, or would have."""
        with database.writing(self._engine) as connection:
            return homes.withdraw(connection, home, purpose, from_ms)
