"""Which messages are kept for ever? `python -m tests.contract.write_golden` writes those that are not there yet.

Rule 1: a file that exists is never written again. A message that was once sent is read by every later version.
Rule 2: what a message says is written from the values that were encoded, never from what a decoder made of them.

The figures show the format and its bounds; nobody measured them.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from balise_agent import codec
from balise_agent.catalogue import CATALOGUE, FieldType, Measurement
from balise_agent.contract import (
    MAX_INT,
    OK,
    Ack,
    Body,
    Command,
    Config,
    Envelope,
    Outcome,
    Presence,
    Record,
    Value,
    body_hash,
    chain_next,
    chain_start,
    failed,
    skipped,
    token,
)

FOLDER = Path(__file__).parent / "v1"
SNAPSHOT = FOLDER / "catalogue.json"
KINDS = {"ok": OK, "failed": failed("timeout"), "skipped": skipped("line_busy")}

STREAM, PREVIOUS, BOOT, NONCE = (token(hashlib.sha256(name).digest()[:16]) for name in (b"s", b"p", b"b", b"n"))
TS_MS, BT_MS = 1_764_000_000_000, 3_600_000
ENVELOPE = Envelope(stream=STREAM, seq=41, boot=BOOT, ts_ms=TS_MS, sent_ms=TS_MS + 250, chain="", retention="raw_90d")
EXAMPLES: dict[FieldType, Value] = {"int": 1_234, "float": 12.25, "bool": True, "str": "text"}


def main() -> None:
    """Writes what is missing, and says it."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in {**dict(records()), **dict(controls())}.items():
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            print(f"wrote {path.name}")
    kept = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}
    SNAPSHOT.write_text(json.dumps(extended(kept, described()), indent=1) + "\n")


def described() -> dict[str, Any]:
    """What a reader of stored records relies on, of every measurement."""
    return {
        m.name: {
            "writer": m.writer,
            "leaves": m.leaves,
            "retention": m.retention,
            "fields": {f.name: {"type": f.type, "unit": f.unit} for f in m.fields},
        }
        for m in CATALOGUE.values()
    }


