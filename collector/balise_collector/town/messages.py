"""How does a probe of the town write what it says on the wire?

With the real codec, chained and numbered as an outbox does it: one message a retention class.

Rule 1: nonces and streams are drawn from the seed, so that the same run gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from balise_agent.catalogue import CATALOGUE, Retention
from balise_agent.codec import deflate, encode_batch, encode_body, encode_presence
from balise_agent.contract import (
    Body,
    Envelope,
    Outcome,
    Presence,
    Record,
    body_hash,
    chain_next,
    chain_start,
    token,
    topic,
)
from balise_collector.store.points import Point
from balise_collector.town.stream import VERSION, Delivery

_BOOT_MS = 1_700_000_000_000  # boot time is counted from here, so that it is never negative
BOOTLESS = "A" * 22


@dataclass(slots=True)
class Outbox:
    """One probe's stream of messages."""

    probe: str
    seed: str
    seq: int = 0
    stream: str = ""
    chain: str = ""
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/outbox/{self.probe}")
        self.stream = token(self._rng.randbytes(16))
        self.chain = chain_start(self.stream, None)

    def messages(self, delivery: Delivery) -> Iterator[tuple[str, bytes]]:
        """Topic and payload of what is delivered, one a retention class; a presence is one of its own."""
        if delivery.end_ms == 0:
            yield topic(self.probe, "state"), self.presence(delivery.points[0])
            return
        by_class: dict[Retention, list[Point]] = {}
        for point in delivery.points:
            by_class.setdefault(CATALOGUE[point.measurement].retention, []).append(point)
        for retention, points in by_class.items():
            yield topic(self.probe, "records"), self._sealed(delivery, retention, points)

    def presence(self, point: Point) -> bytes:
        """As the agent says it, and as its last will does."""
        fields = point.fields
        boot = str(fields["boot"]) or BOOTLESS
        online = fields["online"] is True
        return encode_presence(
            Presence(online=online, agent=str(fields["agent"]), boot=boot, stream=self.stream, config=1)
        )

    def _sealed(self, delivery: Delivery, retention: Retention, points: list[Point]) -> bytes:
        self.seq += 1
        ts_ms = delivery.end_ms
        records = tuple(_record(point) for point in points)
        nonce = token(self._rng.randbytes(16))
        raw = encode_body(Body(nonce=nonce, bt_ms=ts_ms - _BOOT_MS, records=records))
        self.chain = chain_next(self.chain, self.seq, ts_ms, body_hash(raw))
        envelope = Envelope(
            stream=self.stream,
            seq=self.seq,
            boot=delivery.boot or BOOTLESS,
            ts_ms=ts_ms,
            sent_ms=delivery.received_ms,
            chain=self.chain,
            retention=retention,
        )
        return encode_batch(envelope, deflate(raw))


def _record(point: Point) -> Record:
    outcome = Outcome(kind=point.kind, reason=point.reason)
    return Record(
        measurement=point.measurement,
        bt_ms=point.ts_ms - _BOOT_MS,
        target=point.target,
        outcome=outcome,
        fields=point.fields,
    )


__all__ = ["VERSION", "Outbox"]
