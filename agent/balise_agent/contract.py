"""What does a probe say, and what is it told?

Frozen values, their topics and their chain; `catalogue` has the measurements, `codec` how all of it is written.
Version 1: its messages are frozen, `tests/contract/v1/` is read for ever.

Rule 1: a body is encoded once and never changed; what is known later (sequence, date, chain) stands in the envelope.
Rule 2: who a message is from is its topic, which the broker's access rules guard; no payload names its sender.
Rule 3: a failure is data: an outcome is ok, failed(reason) or skipped(reason), never a number and never a missing row.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from balise_agent.catalogue import Retention

VERSION = 1
CONTENT_TYPE = "application/vnd.balise.batch.v1+json"
CONTENT_TYPE_CONTROL = "application/vnd.balise.control.v1+json"
ENCODING = ("enc", "zlib")
"""User property of a batch: its body, after the envelope's line, is zlib."""

MAX_WIRE_BYTES = 262_144  # the broker's max_packet_size too
MAX_BODY_BYTES = 1_000_000  # an inflated body; a zip bomb stops here
MAX_ENVELOPE_BYTES = 1_024
MAX_RECORDS = 4_096
MAX_TEXT = 256
MAX_INT = 2**53 - 1  # the largest integer that every JSON reader keeps exact
MAX_TS_MS = 253_370_764_800_000  # 9999-01-01: a date plus any MAX_AT_MS is still one that datetime can hold
MAX_AT_MS = 90 * 86_400_000  # a record is at most this far from its body: the outbox keeps nothing longer
MAX_DEPTH = 8  # nesting of a configuration's or a command's values
MAX_UNKNOWN = 32  # names of unknown fields kept of a message: they end in logs and counters

Value = int | float | bool | str
Topic = Literal["records", "ack", "cmd", "state"]

