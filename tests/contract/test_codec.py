"""Is what is encoded read back, and does anything else end as a named refusal?"""

from __future__ import annotations

import dataclasses
import json
import sys
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balise_agent import codec
from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import (
    MAX_AT_MS,
    MAX_BODY_BYTES,
    MAX_RECORDS,
    MAX_TS_MS,
    MAX_UNKNOWN,
    MAX_WIRE_BYTES,
    REFUSALS,
    Ack,
    Answer,
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
    is_probe_id,
    parse_topic,
    topic,
)
from tests.contract.messages import acks, anything, batches, commands, configs, junk, payloads, presences

DECODERS = [
    codec.decode_batch,
    codec.decode_envelope,
    codec.decode_ack,
    codec.decode_presence,
    codec.decode_answer,
    codec.decode_cmd,
]
ENVELOPE = Envelope(
    stream="s" * 22, seq=7, boot="b" * 22, ts_ms=1_764_000_000_000, sent_ms=0, chain="c" * 22, retention="raw_90d"
)
RECORD = Record(measurement="reach", bt_ms=59_000, target="gw", fields={"af": 4, "method": "icmp", "window_s": 60.0})
BODY = Body(nonce="n" * 22, bt_ms=60_000, records=(RECORD,))
TEXT = codec.encode_body(BODY).decode()


def read(body_json: str | bytes, envelope: Envelope = ENVELOPE) -> Batch | Refusal:
    raw = body_json if isinstance(body_json, bytes) else body_json.encode("utf-8", "surrogatepass")
    return codec.decode_batch(codec.encode_batch(envelope, codec.deflate(raw)))


def refused(body_json: str | bytes) -> str:
    answer = read(body_json)
    return answer.name if isinstance(answer, Refusal) else "taken"


# -- what is encoded is read back


@given(batches())
def test_a_batch_is_read_back_equal(message: tuple[Envelope, Body]) -> None:
    envelope, body = message
    raw = codec.encode_body(body)
    batch = codec.decode_batch(codec.encode_batch(envelope, codec.deflate(raw)))
    assert batch == Batch(envelope=envelope, body=body, body_hash=body_hash(raw))


@given(acks)
def test_an_ack_is_read_back_equal(ack: Ack) -> None:
    assert codec.decode_ack(codec.encode_ack(ack)) == ack


@given(presences)
def test_a_presence_is_read_back_equal(presence: Presence) -> None:
    assert codec.decode_presence(codec.encode_presence(presence)) == presence


@given(configs)
def test_a_configuration_is_read_back_equal(config: Config) -> None:
    assert codec.decode_cmd(codec.encode_config(config)) == config


@given(commands)
def test_a_command_is_read_back_equal(command: Command) -> None:
    assert codec.decode_cmd(codec.encode_command(command)) == command


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=32))
def test_a_topic_is_read_back_equal(probe: str) -> None:
    assert is_probe_id(probe)
    assert parse_topic(topic(probe, "records")) == (probe, "records")


@pytest.mark.parametrize("text", ["", "balise/v1/+/ack", "balise/v2/abcdefgh/ack", "balise/v1/abcdefgh/ack/x", "a\n"])
def test_another_topic_is_none_of_ours(text: str) -> None:
    assert parse_topic(text) is None


def test_a_record_that_may_not_be_said_is_not_encoded() -> None:
    wrong = [
        {"measurement": "weather"},
        {"measurement": "presence", "fields": {"online": True}},
        {"fields": {"ssid": "x"}},
        {"fields": {"af": 4.0}},
        {"fields": {"af": True}},
        {"fields": {"af": 2**53}},
        {"fields": {"window_s": float("nan")}},
        {"fields": {"method": "x" * 257}},
        {"fields": {"method": "\ud800"}},
        {"target": "192.0.2.1"},
        {"target": "2001:db8::1"},
        {"target": "aa:bb:cc:dd:ee:ff"},
        {"outcome": Outcome(kind="failed")},
        {"outcome": Outcome(kind="ok", reason="fine")},
        {"bt_ms": 60_000 + MAX_AT_MS + 1},
        {"bt_ms": 1.5},
    ]
    for change in wrong:
        record = dataclasses.replace(RECORD, **change)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"unknown_measurement|wrong_writer|bad_record|90 days"):
            codec.encode_body(dataclasses.replace(BODY, records=(record,)))


