"""What does a person who watches the demo see, this second?

The path: what waits at the agent, what the journal has, how far the store is behind; what the agent did; then what was
measured last, with its age, what is wrong first: a short terminal cuts the end. Plain words and letters: no colour says
anything that a word does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from balise_agent.catalogue import CATALOGUE
from balise_agent.contract import Value
from balise_collector.store import Point

_SHOWN = {
    "reach": {"p50_us": "p50", "p95_us": "p95", "lost": "lost", "sent": "of", "min_us": "min"},
    "dns": {"query_ms": "answer", "rcode": "rcode"},
    "web": {"total_ms": "in all", "status": "status", "ttfb_ms": "first byte", "connect_ms": "connect"},
    "host": {"cpu_pct": "CPU", "agent_rss_kb": "agent", "rows_waiting": "waiting", "temp_c": "temperature"},
    "tv_zap": {"zap_rap_ms": "picture after", "zap_pat_ms": "tables", "gop_ms": "key frame each"},
    "tv_window": {
        "es_ratio": "bad seconds",
        "net_lost_datagrams": "lost",
        "cc_err": "jumps",
        "freeze_suspected": "frozen?",
        "video_bps": "video",
    },
    "tv_join": {"n": "joins", "failed": "failed", "zap_network_p50_ms": "median"},
    "tv_hls": {"stall_s": "stalled", "segment_dl_ratio_max": "slowest", "startup_ms": "started in"},
    "voip_signal": {"register_ms": "registered in", "options_rtt_ms": "answer", "options_code": "code"},
    "voip_call": {
        "mos_cqe": "MOS",
        "answer_ms": "answered in",
        "loss_rt_pct": "lost both ways",
        "rtt_ms": "round trip",
    },
    "home_state": {"state": "it is", "cause": "cause", "confidence": "this is", "evidence": "by"},
    "incident": {"state": "it is", "code": "at", "hit": "homes hit", "cause": "cause"},
    "voip_path": {"mos_cqe": "MOS", "loss_down_pct": "lost down", "loss_up_pct": "up", "rtt_ms": "round trip"},
}
"""The fields that a newcomer understands and what they are called, the first that fit; of others, any."""

_FOLDED = {"tv_zap": "", "tv_window": "es_ratio", "home_state": "state"}
"""Measurements of many targets, and the field that says what is wrong: those without stand together in one line."""

_WORDS = {("home_state", "state"): ("ok", "degraded", "down", "unknown")}
"""What a field's numbers mean, as the catalogue says it."""

_CONCLUDED = ("home_state", "incident")
"""What of the collector's own rows stands beside what was measured."""

_EVENTS = "agent_event"
_GAP = "  "


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


def picture(points: Sequence[Point], path: Path, now_ms: int, left_s: float | None, width: int) -> RenderableType:
    """The whole screen, for one that is ``width`` characters wide."""
    told = [p for p in points if CATALOGUE[p.measurement].writer == "probe" or p.measurement in _CONCLUDED]
    measured = [point for point in told if point.measurement != _EVENTS]
    events = sorted((p for p in told if p.measurement == _EVENTS), key=lambda point: point.ts_ms)
    parts: list[RenderableType] = [_path(path)]
    if events:
        parts.append(Text(f"agent: {', '.join(event.target for event in events)}"))
    return Group(*parts, Text(_footer(left_s), "dim"), Text(), _table(measured, now_ms, width))


def _table(points: Sequence[Point], now_ms: int, width: int) -> Table:
    rows = [(name, together, age(now_ms - max(p.ts_ms for p in together))) for name, together in _rows(points)]
    names, ages = max((len(name) for name, *_ in rows), default=0), max((len(row[2]) for row in rows), default=0)
    room = width - max(names, len("measured")) - max(ages, len("age")) - 8  # three columns, two blanks between
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column("measured", no_wrap=True)
    table.add_column("last values", ratio=1, overflow="fold")
    table.add_column("age", justify="right", no_wrap=True)
    for name, together, old in rows:
        table.add_row(name, _together(together) if name in _FOLDED else _said(together[0], room), old)
    if not rows:
        table.add_row("nothing yet", "the first records come within seconds", "")
    return table


def _rows(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """What each line shows: a measurement of one target, or all of its targets that are well. Failures first."""
    rows: dict[str, list[Point]] = {}
    for point in points:
        sound = point.kind == "ok" and not point.fields.get(_FOLDED.get(point.measurement, ""))
        alone = f"{point.measurement} {point.target}".strip()
        rows.setdefault(point.measurement if sound and point.measurement in _FOLDED else alone, []).append(point)
    return sorted(rows.items(), key=lambda row: all(point.kind == "ok" for point in row[1]))


def _together(points: Sequence[Point]) -> Text:
    return Text.assemble(("ok", "green"), f"{_GAP}{', '.join(point.target for point in points)}")


def _said(point: Point, room: int) -> Text:
    if point.kind == "ok":
        return Text.assemble(("ok", "green"), f"{_GAP}{values(point, room - len('ok') - len(_GAP))}")
    return Text(f"{point.kind}: {point.reason}", "bold red" if point.kind == "failed" else "yellow")


def values(point: Point, room: int) -> str:
    """As many of a point's values as there is room for, each whole: the most telling first."""
    names = _SHOWN.get(point.measurement) or {name: name for name in point.fields}
    units = {field.name: field.unit for field in CATALOGUE[point.measurement].fields}
    text = ""
    for name, label in names.items():
        if name not in point.fields:
            continue
        between = " " if label == "of" else _GAP
        words = _WORDS.get((point.measurement, name))
        number = point.fields[name] if words is None else words[int(point.fields[name])]
        longer = f"{text}{between if text else ''}{label} {value(number, units.get(name, ''))}"
        if len(longer) > room and text:
            break
        text = longer
    return text


def value(number: Value, unit: str) -> str:
    """A value with its unit as one reads it: 1.24 ms for 1240 us."""
    if isinstance(number, bool):
        return "yes" if number else "no"
    if isinstance(number, str):
        return number
    if unit == "us":
        return f"{number / 1000:.2f} ms" if number >= 100 else f"{number} us"
    if unit == "kB":
        return f"{number / 1024:.1f} MB"
    shown = f"{number:.1f}" if isinstance(number, float) else str(number)
    return shown if unit in ("", "1") else f"{shown} {'°C' if unit == 'Cel' else unit}"


def age(ms: int) -> str:
    """How long ago: 4 s, 3 min."""
    seconds = max(0, ms) // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _path(path: Path) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("agent", f"records measured {path.measured}, waiting {path.waiting}")
    table.add_row("journal", f"messages committed {path.journal}, acknowledged {path.acknowledged}")
    table.add_row("store", "has all of them" if path.lag_rows == 0 else f"messages still to take {path.lag_rows}")
    if path.dead_letters:
        table.add_row(Text("unread", "bold red"), f"{path.dead_letters} dead letters")
    if path.programs_down:
        table.add_row(Text("ended", "bold red"), f"{', '.join(path.programs_down)}: see the log in --dir")
    return table


def _footer(left_s: float | None) -> str:
    return "Ctrl-C ends it." if left_s is None else f"Ends in {left_s:.0f} s; Ctrl-C ends it now."
