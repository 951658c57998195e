"""Which configuration should a probe have, given where it stands and what the operator set for the fleet?

Pure. ``DATA/fleet.toml`` holds ``[plan]`` (``batch_s``, ``mode``, a table a probe) and ``[targets]`` (peers by probe),
as the contract's configuration carries them; a probe refuses what it cannot use and says why in an ``agent_event``.
``[quota]`` is not told to probes: it is what one may send before it is cut off.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_agent.codec import encode_config
from balise_agent.contract import Config
from balise_collector.directory import Site
from balise_collector.fleet.quota import Quotas, read_quotas


class FleetError(Exception):
    """The fleet's settings cannot be used, in one line for their author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What holds for every probe alike."""

    plan: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    quotas: Quotas = field(default_factory=Quotas)


def load_settings(path: Path) -> FleetSettings:
    """The file's settings; none where there is no file. FleetError: it cannot be read."""
    if not path.exists():
        return FleetSettings()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise FleetError(f"{path}: {exc}") from exc
    tables = ("plan", "targets", "quota")
    unknown = raw.keys() - tables
    wrong = [name for name in tables if not isinstance(raw.get(name, {}), dict)]
    if unknown or wrong:
        raise FleetError(f"{path}: {', '.join([*unknown, *wrong])}: known are the tables [plan], [targets] and [quota]")
    quotas = read_quotas(raw.get("quota", {}))
    if not isinstance(quotas, Quotas):
        raise FleetError(f"{path}: {'; '.join(quotas)}")
    settings = FleetSettings(plan=raw.get("plan", {}), targets=raw.get("targets", {}), quotas=quotas)
    try:
        encode_config(Config(version=1, plan=settings.plan, targets=settings.targets))
    except (ValueError, TypeError) as exc:  # TOML has dates and nan, a configuration has not
        raise FleetError(f"{path}: {exc}") from exc
    return settings


def desired(site: Site, settings: FleetSettings, version: int) -> Config:
    """The configuration of the probe at that site. A place is no home: it agrees to be measured by standing there."""
    offer = site.offer
    return Config(
        version=version,
        consent=site.kind == "place" or "mesure" in site.consents,
        segment=site.segment,
        plan=settings.plan,
        contract={} if offer is None else {"down_bps": offer.down_bps, "up_bps": offer.up_bps},
        targets=settings.targets,
    )
