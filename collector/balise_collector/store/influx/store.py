"""How is an InfluxDB written like any store, where the last writing of a key counts and erased is erased?

InfluxDB itself joins the fields of two writings of one key, and takes a point with another home for another series.
So this writer looks first, and takes away what a new point replaces. The forwarder need not: a row of the journal is
never written twice with other content.

Rule 1: what is in the way is deleted before the new point is written, and the cursor moves after both.
Rule 2: deleted is out of every answer at once. Its bytes leave InfluxDB's files when it compacts them, hours later at
most: no API of InfluxDB promises more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from balise_agent.catalogue import CATALOGUE, RETENTION_DAYS, Retention
from balise_collector.store import Retained, points
from balise_collector.store.influx import asking
from balise_collector.store.influx.deleting import Deleting, open_deleting
from balise_collector.store.influx.lines import MAX_MS, Encoder
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.reader import InfluxReader, select, where
from balise_collector.store.influx.sending import send
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.state import State
from balise_collector.store.points import Point

_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_LINES = 5_000  # at once

Key = tuple[str, str, str, int]


class InfluxStore(InfluxReader):
    """A `store.Store`. Unavailable, of every method: InfluxDB does not do it now; ask again."""

    def __init__(self, server: Server, path: Path) -> None:
        super().__init__(server, path)
        self._state = State(path)
        self._post, self._encoder = open_post(server), Encoder()
        self._deleting: Deleting = open_deleting(server)

    def write(self, points: Sequence[Point], feed: str, cursor: int) -> None:
        """Keep the points, then the feed's cursor. ValueError: a point that InfluxDB or any store cannot keep."""
        last: dict[Key, Point] = {}
        lines: dict[Key, str] = {}
        for point in points:
            key = _key(point)
            last[key], lines[key] = point, self._said(point)
        self._make_way(last)
        by_class: dict[Retention, list[str]] = {}
        for (measurement, *_), line in lines.items():
            by_class.setdefault(CATALOGUE[measurement].retention, []).append(line)
        for retention, said in by_class.items():
            for at in range(0, len(said), _LINES):
                sent = send(self._post, retention, said[at : at + _LINES])
                if sent.refused:
                    raise ValueError(f"{sent.refused[0].line}: {sent.refused[0].why}")
        self._state.set(feed, cursor)

    def seal(self, now_ms: int) -> int:  # noqa: ARG002 - the protocol's
        """InfluxDB packs by itself."""
        return 0

    def delete(self, home: str, from_ms: int, to_ms: int) -> int:
        """Erase a home's points; how many there were. See rule 2."""
        found = self._counts({"home": home}, from_ms, to_ms)
        for measurement in found:
            self._deleting.delete(measurement, {"home": home}, max(0, from_ms), min(to_ms, MAX_MS))
        return sum(found.values())

    def retain(self, now_ms: int) -> Retained:
        """Erase what is older than its class allows, to the hour. InfluxDB's policies do so by themselves, a shard at
        a time (`setup`); this is for a database that has none."""
        deleted: dict[str, int] = {}
        for name, measurement in CATALOGUE.items():
            days = RETENTION_DAYS[measurement.retention]
            cutoff_ms = 0 if days is None else (now_ms - days * _DAY_MS) // _HOUR_MS * _HOUR_MS
            if cutoff_ms > 0 and (count := self._counts({}, 0, cutoff_ms).get(name)):
                self._deleting.delete(name, {}, 0, cutoff_ms)
                deleted[name] = count
        unknown = self.measurements() - CATALOGUE.keys()
        return Retained(deleted=deleted, files=0, unknown=tuple(sorted(unknown)))

    def close(self) -> None:
        """Let go of connections and of the file of cursors."""
        super().close()
        self._post.close()
        self._deleting.close()
        self._state.close()

    def _said(self, point: Point) -> str:
        why = points.refusal(point)
        try:
            if why is None:
                return self._encoder.line(point)
        except ValueError as exc:
            why = str(exc)
        raise ValueError(f"{point.measurement} {point.target!r} of {point.probe} at {point.ts_ms}: {why}")

    def _make_way(self, new: dict[Key, Point]) -> None:
        """Delete what a new point replaces and a writing would leave standing."""
        for there in self._there(new):
            coming = new.get(_key(there))
            if coming is not None and (coming.tags != there.tags or _shape(there) - _shape(coming)):
                tags = {name: getattr(there, name) for name in ("building", "home", "pon", "probe", "target")}
                self._deleting.delete(there.measurement, tags, there.ts_ms, there.ts_ms + 1)

    def _there(self, new: dict[Key, Point]) -> Iterator[Point]:
        """What is kept of the same measurements, probes and days, between the first and the last of a day."""
        spans: dict[tuple[str, str, int], list[int]] = {}
        for point in new.values():
            day = (point.measurement, point.probe, point.ts_ms // _DAY_MS)
            spans.setdefault(day, []).append(point.ts_ms)
        statements = [
            select("*", measurement, where({"probe": probe}, min(dates), max(dates) + 1))
            for (measurement, probe, _), dates in spans.items()
        ]
        for at in range(0, len(statements), 200):
            for rows in self._asking.all(statements[at : at + 200]):
                for series in rows:
                    yield from asking.points(series)


def _key(point: Point) -> Key:
    return (point.measurement, point.probe, point.target, point.ts_ms)


def _shape(point: Point) -> set[tuple[str, type]]:
    return {(name, type(value)) for name, value in point.fields.items()}
