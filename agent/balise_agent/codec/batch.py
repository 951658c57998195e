"""How is a batch of records written on the wire and read back?

The payload is the envelope as one line of JSON, LF, then the body as zlib(JSON). Names are one to three letters where
they stand in every message; `docs/contract.md` has them all.
"""

from __future__ import annotations

import zlib
from typing import Any

from balise_agent.catalogue import CATALOGUE, FieldType, Retention
from balise_agent.codec.dictionary import DICTIONARY
from balise_agent.codec.shape import (
    BOOT,
    REASON,
    TARGET,
    TOKEN,
    dumps,
    is_field,
    is_int,
    is_range,
    is_short,
    is_text,
    loads,
    shown,
)
from balise_agent.contract import (
    MAX_AT_MS,
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_RECORDS,
    MAX_TS_MS,
    MAX_UNKNOWN,
    MAX_WIRE_BYTES,
    OK,
    VERSION,
    Batch,
    Body,
    Envelope,
    Outcome,
    Record,
    Refusal,
    Value,
    body_hash,
)

_FIELDS: dict[str, dict[str, FieldType]] = {m.name: {f.name: f.type for f in m.fields} for m in CATALOGUE.values()}
_CLASSES = {m.retention for m in CATALOGUE.values() if m.writer == "probe"} | {"raw_90d", "tv_home_7d"}


def record_json(record: Record, base_bt_ms: int) -> dict[str, Any]:
    """A record as it stands in a body.

    ``m`` measurement, ``at`` ms after the body's bt_ms, ``k`` target, ``failed`` or ``skipped`` reason, ``f`` fields.
    """
    out: dict[str, Any] = {"m": record.measurement, "at": record.bt_ms - base_bt_ms}
    if record.target:
        out["k"] = record.target
    if record.outcome.kind != "ok":
        out[record.outcome.kind] = record.outcome.reason
    if record.fields:
        out["f"] = dict(record.fields)
    return out


def encode_body(body: Body) -> bytes:
    """The body's JSON in UTF-8; `body_hash` is over these bytes. ValueError: a part that `decode_body` would refuse."""
    if not 1 <= len(body.records) <= MAX_RECORDS:
        raise ValueError(f"{len(body.records)} records: 1 to {MAX_RECORDS} are allowed")
    if not is_text(body.nonce, TOKEN) or not is_int(body.bt_ms, 0, MAX_INT):
        raise ValueError(f"nonce or bt_ms: {body.nonce!r}, {body.bt_ms!r}")
    for record in body.records:
        if (why := check_record(record)) is not None:
            raise ValueError(str(why))
        if not is_int(record.bt_ms - body.bt_ms, -MAX_AT_MS, MAX_AT_MS):
            raise ValueError(f"{record.measurement}: bt_ms {record.bt_ms!r} is not within 90 days of the body's")
    return dumps({"nonce": body.nonce, "bt": body.bt_ms, "records": [record_json(r, body.bt_ms) for r in body.records]})


def deflate(body_json: bytes) -> bytes:
    """zlib with the preset dictionary, at its default level: 6 and 9 are within 1 % on a batch, 1 is 8 % larger."""
    packer = zlib.compressobj(zdict=DICTIONARY)
    return packer.compress(body_json) + packer.flush()


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
    return dumps(out) + b"\n"


def encode_batch(envelope: Envelope, body_zlib: bytes) -> bytes:
    """The payload: envelope, LF, body as stored. ``body_zlib`` is what `deflate` made of `encode_body`."""
    return encode_envelope(envelope) + body_zlib


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
    """An envelope's line, without its LF. Names that this reader does not know are passed over."""
    raw = loads(line) if len(line) <= MAX_ENVELOPE_BYTES else None
    if not isinstance(raw, dict):
        return Refusal(name="bad_envelope", detail=f"no JSON object of at most {MAX_ENVELOPE_BYTES} bytes")
    if not is_int(raw.get("v"), VERSION, VERSION):
        return Refusal(name="bad_version", detail=str(raw["v"]) if is_int(raw.get("v"), 0, MAX_INT) else "v")
    checks = {
        "s": is_text(raw.get("s"), TOKEN),
        "n": is_int(raw.get("n"), 1, MAX_INT),
        "b": is_text(raw.get("b"), BOOT),
        "t": is_int(raw.get("t"), 0, MAX_TS_MS),
        "x": is_int(raw.get("x"), 0, MAX_TS_MS),
        "h": is_text(raw.get("h"), TOKEN),
        "r": isinstance(raw.get("r"), str) and raw["r"] in _CLASSES,
        "p": raw.get("p") is None or is_text(raw["p"], TOKEN),
        "w": raw.get("w") is None or is_range(raw["w"], 0, MAX_TS_MS),
        "sig": raw.get("sig") is None or is_short(raw["sig"]),
    }
    if not all(checks.values()):
        return Refusal(name="bad_envelope", detail=", ".join(name for name, fine in checks.items() if not fine))
    return Envelope(
        stream=raw["s"],
        seq=raw["n"],
        boot=raw["b"],
        ts_ms=raw["t"],
        sent_ms=raw["x"],
        chain=raw["h"],
        retention=raw["r"],
        previous=raw.get("p"),
        window=None if raw.get("w") is None else (raw["w"][0], raw["w"][1]),
        signature=raw.get("sig"),
    )