def test_a_body_out_of_bounds_is_not_encoded() -> None:
    for change in ({"records": ()}, {"records": (RECORD,) * (MAX_RECORDS + 1)}, {"nonce": "short"}, {"bt_ms": -1}):
        with pytest.raises(ValueError, match=r"records: 1 to|nonce or bt_ms"):
            codec.encode_body(dataclasses.replace(BODY, **change))


def test_a_configuration_that_no_probe_could_read_is_not_encoded() -> None:
    deep: dict[str, object] = {}
    for _ in range(20):
        deep = {"a": deep}
    for plan in (deep, {"a": 2**60}, {"a": float("inf")}, {"a": "\ud800"}):
        with pytest.raises(ValueError, match=r"plan|not JSON compliant|surrogates"):
            codec.encode_config(Config(version=1, plan=plan))
    with pytest.raises(ValueError, match="cmd: id"):
        codec.encode_command(Command(id="", kind="test", expires_ms=0))


# -- anything else is a refusal


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(anything | junk.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise(payload: bytes) -> None:
    for decode in DECODERS:
        answer = decode(payload)
        assert not isinstance(answer, Refusal) or answer.name in REFUSALS
    body = codec.decode_body(ENVELOPE, payload)
    assert not isinstance(body, Refusal) or body.name in REFUSALS


@settings(max_examples=30)
@given(payloads)
def test_a_message_cut_anywhere_is_refused(payload: bytes) -> None:
    for end in range(len(payload)):
        assert isinstance(codec.decode_batch(payload[:end]), Refusal)
    assert codec.decode_batch(payload + b"\x00") == Refusal(name="bad_zlib", detail="bytes after its end")


@given(anything)
def test_a_refusal_can_be_sent_and_logged(payload: bytes) -> None:
    answer = codec.decode_batch(payload)
    if isinstance(answer, Refusal):
        sent = codec.encode_ack(Ack(stream="s" * 22, ranges=(), rejected=((1, str(answer)),)))
        assert isinstance(codec.decode_ack(sent), Ack)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("", "bad_json"),
        ("\ufeff" + TEXT, "bad_json"),
        (TEXT + "x", "bad_json"),
        (TEXT.encode("utf-16"), "bad_json"),
        (b"\xff" + TEXT.encode(), "bad_json"),
        ("[" * 100_000, "bad_json"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "bad_json"),
        (TEXT.replace("60.0", "NaN"), "bad_json"),
        (TEXT.replace("60.0", "-Infinity"), "bad_json"),
        (TEXT.replace('"af":4', '"af":' + "9" * 5_000), "bad_json"),
        (TEXT.replace("icmp", "\\ud83d"), "bad_json"),
        (TEXT.replace("icmp", "\ud83d"), "bad_json"),
        (TEXT.replace('"af":4', '"af":4,"af":4'), "bad_json"),
        (TEXT.replace('"bt":', '"bt":1,"bt":'), "bad_json"),
        ("null", "bad_json"),
        ("[]", "bad_body"),
        ("{}", "bad_body"),
        (TEXT.replace("n" * 22, "n" * 21), "bad_body"),
        (TEXT.replace("60000", "60000.0"), "bad_body"),
        (TEXT.replace("60000", "true"), "bad_body"),
        (TEXT.replace('"records":[', '"records":[],"x":['), "bad_body"),
        (TEXT.replace('"records":[', '"records":[null,'), "bad_record"),
        (TEXT.replace('"records":[', '"records":[{},'), "unknown_measurement"),
        (TEXT.replace("reach", "weather"), "unknown_measurement"),
        (TEXT.replace('"reach"', '["reach"]'), "unknown_measurement"),
        (TEXT.replace('"reach"', '"platform"'), "mixed_retention"),
        (TEXT.replace('"reach"', '"presence"'), "wrong_writer"),
        (TEXT.replace('"at":-1000', '"at":false'), "bad_record"),
        (TEXT.replace('"at":-1000', f'"at":{-MAX_AT_MS - 1}'), "bad_record"),
        (TEXT.replace('"at":-1000,', ""), "bad_record"),
        (TEXT.replace('"gw"', '"192.0.2.1"'), "bad_record"),
        (TEXT.replace('"gw"', "7"), "bad_record"),
        (TEXT.replace('"gw"', '"gw","failed":null'), "bad_record"),
        (TEXT.replace('"gw"', '"gw","failed":"no answer"'), "bad_record"),
        (TEXT.replace('"gw"', '"gw","failed":"timeout","skipped":"line_busy"'), "bad_record"),
        (TEXT.replace('"af":4', '"af":4.0'), "bad_record"),
        (TEXT.replace('"af":4', '"af":null'), "bad_record"),
        (TEXT.replace('"af":4', f'"af":{2**53}'), "bad_record"),
        (TEXT.replace("60.0", "1e400"), "bad_record"),
        (TEXT.replace("60.0", "9" * 400), "bad_record"),
        (TEXT.replace("60.0", "true"), "bad_record"),
        (TEXT.replace("icmp", "a\\nb"), "bad_record"),
        (TEXT.replace("icmp", "x" * 257), "bad_record"),
        (TEXT.replace("icmp", "x" * 256), "taken"),
        (TEXT.replace('"af":4', '"af":4,"x":' + "[" * 100 + "]" * 100), "taken"),
        (TEXT.replace("60.0", "60"), "taken"),
        (TEXT.replace(",", " ,\n\t"), "taken"),
        (TEXT + " " * (MAX_BODY_BYTES - len(TEXT)), "taken"),
        (TEXT + " " * (MAX_BODY_BYTES - len(TEXT) + 1), "inflates_too_much"),
    ],
)
def test_a_body_is_taken_or_refused_by_name(body: str | bytes, name: str) -> None:
    assert refused(body) == name