_CHAIN_BYTES = 16
_CHAIN_VALUE = re.compile(r"[A-Za-z0-9_-]{22}")
_PROBE_ID = re.compile(r"[a-z0-9]{8,32}")
_TOPIC = re.compile(r"balise/v1/([a-z0-9]{8,32})/(records|ack|cmd|state)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a measurement ended. ``reason`` is None exactly when it is ok; `docs/failures.md` explains each reason."""

    kind: Literal["ok", "failed", "skipped"] = "ok"
    reason: str | None = None


OK = Outcome()


def failed(reason: str) -> Outcome:
    """It was tried and the line, the peer or the service did not do its part."""
    return Outcome(kind="failed", reason=reason)


def skipped(reason: str) -> Outcome:
    """It was not tried, on purpose."""
    return Outcome(kind="skipped", reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One finished measurement. ``bt_ms``: CLOCK_BOOTTIME in ms at its end, dated later by the clock."""

    measurement: str
    bt_ms: int
    target: str = ""
    outcome: Outcome = OK
    fields: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The part of a batch that is written once.

    ``nonce``: 16 random bytes, so that the hash of an erased body tells nothing.
    """

    nonce: str
    bt_ms: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What stands around a body.

    ``ts_ms``: UTC at the body's ``bt_ms``, 0 where it can never be known; a record's date is
    ``ts_ms + record.bt_ms - body.bt_ms``. ``window``: where ts_ms is 0, the earliest and latest it can have been.
    """

    stream: str
    seq: int
    boot: str
    ts_ms: int
    sent_ms: int  # the probe's wall clock when sent; 0: unknown
    chain: str
    retention: Retention
    previous: str | None = None  # seq 1 only: the stream before this one
    window: tuple[int, int] | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A decoded message. ``unknown``: names of fields that this reader does not know; their values are already gone."""

    envelope: Envelope
    body: Body
    body_hash: bytes
    unknown: tuple[str, ...] = ()

    def ts_ms(self, record: Record) -> int:
        """UTC date of one of its records in ms; only where the envelope is dated."""
        return self.envelope.ts_ms + record.bt_ms - self.body.bt_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why bytes are not a message: a name from `REFUSALS`, and where."""

    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


REFUSALS: dict[str, str] = {
    "too_large": f"more than {MAX_WIRE_BYTES:,} bytes on the wire",
    "bad_envelope": "the first line is not an envelope",
    "bad_version": "an envelope of another major version",
    "bad_zlib": "the body is not one whole zlib stream",
    "inflates_too_much": f"the body inflates to more than {MAX_BODY_BYTES:,} bytes",
    "bad_json": "not JSON in UTF-8, or JSON with NaN, infinity, half a surrogate pair, a name twice or nested too deep",
    "bad_body": "a part of the body is missing or of another type",
    "bad_record": "a part of a record is missing, of another type or out of bounds",
    "unknown_measurement": "a measurement that this reader's catalogue does not hold",
    "wrong_writer": "a measurement that a probe may not write",
    "mixed_retention": "a record whose retention class is not the envelope's",
    "bad_control": "a control message with a part missing, of another type or out of bounds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """On ``ack``: what the collector committed of a stream, as inclusive ranges, and what it never will, with why."""

    stream: str
    ranges: tuple[tuple[int, int], ...]
    rejected: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """On ``state``, retained; the last will is the same with ``online`` false."""

    online: bool
    agent: str
    boot: str
    stream: str
    config: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """On ``state``, never retained: the command of that ``id`` was refused, for a reason that says how the line was
    used at that moment. It is for who asked; nobody keeps it."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """On ``cmd``, retained: all that the operator sets, whole, each time. ``version`` only grows.

    ``plan``: intervals and batch time by probe; ``targets``: peers by label; ``segment``: random label that stands for
    the PON; ``contract``: contracted rates in bit/s; ``token``: for heavy tests; ``consent``: the home agrees to being
    measured.
    """

    version: int
    consent: bool = True
    segment: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    contract: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    channels: tuple[Mapping[str, Any], ...] = ()
    token: str = ""
    signature: str | None = None


CommandKind = Literal["test", "replay", "pause", "resume"]
COMMAND_KINDS: tuple[CommandKind, ...] = ("test", "replay", "pause", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """On ``cmd``, never retained. The same ``id`` twice is done once; after ``expires_ms`` (UTC) it is refused.

    ``args``: test: ``{"probe": name}``, of one that fills the line ``"shape": "light" | "full"`` too; replay:
    ``{"stream": s, "from_seq": n}``; pause: ``{"seconds": n}``; resume: ``{}``.
    """

    id: str
    kind: CommandKind
    expires_ms: int
    args: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None


def is_probe_id(text: str) -> bool:
    """8 to 32 of a-z and 0-9: nothing that a topic filter could read as more."""
    return _PROBE_ID.fullmatch(text) is not None


def topic(probe: str, kind: Topic) -> str:
    """``balise/v1/<probe>/<kind>``."""
    return f"balise/v1/{probe}/{kind}"


def parse_topic(text: str) -> tuple[str, Topic] | None:
    """Probe id and kind, or None where it is no topic of ours."""
    match = _TOPIC.fullmatch(text)
    return None if match is None else (match[1], match[2])  # type: ignore[return-value]


def token(raw: bytes) -> str:
    """Bytes as base64url without padding: 16 bytes are 22 characters."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def body_hash(body_json: bytes) -> bytes:
    """``bh``: SHA-256 of the body's JSON, before zlib."""
    return hashlib.sha256(body_json).digest()


def chain_start(stream: str, previous: str | None) -> str:
    """``c_0`` of a stream: it names the stream before it, if there was one."""
    digest = hashlib.sha256(b"BC1" + stream.encode() + b"|" + (previous or "").encode()).digest()
    return token(digest[:_CHAIN_BYTES])


def chain_next(last: str, seq: int, ts_ms: int, bh: bytes) -> str:
    """``c_n = SHA-256("BC1" || c_{n-1} || u64 seq || u64 ts_ms || bh)[:16]``, integers big-endian.

    The date is in it, or an evening could be moved out of the peak hours. ValueError: ``last`` is not 16 bytes in
    base64url; a decoded envelope's ``chain`` always is.
    """
    if _CHAIN_VALUE.fullmatch(last) is None or len(bh) != hashlib.sha256().digest_size:
        raise ValueError("a chain value is 16 bytes in base64url, a body's hash 32 bytes")
    raw = base64.urlsafe_b64decode(last + "==")
    digest = hashlib.sha256(b"BC1" + raw + seq.to_bytes(8, "big") + ts_ms.to_bytes(8, "big") + bh).digest()
    return token(digest[:_CHAIN_BYTES])
