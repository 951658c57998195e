"""What was asked of this agent on this machine?

The TOML file (`deploy/agent.example.toml`) as one frozen value. What the operator sets from afar is laid over it by
`remote_config`.

Rule 1: all faults are reported together, each with its path, the value and what is allowed; no other file is looked at
than `CHANNELS_FILE` beside it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from balise_agent import channels, settings
from balise_agent.probes import PROBES

_PATH: dict[str, Any] = {"pattern": r"[^\x00-\x1f]{1,1024}", "allowed": "a path"}
_HOST: dict[str, Any] = {"pattern": r"[A-Za-z0-9_.:%-]{1,253}", "allowed": "a host name or an address"}
_DATE: dict[str, Any] = {
    "pattern": r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])",
    "allowed": "a date like 2026-11-24",
}
_MOST_BYTES = 10**13
CHANNELS_FILE = "channels.toml"
_KEY: dict[str, Any] = {"pattern": r"[A-Za-z0-9_-]{43}=?", "allowed": "an Ed25519 public key, 32 bytes in base64url"}

BATCH_S = {"normal": 60.0, "eco": 300.0}
"""Freshness before bytes: a fixed line does not count a megabyte a day; eco is for one that does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """``[agent]``. ``batch_s`` None: what the mode says. ``command_key``: signs configurations and commands, if any.

    ``clock`` trust: wall time is taken as true without asking (a container, whose host keeps it).
    """

    state_dir: str = settings.text("/var/lib/balise-agent", **_PATH)
    batch_s: float | None = settings.number(None, low=1, high=3600, unit="s")
    mode: str = settings.choice("normal", tuple(BATCH_S))
    clock: str = settings.choice("system", ("system", "trust"))
    log_level: str = settings.choice("info", ("debug", "info", "warning", "error"))
    command_key: str | None = settings.text(None, **_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """``[broker]``. ``ca_file`` None: the system's authorities. A cut is known to the broker after 1.5 keep-alives."""

    host: str = settings.text(**_HOST)
    port: int = settings.number(8883, low=1, high=65535)
    tls: bool = settings.flag(True)
    ca_file: str | None = settings.text(None, **_PATH)
    cert_file: str | None = settings.text(None, **_PATH)
    key_file: str | None = settings.text(None, **_PATH)
    username: str | None = settings.text(None, pattern=r"[^\x00-\x1f]{1,128}", allowed="a text of 1 to 128 characters")
    password: settings.Secret | None = settings.secret()
    password_file: str | None = settings.text(None, **_PATH)
    keepalive_s: int = settings.number(40, low=5, high=3600, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """``[probe]``. The id is the broker's client id too."""

    id: str = settings.text(pattern=r"[a-z0-9]{8,32}", allowed="8 to 32 of a-z and 0-9")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeavySettings:
    """``[heavy]``: tests that fill the line, by plan. ``campaign_from``: first of seven days with one each hour of
    18-24 h; ``day_bytes``, ``month_bytes``: most that they move, instead of twice what the plan needs."""

    enabled: bool = settings.flag(True)
    campaign_from: str | None = settings.text(None, **_DATE)
    day_bytes: int | None = settings.number(None, low=0, high=_MOST_BYTES, unit="bytes")
    month_bytes: int | None = settings.number(None, low=0, high=_MOST_BYTES, unit="bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """All of it. ``probes``: the settings of each of `PROBES` by its name."""

    agent: AgentSettings = AgentSettings()
    broker: BrokerSettings
    probe: ProbeSettings
    heavy: HeavySettings = HeavySettings()
    probes: Mapping[str, Any] = field(default_factory=lambda: {name: p.settings() for name, p in PROBES.items()})

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its files."""
        return Path(self.agent.state_dir)

    @property
    def batch_s(self) -> float:
        """Seconds between two sealings."""
        return self.agent.batch_s or BATCH_S[self.agent.mode]


class ConfigError(Exception):
    """The configuration cannot be used; shown as one fault a line."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load(path: Path) -> AgentConfig:
    """The file's configuration, or ConfigError with every fault of it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError((f"{path}: {exc.strerror}",)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError((f"{path}: byte {exc.start} is not UTF-8",)) from exc
    config = parse(text)
    if isinstance(config, tuple):
        raise ConfigError(config)
    return _with_channels(config, path.with_name(CHANNELS_FILE))


def _with_channels(config: AgentConfig, path: Path) -> AgentConfig:
    """The channel list beside the configuration, for probes that have none of their own in it."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return config
    except OSError as exc:
        raise ConfigError((f"{path}: {exc.strerror}",)) from exc
    found, faults = channels.read(raw)
    if faults:
        raise ConfigError(tuple(f"{path}: {fault}" for fault in faults))
    without = {name: part for name, part in config.probes.items() if getattr(part, "channels", None) == ()}
    return replace(config, probes={**config.probes, **{n: replace(p, channels=found) for n, p in without.items()}})


def parse(text: str) -> AgentConfig | tuple[str, ...]:
    """A configuration from TOML, or every fault of it."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        return (f"not TOML: {exc}",)
    return from_tables(raw)


def from_tables(raw: Mapping[str, Any]) -> AgentConfig | tuple[str, ...]:
    """A configuration from its tables by name, or every fault of them."""
    classes: dict[str, type[Any]] = {"agent": AgentSettings, "broker": BrokerSettings, "probe": ProbeSettings}
    classes["heavy"] = HeavySettings
    classes |= {name: probe.settings for name, probe in PROBES.items()}
    unknown = [name for name in raw if name not in classes]
    faults = [f"{name}: unknown table; known are {', '.join(classes)}" for name in unknown]
    built: dict[str, Any] = {}
    for name, cls in classes.items():
        table = raw.get(name, {})
        if not isinstance(table, Mapping):
            faults.append(f"{name}: a table [{name}] is needed")
            continue
        built[name], wrong = settings.build(cls, table, name)
        faults += wrong
    if built.get("broker") is not None:
        faults += _contradictions(built["broker"])
    if faults:
        return tuple(faults)
    probes = {name: built[name] for name in PROBES}
    parts = {name: built[name] for name in ("agent", "broker", "probe", "heavy")}
    return AgentConfig(**parts, probes=probes)


def to_tables(config: AgentConfig) -> dict[str, dict[str, Any]]:
    """The tables that `from_tables` would make it from; a secret stays one."""
    parts = {"agent": config.agent, "broker": config.broker, "probe": config.probe, "heavy": config.heavy}
    parts |= config.probes
    return {name: settings.as_table(part) for name, part in parts.items()}


def dump(config: AgentConfig) -> str:
    """The whole configuration as TOML to look at: with its defaults, with ``***`` for secrets."""
    lines: list[str] = []
    for name, table in to_tables(config).items():
        lines += ["", f"[{name}]", *_pairs(table)]
        for key, rows in table.items():
            if isinstance(rows, list):
                lines += [line for row in rows for line in ("", f"[[{name}.{key}]]", *_pairs(row))]
    return "\n".join(lines[1:]) + "\n"


def _contradictions(broker: BrokerSettings) -> list[str]:
    faults = []
    if (broker.cert_file is None) != (broker.key_file is None):
        given, other = ("cert_file", "key_file") if broker.key_file is None else ("key_file", "cert_file")
        faults.append(f"broker.{other}: missing; {given} is given")
    if broker.password is not None and broker.password_file is not None:
        faults.append("broker.password_file: password is given too; one of them is allowed")
    if broker.username is None and (broker.password is not None or broker.password_file is not None):
        faults.append("broker.username: missing; a password is given")
    if not broker.tls:
        tls_only = [name for name in ("ca_file", "cert_file") if getattr(broker, name) is not None]
        faults += [f"broker.{name}: given, but tls is false" for name in tls_only]
    return faults


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items() if not isinstance(value, list)]


def _toml(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
