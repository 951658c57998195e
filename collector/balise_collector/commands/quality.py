"""`balise quality`: what did homes get in a month, against their contracts, and of how much is that known?"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from balise_collector.commands.options import (
    DEFAULT_DATA,
    AsJson,
    Cell,
    Data,
    DirectoryUrl,
    directory,
    now_ms,
    show,
    stop,
)
from balise_collector.judge.topology import HomeSite
from balise_collector.judging import plant
from balise_collector.stats.indicators import METHOD, Indicator
from balise_collector.stats.months import Month, of_home
from balise_collector.stats.windows import month_at
from balise_collector.store import Reader
from balise_collector.store.chunks import open_reader

COLUMNS = (
    "home",
    "indicator",
    "value",
    "unit",
    "n",
    "n_invalid",
    "n_failed",
    "n_skipped",
    "validity",
    "days",
    "coverage",
    "contract_bps",
)


def quality(
    data: Data = DEFAULT_DATA,
    directory_url: DirectoryUrl = "",
    home: Annotated[str, typer.Option(help="One home; default: all.", show_default=False)] = "",
    month: Annotated[str, typer.Option(help="YYYY-MM in France; default: this month so far.", show_default=False)] = "",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values with a line of names.")] = False,
) -> None:
    """Figures of a month by home, each with its sample; none is told below the minimum sample."""
    if not home and not month:
        stop("--home or --month: give at least one")
    asked = _month(month)
    with directory(data, directory_url) as known:
        homes = {**plant.topology(known, asked.start_ms).homes, **plant.topology(known, asked.end_ms - 1).homes}
    if home and home not in homes:
        stop(f"--home: {home!r} is not in the directory")
    with closing(open_reader(data / "store")) as reader:
        rows = list(_rows(reader, {home: homes[home]} if home else homes, asked))
    if as_json:
        typer.echo(json.dumps([row | {"month": asked.month, "method": METHOD} for row in rows]))
    elif as_csv:
        typer.echo(_csv(rows), nl=False)
    else:
        show([_line(row) for row in rows], COLUMNS, as_json=False)


def _month(text: str) -> Month:
    now = now_ms()
    try:
        year, number = (int(part) for part in text.split("-")) if text else divmod(month_at(now), 100)
        return Month.of(year * 100 + number, now)
    except ValueError:
        stop(f"--month: {text!r}; allowed: a month that has begun, as YYYY-MM")


def _rows(reader: Reader, homes: Mapping[str, HomeSite], month: Month) -> Iterator[dict[str, Any]]:
    for home in sorted(homes):
        for one in of_home(reader, home, homes[home], month):
            yield _row(home, one)


def _row(home: str, one: Indicator) -> dict[str, Any]:
    return {
        "home": home,
        "indicator": one.name,
        "value": one.value,
        "unit": one.unit,
        "n": one.n,
        "n_invalid": one.n_invalid,
        "n_failed": one.n_failed,
        "n_skipped": one.n_skipped,
        "validity": one.validity,
        "days": one.days,
        "coverage": one.coverage,
        "contract_bps": one.contract_bps,
    }


def _line(row: Mapping[str, Any]) -> dict[str, Cell]:
    """For people: a figure that is not told says so, and 0 stays 0."""
    value = "too few" if row["value"] is None else f"{row['value']:.4g}"
    counts = {name: str(row[name]) for name in ("n", "n_invalid", "n_failed", "n_skipped", "days")}
    said = {"value": value, "coverage": f"{row['coverage']:.0%}", "validity": _codes(row["validity"])}
    return {**row, **counts, **said}


def _codes(validity: Mapping[str, int]) -> str:
    return " ".join(f"{code}={n}" for code, n in validity.items())


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"validity": _codes(row["validity"])} for row in rows)
    return out.getvalue()
