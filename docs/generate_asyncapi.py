"""What does the contract say to machines? `python docs/generate_asyncapi.py` writes docs/asyncapi.yaml.

AsyncAPI 3.0, as the collector sees it. A batch is an envelope, LF and zlib, which no schema language can say: its
payload is bytes, and `x-envelope` and `x-body` name the schemas of both its parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from balise_agent.catalogue import CATALOGUE, Field, Measurement
from balise_agent.codec.shape import BOOT, COMMAND_ID, REASON, TOKEN
from balise_agent.contract import (
    COMMAND_KINDS,
    CONTENT_TYPE,
    CONTENT_TYPE_CONTROL,
    ENCODING,
    MAX_AT_MS,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_RECORDS,
    MAX_TEXT,
    MAX_TS_MS,
    MAX_WIRE_BYTES,
    VERSION,
)

TARGET = Path(__file__).with_name("asyncapi.yaml")
Schema = dict[str, Any]

MQTT = {"bindingVersion": "0.2.0"}
CHANNELS = {  # what the collector does there, whether it is retained, what may stand there, in words
    "records": ("receive", False, ("batch",), "Measurements of one probe, one message a batch."),
    "ack": ("send", False, ("ack",), "What the collector has on disk, and what it will never take."),
    "cmd": ("send", None, ("config", "command"), "Configurations, retained, and commands, never retained."),
    "state": (
        "receive",
        None,
        ("presence", "answer"),
        "Presence, retained, with the last will; answers, never retained.",
    ),
}


def main() -> None:
    """Writes the document."""
    TARGET.write_text(document())


def document() -> str:
    """The whole text."""
    head = "# Written by docs/generate_asyncapi.py: change that, or the catalogue.\n"
    return head + yaml.dump(described(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=118)


class _Plain(yaml.SafeDumper):
    """No anchors: every part is written out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def described() -> dict[str, Any]:
    """The document as data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Balise, probes and collector",
            "version": f"{VERSION}.0.0",
            "description": "As the collector sees it. docs/contract.md says in words what a schema cannot.",
            "license": {"name": "EUPL-1.2", "url": "https://joinup.ec.europa.eu/collection/eupl/eupl-text-eupl-12"},
        },
        "defaultContentType": CONTENT_TYPE_CONTROL,
        "servers": {"broker": broker()},
        "channels": {name: channel(name) for name in CHANNELS},
        "operations": {operation_name(name): operation(name) for name in CHANNELS},
        "components": {"messages": messages(), "schemas": schemas()},
    }


def broker() -> dict[str, Any]:
    """The server, with the session that a probe opens."""
    will = {"topic": "balise/v1/{probeId}/state", "qos": 1, "retain": True, "message": "presence with online false"}
    session = {"clientId": "{probeId}", "cleanSession": True, "sessionExpiryInterval": 0, "keepAlive": 40}
    return {
        "host": "{host}:{port}",
        "protocol": "mqtt",
        "protocolVersion": "5.0",
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "1883"}},
        "bindings": {"mqtt": session | {"lastWill": will, "maximumPacketSize": MAX_WIRE_BYTES} | MQTT},
    }


def channel(name: str) -> dict[str, Any]:
    """One topic."""
    _, _, names, description = CHANNELS[name]
    return {
        "address": f"balise/v1/{{probeId}}/{name}",
        "description": description,
        "servers": [{"$ref": "#/servers/broker"}],
        "parameters": {"probeId": {"description": "8 to 32 of a-z and 0-9, random; who speaks is known by it alone"}},
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in names},
    }


def operation_name(name: str) -> str:
    """What the collector does with a topic."""
    return CHANNELS[name][0] + name.capitalize()


def operation(name: str) -> dict[str, Any]:
    """How the collector does it."""
    action, retain, names, _ = CHANNELS[name]
    retained = {} if retain is None else {"retain": retain}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in names],
        "bindings": {"mqtt": {"qos": 0 if name == "ack" else 1} | retained | MQTT},
    }


def messages() -> dict[str, Any]:
    """Every message."""
    key, value = ENCODING
    batch = {
        "title": "Records of one retention class, in an envelope",
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "description": "MQTT user properties",
            "properties": {key: {"const": value}},
            "required": [key],
        },
        "payload": {
            "type": "string",
            "format": "binary",
            "maxLength": MAX_WIRE_BYTES,
            "description": "The envelope as one line of JSON, LF, then the body's JSON as one zlib stream.",
            "x-envelope": {"$ref": "#/components/schemas/envelope"},
            "x-body": {"$ref": "#/components/schemas/body"},
        },
        "bindings": {"mqtt": {"payloadFormatIndicator": 0, "contentType": CONTENT_TYPE} | MQTT},
    }
    titles = {
        "ack": "Committed and rejected messages of a stream",
        "config": "All that the operator sets, whole, each time",
        "command": "One thing to do, once, before it expires",
        "presence": "Whether the probe's session is open",
        "answer": "A command was refused, for how the line was used just then; it is not stored",
    }
    return {"batch": batch} | {name: control(name, title) for name, title in titles.items()}


def control(name: str, title: str) -> dict[str, Any]:
    """A message that is plain JSON."""
    return {
        "title": title,
        "contentType": CONTENT_TYPE_CONTROL,
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"mqtt": {"contentType": CONTENT_TYPE_CONTROL} | MQTT},
    }


def schemas() -> dict[str, Schema]:
    """Every payload and its parts. Names that are not here are passed over by a reader, so none are forbidden."""
    from_probes = [m for m in CATALOGUE.values() if m.writer == "probe" and m.leaves]
    return {
        "token": text(TOKEN.pattern, "16 bytes, base64url without padding"),
        "date": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_TS_MS,
            "description": "ms since 1970, UTC; 0: unknown",
        },
        "reason": text(REASON.pattern, "why it failed or was skipped; docs/failures.md explains each"),
        "target": text(r"[a-z0-9][a-z0-9_.:-]{0,47}", "a label, never an address"),
        "signature": printable(MAX_TEXT, 1),
        "envelope": envelope(),
        "body": body(from_probes),
        **{f"record_{m.name}": record(m) for m in from_probes},
        "ack": ack(),
        "presence": presence(),
        "answer": answer(),
        "config": config(),
        "command": command(),
    }


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(pattern: str, description: str) -> Schema:
    """A text of that form from end to end."""
    return {"type": "string", "pattern": f"^(?:{pattern})$", "description": description}


def printable(longest: int, shortest: int = 0) -> Schema:
    """A printable text."""
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def integer(low: int = -MAX_INT, high: int = MAX_INT) -> Schema:
    """An integer that every JSON reader keeps exact."""
    return {"type": "integer", "minimum": low, "maximum": high}


def an_object(needed: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    """An object; other names are passed over."""
    return {"type": "object", "required": list(needed), "properties": needed | optional}


def envelope() -> Schema:
    """The first line of a batch."""
    classes = sorted({m.retention for m in CATALOGUE.values() if m.writer == "probe"} | {"raw_90d", "tv_home_7d"})
    needed: dict[str, Schema] = {
        "v": {"const": VERSION},
        "s": ref("token"),
        "n": integer(1),
        "b": text(BOOT.pattern, "boot of the machine"),
        "t": ref("date"),
        "x": ref("date"),
        "h": ref("token"),
        "r": {"enum": classes},
    }
    window = {"type": "array", "items": ref("date"), "minItems": 2, "maxItems": 2}
    optional = {"p": ref("token"), "q": {"const": "unsynced"}, "w": window, "sig": ref("signature")}
    return an_object(needed, optional) | {"description": f"At most {MAX_ENVELOPE_BYTES} bytes."}


def body(from_probes: list[Measurement]) -> Schema:
    """What is under zlib."""
    rows = {"oneOf": [ref(f"record_{m.name}") for m in from_probes]}
    many = {"type": "array", "minItems": 1, "maxItems": MAX_RECORDS, "items": rows}
    return an_object({"nonce": ref("token"), "bt": integer(0), "records": many}, {})


def record(m: Measurement) -> Schema:
    """One record of a measurement."""
    needed = {"m": {"const": m.name}, "at": integer(-MAX_AT_MS, MAX_AT_MS)}
    fields = {"type": "object", "properties": {f.name: field(f) for f in m.fields}}
    optional = {"k": ref("target"), "failed": ref("reason"), "skipped": ref("reason"), "f": fields}
    both = {"not": {"required": ["failed", "skipped"]}}
    return (
        an_object(needed, optional)
        | both
        | {"description": m.meaning, "x-source": m.source, "x-retention": m.retention}
    )


def field(f: Field) -> Schema:
    """One field of a measurement."""
    kinds: dict[str, Schema] = {
        "int": integer(),
        "float": {"type": "number"},
        "bool": {"type": "boolean"},
        "str": printable(MAX_TEXT),
    }
    unit = {"x-unit": f.unit} if f.unit else {}
    return kinds[f.type] | {"description": f.meaning} | unit


def ack() -> Schema:
    """On ack."""
    pair = {"type": "array", "items": integer(1), "minItems": 2, "maxItems": 2}
    rejected = {"type": "array", "items": [integer(1), printable(MAX_TEXT, 1)], "minItems": 2, "additionalItems": False}
    return an_object(
        {"s": ref("token"), "a": {"type": "array", "items": pair}}, {"rej": {"type": "array", "items": rejected}}
    )


def presence() -> Schema:
    """On state."""
    needed: dict[str, Schema] = {
        "online": {"type": "boolean"},
        "agent": printable(MAX_TEXT, 1),
        "boot": text(BOOT.pattern, "boot of the machine"),
        "stream": ref("token"),
    }
    return an_object(needed, {"v": {"const": VERSION}, "config": integer(0)})


def answer() -> Schema:
    """On state, not retained."""
    needed = {"answer": text(COMMAND_ID.pattern, "the command"), "reason": ref("reason")}
    return an_object(needed, {"v": {"const": VERSION}})


def config() -> Schema:
    """On cmd, retained."""
    an_any: Schema = {"type": "object"}
    optional: dict[str, Schema] = {
        "v": {"const": VERSION},
        "consent": {"type": "boolean"},
        "segment": printable(MAX_TEXT),
        "plan": an_any,
        "contract": an_any,
        "targets": an_any,
        "channels": {"type": "array", "items": an_any},
        "token": printable(MAX_ENVELOPE_BYTES),
        "sig": ref("signature"),
    }
    return an_object({"kind": {"const": "config"}, "version": integer(1)}, optional)


def command() -> Schema:
    """On cmd, never retained."""
    needed: dict[str, Schema] = {
        "kind": {"enum": list(COMMAND_KINDS)},
        "id": text(COMMAND_ID.pattern, "the same id twice is done once"),
        "expires_ms": ref("date"),
    }
    return an_object(needed, {"v": {"const": VERSION}, "args": {"type": "object"}, "sig": ref("signature")})


if __name__ == "__main__":
    main()
