"""Is this message valid, and what does it say, fast?

The same question as `balise_agent.codec.decode_batch`, answered for the collector's stream by types that msgspec checks
while it parses, made from the same catalogue.

Rule 1: the fast path takes only what the codec would take, with equal values. All else goes to the codec, which alone
refuses, and alone drops the values of unknown fields.
Rule 2: a value whose name nobody looked at is never kept: a message whose names are not all accounted for is not fast.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from msgspec import Meta, MsgspecError, Struct, defstruct
from msgspec.json import Decoder

from balise_agent.catalogue import CATALOGUE, FieldType, Measurement, Retention
from balise_agent.codec import DICTIONARY, decode_batch, deflate, encode_body
from balise_agent.codec.shape import REASON, TARGET, is_short, is_text
from balise_agent.contract import (
    MAX_AT_MS,
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_INT,
    MAX_RECORDS,
    MAX_TEXT,
    MAX_TS_MS,
    MAX_WIRE_BYTES,
    Batch,
    Refusal,
    Value,
    body_hash,
)

_Ms = Annotated[int, Meta(ge=0, le=MAX_TS_MS)]
_Seq = Annotated[int, Meta(ge=1, le=MAX_INT)]
_At = Annotated[int, Meta(ge=-MAX_AT_MS, le=MAX_AT_MS)]
_Token = Annotated[str, Meta(min_length=22, max_length=22)]  # its alphabet: `_are_tokens`
_Reason = Annotated[str, Meta(pattern=rf"^(?:{REASON.pattern})\Z")]

_BACKSLASH, _DEL = 0x5C, 0x7F  # as numbers: finding a byte is eight times faster than finding a text of one
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*").fullmatch

_TYPES: dict[FieldType, Any] = {
    "int": Annotated[int, Meta(ge=-MAX_INT, le=MAX_INT)],
    "float": float,
    "bool": bool,
    "str": Annotated[str, Meta(max_length=MAX_TEXT)],
}


class Row(Struct, frozen=True, gc=False, forbid_unknown_fields=True, rename={"target": "k", "fields": "f"}):
    """One record; ``at`` is in ms after the body's ``bt_ms``. A subclass a measurement checks the fields' types."""

    measurement: ClassVar[str]
    at: _At
    target: str = ""
    failed: _Reason | None = None
    skipped: _Reason | None = None
    fields: dict[str, Value] = {}

    @property
    def kind(self) -> Literal["ok", "failed", "skipped"]:
        """How it ended."""
        if self.failed is not None:
            return "failed"
        return "ok" if self.skipped is None else "skipped"

    @property
    def reason(self) -> str | None:
        """Why it failed or was skipped; None where it is ok."""
        return self.skipped if self.failed is None else self.failed


class Decoded(Struct, frozen=True, gc=False):
    """A valid message: its envelope, its records, and the body to keep.

    ``body_hash`` is the hash of the body that came, for the chain; where ``unknown`` names fields, ``body_zlib`` is
    another body, without their values.
    """

    stream: str
    seq: int
    boot: str
    ts_ms: int
    sent_ms: int
    chain: str
    retention: Retention
    previous: str | None
    window: tuple[int, int] | None
    signature: str | None
    bt_ms: int
    records: tuple[Row, ...]
    body_hash: bytes
    body_zlib: bytes
    unknown: tuple[str, ...] = ()


class _Envelope(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    v: Literal[1]
    s: _Token
    n: _Seq
    b: Annotated[str, Meta(min_length=1, max_length=22)]
    t: _Ms
    x: _Ms
    h: _Token
    r: Retention
    p: _Token | None = None
    q: str | None = None
    w: tuple[_Ms, _Ms] | None = None
    sig: str | None = None


def _row_type(measurement: Measurement) -> type[Struct]:
    fields = TypedDict("fields", {f.name: _TYPES[f.type] for f in measurement.fields}, total=False)  # type: ignore[misc]
    return defstruct(
        f"{measurement.name}_row",
        [("fields", fields, {})],
        bases=(Row,),
        tag_field="m",
        tag=measurement.name,
        namespace={"measurement": measurement.name},
        frozen=True,
        gc=False,
        forbid_unknown_fields=True,
    )


def _body_decoder(rows: Iterable[type[Struct]]) -> Decoder[Any]:
    row: Any = reduce(or_, rows)
    records = Annotated[tuple[row, ...], Meta(min_length=1, max_length=MAX_RECORDS)]
    fields = [("nonce", _Token), ("bt", Annotated[int, Meta(ge=0, le=MAX_INT)]), ("records", records)]
    return Decoder(defstruct("body", fields, frozen=True, gc=False, forbid_unknown_fields=True))


_ROWS = {measurement: _row_type(measurement) for measurement in CATALOGUE.values()}
_FROM_PROBES = [m for m in CATALOGUE.values() if m.writer == "probe" and m.leaves]
_BODIES = {
    retention: _body_decoder(_ROWS[m] for m in _FROM_PROBES if m.retention == retention)
    for retention in {m.retention for m in _FROM_PROBES}
}
_STORED = _body_decoder(_ROWS.values())
_ENVELOPE = Decoder(_Envelope)


def decode(payload: bytes) -> Decoded | Refusal:
    """The whole check of a message, as `decode_batch` makes it."""
    return _fast(payload) or _careful(payload)


def records(body_zlib: bytes) -> tuple[Row, ...]:
    """The records of a body that `decode` gave to keep. ValueError: it is damaged."""
    try:
        inflater = zlib.decompressobj(zdict=DICTIONARY)
        found: tuple[Row, ...] = _STORED.decode(inflater.decompress(body_zlib)).records
    except (MsgspecError, UnicodeDecodeError, zlib.error) as exc:
        raise ValueError(f"stored body of {len(body_zlib)} bytes: {exc}") from exc
    if not inflater.eof or inflater.unused_data:
        raise ValueError(f"stored body of {len(body_zlib)} bytes: not one whole zlib stream")
    return found


def _careful(payload: bytes) -> Decoded | Refusal:
    batch = decode_batch(payload)
    if isinstance(batch, Refusal):
        return batch
    compressed = deflate(encode_body(batch.body)) if batch.unknown else payload[payload.index(b"\n") + 1 :]
    return _decoded(batch, compressed)


def _decoded(batch: Batch, compressed: bytes) -> Decoded:
    envelope = batch.envelope
    return Decoded(
        stream=envelope.stream,
        seq=envelope.seq,
        boot=envelope.boot,
        ts_ms=envelope.ts_ms,
        sent_ms=envelope.sent_ms,
        chain=envelope.chain,
        retention=envelope.retention,
        previous=envelope.previous,
        window=envelope.window,
        signature=envelope.signature,
        bt_ms=batch.body.bt_ms,
        records=records(compressed),
        body_hash=batch.body_hash,
        body_zlib=compressed,
        unknown=batch.unknown,
    )


def _fast(payload: bytes) -> Decoded | None:
    """The message, or None where only the codec can say."""
    line, _, compressed = payload.partition(b"\n")
    if len(payload) > MAX_WIRE_BYTES or len(line) > MAX_ENVELOPE_BYTES:
        return None
    inflater = zlib.decompressobj(zdict=DICTIONARY)
    try:
        envelope = _ENVELOPE.decode(line)
        raw = inflater.decompress(compressed, MAX_BODY_BYTES + 1)
        body = _BODIES[envelope.r].decode(raw)
    except (MsgspecError, UnicodeDecodeError, RecursionError, zlib.error, KeyError):
        return None
    whole = inflater.eof and not inflater.unused_data and len(raw) <= MAX_BODY_BYTES
    if not (whole and _is_envelope(envelope, line) and _is_body(body, raw) and _are_tokens(envelope, body)):
        return None
    return Decoded(
        stream=envelope.s,
        seq=envelope.n,
        boot=envelope.b,
        ts_ms=envelope.t,
        sent_ms=envelope.x,
        chain=envelope.h,
        retention=envelope.r,
        previous=envelope.p,
        window=envelope.w,
        signature=envelope.sig,
        bt_ms=body.bt,
        records=body.records,
        body_hash=body_hash(raw),
        body_zlib=compressed,
    )


def _is_envelope(envelope: _Envelope, line: bytes) -> bool:
    """What the type leaves open: names that stand twice, escapes, the order of the window."""
    colons = line.count(b":")  # one a name: eight are the eight that must be there
    return colons == 8 or (_BACKSLASH not in line and _is_full_envelope(envelope, colons))


def _is_full_envelope(envelope: _Envelope, colons: int) -> bool:
    signature, window = envelope.sig, envelope.w
    optional = (envelope.p, envelope.q, window, signature)
    return (
        colons == 8 + sum(value is not None for value in optional)
        and (window is None or window[0] <= window[1])
        and (signature is None or is_short(signature))
    )


def _are_tokens(envelope: _Envelope, body: Any) -> bool:
    """One alphabet, and lengths that the types know: one look at all of them."""
    return _BASE64URL(f"{envelope.s}{envelope.h}{envelope.b}{body.nonce}{envelope.p or ''}") is not None


def _is_body(body: Any, raw: bytes) -> bool:
    """What the types leave open: printable text, labels, and names that stand twice or in no catalogue.

    Each name brings one colon. With as many colons as names taken, no name was passed over and no text holds a colon;
    a text that does is the codec's to read.
    """
    colons = raw.count(b":")
    names = 3 + 4 * len(body.records)
    for row in body.records:
        names += len(row.fields) or -1
        target = row.target
        if not target:
            names -= 1
        elif not _is_label(target):
            return False
    return (colons == names or colons == names + _outcomes(body.records)) and _is_printable(raw)


def _outcomes(rows: tuple[Row, ...]) -> int:
    """Names of outcomes, one a record at most: both at once are the codec's to refuse."""
    return sum(row.failed is not None or row.skipped is not None for row in rows)


def _is_printable(raw: bytes) -> bool:
    """JSON's parser has refused control characters as such; left are escapes, DEL and what is beyond ASCII."""
    if _BACKSLASH in raw:
        return False
    return _DEL not in raw if raw.isascii() else raw.decode().isprintable()


@lru_cache(maxsize=4096)
def _is_label(target: str) -> bool:
    """Probes use a few labels over and over: a look-up instead of a regular expression."""
    return is_text(target, TARGET)
