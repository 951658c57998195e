"""What can break, where, and what does it do? One file a kind of thing that breaks; `KINDS` is all of them.

Rule 1: their order is part of a seed: drawn faults are drawn from it.
"""

from balise_collector.town.kinds.beyond import BEYOND
from balise_collector.town.kinds.home import HOME, TENANT
from balise_collector.town.kinds.kind import Kind, Service, Shows
from balise_collector.town.kinds.plant import PLANT, WORKS
from balise_collector.town.kinds.platform import PLATFORM
from balise_collector.town.kinds.quality import QUALITY
from balise_collector.town.kinds.services import SERVICES

KINDS: dict[str, Kind] = PLANT | HOME | BEYOND | QUALITY | SERVICES | WORKS | PLATFORM | TENANT
"""Every fault by its name in a script."""

__all__ = ["KINDS", "Kind", "Service", "Shows"]