def test_every_envelope_part_is_needed_and_bounded() -> None:
    good = json.loads(codec.encode_envelope(ENVELOPE))
    wrong: dict[str, list[object]] = {
        "s": ["", "s" * 21, "s" * 23, "s" * 21 + "\n", "s" * 21 + "=", 7, None],
        "n": [0, -1, 2**53, True, 1.0, "1", None],
        "b": ["", "b" * 23, 7, None],
        "t": [-1, MAX_TS_MS + 1, 1.5, None],
        "x": [-1, MAX_TS_MS + 1, None],
        "h": ["", 7, None],
        "r": ["", "hour_13m", ["raw_90d"], None],
        "p": ["", 7],
        "w": [[], [1], [2, 1], [1, 2, 3], [1, "2"], [-1, 1], "12", 7],
        "sig": ["", "x" * 257, "a\nb", 7],
    }
    for name, values in wrong.items():
        for value in values:
            answer = codec.decode_envelope(json.dumps(good | {name: value}).encode())
            assert answer == Refusal(name="bad_envelope", detail=name), (name, value)
    for name in good.keys() - {"v"}:
        assert isinstance(codec.decode_envelope(json.dumps({k: good[k] for k in good if k != name}).encode()), Refusal)


@pytest.mark.parametrize("version", ["2", "1.0", "true", '"1"', "null", "[" * 300 + "]" * 300, "9" * 400])
def test_another_major_version_is_refused_as_such(version: str) -> None:
    line = codec.encode_envelope(ENVELOPE).rstrip().replace(b'"v":1', b'"v":' + version.encode())
    answer = codec.decode_envelope(line)
    assert isinstance(answer, Refusal)
    assert answer.name == "bad_version"


def test_what_is_around_a_body_is_checked_before_it_is_inflated() -> None:
    bomb = zlib.compress(b" " * 50_000_000)
    assert len(bomb) < MAX_WIRE_BYTES
    assert codec.decode_batch(codec.encode_batch(ENVELOPE, bomb)) == Refusal(name="inflates_too_much")
    assert codec.decode_batch(bomb.replace(b"\n", b"")) == Refusal(name="bad_envelope", detail="no line end")
    full = codec.encode_batch(ENVELOPE, b"")
    full += b"x" * (MAX_WIRE_BYTES - len(full))
    assert codec.decode_batch(full + b"x") == Refusal(name="too_large", detail=f"{MAX_WIRE_BYTES + 1} bytes")
    answer = codec.decode_batch(full)
    assert isinstance(answer, Refusal)
    assert answer.name == "bad_zlib"


def test_an_inflated_bomb_never_takes_more_than_the_limit() -> None:
    made = codec.inflate(zlib.compress(b" " * MAX_BODY_BYTES))
    assert isinstance(made, bytes)
    assert len(made) == MAX_BODY_BYTES
    assert isinstance(codec.inflate(zlib.compress(b" " * (MAX_BODY_BYTES + 1))), Refusal)


