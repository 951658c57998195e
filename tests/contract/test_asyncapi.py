"""Is docs/asyncapi.yaml an AsyncAPI document, and do its schemas fit the messages?"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft7Validator

from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import Topic, topic
from tests.contract.messages import inflated
from tests.contract.test_golden import BATCHES, GOLDEN, load

HERE = Path(__file__).parent
PUBLISHED = HERE / "node_modules/@asyncapi/specs/schemas/3.0.0.json"
DOCUMENT: dict[str, Any] = yaml.safe_load((HERE.parents[1] / "docs/asyncapi.yaml").read_text())


@pytest.fixture(scope="module")
def published() -> Draft7Validator:
    """The schema that AsyncAPI publishes; package-lock.json holds its hash."""
    if not PUBLISHED.exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True)
    return Draft7Validator(json.loads(PUBLISHED.read_text()))


def test_it_is_an_asyncapi_document(published: Draft7Validator) -> None:
    assert [f"{error.json_path}: {error.message}" for error in published.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("info", "title"), 7),
        (("operations", "sendAck", "action"), "publish"),
        (("operations", "sendAck", "bindings", "mqtt", "qos"), 3),
        (("operations", "sendAck", "bindings", "mqtt", "acks"), "all"),
        (("channels", "ack", "adress"), "balise"),
        (("servers", "broker", "bindings", "mqtt", "keepAlive"), "long"),
        (("components", "messages", "batch", "payload", "type"), "bytes"),
        (("components", "schemas", "body", "properties", "records", "minItems"), -1),
    ],
)
def test_the_published_schema_sees_a_fault(published: Draft7Validator, path: tuple[str, ...], value: object) -> None:
    wrong: Any = copy.deepcopy(DOCUMENT)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not published.is_valid(wrong)


def references(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        if "$ref" in tree:
            yield tree["$ref"]
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


def test_each_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    for reference in found:
        place = DOCUMENT
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]


def test_each_topic_of_the_code_is_a_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {topic("{probeId}", kind) for kind in get_args(Topic)}


def schema(name: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def parts(path: Path) -> list[tuple[str, Any]]:
    """The JSON of a golden message, each with the name of its schema."""
    kind, payload, _ = load(path)
    if kind == "records":
        line, _, compressed = payload.partition(b"\n")
        return [("envelope", json.loads(line)), ("body", json.loads(inflated(compressed)))]
    message = json.loads(payload)
    if kind == "cmd":
        return [("config" if message["kind"] == "config" else "command", message)]
    return [({"ack": "ack", "state": "presence"}[kind], message)]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_message_ever_sent_fits_its_schema(path: Path) -> None:
    for name, value in parts(path):
        assert [f"{error.json_path}: {error.message}" for error in schema(name).iter_errors(value)] == []


def test_a_schema_sees_a_wrong_message() -> None:
    envelope, body = (value for _, value in parts(BATCHES[0]))
    record = body["records"][0]
    assert schema("body").is_valid(body)
    in_a_record: list[dict[str, Any]] = [{"at": "now"}, {"m": "weather"}, {"k": "A B"}, {"f": []}]
    for change in [*in_a_record, {"failed": "x", "skipped": "y"}]:
        assert not schema("body").is_valid(body | {"records": [record | change]}), change
    in_an_envelope: list[dict[str, Any]] = [{"v": 2}, {"n": 0}, {"s": "short"}, {"r": "for ever"}, {"w": [1]}]
    for change in in_an_envelope:
        assert not schema("envelope").is_valid(envelope | change), change
    assert not schema("ack").is_valid({"s": envelope["s"], "a": [[1]]})
    assert not schema("presence").is_valid({"online": "yes"})
    assert not schema("config").is_valid({"kind": "config", "version": 0})
    assert not schema("command").is_valid({"kind": "reboot", "id": "a", "expires_ms": 1})


def test_each_field_of_the_catalogue_has_its_type_and_unit() -> None:
    types = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}
    for m in CATALOGUE.values():
        if m.writer != "probe":
            assert f"record_{m.name}" not in DOCUMENT["components"]["schemas"]
            continue
        fields = DOCUMENT["components"]["schemas"][f"record_{m.name}"]["properties"]["f"]["properties"]
        said = {name: (field["type"], field.get("x-unit", "")) for name, field in fields.items()}
        assert said == {f.name: (types[f.type], f.unit) for f in m.fields}
