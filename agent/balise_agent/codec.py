"""How is what a probe says, and is told, written on the wire and read back?

A batch is its envelope as one line of JSON, LF, then its body as zlib(JSON). Control messages are plain JSON.

Rule 1: decoding is total. Any bytes give a value or a `Refusal` with its name; nothing raises on what came from outside.
Rule 2: inputs are bounded before they are parsed: bytes on the wire, bytes inflated, records, lengths of texts.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any, Literal

from balise_agent.catalogue import CATALOGUE, FieldType, Retention
from balise_agent.contract import (
    COMMAND_KINDS,
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_RECORDS,
    MAX_TEXT,
    MAX_WIRE_BYTES,
    OK,
    VERSION,
    Ack,
    Batch,
    Body,
    Command,
    Config,
    Envelope,
    Outcome,
    Presence,
    Record,
    Refusal,
    body_hash,
)

_TOKEN22 = re.compile(r"[A-Za-z0-9_-]{22}")  # 16 bytes, base64url
_BOOT = re.compile(r"[A-Za-z0-9_-]{1,22}")
_TARGET = re.compile(r"[a-z0-9][a-z0-9_.:-]{0,47}|")
_REASON = re.compile(r"[a-z0-9_]{1,48}")
_TEXT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def record_json(record: Record, base_bt_ms: int) -> dict[str, Any]:
    """A record as it stands in a body: ``m``, ``at`` (ms after the body's bt_ms), ``k`` target, ``failed`` or ``skipped``, ``f``."""
    out: dict[str, Any] = {"m": record.measurement, "at": record.bt_ms - base_bt_ms}
    if record.target:
        out["k"] = record.target
    if record.outcome.kind != "ok":
        out[record.outcome.kind] = record.outcome.reason
    if record.fields:
        out["f"] = dict(record.fields)
    return out


def encode_body(body: Body) -> bytes:
    """The body's JSON, UTF-8; `body_hash` is over these bytes. ValueError: a record that `check_record` would refuse."""
    for record in body.records:
        if (why := check_record(record)) is not None:
            raise ValueError(str(why))
    records = [record_json(r, body.bt_ms) for r in body.records]
    return _dumps({"nonce": body.nonce, "bt": body.bt_ms, "records": records})


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope's line, with its LF."""
    out: dict[str, Any] = {
        "v": VERSION,
        "s": envelope.stream,
        "n": envelope.seq,
        "b": envelope.boot,
        "t": envelope.ts_ms,
        "x": envelope.sent_ms,
        "h": envelope.chain,
        "r": envelope.retention,
    }
    if envelope.previous is not None:
        out["p"] = envelope.previous
    if envelope.window is not None:
        out |= {"q": "unsynced", "w": list(envelope.window)}
    if envelope.signature is not None:
        out["sig"] = envelope.signature
    return _dumps(out) + b"\n"


def encode_batch(envelope: Envelope, body_zlib: bytes) -> bytes:
    """The payload: envelope, LF, body as stored. ``body_zlib`` is what `deflate` made of `encode_body`."""
    return encode_envelope(envelope) + body_zlib


def deflate(body_json: bytes) -> bytes:
    """zlib at its default level: 6 and 9 are within 1 % on a batch, 1 is 8 % larger."""
    return zlib.compress(body_json)


def encode_ack(ack: Ack) -> bytes:
    """Payload of an ack; ``rej`` is left out where it is empty."""
    out: dict[str, Any] = {"s": ack.stream, "a": [list(r) for r in ack.ranges]}
    if ack.rejected:
        out["rej"] = [list(r) for r in ack.rejected]
    return _dumps(out)


def encode_presence(presence: Presence) -> bytes:
    """Payload of a state."""
    out = {"v": VERSION, "online": presence.online, "agent": presence.agent, "boot": presence.boot}
    return _dumps(out | {"stream": presence.stream, "config": presence.config})


def encode_config(config: Config) -> bytes:
    """Payload of a retained configuration."""
    out: dict[str, Any] = {"v": VERSION, "kind": "config", "version": config.version, "consent": config.consent}
    out |= {"segment": config.segment, "plan": dict(config.plan), "contract": dict(config.contract)}
    out |= {"targets": dict(config.targets), "channels": [dict(c) for c in config.channels], "token": config.token}
    return _dumps(out if config.signature is None else out | {"sig": config.signature})


def encode_command(command: Command) -> bytes:
    """Payload of a command."""
    out: dict[str, Any] = {"v": VERSION, "kind": command.kind, "id": command.id, "expires_ms": command.expires_ms}
    out["args"] = dict(command.args)
    return _dumps(out if command.signature is None else out | {"sig": command.signature})


def decode_batch(payload: bytes) -> Batch | Refusal:
    """The whole check of a message, in the order: size, envelope, inflation, JSON, records against the catalogue."""
    if len(payload) > MAX_WIRE_BYTES:
        return Refusal(name="too_large", detail=f"{len(payload)} bytes")
    line, newline, compressed = payload.partition(b"\n")
    envelope = decode_envelope(line) if newline else Refusal(name="bad_envelope", detail="no line end")
    if isinstance(envelope, Refusal):
        return envelope
    raw = inflate(compressed)
    return raw if isinstance(raw, Refusal) else decode_body(envelope, raw)


def decode_envelope(line: bytes) -> Envelope | Refusal:
    """An envelope's line, without its LF."""
    if len(line) > MAX_ENVELOPE_BYTES:
        return Refusal(name="bad_envelope", detail="too long")
    raw = _loads(line)
    if not isinstance(raw, dict):
        return Refusal(name="bad_envelope", detail="not a JSON object")
    if raw.get("v") != VERSION or isinstance(raw["v"], bool):
        return Refusal(name="bad_version", detail=str(raw.get("v"))[:16])
    window = raw.get("w")
    checks = {
        "s": _is_text(raw.get("s"), _TOKEN22),
        "n": _is_int(raw.get("n"), 1, MAX_INT),
        "b": _is_text(raw.get("b"), _BOOT),
        "t": _is_int(raw.get("t"), 0, MAX_INT),
        "x": _is_int(raw.get("x"), 0, MAX_INT),
        "h": _is_text(raw.get("h"), _TOKEN22),
        "r": raw.get("r") in ("raw_90d", "tv_home_7d"),
        "p": raw.get("p") is None or _is_text(raw["p"], _TOKEN22),
        "w": window is None or _is_window(window),
        "sig": raw.get("sig") is None or _is_short(raw["sig"]),
    }
    wrong = [name for name, fine in checks.items() if not fine]
    if wrong:
        return Refusal(name="bad_envelope", detail=", ".join(wrong))
    return Envelope(
        stream=raw["s"],
        seq=raw["n"],
        boot=raw["b"],
        ts_ms=raw["t"],
        sent_ms=raw["x"],
        chain=raw["h"],
        retention=raw["r"],
        previous=raw.get("p"),
        window=None if window is None else (window[0], window[1]),
        signature=raw.get("sig"),
    )


def inflate(compressed: bytes) -> bytes | Refusal:
    """The body's JSON; never more than `MAX_BODY_BYTES` are made."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(compressed, MAX_BODY_BYTES)
    except zlib.error as exc:
        return Refusal(name="bad_zlib", detail=str(exc)[:80])
    if inflater.unconsumed_tail:
        return Refusal(name="inflates_too_much")
    if not inflater.eof or inflater.unused_data:
        return Refusal(name="bad_zlib", detail="cut short" if not inflater.eof else "bytes after its end")
    return raw


def decode_body(envelope: Envelope, raw: bytes) -> Batch | Refusal:
    """A body's JSON against the catalogue; values of unknown fields are dropped, their names kept."""
    parsed = _loads(raw)
    if not isinstance(parsed, dict):
        return Refusal(name="bad_json")
    nonce, bt_ms, rows = parsed.get("nonce"), parsed.get("bt"), parsed.get("records")
    if not _is_text(nonce, _TOKEN22) or not _is_int(bt_ms, 0, MAX_INT):
        return Refusal(name="bad_body", detail="nonce or bt")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_RECORDS:
        return Refusal(name="bad_body", detail=f"records: a list of 1 to {MAX_RECORDS} is allowed")
    unknown = {f"body.{_shown(k)}" for k in parsed.keys() - {"nonce", "bt", "records"}}
    records = []
    for index, row in enumerate(rows):
        record = _decode_record(row, int(bt_ms), envelope.retention, unknown)
        if isinstance(record, Refusal):
            return Refusal(name=record.name, detail=f"record {index}: {record.detail}")
        records.append(record)
    body = Body(nonce=str(nonce), bt_ms=int(bt_ms), records=tuple(records))
    return Batch(envelope=envelope, body=body, body_hash=body_hash(raw), unknown=tuple(sorted(unknown)))


def check_record(record: Record) -> Refusal | None:
    """Why a probe may not say this; None where it may. Field values are checked by type, length and finiteness."""
    measurement = CATALOGUE.get(record.measurement)
    if measurement is None:
        return Refusal(name="unknown_measurement", detail=_shown(record.measurement))
    if measurement.writer != "probe" or not measurement.leaves:
        return Refusal(name="wrong_writer", detail=record.measurement)
    if not _is_text(record.target, _TARGET):
        return Refusal(name="bad_record", detail="target")
    fine = record.outcome.reason is None if record.outcome.kind == "ok" else _is_text(record.outcome.reason, _REASON)
    if not fine:
        return Refusal(name="bad_record", detail="outcome")
    for name, value in record.fields.items():
        known = measurement.field(name)
        if known is None or not _is_value(value, known.type):
            return Refusal(name="bad_record", detail=f"{record.measurement}.{_shown(name)}")
    return None


def decode_ack(payload: bytes) -> Ack | Refusal:
    """An ack; ranges are inclusive, 1 <= from <= to."""
    raw = _control(payload)
    if raw is None or not _is_text(raw.get("s"), _TOKEN22):
        return Refusal(name="bad_control", detail="ack.s")
    ranges, rejected = raw.get("a"), raw.get("rej", [])
    if not isinstance(ranges, list) or not all(_is_window(r) and r[0] >= 1 for r in ranges):
        return Refusal(name="bad_control", detail="ack.a")
    if not isinstance(rejected, list) or not all(_is_rejection(r) for r in rejected):
        return Refusal(name="bad_control", detail="ack.rej")
    return Ack(
        stream=raw["s"], ranges=tuple((a, b) for a, b in ranges), rejected=tuple((n, why) for n, why in rejected)
    )


def decode_presence(payload: bytes) -> Presence | Refusal:
    """A state."""
    raw = _control(payload)
    checks = raw is not None and {
        "online": isinstance(raw.get("online"), bool),
        "agent": _is_short(raw.get("agent")),
        "boot": _is_text(raw.get("boot"), _BOOT),
        "stream": _is_text(raw.get("stream"), _TOKEN22),
        "config": _is_int(raw.get("config", 0), 0, MAX_INT),
    }
    if raw is None or not checks or not all(checks.values()):
        return _wrong("state", checks)
    return Presence(
        online=raw["online"], agent=raw["agent"], boot=raw["boot"], stream=raw["stream"], config=raw.get("config", 0)
    )


def decode_cmd(payload: bytes) -> Config | Command | Refusal:
    """What came on ``cmd``: a configuration or a command. What a plan or a target holds is checked by the agent's `config`."""
    raw = _control(payload)
    if raw is None:
        return Refusal(name="bad_control", detail="cmd: not a JSON object of version 1")
    return _decode_config(raw) if raw.get("kind") == "config" else _decode_command(raw)


def _decode_config(raw: dict[str, Any]) -> Config | Refusal:
    channels = raw.get("channels", [])
    checks = {
        "version": _is_int(raw.get("version"), 1, MAX_INT),
        "consent": isinstance(raw.get("consent", True), bool),
        "segment": isinstance(raw.get("segment", ""), str) and len(raw.get("segment", "")) <= MAX_TEXT,
        "token": isinstance(raw.get("token", ""), str) and len(raw.get("token", "")) <= MAX_ENVELOPE_BYTES,
        "channels": isinstance(channels, list) and all(isinstance(c, dict) for c in channels),
        "sig": raw.get("sig") is None or _is_short(raw["sig"]),
    }
    checks |= {name: isinstance(raw.get(name, {}), dict) for name in ("plan", "contract", "targets")}
    if not all(checks.values()):
        return _wrong("config", checks)
    names = ("version", "consent", "segment", "plan", "contract", "targets", "token")
    given = {name: raw[name] for name in names if name in raw}
    return Config(**given, channels=tuple(channels), signature=raw.get("sig"))


def _decode_command(raw: dict[str, Any]) -> Command | Refusal:
    checks = {
        "kind": raw.get("kind") in COMMAND_KINDS,
        "id": _is_text(raw.get("id"), _TEXT_ID),
        "expires_ms": _is_int(raw.get("expires_ms"), 0, MAX_INT),
        "args": isinstance(raw.get("args", {}), dict),
        "sig": raw.get("sig") is None or _is_short(raw["sig"]),
    }
    if not all(checks.values()):
        return _wrong("command", checks)
    return Command(
        id=raw["id"],
        kind=raw["kind"],
        expires_ms=raw["expires_ms"],
        args=raw.get("args", {}),
        signature=raw.get("sig"),
    )


def _decode_record(row: object, base_bt_ms: int, retention: Retention, unknown: set[str]) -> Record | Refusal:
    if not isinstance(row, dict) or not _is_int(row.get("at"), -MAX_INT, MAX_INT):
        return Refusal(name="bad_record", detail="at")
    measurement = CATALOGUE.get(row["m"]) if isinstance(row.get("m"), str) else None
    if measurement is None:
        return Refusal(name="unknown_measurement", detail=_shown(row.get("m")))
    fields = row.get("f", {})
    outcome = _decode_outcome(row)
    if not isinstance(fields, dict) or outcome is None or not _is_text(row.get("k", ""), _TARGET):
        return Refusal(name="bad_record", detail=f"{measurement.name}: outcome, target or fields")
    known = {f.name for f in measurement.fields}
    unknown |= {f"{measurement.name}.{_shown(name)}" for name in fields.keys() - known}
    unknown |= {f"record.{_shown(name)}" for name in row.keys() - {"m", "at", "k", "f", "failed", "skipped"}}
    record = Record(
        measurement=measurement.name,
        bt_ms=base_bt_ms + row["at"],
        target=row.get("k", ""),
        outcome=outcome,
        fields={name: value for name, value in fields.items() if name in known},
    )
    if measurement.retention != retention:
        return Refusal(name="mixed_retention", detail=measurement.name)
    return check_record(record) or record


def _decode_outcome(row: dict[str, Any]) -> Outcome | None:
    if "failed" in row and "skipped" in row:
        return None
    for kind in ("failed", "skipped"):
        if kind in row:
            return Outcome(kind=kind, reason=row[kind]) if _is_text(row[kind], _REASON) else None  # type: ignore[arg-type]
    return OK


def _loads(raw: bytes) -> Any:
    """Parsed JSON, or None where it is none (null is of no use to any caller)."""
    try:
        return json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _control(payload: bytes) -> dict[str, Any] | None:
    """A control message's object: at most the wire's size, version 1 or unsaid."""
    raw = _loads(payload) if len(payload) <= MAX_WIRE_BYTES else None
    return raw if isinstance(raw, dict) and raw.get("v", VERSION) == VERSION else None


def _wrong(what: str, checks: dict[str, bool] | Literal[False]) -> Refusal:
    names = [name for name, fine in checks.items() if not fine] if checks else ["not a JSON object of version 1"]
    return Refusal(name="bad_control", detail=f"{what}: {', '.join(names)}")


def _shown(name: object) -> str:
    """A foreign name, safe to log: an unknown field's name could itself carry a value, so only a plain identifier is kept."""
    return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_]{1,48}", name) else "?"


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def _is_window(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and _is_int(value[0], 0, MAX_INT)
        and _is_int(value[1], value[0], MAX_INT)
    )


def _is_rejection(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_int(value[0], 1, MAX_INT) and _is_short(value[1])


def _is_value(value: object, kind: FieldType) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
    if kind == "int":
        return _is_int(value, -MAX_INT, MAX_INT)
    return _is_int(value, -MAX_INT, MAX_INT) or (isinstance(value, float) and math.isfinite(value))
