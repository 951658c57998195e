"""How are acks, presence, configurations and commands written on the wire and read back?

Each is one JSON object. Names that a reader does not know are passed over, so an older agent takes a newer
configuration; what a plan, a target or an argument means is checked by the program that acts on it.
"""

from __future__ import annotations

from typing import Any

from balise_agent.codec.shape import (
    BOOT,
    COMMAND_ID,
    REASON,
    TOKEN,
    dumps,
    is_int,
    is_range,
    is_short,
    is_text,
    is_tree,
    loads,
)
from balise_agent.contract import (
    COMMAND_KINDS,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_TS_MS,
    MAX_WIRE_BYTES,
    VERSION,
    Ack,
    Answer,
    Command,
    Config,
    Presence,
    Refusal,
)


def encode_ack(ack: Ack) -> bytes:
    """Payload of an ack; ``rej`` is left out where it is empty."""
    out: dict[str, Any] = {"s": ack.stream, "a": [list(r) for r in ack.ranges]}
    if ack.rejected:
        out["rej"] = [list(r) for r in ack.rejected]
    return dumps(out)


def encode_presence(presence: Presence) -> bytes:
    """Payload of a state."""
    out = {"v": VERSION, "online": presence.online, "agent": presence.agent, "boot": presence.boot}
    return dumps(out | {"stream": presence.stream, "config": presence.config})


def encode_answer(answer: Answer) -> bytes:
    """Payload of an answer, on ``state`` too."""
    return dumps({"v": VERSION, "answer": answer.id, "reason": answer.reason})


def encode_config(config: Config) -> bytes:
    """Payload of a retained configuration. ValueError: one that no probe could read."""
    out: dict[str, Any] = {"v": VERSION, "kind": "config", "version": config.version, "consent": config.consent}
    out |= {"segment": config.segment, "plan": dict(config.plan), "contract": dict(config.contract)}
    out |= {"targets": dict(config.targets), "channels": [dict(c) for c in config.channels], "token": config.token}
    return _readable(out if config.signature is None else out | {"sig": config.signature})


def encode_command(command: Command) -> bytes:
    """Payload of a command. ValueError: one that no probe could read."""
    out: dict[str, Any] = {"v": VERSION, "kind": command.kind, "id": command.id, "expires_ms": command.expires_ms}
    out["args"] = dict(command.args)
    return _readable(out if command.signature is None else out | {"sig": command.signature})


def decode_ack(payload: bytes) -> Ack | Refusal:
    """An ack; ranges are inclusive, 1 <= from <= to."""
    raw = _object(payload)
    ranges, rejected = raw.get("a"), raw.get("rej", [])
    checks = {
        "s": is_text(raw.get("s"), TOKEN),
        "a": isinstance(ranges, list) and all(is_range(r, 1, MAX_INT) for r in ranges),
        "rej": isinstance(rejected, list) and all(_is_rejection(r) for r in rejected),
    }
    if not all(checks.values()):
        return _wrong("ack", checks)
    return Ack(
        stream=raw["s"],
        ranges=tuple((first, last) for first, last in raw["a"]),
        rejected=tuple((seq, why) for seq, why in rejected),
    )


def decode_presence(payload: bytes) -> Presence | Refusal:
    """A state."""
    raw = _object(payload)
    checks = {
        "online": isinstance(raw.get("online"), bool),
        "agent": is_short(raw.get("agent")),
        "boot": is_text(raw.get("boot"), BOOT),
        "stream": is_text(raw.get("stream"), TOKEN),
        "config": is_int(raw.get("config", 0), 0, MAX_INT),
    }
    if not all(checks.values()):
        return _wrong("state", checks)
    return Presence(**{name: raw[name] for name in checks if name in raw})


def decode_answer(payload: bytes) -> Answer | Refusal:
    """An answer; a presence is none."""
    raw = _object(payload)
    checks = {"answer": is_text(raw.get("answer"), COMMAND_ID), "reason": is_text(raw.get("reason"), REASON)}
    if not all(checks.values()):
        return _wrong("state", checks)
    return Answer(id=raw["answer"], reason=raw["reason"])


def decode_cmd(payload: bytes) -> Config | Command | Refusal:
    """What came on ``cmd``: a configuration or a command."""
    raw = _object(payload)
    return _decode_config(raw) if raw.get("kind") == "config" else _decode_command(raw)


def _decode_config(raw: dict[str, Any]) -> Config | Refusal:
    channels = raw.get("channels", [])
    checks = {
        "version": is_int(raw.get("version"), 1, MAX_INT),
        "consent": isinstance(raw.get("consent", True), bool),
        "segment": raw.get("segment", "") == "" or is_short(raw["segment"]),
        "token": _is_printable(raw.get("token", "")),
        "plan": isinstance(raw.get("plan", {}), dict) and is_tree(raw.get("plan")),
        "contract": isinstance(raw.get("contract", {}), dict) and is_tree(raw.get("contract")),
        "targets": isinstance(raw.get("targets", {}), dict) and is_tree(raw.get("targets")),
        "channels": isinstance(channels, list) and all(isinstance(c, dict) and is_tree(c) for c in channels),
        "sig": raw.get("sig") is None or is_short(raw["sig"]),
    }
    if not all(checks.values()):
        return _wrong("config", checks)
    given = {name: raw[name] for name in checks if name in raw and name not in ("channels", "sig")}
    return Config(**given, channels=tuple(channels), signature=raw.get("sig"))


def _decode_command(raw: dict[str, Any]) -> Command | Refusal:
    checks = {
        "kind": raw.get("kind") in COMMAND_KINDS,
        "id": is_text(raw.get("id"), COMMAND_ID),
        "expires_ms": is_int(raw.get("expires_ms"), 0, MAX_TS_MS),
        "args": isinstance(raw.get("args", {}), dict) and is_tree(raw.get("args")),
        "sig": raw.get("sig") is None or is_short(raw["sig"]),
    }
    if not all(checks.values()):
        return _wrong("cmd", checks)
    given = {name: raw[name] for name in checks if name in raw and name != "sig"}
    return Command(**given, signature=raw.get("sig"))


def _object(payload: bytes) -> dict[str, Any]:
    """A control message's object: at most the wire's size, version 1 or unsaid; empty where it is none."""
    raw = loads(payload) if len(payload) <= MAX_WIRE_BYTES else None
    return raw if isinstance(raw, dict) and is_int(raw.get("v", VERSION), VERSION, VERSION) else {}


def _readable(message: dict[str, Any]) -> bytes:
    payload = dumps(message)
    if isinstance(refusal := decode_cmd(payload), Refusal):
        raise ValueError(str(refusal))
    return payload


def _wrong(what: str, checks: dict[str, bool]) -> Refusal:
    names = ", ".join(name for name, fine in checks.items() if not fine)
    return Refusal(name="bad_control", detail=f"{what}: {names}")


def _is_printable(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_ENVELOPE_BYTES and value.isprintable()


def _is_rejection(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_int(value[0], 1, MAX_INT) and is_short(value[1])
