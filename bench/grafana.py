"""How long does InfluxDB take for a panel of the fleet and of the buildings, with 1,000 homes?

InfluxDB 1.6.7 on these cores, filled as judge and sealer would: each element of 25 PONs and 25 buildings every five
minutes for 30 days, `slo` and roll-ups hourly, each home's four states for the last 25 hours: what a panel of 30 days
reads of homes is their last eleven minutes. A panel's time is that of all its queries, one after the other.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import Value
from balise_collector.grafana.board import Board, Panel
from balise_collector.grafana.boards import buildings, fleet
from balise_collector.grafana.checking import Answered, ask_all, queries_of
from balise_collector.grafana.expanding import Range
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.lines import Encoder
from balise_collector.store.influx.posting import Post, open_post
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import prepare
from balise_collector.store.points import Point
from tests.collector.influx.servers import Influxd

HOMES, PONS, DAYS, HOMES_HOURS = 1_000, 25, 30, 25
GOAL_MS = {"24h": 300.0, "30d": 1_000.0}
SERVICES = ("internet", "television", "telephone", "probe")
BOARDS = (fleet.BOARD, buildings.BOARD)
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_LINES = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A panel's time over a span, the median of its runs."""

    board: str
    panel: str
    span: str
    took_ms: float
    rows: int


def measure(runs: int = 5) -> tuple[list[Timed], int]:
    """Each panel over each span, the slowest first; and how many points are in the server."""
    with tempfile.TemporaryDirectory(prefix="balise-bench-") as folder:
        influxd = Influxd(Path(folder))
        influxd.start()
        try:
            server, end_ms = influxd.server(), time.time_ns() // 1_000_000
            written = fill(server, end_ms)
            with closing(Asking(server)) as asking:
                spans = {"24h": 24 * _HOUR_MS, "30d": DAYS * 24 * _HOUR_MS}
                found = [
                    _panel(asking, board, panel, name, Range(start_ms=end_ms - span_ms, end_ms=end_ms), runs)
                    for name, span_ms in spans.items()
                    for board in BOARDS
                    for panel in board.panels
                    if panel.queries
                ]
        finally:
            influxd.kill()
    return sorted(found, key=lambda timed: -timed.took_ms), written


def fill(server: Server, end_ms: int) -> int:
    """Writes all of it; how many points."""
    prepare(server)
    encoder, written = Encoder(), 0
    with closing(open_post(server)) as post:
        for kind, points in _kinds(end_ms):
            written += _write(post, encoder, kind, points)
    return written


def _write(post: Post, encoder: Encoder, kind: str, points: Iterator[Point]) -> int:
    written = 0
    while some := [encoder.line(point) for point in islice(points, _LINES)]:
        post.post(CATALOGUE[kind].retention, "\n".join(some).encode())
        written += len(some)
    return written


def _kinds(end_ms: int) -> Iterator[tuple[str, Iterator[Point]]]:
    yield "element_state", _elements(end_ms)
    yield "slo", _shares(end_ms)
    yield "rollup_hour", _hours(end_ms)
    yield "home_state", _homes(end_ms)
    yield "incident", _incidents(end_ms)


def _times(end_ms: int, hours: int, step_ms: int) -> range:
    return range(end_ms - hours * _HOUR_MS, end_ms + 1, step_ms)


def _elements(end_ms: int) -> Iterator[Point]:
    for at_ms in _times(end_ms, 24 * DAYS, 5 * _MINUTE_MS):
        for service in SERVICES:
            fields: dict[str, Value] = {"state": 0, "homes": 40, "known": 38, "degraded": 1, "down": 0}
            yield _point("element_state", at_ms, f"fleet:{service}", {**fields, "homes": HOMES})
            for number in range(PONS):
                yield _point("element_state", at_ms, f"pon:{service}", fields, pon=f"pon{number:02d}")
                yield _point("element_state", at_ms, f"building:{service}", fields, building=f"bat{number:02d}")


def _shares(end_ms: int) -> Iterator[Point]:
    fields: dict[str, Value] = {"good_s": 3_500.0, "down_s": 1.0, "unknown_s": 99.0, "total_s": 3_600.0}
    for at_ms in _times(end_ms, 24 * DAYS, _HOUR_MS):
        for service in SERVICES:
            yield _point("slo", at_ms, f"fleet:{service}", fields)
            for number in range(PONS):
                yield _point("slo", at_ms, f"building:{service}", fields, building=f"bat{number:02d}")


def _hours(end_ms: int) -> Iterator[Point]:
    fields: dict[str, Value] = {"p10": 0.8, "p50": 0.95, "n": 160, "coverage": 0.9}
    for at_ms in _times(end_ms, 24 * DAYS, _HOUR_MS):
        yield _point("rollup_hour", at_ms, "fleet:throughput.down_ratio", fields)


def _homes(end_ms: int) -> Iterator[Point]:
    for at_ms in _times(end_ms, HOMES_HOURS, 5 * _MINUTE_MS):
        for number in range(HOMES):
            place = {"building": f"bat{number % PONS:02d}", "pon": f"pon{number // 40:02d}"}
            fields: dict[str, Value] = {"state": 2 if number % 97 == 0 else 0, "age_s": 20.0, "coverage": 0.98}
            for service in SERVICES:
                yield _point("home_state", at_ms, service, fields, home=f"home{number:04d}", **place)


def _incidents(end_ms: int) -> Iterator[Point]:
    for number in range(200):
        fields: dict[str, Value] = {"id": f"i{number}", "state": "closed", "cause": "fibre", "hit": 38, "measured": 40}
        yield _point("incident", end_ms - number * 3 * _HOUR_MS, "silence:pon", fields, pon=f"pon{number % PONS:02d}")


def _point(kind: str, at_ms: int, target: str, fields: dict[str, Value], **place: str) -> Point:
    whose = {"home": "", "building": "", "pon": "", **place}
    return Point(probe="collector", measurement=kind, target=target, ts_ms=at_ms, kind="ok", fields=fields, **whose)


def _panel(asking: Asking, board: Board, panel: Panel, span: str, over: Range, runs: int) -> Timed:
    asked = [one for one in queries_of([board]) if one.where.startswith(f"{board.uid} / {panel.title.fr}")]
    found = [list(ask_all(asking, asked, over)) for _ in range(runs)]
    refused = [one.why for one in found[0] if one.outcome == "refused"]
    assert not refused, refused
    return Timed(
        board=board.uid,
        panel=panel.title.en,
        span=span,
        took_ms=statistics.median(_total_ms(each) for each in found),
        rows=sum(one.rows for one in found[0]),
    )


def _total_ms(answers: list[Answered]) -> float:
    return sum(one.took_ms for one in answers)
