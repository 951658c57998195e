"""Does the collector's fast decoder judge every message as the codec does?"""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings

from balise_agent.codec import decode_batch, decode_body, deflate, encode_batch, encode_body
from balise_agent.contract import (
    MAX_AT_MS,
    MAX_BODY_BYTES,
    MAX_WIRE_BYTES,
    Batch,
    Body,
    Envelope,
    Record,
    Refusal,
    body_hash,
    failed,
    skipped,
)
from balise_collector import wire
from tests.contract.messages import BASE64URL, anything, batches, damaged, inflated

ENVELOPE = Envelope(
    stream="s" * 22, seq=7, boot="b" * 22, ts_ms=1_764_000_000_000, sent_ms=0, chain="c" * 22, retention="raw_90d"
)
RECORDS = (
    Record(
        measurement="reach", bt_ms=59_000, target="gw", fields={"af": 4, "sent": 40, "window_s": 60.0, "method": "icmp"}
    ),
    Record(measurement="dns", bt_ms=60_000, target="box", outcome=failed("timeout"), fields={"af": 6}),
    Record(measurement="web", bt_ms=60_000, outcome=skipped("line_busy")),
)
BODY = Body(nonce="n" * 22, bt_ms=60_000, records=RECORDS)
TEXT = encode_body(BODY)


def message(body_json: bytes, envelope: Envelope = ENVELOPE) -> bytes:
    return encode_batch(envelope, deflate(body_json))


