"""What do the dashboards show? Draws each from its JSON and the live data of an InfluxDB: a preview, not Grafana.

    python docs/preview_dashboards.py --influx-url http://127.0.0.1:8086 --until DATE [--span 24h] [--only NAME]
        [--out FOLDER]

One SVG a dashboard. Its layout, queries, words and colours are the dashboard's own; how a panel is drawn is only alike.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from balise_collector.directory import dates
from balise_collector.grafana.checking import EVERYTHING, one_home
from balise_collector.grafana.expanding import Range, duration_ms, expand
from balise_collector.store import Unavailable
from balise_collector.store.influx.asking import Asking
from balise_collector.store.influx.server import Server

ROOT = Path(__file__).parents[1]
COLUMN, ROW, GAP, HEAD = 54, 36, 8, 60
WIDTH = 24 * COLUMN
INK, PAPER, PANEL, FAINT = "#1f2733", "#eef0f3", "#ffffff", "#8a94a3"
LINES = ("#3D7EDB", "#D9730D", "#2E8B57", "#8250B4", "#D64545", "#808A94")
MOST_ROWS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a panel's inside is."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A name and its points; None: nothing is known there."""

    name: str
    points: list[tuple[int, Any]]


def main() -> int:
    """0, or 1 where InfluxDB does not answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--influx-url", required=True)
    parser.add_argument("--database", default="balise")
    parser.add_argument("--until", required=True)
    parser.add_argument("--span", default="24h")
    parser.add_argument("--only", default="*", help="a dashboard's name, balise-platform")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/dashboards")
    asked = parser.parse_args()
    end_ms = dates.read(asked.until)
    if end_ms is None:
        parser.error(f"--until: {asked.until!r}; allowed: {dates.ALLOWED}")
    over = Range(start_ms=end_ms - duration_ms(asked.span), end_ms=end_ms, points=200)
    asked.out.mkdir(parents=True, exist_ok=True)
    with closing(Asking(Server(url=asked.influx_url, database=asked.database))) as asking:
        try:
            for path in sorted((ROOT / "dashboards").glob(f"*/{asked.only}.json")):
                (asked.out / f"{path.stem}.svg").write_text(draw(json.loads(path.read_text()), asking, over))
        except Unavailable as exc:
            print(exc, file=sys.stderr)
            return 1
    return 0


def draw(board: dict[str, Any], asking: Asking, over: Range) -> str:
    """The whole dashboard."""
    height = HEAD + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * ROW + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        f' font-size="12" role="img"><title>{escape(board["title"])}</title>',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        text(GAP, 26, board["title"], size=20, weight="bold"),
        text(GAP, 46, f"{board['description']}   (aperçu dessiné hors de Grafana, données simulées)", fill=FAINT),
    ]
    for panel in board["panels"]:
        parts += _panel(panel, asking, over)
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: dict[str, Any], asking: Asking, over: Range) -> Iterator[str]:
    place = panel["gridPos"]
    x, y = place["x"] * COLUMN, HEAD + place["y"] * ROW
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    if panel["type"] == "row":
        yield text(x + GAP, y + 20, panel["title"], size=14, weight="bold")
        return
    yield f'<rect x="{x + GAP / 2}" y="{y}" width="{width}" height="{height}" rx="4" fill="{PANEL}"/>'
    yield text(x + GAP * 2, y + 20, panel["title"], weight="bold")
    box = Box(x=x + GAP * 2, y=y + 32, width=width - GAP * 3, height=height - 42)
    span = over.over(panel["timeFrom"]) if panel.get("timeFrom") else over
    if panel["type"] == "alertlist":
        yield text(box.x, box.y + 16, "liste tenue par Grafana : pas dessinée ici", fill=FAINT, size=11)
        return
    kind = {"stat": _figures, "timeseries": _curves, "table": _table, "heatmap": _heat}.get(panel["type"], _bars)
    answers = [_ask(target, panel, asking, span) for target in panel["targets"]]
    if not any(_filled(answers)):
        yield text(box.x, box.y + 16, panel["fieldConfig"]["defaults"]["noValue"], fill=FAINT, size=11)
        return
    yield from kind(panel, answers, box, span)


def _filled(answers: list[list[dict[str, Any]]]) -> Iterator[bool]:
    """Of each row, whether it holds a value."""
    for row in (row for answer in answers for series in answer for row in series["values"]):
        yield any(value is not None for value in row[1:])


def _ask(target: dict[str, Any], panel: dict[str, Any], asking: Asking, span: Range) -> list[dict[str, Any]]:
    least_ms = duration_ms(panel.get("interval") or "1s")
    chosen = {**EVERYTHING, **one_home(asking, span)}
    over = Range(start_ms=span.start_ms, end_ms=span.end_ms, points=96, least_ms=least_ms)
    (found,) = asking.all([expand(target["query"], over, chosen)])
    return [{**series, "alias": target.get("alias") or ""} for series in found]


def _series(answers: list[list[dict[str, Any]]]) -> list[Series]:
    found = []
    for one in (series for answer in answers for series in answer):
        name = one["alias"] or " ".join(str(value) for value in one.get("tags", {}).values() if value != "-")
        for tag, value in one.get("tags", {}).items():
            name = name.replace(f"$tag_{tag}", str(value))
        found.append(Series(name=name, points=[(int(row[0]), row[1]) for row in one["values"]]))
    return found


def _figures(panel: dict[str, Any], answers: list[list[dict[str, Any]]], box: Box, _span: Range) -> Iterator[str]:
    targets, step = panel["targets"], box.width / max(1, len(panel["targets"]))
    for at, (target, answer) in enumerate(zip(targets, answers, strict=True)):
        value = answer[0]["values"][-1][1] if answer else None
        x, (words, colour) = box.x + at * step, _figure(value, panel)
        yield text(x, box.y + box.height * 0.6, words, size=24, weight="bold", fill=colour)
        yield text(x, box.y + box.height * 0.6 + 18, str(target.get("alias") or ""), fill=FAINT, size=10)


def _figure(value: Any, panel: dict[str, Any]) -> tuple[str, str]:
    """Its words and its colour: of its state, or of the last step that it has reached."""
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings") or []:
        if found := mapping["options"].get(str(value)):
            return found["text"], found["color"]
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or _reaches(value, step)]
    return written(value, panel), steps[-1]["color"] if value is not None and steps else FAINT


def _reaches(value: Any, step: dict[str, Any]) -> bool:
    return isinstance(value, int | float) and value >= step["value"]


def _curves(panel: dict[str, Any], answers: list[list[dict[str, Any]]], box: Box, span: Range) -> Iterator[str]:
    found = [one for one in _series(answers) if any(value is not None for _, value in one.points)]
    values = [float(value) for one in found for _, value in one.points if value is not None]
    high = max(values, default=0.0) or 1.0
    plot = Box(x=box.x + 52, y=box.y + 4, width=box.width - 56, height=box.height - 26)
    for share in (0.0, 0.5, 1.0):
        y = plot.y + plot.height * (1 - share)
        yield f'<line x1="{plot.x}" x2="{plot.x + plot.width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dde1e7"/>'
        yield text(box.x, y + 4, written(high * share, panel), fill=FAINT, size=10)
    for at, one in enumerate(found):
        colour = LINES[at % len(LINES)]
        for run in _runs(one.points):
            points = " ".join(
                f"{_across(time, span, plot):.1f},{plot.y + plot.height * (1 - float(value) / high):.1f}"
                for time, value in run
            )
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
            if len(run) == 1:
                cx, cy = points.split(",")
                yield f'<circle cx="{cx}" cy="{cy}" r="2" fill="{colour}"/>'
    yield from _legend([one.name for one in found], box)


def _runs(points: list[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Stretches without a gap."""
    run: list[tuple[int, Any]] = []
    for point in points:
        if point[1] is not None:
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _legend(names: list[str], box: Box) -> Iterator[str]:
    x = box.x
    for at, name in enumerate(names):
        if x > box.x + box.width - 60:
            yield text(x, box.y + box.height, "…", fill=FAINT)
            return
        yield f'<rect x="{x}" y="{box.y + box.height - 9}" width="10" height="10" fill="{LINES[at % len(LINES)]}"/>'
        yield text(x + 14, box.y + box.height, name, size=11)
        x += 26 + 6.5 * len(name)


