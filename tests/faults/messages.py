"""Which messages do the fault tests send? The same for a seed, each distinct, of several probes and streams."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

from balise_agent import codec, contract
from balise_agent.contract import Body, Envelope, Record, Value
from balise_collector.ingest import Incoming
from balise_collector.placement import Place, Placement

START_MS = 1_800_000_000_000
PROBES = ("probe001", "probe002", "probe003")
STEP_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message and what must come of it."""

    incoming: Incoming
    probe: str
    stream: str
    seq: int
    ts_ms: int
    chain: str
    body: bytes
    points: tuple[tuple[str, str, int, str], ...]  # measurement, target, ts_ms, fields

    @property
    def key(self) -> tuple[str, str, int]:
        """What it counts once by."""
        return (self.probe, self.stream, self.seq)


def home_of(probe: str, _ts_ms: int) -> Placement:
    """Each probe in a home of its own."""
    return Place(home=f"home{probe[5:]}", building="b1", pon="p1")


def values(n: int) -> dict[str, Value]:
    """Fields of record n: nothing else has them."""
    return {"uptime_s": n, "cpu_pct": n / 7, "agent_rss_kb": n * n % 65_521, "rows_waiting": n % 13}


def text(fields: Mapping[str, Value]) -> str:
    """Fields as a value that can be compared and put in a set."""
    return json.dumps(dict(sorted(fields.items())))


def messages(seed: int, count: int, streams_a_probe: int = 2) -> list[Sent]:
    """``count`` messages in the order in which probes made them, streams of a probe one after the other."""
    rng = random.Random(seed)
    made: list[Sent] = []
    share = count // len(PROBES) // streams_a_probe + 1
    for probe in PROBES:
        previous: str | None = None
        for part in range(streams_a_probe):
            stream = contract.token(rng.randbytes(16))
            made += _stream(rng, probe, stream, previous, part * share, share)
            previous = stream
    made.sort(key=lambda sent: (sent.ts_ms, sent.probe))
    return made[:count]


def _stream(rng: random.Random, probe: str, stream: str, previous: str | None, first: int, count: int) -> list[Sent]:
    chain = contract.chain_start(stream, previous)
    made = []
    for seq in range(1, count + 1):
        bt_ms, ts_ms = (first + seq) * STEP_MS, START_MS + (first + seq) * STEP_MS
        records = tuple(_record(first + seq, bt_ms, i) for i in range(rng.randint(1, 5)))
        raw = codec.encode_body(Body(nonce=contract.token(rng.randbytes(16)), bt_ms=bt_ms, records=records))
        chain = contract.chain_next(chain, seq, ts_ms, contract.body_hash(raw))
        envelope = Envelope(
            stream=stream,
            seq=seq,
            boot="boot",
            ts_ms=ts_ms,
            sent_ms=ts_ms,
            chain=chain,
            retention="raw_90d",
            previous=previous if seq == 1 else None,
        )
        body = codec.deflate(raw)
        incoming = Incoming(topic=contract.topic(probe, "records"), payload=codec.encode_batch(envelope, body))
        points = tuple((r.measurement, r.target, ts_ms + r.bt_ms - bt_ms, text(r.fields)) for r in records)
        made.append(
            Sent(
                incoming=incoming,
                probe=probe,
                stream=stream,
                seq=seq,
                ts_ms=ts_ms,
                chain=chain,
                body=body,
                points=points,
            )
        )
    return made


def _record(n: int, bt_ms: int, i: int) -> Record:
    return Record(measurement="host", bt_ms=bt_ms - 8 * i, fields=values(10 * n + i))