def inflate(compressed: bytes) -> bytes | Refusal:
    """The body's JSON; never more than `MAX_BODY_BYTES` and one are made."""
    inflater = zlib.decompressobj(zdict=DICTIONARY)  # for those that ask for it
    try:
        raw = inflater.decompress(compressed, MAX_BODY_BYTES + 1)
    except zlib.error as exc:
        return Refusal(name="bad_zlib", detail=str(exc)[:80])
    if len(raw) > MAX_BODY_BYTES:
        return Refusal(name="inflates_too_much")
    if not inflater.eof or inflater.unused_data:
        return Refusal(name="bad_zlib", detail="cut short" if not inflater.eof else "bytes after its end")
    return raw


def decode_body(envelope: Envelope, raw: bytes) -> Batch | Refusal:
    """A body's JSON against the catalogue; values of unknown fields are dropped, their names kept."""
    parsed = loads(raw)
    if parsed is None:
        return Refusal(name="bad_json")
    if not isinstance(parsed, dict):
        return Refusal(name="bad_body", detail="not an object")
    nonce, bt_ms, rows = parsed.get("nonce"), parsed.get("bt"), parsed.get("records")
    if not is_text(nonce, TOKEN) or not is_int(bt_ms, 0, MAX_INT):
        return Refusal(name="bad_body", detail="nonce or bt")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_RECORDS:
        return Refusal(name="bad_body", detail=f"records: a list of 1 to {MAX_RECORDS} is allowed")
    unknown = {f"body.{shown(name)}" for name in parsed.keys() - {"nonce", "bt", "records"}}
    records = []
    for index, row in enumerate(rows):
        record = _decode_record(row, bt_ms, envelope.retention, unknown)
        if isinstance(record, Refusal):
            return Refusal(name=record.name, detail=f"record {index}: {record.detail}")
        records.append(record)
    body = Body(nonce=nonce, bt_ms=bt_ms, records=tuple(records))
    names = tuple(sorted(unknown)[:MAX_UNKNOWN])
    return Batch(envelope=envelope, body=body, body_hash=body_hash(raw), unknown=names)


def check_record(record: Record) -> Refusal | None:
    """Why a probe may not say this; None where it may. Field values are checked by type, length and finiteness."""
    measurement = CATALOGUE.get(record.measurement)
    if measurement is None:
        return Refusal(name="unknown_measurement", detail=shown(record.measurement))
    if measurement.writer != "probe" or not measurement.leaves:
        return Refusal(name="wrong_writer", detail=record.measurement)
    if not is_text(record.target, TARGET):
        return Refusal(name="bad_record", detail=f"{record.measurement}: target")
    if not _is_outcome(record.outcome):
        return Refusal(name="bad_record", detail=f"{record.measurement}: outcome")
    kinds = _FIELDS[record.measurement]
    for name, value in record.fields.items():
        if name not in kinds or not is_field(value, kinds[name]):
            return Refusal(name="bad_record", detail=f"{record.measurement}.{shown(name)}")
    return None


def _decode_record(row: object, base_bt_ms: int, retention: Retention, unknown: set[str]) -> Record | Refusal:
    if not isinstance(row, dict):
        return Refusal(name="bad_record", detail="not an object")
    measurement = CATALOGUE.get(row["m"]) if isinstance(row.get("m"), str) else None
    if measurement is None:
        return Refusal(name="unknown_measurement", detail=shown(row.get("m")))
    at, fields, outcome = row.get("at"), row.get("f", {}), _decode_outcome(row)
    if not is_int(at, -MAX_AT_MS, MAX_AT_MS) or not isinstance(fields, dict) or outcome is None:
        return Refusal(name="bad_record", detail=f"{measurement.name}: at, f or outcome")
    if measurement.retention != retention:
        return Refusal(name="mixed_retention", detail=measurement.name)
    kinds = _FIELDS[measurement.name]
    unknown |= {f"record.{shown(name)}" for name in row.keys() - {"m", "at", "k", "f", "failed", "skipped"}}
    unknown |= {f"{measurement.name}.{shown(name)}" for name in fields.keys() - kinds.keys()}
    record = Record(
        measurement=measurement.name,
        bt_ms=base_bt_ms + at,
        target=row.get("k", ""),
        outcome=outcome,
        fields={name: _value(value, kinds[name]) for name, value in fields.items() if name in kinds},
    )
    return check_record(record) or record


def _is_outcome(outcome: Outcome) -> bool:
    if outcome.kind == "ok":
        return outcome.reason is None
    return outcome.kind in ("failed", "skipped") and is_text(outcome.reason, REASON)


def _decode_outcome(row: dict[str, Any]) -> Outcome | None:
    if "failed" in row:
        return None if "skipped" in row else Outcome(kind="failed", reason=row["failed"])
    return Outcome(kind="skipped", reason=row["skipped"]) if "skipped" in row else OK


def _value(value: Any, kind: FieldType) -> Value:
    """A float written without its point is one all the same: stores keep the type of a field for ever."""
    return float(value) if kind == "float" and is_field(value, kind) else value
