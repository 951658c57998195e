"""How is a figure shown: with its goal, its peer, and under what it was measured?"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. ``figure``: the median of ``runs``; ``beside``: figures of the same run that explain it.

    ``peer``: who else, by the same measurement in the same run, or what was found of it before.
    """

    work: str
    unit: str
    figure: float
    goal: str
    holds: bool | None  # None: no goal of its own
    runs: tuple[float, ...]
    conditions: str
    peer: str = ""
    peer_figure: float | None = None
    beside: str = ""
    load_average: tuple[float, ...] = ()  # of the machine, when it was measured
    at: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's; none of biases, which may be on either side of 0."""
        return self.figure / self.peer_figure if self.peer_figure and min(self.figure, self.peer_figure) > 0 else None

    @property
    def verdict(self) -> str:
        """In a word."""
        return "" if self.holds is None else "holds" if self.holds else "short"


COLUMNS = ("work", "figure", "goal", "", "peer", "its figure", "ratio")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    peer_figure = "" if row.peer_figure is None else shown(row.peer_figure)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    figure = f"{shown(row.figure)} {row.unit}"
    return (row.work, figure, row.goal, row.verdict, row.peer, peer_figure, ratio)


def shown(figure: float) -> str:
    """With as many digits as it is worth."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"


def conditions_of(row: Row) -> str:
    """Under what it was measured, in a line."""
    spread = f"median of {len(row.runs)}: {', '.join(map(shown, row.runs))}" if len(row.runs) > 1 else "one run"
    load = f"load average {row.load_average[0]:.1f}" if row.load_average else ""
    return "; ".join(filter(None, (row.conditions, spread, load, row.beside, row.at)))


def show(rows: Sequence[Row], console: Console) -> None:
    """The table, and under it what each row rests on."""
    table = Table(*COLUMNS, title=machine())
    for row in rows:
        style = {"holds": "green", "short": "red", "": None}[row.verdict]
        table.add_row(*cells(row), style=style)
    console.print(table)
    for row in rows:
        console.print(f"[bold]{row.work}[/bold]: {conditions_of(row)}", highlight=False)


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """For programs."""
    names = [name for name in Row.__slots__ if name != "__weakref__"]
    return {
        "machine": machine(),
        "rows": [{name: getattr(row, name) for name in names} | {"verdict": row.verdict} for row in rows],
    }


def added(told: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """The rows that `as_json` once told, with these in place of those of the same work, and behind them."""
    new = {row.work: row for row in rows}
    old = [_row(raw) for raw in told["rows"]]
    kept = [new.pop(row.work, row) for row in old]
    return kept + list(new.values())


def _row(raw: Mapping[str, Any]) -> Row:
    known = {name: value for name, value in raw.items() if name in Row.__slots__}
    return Row(**known | {"runs": tuple(raw["runs"]), "load_average": tuple(raw["load_average"])})


def now() -> str:
    """When a row was measured: rows of one table may be of different hours."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def as_markdown(rows: Sequence[Row], before: str = "") -> str:
    """The table as `docs/bench.md` holds it. ``before``: an earlier one, of which these rows replace their like."""
    shown = _lines(before) | {_plain(row.work): _pair(row) for row in rows}
    head = [f"Measured on {machine()}.", "", f"| {' | '.join(COLUMNS)} |", "|---|--:|---|---|---|--:|--:|"]
    table, conditions = ([pair[part] for pair in shown.values()] for part in (0, 1))
    return "\n".join([*head, *table, "", *conditions]) + "\n"


def _pair(row: Row) -> tuple[str, str]:
    return f"| {' | '.join(map(_plain, cells(row)))} |", f"- **{_plain(row.work)}**: {conditions_of(row)}."


def _plain(cell: str) -> str:
    return cell.replace("|", "/")


def _lines(markdown: str) -> dict[str, tuple[str, str]]:
    """What `as_markdown` once wrote of each work."""
    table = {found[1]: found[0] for found in re.finditer(r"^\| (.+?) \| .*$", markdown, re.MULTILINE)}
    conditions = {found[1]: found[0] for found in re.finditer(r"^- \*\*(.+?)\*\*: .*$", markdown, re.MULTILINE)}
    return {work: (table[work], said) for work, said in conditions.items() if work in table}


def machine() -> str:
    """Where and when: figures of another machine are others."""
    broker = subprocess.run(["/usr/sbin/mosquitto", "-h"], capture_output=True, text=True, check=False).stdout
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "?")
    parts = (
        now(),
        f"{os.cpu_count()} cores of {model}",
        f"Linux {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}",
        broker.partition("\n")[0].replace("version ", ""),
    )
    return ", ".join(filter(None, parts))


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123 - a kernel file, read line by line
            return file.readlines()
    except OSError:
        return []