def _bars(panel: dict[str, Any], answers: list[list[dict[str, Any]]], box: Box, span: Range) -> Iterator[str]:
    """A row for each series, its states in their colours."""
    found = _series(answers)[: int(box.height // 12)]
    mapped = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    height = min(26.0, box.height / max(1, len(found)))
    for at, one in enumerate(found):
        y = box.y + at * height
        yield text(box.x, y + height / 2 + 4, one.name, size=min(11.0, height))
        plot = Box(x=box.x + 110, y=y, width=box.width - 114, height=height)
        for (start_ms, value), (end_ms, _) in zip(one.points, [*one.points[1:], (span.end_ms, None)], strict=True):
            if value is not None:
                left, right = _across(start_ms, span, plot), _across(end_ms, span, plot)
                colour = mapped.get(str(int(value)), {}).get("color", FAINT)
                yield (
                    f'<rect x="{left:.1f}" y="{y + 1:.1f}" width="{max(0.5, right - left):.1f}"'
                    f' height="{height - 2:.1f}" fill="{colour}"/>'
                )


def _heat(panel: dict[str, Any], answers: list[list[dict[str, Any]]], box: Box, span: Range) -> Iterator[str]:
    """A row for each query, the first at the bottom; the darker a cell, the more is in it."""
    names = [str(target.get("alias") or "") for target in panel["targets"]]
    found = [_series([answer])[0].points if answer else [] for answer in answers]
    most = max([1, *(value for points in found for _, value in points if value)])
    plot = Box(x=box.x + 92, y=box.y, width=box.width - 96, height=box.height - 18)
    height, hour_ms = plot.height / len(names), 3_600_000
    for at, (name, points) in enumerate(zip(names, found, strict=True)):
        y = plot.y + plot.height - (at + 1) * height
        yield text(box.x, y + height / 2 + 4, name, size=10)
        for start_ms, value in points:
            if value:
                left, right = _across(start_ms, span, plot), _across(start_ms + hour_ms, span, plot)
                yield (
                    f'<rect x="{left:.1f}" y="{y + 1:.1f}" width="{max(0.5, right - left - 1):.1f}"'
                    f' height="{height - 2:.1f}" fill="{LINES[0]}" fill-opacity="{0.1 + 0.9 * value / most:.2f}"/>'
                )
    yield text(plot.x, box.y + box.height, f"la plus foncée : {most}", fill=FAINT, size=10)


def _table(panel: dict[str, Any], answers: list[list[dict[str, Any]]], box: Box, _span: Range) -> Iterator[str]:
    says = {
        one["matcher"]["options"]: {part["id"]: part["value"] for part in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    names = {name: said["displayName"] for name, said in says.items()}
    rows = list(_merged(answers))
    columns = [name for name in names if any(name in row for row in rows)]
    step = box.width / max(1, len(columns))
    for at, name in enumerate(columns):
        yield text(box.x + at * step, box.y + 12, names[name][: int(step / 7)], weight="bold", size=11)
        for nth, row in enumerate(rows[: min(MOST_ROWS, int((box.height - 18) // 17))]):
            value, colour = _cell(row.get(name), says[name])
            fits = value[: max(4, int(step / 7))]
            yield text(box.x + at * step, box.y + 30 + nth * 17, fits, size=11, fill=colour)


def _cell(value: Any, says: dict[str, Any]) -> tuple[str, str]:
    """A value in its column's unit, or its word and colour."""
    if value is None:
        return "", INK
    for mapping in says.get("mappings", []):
        found = mapping["options"].get(str(value), {})
        return found.get("text", str(value)), found.get("color", INK)
    if isinstance(value, bool):
        return ("oui" if value else "non"), INK
    return written(value, {"fieldConfig": {"defaults": {"unit": says.get("unit", "")}}}), INK


def _merged(answers: list[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Rows of several queries that have the same tags are one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for nth, series in enumerate(one for answer in answers for one in answer):
        tags = {name: value for name, value in series.get("tags", {}).items() if value != "-"}
        for at, row in enumerate(series["values"]):
            cells = dict(zip(series["columns"], row, strict=True))
            when = cells.pop("time", 0)
            key = (*sorted(tags.items()), *(() if tags and len(series["values"]) == 1 else (when, nth, at)))
            found.setdefault(key, {"Time": dates.write(int(when))}).update({**tags, **cells})
    yield from found.values()


def _across(time_ms: int, span: Range, box: Box) -> float:
    share = (time_ms - span.start_ms) / max(1, span.end_ms - span.start_ms)
    return box.x + box.width * min(1.0, max(0.0, share))


def written(value: Any, panel: dict[str, Any]) -> str:
    """As Grafana would, nearly: a share in per cent, rates with their prefix."""
    if not isinstance(value, int | float):
        return "pas de mesure" if value is None else str(value)
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    if unit == "dateTimeAsIso":
        return dates.write(int(value))
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    if unit in ("bps", "bytes", "deckbytes"):
        value *= 1_000 if unit == "deckbytes" else 1
        for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if abs(value) >= size:
                return f"{value / size:.1f} {prefix}"
    shown = f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.2g}"
    return shown + {"ms": " ms", "µs": " µs", "s": " s", "celsius": " °C"}.get(unit, "")


def text(x: float, y: float, words: str, *, size: float = 12, weight: str = "normal", fill: str = INK) -> str:
    """A line of text."""
    style = f'font-size="{size:.0f}" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit(main())
