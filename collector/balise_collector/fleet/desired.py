"""Which configuration should a probe have, given where it stands and what the operator set for the fleet?

Pure. ``DATA/fleet.toml`` holds ``[plan]`` (``batch_s``, ``mode``, a table a probe) and ``[targets]`` (peers by probe),
as the contract's configuration carries them; a probe refuses what it cannot use and says why in an ``agent_event``.
``[quota]`` is not told to probes: it is what one may send before it is cut off.

A token for tests that fill the line is made anew each day and good for two, so that a probe that was away for a day can
measure at once; each probe's day begins at another moment.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_agent.codec import encode_config
from balise_agent.contract import Config
from balise_collector.directory import Site
from balise_collector.fleet.quota import Quotas, read_quotas
from balise_collector.target.tokens import Grant, make_token

DAY_S = 86_400
FULL_FROM_BPS = 100_000_000  # below this contract a full test is never run


class FleetError(Exception):
    """The fleet's settings cannot be used, in one line for their author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What holds for every probe alike. ``token_key``: shared with `balise target`; None: no token is made."""

    plan: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    quotas: Quotas = field(default_factory=Quotas)
    token_key: bytes | None = field(default=None, repr=False)


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


def desired(site: Site, settings: FleetSettings, version: int, now_s: int = 0) -> Config:
    """The configuration of the probe at that site. A place is no home: it agrees to be measured by standing there."""
    offer = site.offer
    return Config(
        version=version,
        consent=site.kind == "place" or "mesure" in site.consents,
        segment=site.segment,
        plan=settings.plan,
        contract={} if offer is None else {"down_bps": offer.down_bps, "up_bps": offer.up_bps},
        targets=settings.targets,
        token=_token(site, settings.token_key, now_s),
    )


def _token(site: Site, key: bytes | None, now_s: int) -> str:
    """The day's. A probe without a line has none: its tests would be nobody's turn."""
    if key is None or not site.segment:
        return ""
    fast = site.offer is not None and site.offer.down_bps >= FULL_FROM_BPS
    own_s = int.from_bytes(hashlib.sha256(site.probe.encode()).digest()[:4], "big") % DAY_S
    expires_s = ((now_s - own_s) // DAY_S + 2) * DAY_S + own_s
    return make_token(key, Grant(segment=site.segment, shape="full" if fast else "light", expires_s=expires_s))
