"""What does a probe send? Messages made by hand, each following on the one before it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from balise_agent import codec, contract
from balise_agent.catalogue import Retention
from balise_agent.contract import Envelope, Presence
from balise_collector.ingest import Incoming

NOW = 1_800_000_000_000
BOOT_MS = 5_000_000
"""CLOCK_BOOTTIME at ``NOW``."""


def row(at: int = 0, measurement: str = "host", /, *, k: str = "", **fields: Any) -> dict[str, Any]:
    """One record of a body, as it stands on the wire."""
    return {"m": measurement, "at": at} | ({"k": k} if k else {}) | {"f": fields or {"uptime_s": 1}}


class Sender:
    """A probe's stream. Rows and names are taken as they are, so that a test can send what no agent would."""

    def __init__(self, probe: str = "probe001", *, previous: str | None = None) -> None:
        self.probe, self.previous = probe, previous
        self.stream = contract.token(secrets.token_bytes(16))
        self.seq, self.chain = 0, contract.chain_start(self.stream, previous)

    def sends(
        self,
        *rows: Mapping[str, Any],
        ts_ms: int = NOW,
        retention: Retention = "raw_90d",
        window: tuple[int, int] | None = None,
        seq: int | None = None,
        envelope_more: Mapping[str, Any] | None = None,
        body_more: Mapping[str, Any] | None = None,
    ) -> Incoming:
        """The next message; with ``seq`` one that takes that number instead."""
        body = {"nonce": contract.token(secrets.token_bytes(16)), "bt": BOOT_MS, "records": [*rows] or [row()]}
        raw = json.dumps(body | dict(body_more or {})).encode()
        number = self.seq + 1 if seq is None else seq
        chain = contract.chain_next(self.chain, number, ts_ms, contract.body_hash(raw))
        if seq is None:
            self.seq, self.chain = number, chain
        envelope = Envelope(
            stream=self.stream,
            seq=number,
            boot="boot",
            ts_ms=ts_ms,
            sent_ms=NOW,
            chain=chain,
            retention=retention,
            previous=self.previous if number == 1 else None,
            window=window,
        )
        line = json.dumps(json.loads(codec.encode_envelope(envelope)) | dict(envelope_more or {})).encode()
        return self.raw(line + b"\n" + codec.deflate(raw))

    def raw(self, payload: bytes) -> Incoming:
        """Any bytes."""
        return Incoming(topic=contract.topic(self.probe, "records"), payload=payload)

    def says(self, *, online: bool, **more: Any) -> Incoming:
        """Its presence."""
        presence = Presence(online=online, agent="0.1.0", boot="boot", stream=self.stream)
        payload = json.dumps(json.loads(codec.encode_presence(presence)) | more).encode()
        return Incoming(topic=contract.topic(self.probe, "state"), payload=payload)
