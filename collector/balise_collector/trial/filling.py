"""How does all that a town says, and what is concluded of it, come into an InfluxDB, for dashboards to be looked at?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from balise_agent.catalogue import CATALOGUE, Retention
from balise_collector.consumers import derived_point
from balise_collector.journal_rows import DerivedEntry
from balise_collector.judge.rows import Derived
from balise_collector.store import Point
from balise_collector.store.influx import setup
from balise_collector.store.influx.lines import Encoder
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.sending import send
from balise_collector.store.influx.server import Server, check_url

LINES = 5_000  # at once


class Filling:
    """One server. Unavailable: it does not take it now."""

    def __init__(self, server: Server) -> None:
        self._post, self._encoder = open_post(server), Encoder()
        self._lines: dict[Retention, list[str]] = {}
        self.refused = 0

    @classmethod
    def open(cls, url: str, *, token: str, database: str, org: str) -> Self:
        """Makes the database where it is missing. ServerError: the address is none."""
        server = Server(url=check_url(url), database=database, org=org, credential=token)
        setup.prepare(server)
        return cls(server)

    def add(self, points: Iterable[Point]) -> None:
        """What was measured."""
        for point in points:
            if point.home:
                self._add(point)

    def derived(self, said: Derived) -> None:
        """What was concluded, as the forwarder would write it."""
        for point in derived_point(DerivedEntry(0, said.measurement, said.tags, said.ts_ms, said.fields)):
            self._add(point)

    def _add(self, point: Point) -> None:
        retention = CATALOGUE[point.measurement].retention
        lines = self._lines.setdefault(retention, [])
        lines.append(self._encoder.line(point))
        if len(lines) >= LINES:
            self._send(retention)

    def _send(self, retention: Retention) -> None:
        self.refused += len(send(self._post, retention, self._lines.pop(retention)).refused)

    def flush(self) -> None:
        """Sends what is left."""
        for retention in list(self._lines):
            self._send(retention)

    def close(self) -> None:
        """Sends what is left; nothing comes after it."""
        self.flush()
        self._post.close()
