"""What does a probe send in these measurements? Real bodies by the real codec, chained, all made before a clock starts.

A message holds seven records of five fields: round trips to three rungs, two resolvers, one page, the probe itself.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from balise_agent.codec import deflate, encode_batch, encode_body
from balise_agent.contract import (
    CONTENT_TYPE,
    ENCODING,
    Body,
    Envelope,
    Record,
    Value,
    body_hash,
    chain_next,
    chain_start,
    token,
    topic,
)

POINTS_A_MESSAGE = 7
FIELDS_A_POINT = 5
MINUTE_MS = 60_000


@dataclass(slots=True)
class Source:
    """One probe's stream, from its first message; ``bt_ms`` is the probe's boot time at the last one."""

    probe: str
    rng: random.Random
    bt_ms: int = 86_400_000
    seq: int = 0
    stream: str = ""
    chain: str = ""

    def __post_init__(self) -> None:
        self.stream = token(self.rng.randbytes(16))
        self.chain = chain_start(self.stream, None)

    def next(self, ts_ms: int) -> bytes:
        """The next message, sealed at that date: the payload of its PUBLISH."""
        self.seq += 1
        self.bt_ms += MINUTE_MS
        nonce = token(self.rng.randbytes(16))
        raw = encode_body(Body(nonce=nonce, bt_ms=self.bt_ms, records=tuple(self._records())))
        self.chain = chain_next(self.chain, self.seq, ts_ms, body_hash(raw))
        envelope = Envelope(
            stream=self.stream,
            seq=self.seq,
            boot=self.stream,
            ts_ms=ts_ms,
            sent_ms=ts_ms + 40,
            chain=self.chain,
            retention="raw_90d",
        )
        return encode_batch(envelope, deflate(raw))

    def _records(self) -> Iterator[Record]:
        rng, bt_ms = self.rng, self.bt_ms
        for label, sent in (("gw", 6), ("op", 40), ("any1", 6)):
            p50_us = rng.randrange(700, 14_000)
            fields: dict[str, Value] = {"af": 4, "sent": sent, "lost": int(rng.random() < 0.01)}
            fields |= {"p50_us": p50_us, "p95_us": p50_us + rng.randrange(90, 4_000)}
            yield Record(measurement="reach", bt_ms=bt_ms - rng.randrange(8_000) * 8, target=label, fields=fields)
        for label in ("box", "public"):
            fields = {"af": 4, "query_ms": round(rng.uniform(1, 30), 2), "rcode": 0, "tc": False, "answers": 1}
            yield Record(measurement="dns", bt_ms=bt_ms - rng.randrange(8_000) * 8, target=label, fields=fields)
        connect_ms, ttfb_ms = round(rng.uniform(5, 20), 2), round(rng.uniform(10, 40), 2)
        fields = {"af": 4, "connect_ms": connect_ms, "ttfb_ms": ttfb_ms}
        fields |= {"total_ms": round(connect_ms + ttfb_ms + 8, 2), "status": 200}
        yield Record(measurement="web", bt_ms=bt_ms - rng.randrange(8_000) * 8, target="target", fields=fields)
        fields = {"cpu_pct": round(rng.uniform(0.5, 9), 2), "mem_available_kb": rng.randrange(380_000, 420_000)}
        fields |= {"agent_rss_kb": rng.randrange(30_000, 33_000), "temp_c": round(rng.uniform(40, 60), 1)}
        yield Record(measurement="host", bt_ms=bt_ms, fields=fields | {"uptime_s": bt_ms // 1_000})


def packets(probe: str, count: int, seed: str, last_ts_ms: int) -> list[bytes]:
    """``count`` messages of a probe, a minute apart, the last one at that date, as MQTT packets; id = seq."""
    source = Source(probe=probe, rng=random.Random(f"{seed}/{probe}"))
    dates = range(last_ts_ms - (count - 1) * MINUTE_MS, last_ts_ms + 1, MINUTE_MS)
    return [publish_packet(probe, source.next(ts_ms), mid) for mid, ts_ms in enumerate(dates, 1)]


def publish_packet(probe: str, payload: bytes, mid: int) -> bytes:
    """A batch as the agent publishes it: QoS 1, content type, and the property that names its encoding."""
    name, value = ENCODING
    properties = b"\x03" + text(CONTENT_TYPE) + b"\x26" + text(name) + text(value)
    head = text(topic(probe, "records")) + struct.pack("!H", mid) + varint(len(properties)) + properties
    return packet(0x32, head + payload)


def packet(first: int, rest: bytes) -> bytes:
    """An MQTT packet of that first byte."""
    return bytes([first]) + varint(len(rest)) + rest


def text(value: str) -> bytes:
    """A string as MQTT writes it."""
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def varint(number: int) -> bytes:
    """A length as MQTT writes it, seven bits a byte."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