def test_a_body_is_packed_with_the_dictionary_and_names_it() -> None:
    packed = codec.deflate(b'{"nonce":"')
    assert packed[1] & 0x20  # FDICT (RFC 1950, section 2.2)
    assert int.from_bytes(packed[2:6]) == codec.DICTIONARY_ID
    assert codec.inflate(packed) == b'{"nonce":"'


def test_the_dictionary_is_frozen() -> None:
    assert (codec.DICTIONARY_ID, len(codec.DICTIONARY)) == (0x18E92ADE, 1_774)


def test_a_body_that_needs_no_dictionary_is_read_and_one_that_needs_another_is_refused() -> None:
    assert codec.inflate(zlib.compress(b"{}")) == b"{}"
    other = zlib.compressobj(zdict=b"another dictionary")
    refusal = codec.inflate(other.compress(b"{}") + other.flush())
    assert isinstance(refusal, Refusal)
    assert refusal.name == "bad_zlib"


def test_decoding_deep_in_the_stack_refuses_and_does_not_raise() -> None:
    nested = codec.encode_batch(ENVELOPE, codec.deflate(b"[" * 900 + b"]" * 900))

    def sink(depth: int) -> object:
        return sink(depth - 1) if depth else codec.decode_batch(nested)

    assert isinstance(sink(sys.getrecursionlimit() // 2), Refusal)


# -- what the reader does not know


FORBIDDEN = (
    "mac ssid bssid address ip ipv4 ipv6 name hostname url destination number caller callee channel program email"
)


@pytest.mark.parametrize("name", FORBIDDEN.split())
@pytest.mark.parametrize("measurement", sorted(m for m in CATALOGUE if CATALOGUE[m].writer == "probe"))
def test_a_value_under_a_forbidden_name_is_dropped_and_its_name_counted(name: str, measurement: str) -> None:
    row = {"m": measurement, "at": 0, name: "secret", "f": {name: {"deep": ["secret"]}}}
    body = {"nonce": "n" * 22, "bt": 1, "records": [row], name: "secret"}
    batch = read(json.dumps(body), dataclasses.replace(ENVELOPE, retention=CATALOGUE[measurement].retention))
    assert isinstance(batch, Batch)
    assert "secret" not in repr(batch)
    assert batch.unknown == tuple(sorted([f"body.{name}", f"record.{name}", f"{measurement}.{name}"]))


def test_no_field_of_the_catalogue_has_a_forbidden_name() -> None:
    names = {field.name for m in CATALOGUE.values() for field in m.fields}
    assert names.isdisjoint(FORBIDDEN.split())


def test_a_name_that_could_itself_be_a_value_is_not_kept() -> None:
    odd = ["AA:BB:CC:DD:EE:FF", "0612345678", "http://example.net/", "x" * 49, "caf\u00e9", "\ud800", "", "a b"]
    fields = ",".join(f"{json.dumps(name)}:1" for name in odd[:5] + odd[6:])
    batch = read(TEXT.replace('"af":4', fields))
    assert isinstance(batch, Batch)
    assert batch.unknown == ("reach.?",)


def test_a_flood_of_names_is_cut() -> None:
    fields = ",".join(f'"f{i:04}":1' for i in range(1_000))
    batch = read(TEXT.replace('"af":4', fields))
    assert isinstance(batch, Batch)
    assert batch.unknown == tuple(f"reach.f{i:04}" for i in range(MAX_UNKNOWN))


def test_unknown_names_in_control_messages_are_passed_over() -> None:
    more = {"extra": {"a": [1]}, "v": 1}
    presence = Presence(online=True, agent="0.1.0", boot="b", stream="s" * 22, config=3)
    for encoded, decode, value in [
        (codec.encode_presence(presence), codec.decode_presence, presence),
        (
            codec.encode_ack(Ack(stream="s" * 22, ranges=((1, 2),))),
            codec.decode_ack,
            Ack(stream="s" * 22, ranges=((1, 2),)),
        ),
        (codec.encode_config(Config(version=1)), codec.decode_cmd, Config(version=1)),
    ]:
        assert decode(json.dumps(json.loads(encoded) | more).encode()) == value


def test_an_answer_is_read_back_equal_and_is_no_presence() -> None:
    answer = Answer(id="c-1", reason="line_busy")
    payload = codec.encode_answer(answer)
    assert codec.decode_answer(payload) == answer
    assert isinstance(codec.decode_presence(payload), Refusal)
    presence = Presence(online=True, agent="0.1.0", boot="b", stream="s" * 22)
    assert isinstance(codec.decode_answer(codec.encode_presence(presence)), Refusal)
