"""A small town and its runs, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balise_collector.town import calendar, script
from balise_collector.town.faults import Fault
from balise_collector.town.stream import Delivery, Stream
from balise_collector.town.topology import Town, build

START_MS = calendar.midnight_ms(0, 1_794_000_000_000)
"""A midnight of November 2026 in Paris."""

HOUR_MS = calendar.HOUR_MS


def town(homes: int = 60, seed: int = 1, **options: Any) -> Town:
    return build(homes=homes, seed=seed, probed=1.0, **options)


def faults(of: Town, *said: Mapping[str, Any], hours: float = 24, start_ms: int = START_MS) -> list[Fault]:
    """As a script says them."""
    asked = script.parse({"title": "test", "fault": list(said)}, "test")
    return script.faults(asked, of, (start_ms, start_ms + int(hours * HOUR_MS)))


def stream(of: Town, *said: Mapping[str, Any], hours: float = 3, life: bool = False, **options: Any) -> Stream:
    bounds = (START_MS, START_MS + int(hours * HOUR_MS))
    return Stream(town=of, faults=faults(of, *said, hours=hours), bounds=bounds, life=life, **options)


def deliveries(of: Stream) -> list[Delivery]:
    return list(of.deliveries())
