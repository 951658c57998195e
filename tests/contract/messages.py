"""Which messages does the contract allow, and what are they damaged into? Strategies for Hypothesis."""

from __future__ import annotations

import json
import string
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from balise_agent.catalogue import CATALOGUE, FieldType, Measurement, Retention
from balise_agent.codec import deflate, encode_batch, encode_body, inflate
from balise_agent.contract import (
    COMMAND_KINDS,
    MAX_AT_MS,
    MAX_INT,
    MAX_TS_MS,
    OK,
    Ack,
    Body,
    Command,
    Config,
    Envelope,
    Presence,
    Record,
    failed,
    skipped,
    token,
)


def inflated(compressed: bytes) -> bytes:
    """The JSON of a body that is whole."""
    raw = inflate(compressed)
    assert isinstance(raw, bytes), raw
    return raw


BASE64URL = string.ascii_letters + string.digits + "-_"
FROM_PROBES = [m for m in CATALOGUE.values() if m.writer == "probe" and m.leaves]

tokens = st.binary(min_size=16, max_size=16).map(token)
boots = st.text(BASE64URL, min_size=1, max_size=22)
dates_ms = st.integers(0, MAX_TS_MS)
labels = st.sampled_from(["", "gw", "op", "any1", "box", "a:b"]) | st.from_regex(
    r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True
)
reasons = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=48)
printable = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=256)
short = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=64)
outcomes = st.just(OK) | reasons.map(failed) | reasons.map(skipped)

VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    "int": st.integers(-MAX_INT, MAX_INT) | st.integers(-10, 100_000),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-MAX_INT, MAX_INT),
    "bool": st.booleans(),
    "str": printable | st.sampled_from(["icmp", "cached", "a:b", 'a "quoted" \\ text', "délai", ""]),
}


def fields_of(measurement: Measurement) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of its fields, each with a value of its type."""
    return st.fixed_dictionaries({}, optional={f.name: VALUES[f.type] for f in measurement.fields})


@st.composite
def records(draw: st.DrawFn, base_bt_ms: int, retention: Retention) -> Record:
    """A record that a probe may send in a body of that time and class."""
    measurement = draw(st.sampled_from([m for m in FROM_PROBES if m.retention == retention]))
    return Record(
        measurement=measurement.name,
        bt_ms=base_bt_ms + draw(st.integers(-MAX_AT_MS, MAX_AT_MS) | st.integers(-60_000, 0)),
        target=draw(labels),
        outcome=draw(outcomes),
        fields=draw(fields_of(measurement)),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[Envelope, Body]:
    """One to eight records of one class, in an envelope of that class."""
    bt_ms = draw(st.integers(0, MAX_INT))
    envelope = draw(envelopes())
    some = draw(st.lists(records(bt_ms, envelope.retention), min_size=1, max_size=8))
    return envelope, Body(nonce=draw(tokens), bt_ms=bt_ms, records=tuple(some))


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    """Any envelope of a class that probes write."""
    window = draw(st.none() | st.tuples(dates_ms, dates_ms).map(lambda pair: (min(pair), max(pair))))
    return Envelope(
        stream=draw(tokens),
        seq=draw(st.integers(1, MAX_INT)),
        boot=draw(boots),
        ts_ms=draw(dates_ms),
        sent_ms=draw(dates_ms),
        chain=draw(tokens),
        retention=draw(st.sampled_from(sorted({m.retention for m in FROM_PROBES}))),
        previous=draw(st.none() | tokens),
        window=window,
        signature=draw(st.none() | short),
    )


payloads = batches().map(lambda batch: encode_batch(batch[0], deflate(encode_body(batch[1]))))

acks = st.builds(
    Ack,
    stream=tokens,
    ranges=st.lists(
        st.tuples(st.integers(1, MAX_INT), st.integers(1, MAX_INT)).map(lambda pair: (min(pair), max(pair)))
    ).map(tuple),
    rejected=st.lists(st.tuples(st.integers(1, MAX_INT), short)).map(tuple),
)
presences = st.builds(
    Presence, online=st.booleans(), agent=short, boot=boots, stream=tokens, config=st.integers(0, MAX_INT)
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | printable | st.floats(-1e300, 1e300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(
    short, st.none() | st.integers(-MAX_INT, MAX_INT) | printable | st.lists(st.booleans()), max_size=4
)
configs = st.builds(
    Config,
    version=st.integers(1, MAX_INT),
    consent=st.booleans(),
    segment=st.just("") | short,
    plan=maps,
    contract=maps,
    targets=maps,
    channels=st.lists(maps, max_size=3).map(tuple),
    token=printable,
    signature=st.none() | short,
)
commands = st.builds(
    Command,
    id=st.text(BASE64URL + ".:", min_size=1, max_size=64),
    kind=st.sampled_from(COMMAND_KINDS),
    expires_ms=dates_ms,
    args=maps,
    signature=st.none() | short,
)

# -- damage

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        [10**400, -(2**53), 2**53, 0, 1, 1.0, -0.0, 1e308, "", "a\x7f", "\x01", "\ud800", "AA:BB:CC:DD:EE:FF"]
    )
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
IN_BODIES = ["m", "at", "k", "f", "failed", "skipped", "af", "sent", "method", "detail", "nonce", "bt", "records"]
IN_ENVELOPES = ["v", "s", "n", "b", "t", "x", "h", "r", "p", "q", "w", "sig"]
names = st.sampled_from([*IN_BODIES, *IN_ENVELOPES, "ssid", "url"])


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) of a JSON value."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in list(items) for place in [(tree, key), *places(value)]]


def change(draw: st.DrawFn, tree: Any) -> None:
    """One place of a JSON value gets another value, is taken out, or gets a neighbour."""
    container, key = draw(st.sampled_from(places(tree)))
    what = draw(st.sampled_from(["replace", "remove", "add"]))
    if what == "replace":
        container[key] = draw(junk)
    elif what == "remove":
        del container[key]
    elif isinstance(container, dict):
        container[draw(names)] = draw(junk)
    else:
        container.insert(key, draw(junk))


def spellings(draw: st.DrawFn) -> Callable[[Any], str]:
    """The same JSON with or without spaces, with or without escapes."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (",", " :"), (",\n", ":\t")]))
    escapes = draw(st.booleans())
    return lambda tree: json.dumps(tree, separators=separators, ensure_ascii=escapes)


