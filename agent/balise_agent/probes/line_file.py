"""What of the line outlives the agent, and how is it kept?

Rule 1: the file holds addresses (the learned hop, the peers'): it never leaves the probe, and `forget` removes it.
Rule 2: it is replaced whole, with a checksum; one that is not whole is none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balise_agent import durable_file
from balise_agent.contract import OK, Record, failed

log = logging.getLogger(__name__)

FILE = "line.json"


class LineFile:
    """The file of one line. It is written from a thread: a card takes a second and more for a sync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._disk, self._life = threading.Lock(), 0

    @property
    def life(self) -> int:
        """What is kept of an earlier one than this is written no more."""
        return self._life

    def read(self) -> Mapping[str, Any]:
        """What `write` wrote; nothing where it is not whole."""
        try:
            digest, _, body = self._path.read_bytes().partition(b"\n")
        except OSError:
            return {}
        if hashlib.sha256(body).hexdigest().encode() != digest:
            log.warning("line_file_damaged")
            return {}
        kept: Mapping[str, Any] = json.loads(body)
        return kept

    def write(self, kept: bytes, life: int) -> None:
        """``kept``: as `sealed` made it, in that life."""
        with self._disk:
            if life != self._life:
                return
            try:
                durable_file.replace(self._path, kept)
            except OSError as exc:
                log.warning("line_not_kept", extra={"why": exc.strerror})

    def forget(self) -> None:
        """No more of it, and another life begins."""
        with self._disk:  # a thread may be writing what was seen before
            self._life += 1
            durable_file.remove(self._path)


def sealed(kept: Mapping[str, Any]) -> bytes:
    """As the file has it."""
    body = json.dumps(kept, separators=(",", ":")).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def to_raw(record: Record, boot: str) -> dict[str, Any]:
    """A record that was not handed over yet."""
    raw = {"boot": boot, "m": record.measurement, "bt": record.bt_ms, "f": dict(record.fields)}
    return raw | {"failed": record.outcome.reason}


def from_raw(raw: Mapping[str, Any], boot: str, now_ms: int) -> Record:
    """One of an earlier boot has its time in its fields alone: that boot's clock is gone."""
    bt_ms = raw["bt"] if raw["boot"] == boot else now_ms
    outcome = OK if raw["failed"] is None else failed(raw["failed"])
    return Record(measurement=raw["m"], bt_ms=bt_ms, outcome=outcome, fields=raw["f"])
