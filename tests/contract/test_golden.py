"""Does this version read every message that was ever sent, and keep the meaning of every field?"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from balise_agent import codec
from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import COMMAND_KINDS, Batch, Refusal, chain_next, chain_start
from balise_collector import wire
from tests.contract.write_golden import FOLDER, KINDS, SNAPSHOT, controls, described, extended, records, spelled

GOLDEN = sorted(path for path in FOLDER.glob("*.json") if path != SNAPSHOT)
BATCHES = [path for path in GOLDEN if path.stem.startswith("records-")]
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "ack": codec.decode_ack,
    "state": codec.decode_presence,
    "cmd": codec.decode_cmd,
}


def load(path: Path) -> tuple[str, bytes, Any]:
    case = json.loads(path.read_text())
    return case["topic"], base64.b64decode(case["payload"], validate=True), case["says"]


def in_json(value: object) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("path", BATCHES, ids=lambda path: path.stem)
def test_the_codec_reads_every_batch_ever_sent(path: Path) -> None:
    _, payload, says = load(path)
    batch = codec.decode_batch(payload)
    assert isinstance(batch, Batch), batch
    body = batch.body
    said = {"envelope": dataclasses.asdict(batch.envelope), "nonce": body.nonce, "bt_ms": body.bt_ms}
    said |= {"body_hash": batch.body_hash.hex(), "unknown": batch.unknown}
    assert in_json(said | {"records": [spelled(record) for record in body.records]}) == says


@pytest.mark.parametrize("path", BATCHES, ids=lambda path: path.stem)
def test_the_collector_reads_every_batch_ever_sent(path: Path) -> None:
    _, payload, says = load(path)
    decoded = wire.decode(payload)
    assert isinstance(decoded, wire.Decoded), decoded
    for rows in (decoded.records, wire.records(decoded.body_zlib)):
        found = [
            {"measurement": row.measurement, "bt_ms": decoded.bt_ms + row.at, "target": row.target}
            | {"kind": row.kind, "reason": row.reason, "fields": row.fields}
            for row in rows
        ]
        assert in_json(found) == says["records"]
    assert in_json({name: getattr(decoded, name) for name in says["envelope"]}) == says["envelope"]
    assert (decoded.body_hash.hex(), list(decoded.unknown)) == (says["body_hash"], says["unknown"])


@pytest.mark.parametrize("path", BATCHES, ids=lambda path: path.stem)
def test_the_chain_of_every_batch_ever_sent_holds(path: Path) -> None:
    envelope = load(path)[2]["envelope"]
    last = chain_start(envelope["stream"], envelope["previous"])  # each is chained as if it were a stream's first
    bh = bytes.fromhex(load(path)[2]["body_hash"])
    assert chain_next(last, envelope["seq"], envelope["ts_ms"], bh) == envelope["chain"]


@pytest.mark.parametrize("path", [path for path in GOLDEN if path not in BATCHES], ids=lambda path: path.stem)
def test_every_control_message_ever_sent_is_read(path: Path) -> None:
    topic, payload, says = load(path)
    value = DECODERS[topic](payload)
    assert not isinstance(value, Refusal), value
    assert in_json(dataclasses.asdict(value)) == says


def test_every_kind_of_message_is_kept() -> None:
    kept = {path.stem for path in GOLDEN}
    missing = {name for name, _ in [*records(), *controls()]} - kept
    assert not missing, "python -m tests.contract.write_golden writes what is missing, and nothing else"
    from_probes = [m.name for m in CATALOGUE.values() if m.writer == "probe" and m.leaves]
    assert {f"records-{name}-{kind}" for name in from_probes for kind in KINDS} <= kept
    assert {f"cmd-{kind}" for kind in COMMAND_KINDS} <= kept


def test_the_catalogue_was_only_extended() -> None:
    kept, now = json.loads(SNAPSHOT.read_text()), described()
    for name, measurement in kept.items():
        assert name in now, f"{name} was removed"
        for key in ("writer", "leaves", "retention"):
            assert now[name][key] == measurement[key], f"{name}.{key} was changed"
        for field, meaning in measurement["fields"].items():
            assert now[name]["fields"].get(field) == meaning, f"{name}.{field} was changed or removed"


def test_the_snapshot_holds_the_whole_catalogue() -> None:
    kept = json.loads(SNAPSHOT.read_text())
    assert extended(kept, described()) == kept, "python -m tests.contract.write_golden adds what is new"


def test_the_snapshot_keeps_what_it_holds() -> None:
    old = {"a": {"writer": "probe", "fields": {"x": {"type": "int"}}}}
    new = {"a": {"writer": "collector", "fields": {"x": {"type": "str"}, "y": {"type": "int"}}}, "b": {"fields": {}}}
    a = {"writer": "probe", "fields": {"x": {"type": "int"}, "y": {"type": "int"}}}
    assert extended(old, new) == {"a": a, "b": {"fields": {}}}
