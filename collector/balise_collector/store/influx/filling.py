"""How does what another store keeps come into InfluxDB?

Rule 1: it may be run twice, and beside the forwarder: the same points overwrite themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from balise_agent.catalogue import CATALOGUE
from balise_collector.store import Point, Reader, Series
from balise_collector.store.influx.lines import Encoder
from balise_collector.store.influx.posting import Post
from balise_collector.store.influx.sending import send

_LINES = 5_000


@dataclass(slots=True)
class Filled:
    """``refused``: lines with the reason."""

    points: int = 0
    too_old: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def fill(source: Reader, post: Post, start_ms: int, end_ms: int) -> Filled:
    """Sends every point of a span. Unavailable: some of them were sent."""
    done, encoder = Filled(), Encoder()
    for series in source.series():
        retention = CATALOGUE[series.measurement].retention if series.measurement in CATALOGUE else None
        if retention is None:
            continue
        points = _of(source, series, start_ms, end_ms)
        while some := list(islice(points, _LINES)):
            sent = send(post, retention, [encoder.line(point) for point in some])
            done.points += len(some)
            done.too_old += sent.too_old
            done.refused += [(one.line, one.why) for one in sent.refused]
    return done


def _of(source: Reader, series: Series, start_ms: int, end_ms: int) -> Iterator[Point]:
    read = source.read(series.home, series.measurement, series.target, start_ms, end_ms)
    return (point for point in read if point.probe == series.probe)