def repeat_a_name(draw: st.DrawFn, text: str) -> str:
    """One of its names stands twice."""
    starts = [i for i, c in enumerate(text) if c == "{"]
    start = draw(st.sampled_from(starts))
    name, value = draw(names), json.dumps(draw(st.sampled_from([1, "gw", "reach", {}, [], None, 2.5])))
    rest = text[start + 1 :]
    comma = "" if rest.lstrip().startswith("}") else ","
    return f'{text[: start + 1]}"{name}":{value}{comma}{rest}'


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid message whose JSON was changed, spelled otherwise or given a name twice, and compressed again."""
    line, _, compressed = draw(payloads).partition(b"\n")
    envelope, body = json.loads(line), json.loads(inflated(compressed))
    for _ in range(draw(st.integers(0, 2))):
        change(draw, body if draw(st.integers(0, 3)) else envelope)
    dumps = spellings(draw)
    text, head = dumps(body), json.dumps(envelope, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        text = repeat_a_name(draw, text)
    if draw(st.integers(0, 5)) == 0:
        head = repeat_a_name(draw, head)
    return head.encode("utf-8", "surrogatepass") + b"\n" + zlib.compress(text.encode("utf-8", "surrogatepass"))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A valid message cut short, lengthened or with bits flipped."""
    payload = bytearray(draw(payloads))
    what = draw(st.sampled_from(["cut", "append", "flip"]))
    if what == "cut":
        return bytes(payload[: draw(st.integers(0, len(payload) - 1))])
    if what == "append":
        return bytes(payload) + draw(st.binary(min_size=1, max_size=40))
    for _ in range(draw(st.integers(1, 3))):
        payload[draw(st.integers(0, len(payload) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(payload)


@st.composite
def odd_batches(draw: st.DrawFn) -> bytes:
    """A good envelope around any bytes as JSON: past the envelope and past zlib."""
    line = draw(payloads).partition(b"\n")[0]
    return line + b"\n" + zlib.compress(draw(st.binary(max_size=64) | junk.map(lambda j: json.dumps(j).encode())))


anything = st.binary(max_size=400) | damaged() | broken() | odd_batches() | payloads
