"""Which configuration of the operator is in force, and has it proven itself?

A retained configuration is laid over the local file: ``plan`` is ``{"batch_s": s, "mode": m, "heavy": {settings},
"<probe>": {settings}}``, ``targets`` is ``{"<probe>": [peers]}``; ``channels`` are television's; ``contract`` and
``token`` are the throughput probes'; what is not in it keeps the local file's value. Broker, identity and the place of
files are the local file's alone.

Whom a probe may call, and as whom, is the local file's alone too: who could set it from afar could make a thousand
probes call a number that costs.

Rule 1: one that does not validate is refused whole, with all its faults.
Rule 2: one that does is on trial until a message sealed under it is acknowledged; after `TRIAL_S` without, the probe
goes back to the last good one and says so: a bad configuration can brick a probe like bad code.
Rule 3: a withdrawn consent is obeyed at once, is never on trial and outlives a return to an older configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from balise_agent import durable_file, settings
from balise_agent.codec import decode_cmd, encode_config
from balise_agent.config import AgentConfig, AgentSettings, HeavySettings
from balise_agent.contract import MAX_TEXT, Config, Record
from balise_agent.probes import PROBES
from balise_agent.signature import is_signed

T = TypeVar("T")

_RATES = ("down_bps", "up_bps")
_LOCAL = {"voice": ("accounts", "numbers", "ungated")}
_CHANNELS = "channels"
_PEERS_OF = dict.fromkeys(("loaded", "udp_capacity", "speedtest"), "throughput")
"""The same targets, where one has none of its own."""

TRIAL_S = 600.0
MOST_TRIALS = 3
"""Of one version: a line that is cut during its trial looks like a bad configuration, three in a row do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``tried``, ``trials``: version last on trial, how often; ``withdrawn``: version that withdrew consent, or 0."""

    good: Config | None = None
    trial: Config | None = None
    since_s: float = 0.0
    tried: int = 0
    trials: int = 0
    consent: bool = True
    withdrawn: int = 0
    refused: int = 0  # last version that was refused and said so; it comes again at each reconnect

    @property
    def current(self) -> Config | None:
        """The configuration in force; None: the local file alone."""
        return self.trial or self.good

    @property
    def version(self) -> int:
        """Version in force, 0 for the local file alone; only above it is anything taken."""
        return max(self.withdrawn, 0 if self.current is None else self.current.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The agent started, with the state that `load` read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A retained configuration came."""

    config: Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A message was acknowledged that was sealed at ``sealed_s``, on the same clock as ``now_s``."""

    sealed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write the state (`keep`) before what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Measure by this configuration from now on."""

    config: AgentConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMeasuring:
    """The home no longer agrees to being measured: start nothing, end what runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseBuffer:
    """The home no longer agrees to being measured: nothing measured stays on the probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Tell the operator, as an agent_event."""

    what: str
    version: int
    detail: str

    def record(self, bt_ms: int) -> Record:
        """The event as a record."""
        fields = {"detail": self.detail[:MAX_TEXT], "version": str(self.version)}
        return Record(measurement="agent_event", target=self.what, bt_ms=bt_ms, fields=fields)


Event = Started | Received | Acknowledged | Tick
Action = Keep | Apply | StopMeasuring | EraseBuffer | Say
Decision = tuple[State, tuple[Action, ...]]


def apply(base: AgentConfig, remote: Config) -> AgentConfig | tuple[str, ...]:
    """The local configuration with the remote one laid over it, or every fault of the remote one."""
    known = ("batch_s", "mode", "heavy", *PROBES)
    faults = [f"plan.{_name(k)}: unknown key; known are {', '.join(known)}" for k in remote.plan if k not in known]
    lists = {name: field for name, part in base.probes.items() if (field := _list_field(part))}
    faults += [
        f"targets.{_name(k)}: unknown key; known are {', '.join(lists)}" for k in remote.targets if k not in lists
    ]
    agent, wrong = _agent(base.agent, remote.plan)
    faults += wrong
    heavy, wrong = _heavy(base.heavy, remote.plan.get("heavy", {}))
    faults += wrong
    probes: dict[str, Any] = {}
    for name, part in base.probes.items():
        probes[name], wrong = _probe(name, part, lists.get(name), remote)
        faults += wrong
    if faults or agent is None or heavy is None:
        return tuple(dict.fromkeys(faults))  # the contract's are those of both probes
    return replace(base, agent=agent, heavy=heavy, probes=probes)


def decide(base: AgentConfig, state: State, event: Event, now_s: float) -> Decision:
    """What an event changes, and what is to be done about it, in order. ``now_s``: a clock that never steps."""
    match event:
        case Started():
            return _started(base, state, now_s)
        case Received():
            return _received(base, state, event.config, now_s)
        case Acknowledged():
            if state.trial is None or event.sealed_s < state.since_s:
                return state, ()
            return replace(state, good=state.trial, trial=None, trials=0), (Keep(),)
        case Tick():
            if state.trial is None or now_s - state.since_s < TRIAL_S:
                return state, ()
            return _reverted(base, state, f"nothing was acknowledged under it for {TRIAL_S:.0f} s")


def load(state_dir: Path) -> tuple[State, list[str]]:
    """The state as it was kept, and what of it could not be read."""
    problems: list[str] = []
    good = _read(state_dir / "config.good", _config_of, problems)
    kept = _read(state_dir / "config.json", _kept_of, problems) or {}
    return State(good=good, **kept), problems


def keep(state_dir: Path, state: State) -> None:
    """Writes the state for the next start; OSError where the disk does not take it."""
    if state.good is not None:
        durable_file.replace(state_dir / "config.good", encode_config(state.good))
    else:
        durable_file.remove(state_dir / "config.good")
    trial = None if state.trial is None else json.loads(encode_config(state.trial))
    names = ("tried", "trials", "consent", "withdrawn")
    kept = {"trial": trial} | {name: getattr(state, name) for name in names}
    durable_file.replace(state_dir / "config.json", json.dumps(kept).encode())


def _started(base: AgentConfig, state: State, now_s: float) -> Decision:
    if not state.consent:  # erased again: the last start may have ended between keeping and erasing
        return state, (StopMeasuring(), EraseBuffer())
    if state.trial is not None:
        return _trial_resumed(base, state, state.trial, now_s)
    if state.good is None:
        return state, ()
    applied = apply(base, state.good)
    if isinstance(applied, AgentConfig):
        return state, (Apply(config=applied),)
    return _refused(replace(state, good=None), state.good, "; ".join(applied))


def _trial_resumed(base: AgentConfig, state: State, trial: Config, now_s: float) -> Decision:
    if state.trials >= MOST_TRIALS:
        return _reverted(base, state, f"the agent started {MOST_TRIALS} times under it without an acknowledgement")
    applied = apply(base, trial)
    if isinstance(applied, AgentConfig):
        return _on_trial(state, trial, applied, now_s)
    return _reverted(base, state, "; ".join(applied))


def _received(base: AgentConfig, state: State, config: Config, now_s: float) -> Decision:
    if config.version <= state.version:
        return state, ()
    key = base.agent.command_key
    if key is not None and not is_signed(config, base.probe.id, key):
        return _refused(state, config, "its signature is missing or not of agent.command_key")
    if not config.consent:
        said = Say(what="config_applied", version=config.version, detail="consent is withdrawn: nothing is measured")
        state = replace(state, trial=None, consent=False, withdrawn=config.version)
        return state, (Keep(), StopMeasuring(), EraseBuffer(), said)
    if config.version == state.tried and state.trials >= MOST_TRIALS:
        return state, ()
    applied = apply(base, config)
    if isinstance(applied, AgentConfig):
        return _on_trial(state, config, applied, now_s)
    return _refused(state, config, "; ".join(applied))


def _on_trial(state: State, config: Config, applied: AgentConfig, now_s: float) -> Decision:
    trials = state.trials + 1 if config.version == state.tried else 1
    state = replace(state, trial=config, since_s=now_s, tried=config.version, trials=trials, consent=True)
    said = Say(what="config_applied", version=config.version, detail=f"on trial, {trials} of {MOST_TRIALS}")
    return state, (Keep(), Apply(config=applied), said)


def _refused(state: State, config: Config, why: str) -> Decision:
    if state.refused == config.version:
        return state, ()
    return replace(state, refused=config.version), (Say(what="config_refused", version=config.version, detail=why),)


def _reverted(base: AgentConfig, state: State, why: str) -> Decision:
    given_up = 0 if state.trial is None else state.trial.version
    state = replace(state, trial=None)
    applied = base if state.good is None else apply(base, state.good)
    if not isinstance(applied, AgentConfig):  # good under an older local file, not under this one
        state, applied = replace(state, good=None), base
    said = Say(what="config_reverted", version=given_up, detail=f"back to version {state.version}: {why}")
    return state, (Keep(), Apply(config=applied), said)


def _agent(base: AgentSettings, plan: Mapping[str, Any]) -> tuple[AgentSettings | None, list[str]]:
    given = {name: plan[name] for name in ("batch_s", "mode") if name in plan}
    if "mode" in given:  # the operator's mode, not the local file's batch time
        base = replace(base, batch_s=None)
    return settings.build(AgentSettings, settings.as_table(base) | given, "plan")


def _heavy(base: HeavySettings, plan: Any) -> tuple[HeavySettings | None, list[str]]:
    if not isinstance(plan, Mapping):
        return None, ["plan.heavy: not a table"]
    return settings.build(HeavySettings, settings.as_table(base) | dict(plan), "plan.heavy")


def _granted(part: Any, remote: Config) -> dict[str, Any]:
    """What the contract and the token say of a probe that has a place for it."""
    said = {f"contract_{way}": remote.contract.get(way) for way in _RATES} | {"token": remote.token or None}
    return {name: value for name, value in said.items() if value is not None and hasattr(part, name)}


def _probe(name: str, base: Any, list_field: str | None, remote: Config) -> tuple[Any, list[str]]:
    plan = remote.plan.get(name, {})
    if not isinstance(plan, Mapping):
        return None, [f"plan.{name}: not a table"]
    if list_field in plan:
        return None, [f"plan.{name}.{list_field}: unknown key; it is targets.{name}"]
    has_channels = hasattr(base, _CHANNELS)
    if has_channels and _CHANNELS in plan:
        return None, [f"plan.{name}.{_CHANNELS}: unknown key; it is {_CHANNELS}"]
    if local := [f"plan.{name}.{key}: the local file's alone" for key in _LOCAL.get(name, ()) if key in plan]:
        return None, local
    table = settings.as_table(base) | _granted(base, remote) | dict(plan)
    of = name if name in remote.targets else _PEERS_OF.get(name, name)
    if list_field is not None and of in remote.targets:
        table[list_field] = remote.targets[of]
    if has_channels and remote.channels:
        table[_CHANNELS] = list(remote.channels)
    built, faults = settings.build(type(base), table, f"plan.{name}")
    said = {f"plan.{name}.{list_field}": f"targets.{of}", f"plan.{name}.{_CHANNELS}": _CHANNELS}
    said |= {f"plan.{name}.contract_{way}": f"contract.{way}" for way in _RATES if f"contract_{way}" not in plan}
    return built, [_renamed(fault, said) for fault in faults]


def _renamed(fault: str, said: Mapping[str, str]) -> str:
    """The fault with the path that its author knows."""
    for path, known in said.items():
        fault = fault.replace(path, known, 1)
    return fault


def _list_field(part: Any) -> str | None:
    """The field of a probe's settings that holds its list of peers; channels are no probe's own."""
    lists = (name for name, value in settings.as_table(part).items() if isinstance(value, list))
    return next((name for name in lists if name != _CHANNELS), None)


def _name(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 48 else "?"


def _read(path: Path, decode: Callable[[bytes], T], problems: list[str]) -> T | None:
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        problems.append(f"{path.name}: {type(exc).__name__}")
        return None


def _config_of(raw: bytes) -> Config:
    config = decode_cmd(raw)
    if not isinstance(config, Config):
        raise ValueError(str(config))
    return config


def _kept_of(raw: bytes) -> dict[str, Any]:
    kept = json.loads(raw)
    trial = None if kept["trial"] is None else _config_of(json.dumps(kept["trial"]).encode())
    numbers = {name: int(kept[name]) for name in ("tried", "trials", "withdrawn")}
    return {"trial": trial, "consent": kept["consent"] is True, **numbers}
