"""How is something taken out of an InfluxDB?

Rule 1: it needs the right to write only, on both versions.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from balise_agent.catalogue import CATALOGUE
from balise_collector.store import Unavailable
from balise_collector.store.influx.asking import Asking, identifier
from balise_collector.store.influx.http import Http
from balise_collector.store.influx.lines import MAX_MS, NONE
from balise_collector.store.influx.reader import where
from balise_collector.store.influx.server import Server

_NS = 1_000_000


class Deleting(Protocol):
    """Takes points away. Unavailable: it was not done, or not known to be."""

    def delete(self, measurement: str, tags: dict[str, str], start_ms: int, end_ms: int) -> None:
        """Those of a measurement with these tags ("": without) in a span of time, ``end_ms`` not included."""

    def close(self) -> None:
        """Let go of the connection."""


def open_deleting(server: Server) -> Deleting:
    """As the server's version likes it."""
    return _Api2(server) if server.org else _Statement(server)


class _Statement:
    """1.x: DELETE knows no policy, and a measurement is in one only."""

    def __init__(self, server: Server) -> None:
        self._asking = Asking(server)

    def delete(self, measurement: str, tags: dict[str, str], start_ms: int, end_ms: int) -> None:
        condition = where(tags, start_ms, end_ms)
        self._asking.all([f"DELETE FROM {identifier(measurement)} WHERE {condition}"])  # noqa: S608 - InfluxQL

    def close(self) -> None:
        self._asking.close()


class _Api2:
    """2.x: a predicate over one bucket, both ends of the span included."""

    def __init__(self, server: Server) -> None:
        self._http, self._server = Http(server), server

    def delete(self, measurement: str, tags: dict[str, str], start_ms: int, end_ms: int) -> None:
        bucket = self._server.bucket(CATALOGUE[measurement].retention)
        equal = [
            f"_measurement={_quoted(measurement)}",
            *(f"{name}={_quoted(value or NONE)}" for name, value in tags.items()),
        ]
        start, stop = _written(max(0, start_ms) * _NS), _written(min(end_ms, MAX_MS) * _NS - 1)
        body = json.dumps({"start": start, "stop": stop, "predicate": " AND ".join(equal)}).encode()
        params = {"org": self._server.org, "bucket": bucket}
        answer = self._http.ask("POST", "/api/v2/delete", params, body, {"Content-Type": "application/json"})
        if answer.status != HTTPStatus.NO_CONTENT:
            raise Unavailable(f"{self._http.where}: {answer.status} {answer.words}")

    def close(self) -> None:
        self._http.close()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _written(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
