"""Which measurements exist, and what does each of their fields mean?

One table, ``CATALOGUE``. The contract's validation, the collector's decoder, `docs/contract.md`, `docs/asyncapi.yaml`,
the store's retention and the dashboards are all made from it: a field that is not here does not exist anywhere.

Rule 1: a field is only ever added, optional; never re-typed, re-used or given another unit.
Rule 2: nothing here tells what the household does: no address, name, MAC, SSID, destination, number or channel watched.
"""

from __future__ import annotations

from balise_agent.catalogue import judged, line, platform, probe, rate, service, tv, voice
from balise_agent.catalogue.schema import RETENTION_DAYS, Field, FieldType, Measurement, Retention, Writer

__all__ = ["CATALOGUE", "RETENTION_DAYS", "Field", "FieldType", "Measurement", "Retention", "Writer"]

CATALOGUE: dict[str, Measurement] = {
    m.name: m for part in (line, rate, service, probe, platform, judged, tv, voice) for m in part.MEASUREMENTS
}
"""Every measurement by name."""
