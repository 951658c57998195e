"""What does the directory know of each home over a period?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from balise_collector.directory import Directory, Home, Inventory
from balise_collector.directory.resolver import agrees
from balise_collector.judge.topology import HomeSite, Work, elements
from balise_collector.judging import plant
from balise_collector.stats.terms import Terms

Tier = tuple[int, int]  # contracted rates, down and up; 0: none known


def of_period(directory: Directory, start_ms: int, end_ms: int) -> dict[str, Terms]:
    """Every home of the directory, as it stood at the period's end."""
    known, topology = directory.export_homes(), plant.topology(directory, end_ms - 1)
    return {
        home: _terms(known, known.homes[home], site, topology.works, (start_ms, end_ms))
        for home, site in topology.homes.items()
        if home in known.homes
    }


def _terms(known: Inventory, home: Home, site: HomeSite, works: tuple[Work, ...], span: tuple[int, int]) -> Terms:
    tiers = list(_tiers(known, home, *span))
    lasted = Counter[tuple[str, Tier]]()
    for offer, tier, from_ms, until_ms in tiers:
        lasted[offer, tier] += until_ms - from_ms
    contracts = [key for key in lasted if any(key[1])] or list(lasted) or [("", (0, 0))]
    offer, tier = max(contracts, key=lambda key: lasted[key])
    theirs = set(elements(home.id, site))
    return Terms(
        site=replace(site, down_bps=tier[0], up_bps=tier[1]),
        offer=offer,
        dates=tuple((from_ms, until_ms) for _, its, from_ms, until_ms in tiers if its == tier),
        works=tuple((one.from_ms, one.until_ms) for one in works if (one.scope, one.scope_code) in theirs),
        evaluates=agrees(home, "evaluation", span[1] - 1),
    )


def _tiers(known: Inventory, home: Home, start_ms: int, end_ms: int) -> Iterator[tuple[str, Tier, int, int]]:
    """The contracts within the period, in order, from when until when. What came before the first line is of none."""
    first = home.lines[0].from_ms if home.lines else end_ms
    if first > start_ms:
        yield "", (0, 0), start_ms, min(first, end_ms)
    for at, line in enumerate(home.lines):
        following = home.lines[at + 1].from_ms if at + 1 < len(home.lines) else end_ms
        from_ms, until_ms = max(line.from_ms, start_ms), min(following, end_ms)
        offer = known.offers.get(line.offer)
        if from_ms < until_ms:
            yield line.offer, (offer.down_bps, offer.up_bps) if offer else (0, 0), from_ms, until_ms
