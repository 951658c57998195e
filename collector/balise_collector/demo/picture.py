"""What does a person who watches the demo see, this second?

A table of the measurements with their last values and ages, and under it the path: what waits at the agent, what the
journal has, how far the store is behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import Value
from balise_collector.store import Point

_SHOWN = {
    "reach": ("sent", "lost", "min_us", "p50_us", "p95_us"),
    "dns": ("query_ms", "rcode"),
    "web": ("connect_ms", "ttfb_ms", "total_ms", "status"),
    "host": ("cpu_pct", "agent_rss_kb", "rows_waiting", "temp_c"),
}
"""The fields that fit a line and that a newcomer understands; of other measurements, the first four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where records are now. ``journal``: messages; the others: records, or rows."""

    measured: int
    waiting: int
    acknowledged: int
    journal: int
    lag_rows: int
    dead_letters: int
    programs_down: Sequence[str] = ()


def picture(points: Sequence[Point], path: Path, now_ms: int, left_s: float | None) -> RenderableType:
    """The whole screen."""
    table = Table("measurement", "target", "outcome", "last values", "age", expand=True, title="Balise")
    for point in points:
        outcome = Text("ok", "green") if point.kind == "ok" else Text(f"{point.kind}: {point.reason}", "red")
        age_s = max(0.0, (now_ms - point.ts_ms) / 1000)
        table.add_row(point.measurement, point.target, outcome, _values(point), f"{age_s:.0f} s")
    return Group(table, _path(path), Text(_footer(path, left_s), "dim"))


def _values(point: Point) -> str:
    names = _SHOWN.get(point.measurement) or tuple(point.fields)[:4]
    units = {field.name: field.unit for field in CATALOGUE[point.measurement].fields}
    return "  ".join(
        f"{name} {value(point.fields[name], units.get(name, ''))}" for name in names if name in point.fields
    )


def value(number: Value, unit: str) -> str:
    """A value with its unit as one reads it: 1.24 ms for 1240 us."""
    if isinstance(number, bool | str) or unit in ("", "1"):
        return str(number)
    if unit == "us":
        return f"{number / 1000:.2f} ms"
    if unit == "kB":
        return f"{number / 1024:.1f} MB"
    return f"{number:.1f} {'°C' if unit == 'Cel' else unit}" if isinstance(number, float) else f"{number} {unit}"


def _path(path: Path) -> Table:
    line = Table.grid(padding=(0, 2))
    line.add_row(
        f"probe: {path.measured} measured, {path.waiting} waiting",
        "─►",
        f"journal: {path.journal} messages, {path.acknowledged} acknowledged",
        "─►",
        f"store: {path.lag_rows} rows behind",
    )
    return line


def _footer(path: Path, left_s: float | None) -> str:
    down = f"  not running: {', '.join(path.programs_down)}" if path.programs_down else ""
    until = "Ctrl-C ends it" if left_s is None else f"ends in {left_s:.0f} s"
    return f"dead letters: {path.dead_letters}{down}  ·  {until}"