def extended(kept: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The snapshot with what is new; what it holds already stays as it was."""
    merged = dict(kept)
    for name, measurement in now.items():
        old = kept.get(name, measurement)
        merged[name] = old | {"fields": measurement["fields"] | old["fields"]}
    return merged


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    """Batches: each measurement that a probe sends with each outcome, then each form of the envelope and the body."""
    from_probes = [m for m in CATALOGUE.values() if m.writer == "probe" and m.leaves]
    for m in from_probes:
        for kind, outcome in KINDS.items():
            yield f"records-{m.name}-{kind}", batch(example(m, outcome), retention=m.retention)
    reach = example(CATALOGUE["reach"], OK)
    yield "records-first-of-a-database", batch(reach, seq=1)
    yield "records-first-after-another-stream", batch(reach, seq=1, previous=PREVIOUS)
    yield "records-unsynced", batch(reach, ts_ms=0, sent_ms=0, window=(TS_MS - 86_400_000, TS_MS))
    yield "records-signed", batch(reach, signature=token(hashlib.sha512(b"sig").digest()))
    yield "records-bounds", batch(*bounds())
    yield "records-of-a-later-agent", later(reach)
    yield "records-by-the-dictionary", batch(reach, example(CATALOGUE["host"], OK), example(CATALOGUE["dns"], OK))


def example(measurement: Measurement, outcome: Outcome) -> Record:
    """A record with every field where it is ok, with none where it is not."""
    fields = {f.name: EXAMPLES[f.type] for f in measurement.fields} if outcome == OK else {}
    target = "gw" if measurement.target else ""
    return Record(measurement=measurement.name, bt_ms=BT_MS - 500, target=target, outcome=outcome, fields=fields)


def bounds() -> list[Record]:
    """Values at the edges of their types."""
    ints: dict[str, Value] = {"sent": MAX_INT, "lost": -MAX_INT, "min_us": 0, "window_s": 5e-324}
    texts: dict[str, Value] = {"detail": 'délai "dépassé" \\ 10:30 …', "version": "x" * 256, "step_ms": -1}
    return [
        Record(measurement="reach", bt_ms=BT_MS - 60_000, target="any-1.b_c:d", fields=ints),
        Record(measurement="web", bt_ms=BT_MS + 1, target="x" * 48, fields={"total_ms": 1.7976931348623157e308}),
        Record(measurement="agent_event", bt_ms=BT_MS, target="started", fields=texts),
        Record(measurement="host", bt_ms=BT_MS, fields={"temp_c": -0.5, "clock_ok": False}),
    ]


def batch(*rows: Record, **changes: Any) -> dict[str, Any]:
    """One message and what it says."""
    raw = codec.encode_body(Body(nonce=NONCE, bt_ms=BT_MS, records=rows))
    return message(raw, rows, (), **changes)


def later(row: Record) -> dict[str, Any]:
    """A message with names that this version's readers do not know, and must pass over."""
    body = json.loads(codec.encode_body(Body(nonce=NONCE, bt_ms=BT_MS, records=(row,))))
    body["of_a_later_version"] = [1]
    body["records"][0] |= {"of_a_later_version": None}
    body["records"][0]["f"] |= {"of_a_later_version": {"a": 1}}
    names = ("body.of_a_later_version", "reach.of_a_later_version", "record.of_a_later_version")
    return message(json.dumps(body).encode(), (row,), names)


def message(raw: bytes, rows: tuple[Record, ...], unknown: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """The payload around a body, chained."""
    envelope = dataclasses.replace(ENVELOPE, **changes)
    last = chain_start(envelope.stream, envelope.previous)
    chain = chain_next(last, envelope.seq, envelope.ts_ms, body_hash(raw))
    envelope = dataclasses.replace(envelope, chain=chain)
    payload = codec.encode_batch(envelope, codec.deflate(raw))
    said = {"envelope": dataclasses.asdict(envelope), "nonce": NONCE, "bt_ms": BT_MS}
    said |= {"body_hash": body_hash(raw).hex(), "unknown": unknown, "records": [spelled(row) for row in rows]}
    return {"topic": "records", "payload": base64.b64encode(payload).decode(), "says": said}


def spelled(record: Record) -> dict[str, Any]:
    """A record in plain JSON."""
    outcome = {"kind": record.outcome.kind, "reason": record.outcome.reason}
    place = {"measurement": record.measurement, "bt_ms": record.bt_ms, "target": record.target}
    return place | outcome | {"fields": dict(record.fields)}


def controls() -> Iterator[tuple[str, dict[str, Any]]]:
    """Acks, presence, configurations, commands."""
    ack = Ack(stream=STREAM, ranges=((1, 40), (42, 42)))
    yield "ack", control("ack", codec.encode_ack(ack), ack)
    rejecting = dataclasses.replace(ack, rejected=((41, "bad_record: record 0: reach.af"),))
    yield "ack-with-a-rejection", control("ack", codec.encode_ack(rejecting), rejecting)
    online = Presence(online=True, agent="0.1.0", boot=BOOT, stream=STREAM, config=3)
    yield "state-online", control("state", codec.encode_presence(online), online)
    offline = dataclasses.replace(online, online=False)
    yield "state-offline", control("state", codec.encode_presence(offline), offline)
    config = Config(
        version=3,
        consent=True,
        segment="k7f2",
        plan={"batch_s": 60, "reach": {"interval_s": 1.5}},
        contract={"down_bps": 300_000_000, "up_bps": 100_000_000},
        targets={"op": {"host": "192.0.2.10", "port": 862}},
        channels=({"label": "c1", "uri": "rtp://@233.252.0.1:5000"},),
        token="t0ken",
        signature=token(hashlib.sha512(b"config").digest()),
    )
    yield "cmd-config", control("cmd", codec.encode_config(config), config)
    minimal = Config(version=1, consent=False)
    yield "cmd-config-least", control("cmd", codec.encode_config(minimal), minimal)
    for command in commands():
        yield f"cmd-{command.kind}", control("cmd", codec.encode_command(command), command)
    signed = Command(id="c-9", kind="resume", expires_ms=TS_MS, signature=token(hashlib.sha512(b"cmd").digest()))
    yield "cmd-signed", control("cmd", codec.encode_command(signed), signed)


def commands() -> list[Command]:
    """One of each kind."""
    return [
        Command(id="c-1", kind="test", expires_ms=TS_MS, args={"probe": "dns"}),
        Command(id="c-2", kind="replay", expires_ms=TS_MS, args={"stream": STREAM, "from_seq": 12}),
        Command(id="c-3", kind="pause", expires_ms=TS_MS, args={"seconds": 3_600}),
        Command(id="c-4", kind="resume", expires_ms=TS_MS),
    ]


def control(topic: str, payload: bytes, value: Any) -> dict[str, Any]:
    """A control message and what it says."""
    return {"topic": topic, "payload": base64.b64encode(payload).decode(), "says": dataclasses.asdict(value)}


if __name__ == "__main__":
    main()
