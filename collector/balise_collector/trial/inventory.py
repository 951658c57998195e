"""How does a town stand in the directory?"""

from __future__ import annotations

from collections.abc import Mapping

from balise_collector.directory import Consent, Home, Inventory, Line, Offer, Pon
from balise_collector.placement import Place, Placement, Resolve, UnknownProbe
from balise_collector.town.topology import OPERATOR, Town

UNKNOWN = UnknownProbe()


def inventory(town: Town, since_ms: int) -> Inventory:
    """Every home of it, measured or not, with its line and a consent."""
    consent = Consent(purpose="mesure", given_ms=since_ms, text="town")
    homes = {
        home.id: Home(
            id=home.id,
            building=home.building,
            lines=(Line(from_ms=since_ms, pon=home.pon, offer=offer_code(home.down_bps, home.up_bps)),),
            consents=(consent,),
        )
        for home in town.homes
    }
    return Inventory(
        homes=homes,
        buildings=dict.fromkeys((home.building for home in town.homes), ""),
        olts=dict.fromkeys((home.olt for home in town.homes), ""),
        pons={home.pon: Pon(olt=home.olt, card=home.card.rpartition("/")[2]) for home in town.homes},
        offers={
            offer_code(h.down_bps, h.up_bps): Offer(operator=OPERATOR, down_bps=h.down_bps, up_bps=h.up_bps)
            for h in town.homes
        },
    )


def offer_code(down_bps: int, up_bps: int) -> str:
    """An offer by its rates."""
    return f"o{down_bps // 1_000_000}-{up_bps // 1_000_000}"


def resolver(town: Town) -> Resolve:
    """Where each probe is, for ingest: a town's probes do not move."""
    places: Mapping[str, Placement] = {
        home.probe: Place(home=home.id, building=home.building, pon=home.pon) for home in town.probed
    }
    return lambda probe, _ts_ms: places.get(probe, UNKNOWN)