def said_by_codec(payload: bytes) -> object:
    """A batch in plain values, spelled out: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    batch = decode_batch(payload)
    if isinstance(batch, Refusal):
        return batch
    e, body = batch.envelope, batch.body
    rows = [
        (r.measurement, r.bt_ms - body.bt_ms, r.target, r.outcome.kind, r.outcome.reason, sorted(r.fields.items()))
        for r in body.records
    ]
    head = (e.stream, e.seq, e.boot, e.ts_ms, e.sent_ms, e.chain, e.retention, e.previous, e.window, e.signature)
    return repr((head, body.bt_ms, batch.body_hash, batch.unknown, rows))


def said_by_wire(payload: bytes) -> object:
    d = wire.decode(payload)
    if isinstance(d, Refusal):
        return d
    rows = [(r.measurement, r.at, r.target, r.kind, r.reason, sorted(r.fields.items())) for r in d.records]
    head = (d.stream, d.seq, d.boot, d.ts_ms, d.sent_ms, d.chain, d.retention, d.previous, d.window, d.signature)
    return repr((head, d.bt_ms, d.body_hash, d.unknown, rows))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(anything | damaged())
def test_both_decoders_say_the_same_of_any_bytes(payload: bytes) -> None:
    assert said_by_wire(payload) == said_by_codec(payload)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('"af":4', '"af":4,"af":4'),
        ('"af":4', '"af":true'),
        ('"af":4', '"af":4.0'),
        ('"sent":40', f'"sent":{2**53}'),
        ('"sent":40', '"sent":' + "9" * 5_000),
        ('"sent":40', '"secret":' + "[" * 5_000 + "]" * 5_000),
        ("60.0", "60"),
        ("60.0", "1e308"),
        ("60.0", "1e400"),
        ("60.0", "9" * 400),
        ("60.0", "NaN"),
        ("icmp", "ic:mp"),
        ("icmp", "ic\\nmp"),
        ("icmp", "ic\\u007fmp"),
        ("icmp", "ic\x7fmp"),
        ("icmp", "ic\u200bmp"),
        ("icmp", "é\x7f"),
        ("icmp", "é"),
        ("icmp", "x" * 257),
        ('"k":"gw"', '"k":"192.0.2.1"'),
        ('"k":"gw"', '"k":"GW"'),
        ('"k":"gw"', '"k":"a:b"'),
        ('"k":"gw"', '"k":""'),
        ('"failed":"timeout"', '"failed":"no answer"'),
        ('"failed":"timeout"', '"failed":""'),
        ('"failed":"timeout"', '"failed":null'),
        ('"failed":"timeout"', '"failed":"timeout","skipped":"x"'),
        ('"failed":"timeout"', '"failed":"timeout","failed":"timeout"'),
        ('"at":-1000', f'"at":{MAX_AT_MS + 1}'),
        ('"at":-1000', f'"at":{-MAX_AT_MS}'),
        ('"m":"reach"', '"m":"reach","m":"reach"'),
        ('"m":"reach"', '"m":"presence"'),
        ('"m":"reach"', '"m":"platform"'),
        ("n" * 22, "n" * 21 + "+"),
        ('"bt":60000', '"bt":-1'),
        ('"bt":60000', '"bt" : 60000'),
    ],
)
def test_a_body_that_is_nearly_right_is_judged_alike(said: str, instead: str) -> None:
    text = TEXT.decode().replace(said, instead, 1)
    assert text != TEXT.decode()
    assert said_by_wire(message(text.encode())) == said_by_codec(message(text.encode()))


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('"v":1', '"v":1.0'),
        ('"n":7', '"n":7,"n":7'),
        ('"n":7', '"n":0'),
        ('"n":7', '"n":7,"later":1'),
        ('"n":7', '"n":7' + " " * 1_000),
        ('"s":"s', '"s":"+'),
        ('"b":"b', '"b":"+'),
        ('"h":"c', '"h":"+'),
        ('"x":0', '"x":253370764800001'),
        ("raw_90d", "tv_home_7d"),
        ("raw_90d", "hour_13m"),
        ("raw_90d", "raw_90d\\u0000"),
        ('"n":7', '"n":7,"p":null'),
        ('"n":7', '"n":7,"p":"' + "+" * 22 + '"'),
        ('"n":7', '"n":7,"w":[2,1]'),
        ('"n":7', '"n":7,"q":"unsynced","w":[1,2]'),
        ('"n":7', '"n":7,"sig":""'),
        ('"n":7', '"n":7,"sig":"a:b"'),
        ('"n":7', '"n":7,"sig":"a\\nb"'),
        ('"n":7', '"n":7,"sig":"\\u003ab","n":7'),
        ('"n":7', '"n":7,"sig":"a\x7fb"'),
        ('"n":7', '"n":7,"sig":"' + "x" * 257 + '"'),
    ],
)
def test_an_envelope_that_is_nearly_right_is_judged_alike(said: str, instead: str) -> None:
    line, _, compressed = message(TEXT).partition(b"\n")
    text = line.decode().replace(said, instead, 1)
    assert text != line.decode()
    payload = text.encode() + b"\n" + compressed
    assert said_by_wire(payload) == said_by_codec(payload)


def test_a_message_cut_anywhere_is_judged_alike() -> None:
    whole = message(TEXT)
    for end in range(len(whole) + 1):
        assert said_by_wire(whole[:end]) == said_by_codec(whole[:end])


@pytest.mark.parametrize("count", [1_000, 1_600])
def test_a_message_too_large_for_the_wire_is_refused_by_both(count: int) -> None:
    rng = random.Random(count)
    texts = ["".join(rng.choices(BASE64URL, k=256)) for _ in range(count)]
    rows = tuple(Record(measurement="agent_event", bt_ms=60_000, fields={"detail": text}) for text in texts)
    payload = message(encode_body(Body(nonce="n" * 22, bt_ms=60_000, records=rows)))
    assert said_by_wire(payload) == said_by_codec(payload)
    assert isinstance(wire.decode(payload), Refusal) == (len(payload) > MAX_WIRE_BYTES) == (count == 1_600)


@settings(max_examples=100)
@given(batches())
def test_a_kept_body_holds_the_records_of_the_message(batch: tuple[Envelope, Body]) -> None:
    envelope, body = batch
    decoded = wire.decode(message(encode_body(body), envelope))
    assert isinstance(decoded, wire.Decoded)
    assert repr(wire.records(decoded.body_zlib)) == repr(decoded.records)
    assert decoded.body_hash == body_hash(inflated(decoded.body_zlib))


@pytest.mark.parametrize(
    "records",
    [RECORDS, RECORDS[:1], RECORDS[1:2], (Record(measurement="agent_event", bt_ms=1, fields={"detail": "délai"}),)],
)
def test_what_an_agent_writes_takes_the_fast_path(records: tuple[Record, ...]) -> None:
    body = encode_body(Body(nonce="n" * 22, bt_ms=60_000, records=records))
    first = Envelope(
        **{**{n: getattr(ENVELOPE, n) for n in ENVELOPE.__slots__}, "previous": "p" * 22, "window": (1, 2)}
    )
    for envelope in (ENVELOPE, first):
        assert wire._fast(message(body, envelope)) == wire.decode(message(body, envelope))


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        (b'"af":4', b'"af":4,"ssid":"Livebox"'),
        (b'"af":4', b'"af":"Livebox","af":4'),
        (b'"m":"reach"', b'"m":"reach","note":"Livebox"'),
        (b'"bt":', b'"home":"Livebox","bt":'),
        (b'"af":4', b'"ssid":{"deep":["Livebox"]},"af":4'),
        (b'"af":4', b'"ssid" : "Livebox","af":4'),
        (b'"af":4', b'"\\u0073sid":"Livebox","af":4'),
    ],
)
def test_a_value_that_no_catalogue_knows_is_never_kept(said: bytes, instead: bytes) -> None:
    decoded = wire.decode(message(TEXT.replace(said, instead, 1)))
    if isinstance(decoded, Refusal):
        assert decoded.name == "bad_json"  # a name twice: nothing is kept at all
        return
    assert b"Livebox" not in inflated(decoded.body_zlib)
    assert decoded.unknown
    kept = decode_body(ENVELOPE, inflated(decoded.body_zlib))
    assert isinstance(kept, Batch)
    assert (kept.body, kept.unknown) == (BODY, ())
    assert decoded.body_hash == body_hash(TEXT.replace(said, instead, 1))  # the chain is over what was sent


def test_integers_in_a_float_field_are_read_as_floats() -> None:
    decoded = wire.decode(message(TEXT.replace(b"60.0", b"60")))
    assert isinstance(decoded, wire.Decoded)
    assert repr(decoded.records[0].fields["window_s"]) == "60.0"


def test_a_damaged_stored_body_is_a_value_error() -> None:
    for stored in (b"", b"\x00", zlib.compress(b"{}")[:-1], zlib.compress(b"{}"), zlib.compress(b"\xff")):
        with pytest.raises(ValueError, match="stored body of"):
            wire.records(stored)


@pytest.mark.parametrize("extra", [0, 1])
def test_both_decoders_stop_at_the_same_byte_of_an_inflated_body(extra: int) -> None:
    padded = TEXT + b" " * (MAX_BODY_BYTES - len(TEXT) + extra)
    assert said_by_wire(message(padded)) == said_by_codec(message(padded))
    assert isinstance(wire.decode(message(padded)), Refusal if extra else wire.Decoded)
