"""What does the directory know of the plant that the judge needs?"""

from __future__ import annotations

from collections.abc import Iterator

from balise_collector.directory import Directory, Inventory
from balise_collector.directory.resolver import agrees, line_at
from balise_collector.judge.topology import HomeSite, Scope, Topology, Work


def topology(directory: Directory, now_ms: int) -> Topology:
    """The expected homes as of that date, and declared works."""
    inventory, sites = directory.export_homes(), directory.sites(now_ms)
    probes = {site.home: probe for probe, site in sites.items() if site.kind == "home"}
    homes = {home: _site(inventory, home, probes.get(home, ""), now_ms) for home in inventory.homes}
    places = {site.home: site.pon for site in sites.values() if site.kind == "place"}
    return Topology(homes=homes, places=places, works=tuple(_works(directory)))


def _site(inventory: Inventory, home: str, probe: str, now_ms: int) -> HomeSite:
    known = inventory.homes[home]
    line = line_at(known, now_ms)
    pon = inventory.pons.get(line.pon) if line is not None else None
    offer = inventory.offers.get(line.offer) if line is not None else None
    olt = pon.olt if pon is not None else ""
    return HomeSite(
        building=known.building,
        pon=line.pon if line is not None else "",
        card=f"{olt}/{pon.card}" if pon is not None and pon.card else "",
        olt=olt,
        head_end=inventory.olts.get(olt, ""),
        district=inventory.buildings.get(known.building, ""),
        operator=offer.operator if offer is not None else "",
        down_bps=offer.down_bps if offer is not None else 0,
        up_bps=offer.up_bps if offer is not None else 0,
        probe=probe if agrees(known, "mesure", now_ms) else "",
        agrees=agrees(known, "mesure", now_ms),
    )


def _works(directory: Directory) -> Iterator[Work]:
    for one in directory.works():
        scope: Scope = one.scope  # type: ignore[assignment]  # the table's check allows no other
        yield Work(code=one.code, scope=scope, scope_code=one.scope_code, from_ms=one.from_ms, until_ms=one.until_ms)
