"""What was a channel like in an hour, over all homes together? (method QOS-1 § 4, television)

Results by channel and home live seven days: what is told of a longer time is made of these hours, which name no home.

Rule 1: an hour is made of all of its points at once, as `rollup` does.
Rule 2: a sample stands for a minute of the channel; it is good where no second of it had an error, and a sample that
failed is a bad one. What the probe itself disturbed, or could not ask for, is left out and counted beside.
Rule 3: the hour keeps the sketch of its zapping times, so that a month's percentile is one of zaps, not of hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from balise_collector.judge.reading import PROBES_OWN
from balise_collector.judge.rows import Derived
from balise_collector.stats.sketch import Sketch
from balise_collector.store import Point

MEASUREMENTS = ("tv_window", "tv_zap", "tv_hls")


@dataclass(slots=True)
class Cell:
    """One channel in one hour."""

    good: int = 0
    bad: int = 0
    failed: int = 0  # of the bad
    invalid: int = 0
    error_s: float = 0.0
    listened_s: float = 0.0
    homes: set[str] = field(default_factory=set)
    zaps: Sketch = field(default_factory=Sketch)

    def add(self, point: Point) -> None:
        """One record; each once."""
        if point.fields.get("valid") is False or point.reason in PROBES_OWN:
            self.invalid += point.measurement != "tv_zap"
        elif point.measurement == "tv_zap":
            self._zap(point)
        elif point.kind != "skipped":
            self._sample(point)

    def _zap(self, point: Point) -> None:
        took_ms = point.fields.get("zap_rap_ms")
        if point.kind == "ok" and isinstance(took_ms, int | float):
            self.zaps.add(float(took_ms))

    def _sample(self, point: Point) -> None:
        self.homes.add(point.home)
        is_good = point.kind == "ok" and not _error_s(point)
        self.good += is_good
        self.bad += not is_good
        self.failed += point.kind == "failed"
        if point.kind == "ok":
            self.error_s += _error_s(point)
            self.listened_s += float(point.fields.get("listened_s", 0.0))

    def fields(self, expected_homes: int) -> dict[str, Any]:
        """As `channel_hour` has them."""
        counts: dict[str, Any] = {
            "n": self.good + self.bad,
            "n_good": self.good,
            "n_failed": self.failed,
            "n_invalid": self.invalid,
        }
        counts |= {"homes": len(self.homes), "zap_n": self.zaps.n, "zap_sketch": self.zaps.text()}
        coverage = len(self.homes) / max(expected_homes, len(self.homes), 1)
        found = counts | {"error_s": self.error_s, "listened_s": self.listened_s, "coverage": coverage}
        zaps = {"zap_p50_ms": self.zaps.quantile(0.5), "zap_p95_ms": self.zaps.quantile(0.95)}
        return found | {name: value for name, value in zaps.items() if value is not None}


class Channels:
    """The points of one hour, taken as they come. ``expected_homes``: those with a probe."""

    def __init__(self, hour_ms: int, expected_homes: int) -> None:
        self._hour_ms, self._expected_homes = hour_ms, expected_homes
        self._cells: dict[str, Cell] = {}

    def add(self, point: Point) -> None:
        """A point of a home within the hour; each once."""
        if point.home and point.target and point.measurement in MEASUREMENTS:
            self._cells.setdefault(point.target, Cell()).add(point)

    def rows(self) -> list[Derived]:
        """A row of `channel_hour` for each channel of which anything came."""
        return [row_of(name, self._hour_ms, cell, self._expected_homes) for name, cell in sorted(self._cells.items())]


def row_of(channel: str, hour_ms: int, cell: Cell, expected_homes: int) -> Derived:
    """One channel's hour."""
    fields = cell.fields(expected_homes)
    return Derived(measurement="channel_hour", tags={"channel": channel}, ts_ms=hour_ms, fields=fields)


def _error_s(point: Point) -> float:
    """Seconds of a sample with an error; over HTTP those in which a player stood still."""
    if point.measurement == "tv_hls":
        return float(point.fields.get("stall_s", 0.0)) if point.fields.get("playlist_ok", True) else 1.0
    return float(point.fields.get("es_ratio", 0.0)) * float(point.fields.get("listened_s", 10.0))
