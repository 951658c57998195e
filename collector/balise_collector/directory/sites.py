"""What does a probe's configuration need to know of where the probe is now?"""

from __future__ import annotations

from sqlalchemy import Connection, select

from balise_collector.directory import homes, probes
from balise_collector.directory.resolver import agrees, line_at
from balise_collector.directory.tables import pons, works
from balise_collector.directory.values import PURPOSES, Assignment, Home, Inventory, Line, Site, Works
from balise_collector.placement import Place


def load(connection: Connection, at_ms: int) -> dict[str, Site]:
    """By probe, those that stand somewhere and are not revoked."""
    inventory = homes.load(connection)
    places = probes.load_places(connection)
    segments = {row.code: row.segment for row in connection.execute(select(pons))}
    found: dict[str, Site] = {}
    for probe in probes.load(connection, at_ms):
        if probe.assigned is None or probe.revoked_ms is not None:
            continue
        if probe.assigned.place:
            found[probe.id] = _at_place(probe.assigned, places[probe.assigned.place], segments)
        else:
            found[probe.id] = _at_home(probe.id, inventory.homes[probe.assigned.home], at_ms, inventory, segments)
    return found


def load_works(connection: Connection) -> list[Works]:
    """All that were ever declared."""
    return [Works(**row) for row in connection.execute(select(works).order_by(works.c.code)).mappings()]


def _at_place(assignment: Assignment, place: Place, segments: dict[str, str]) -> Site:
    return Site(
        probe=assignment.probe,
        home=place.home,
        kind="place",
        building=place.building,
        pon=place.pon,
        segment=segments.get(place.pon, ""),
    )


def _at_home(probe: str, home: Home, at_ms: int, inventory: Inventory, segments: dict[str, str]) -> Site:
    line = line_at(home, at_ms) or Line(from_ms=at_ms)
    return Site(
        probe=probe,
        home=home.id,
        kind="home",
        building=home.building,
        pon=line.pon,
        segment=segments.get(line.pon, ""),
        offer=inventory.offers.get(line.offer),
        consents=frozenset(purpose for purpose in PURPOSES if agrees(home, purpose, at_ms)),
    )
