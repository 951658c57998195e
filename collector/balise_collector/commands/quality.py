"""`balise quality`: what did homes get in a month, against their contracts, and of how much is that known?"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
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
from balise_collector.stats import channel_months, grounds
from balise_collector.stats.indicators import METHOD, PEAK, Indicator
from balise_collector.stats.months import Month, of_month
from balise_collector.stats.pilot import DRAWS, SEED, Figure, answered, figures, leans
from balise_collector.stats.terms import Terms
from balise_collector.stats.windows import month_at
from balise_collector.store import Unavailable
from balise_collector.store.influx.server import ServerError
from balise_collector.store.kept import open_kept

HEADLINE = f"down_ratio_p50.{PEAK}"
TITLES = {
    "home": "logement",
    "indicator": "indicateur",
    "what": "statistique",
    "value": "valeur",
    "unit": "unité",
    "low": "borne basse 95 %",
    "high": "borne haute 95 %",
    "homes": "logements",
    "below": "sous l'échantillon minimal",
    "n_eff": "n effectif",
    "n": "mesures valides",
    "n_invalid": "écartées",
    "n_failed": "échecs",
    "n_skipped": "non tentées",
    "validity": "écartées par code",
    "days": "jours",
    "coverage": "couverture",
    "missing": "part sans rien",
    "contract_bps": "débit contractuel bit/s",
    "building": "bâtiment",
    "offer": "offre",
    "connected": "raccordés",
    "probe": "sonde posée",
    "agrees": "consentement mesure",
    "evaluates": "consentement évaluation",
    "valid": "valides",
    "channel": "chaîne",
    "good_ratio": "instants bons",
    "good_low": "bons, borne basse 95 %",
    "good_high": "bons, borne haute 95 %",
    "error_ratio": "secondes en erreur",
    "zap_p50_ms": "zapping médian ms",
    "zap_p50_low_ms": "zapping, borne basse 95 %",
    "zap_p50_high_ms": "zapping, borne haute 95 %",
    "zap_p95_ms": "zapping p95 ms",
    "zap_n": "zappings",
    "zap_days": "jours de zapping",
    "homes_most": "logements au plus, en une heure",
}
"""Columns, as people read them."""

_SAMPLE = ("n", "n_invalid", "n_failed", "n_skipped", "validity")
OF_HOME = ("home", "indicator", "value", "unit", *_SAMPLE, "days", "coverage", "contract_bps")
OF_PILOT = (
    "indicator",
    "what",
    "value",
    "unit",
    "low",
    "high",
    "homes",
    "below",
    "n_eff",
    *_SAMPLE,
    "coverage",
    "missing",
)
OF_CHANNEL = tuple(one.name for one in fields(channel_months.ChannelMonth))
ANSWERED = ("building", "offer", "connected", "probe", "agrees", "evaluates", "valid")

Found = dict[str, tuple[Terms, list[Indicator]]]
Row = Mapping[str, Any]


def quality(
    data: Data = DEFAULT_DATA,
    directory_url: DirectoryUrl = "",
    home: Annotated[
        str, typer.Option(help="One home; default: the pilot, all together, in --month.", show_default=False)
    ] = "",
    month: Annotated[
        str, typer.Option(help="YYYY-MM in France; of one home default: this month so far.", show_default=False)
    ] = "",
    each: Annotated[bool, typer.Option("--each", help="Every home by itself.")] = False,
    channels: Annotated[bool, typer.Option("--channels", help="Television, a line a channel.")] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values with a line of names.")] = False,
) -> None:
    """Figures of a month, each with its sample and coverage; none is told below the minimum sample."""
    if not home and not month:
        stop("--home or --month: give at least one")
    if channels and (home or each):
        stop("--channels: not with --home or --each: results of a channel in a home are not kept")
    asked = _month(month)
    if channels:
        _tell_channels(data, asked, as_json=as_json, as_csv=as_csv)
        return
    with directory(data, directory_url) as known:
        homes = grounds.of_period(known, asked.start_ms, asked.end_ms)
    if home and home not in homes:
        stop(f"--home: {home!r} is not in the directory")
    try:
        with closing(open_kept(data)) as reader:
            wanted = {home: homes[home]} if home else homes
            found = {one: (terms, of_month(reader, one, terms, asked)) for one, terms in sorted(wanted.items())}
    except (Unavailable, ServerError) as exc:
        stop(f"InfluxDB: {exc}")
    if home or each:
        _tell_homes(found, asked, as_json=as_json, as_csv=as_csv)
    else:
        _tell_pilot(found, asked, as_json=as_json, as_csv=as_csv)


def _tell_channels(data: Path, month: Month, *, as_json: bool, as_csv: bool) -> None:
    try:
        with closing(open_kept(data)) as reader:
            rows = [asdict(one) for one in channel_months.of_month(reader, month)]
    except (Unavailable, ServerError) as exc:
        stop(f"InfluxDB: {exc}")
    if as_json:
        typer.echo(json.dumps([row | {"month": month.month, "method": METHOD} for row in rows]))
    elif as_csv:
        typer.echo(_csv(rows, OF_CHANNEL), nl=False)
    else:
        _show(rows, OF_CHANNEL)


def _tell_homes(found: Found, month: Month, *, as_json: bool, as_csv: bool) -> None:
    rows = [_row(home, one) for home, (_, indicators) in found.items() for one in indicators]
    if as_json:
        typer.echo(json.dumps([row | {"month": month.month, "method": METHOD} for row in rows]))
    elif as_csv:
        typer.echo(_csv(rows, OF_HOME), nl=False)
    else:
        _show(rows, OF_HOME)


def _tell_pilot(found: Found, month: Month, *, as_json: bool, as_csv: bool) -> None:
    told = figures(found)
    rows = [asdict(one) for one in told]
    headline = next((one for one in told if one.indicator == HEADLINE), None)
    response = [asdict(one) for one in answered(found, HEADLINE)]
    if as_json:
        said = {"month": month.month, "method": METHOD, "is_over": month.is_over, "draws": DRAWS, "seed": SEED}
        said |= {"headline": _headline(headline)}
        typer.echo(json.dumps(said | {"answered": response, "figures": rows}))
    elif as_csv:
        typer.echo(_csv(rows, OF_PILOT), nl=False)
    else:
        _show(response, ANSWERED)
        _show(rows, OF_PILOT)
        if headline is not None and headline.missing is not None:
            typer.echo(_missing(headline.missing, leans(headline)))
        drawn = f"{DRAWS} tirages de logements par bâtiment, graine {SEED}"
        typer.echo(f"{METHOD} ; intervalles : {drawn} ; Wilson pour les parts")


def _headline(figure: Figure | None) -> dict[str, Any] | None:
    """Of how many of its tests nothing came, and to which side of the truth that moves it."""
    if figure is None:
        return None
    return {"indicator": figure.indicator, "missing": figure.missing, "leans": leans(figure)}


def _missing(share: float, towards: str) -> str:
    said = f"{HEADLINE} : {share:.0%} des tests de pointe prévus manquent"
    if not towards:
        return said
    why = "un test est laissé quand la ligne sert, souvent quand elle est plus lente"
    return f"{said} ; biais : débit plutôt surestimé ({why} ; docs/quality.md)"


def _month(text: str) -> Month:
    now = now_ms()
    try:
        year, number = (int(part) for part in text.split("-")) if text else divmod(month_at(now), 100)
        return Month.of(year * 100 + number, now)
    except ValueError:
        stop(f"--month: {text!r}; allowed: a month that has begun, as YYYY-MM")


def _row(home: str, one: Indicator) -> dict[str, Any]:
    named = asdict(one)
    return {"home": home, "indicator": named.pop("name"), **named}


def _show(rows: Iterable[Row], columns: Sequence[str]) -> None:
    """For people: with French titles, and what is not told says so."""
    titles = tuple(TITLES[column] for column in columns)
    lines = ({TITLES[column]: _cell(column, row[column]) for column in columns} for row in rows)
    show(lines, titles, as_json=False)


def _cell(column: str, value: Any) -> Cell:
    if value is None:
        return "insuffisant" if column in ("value", "good_ratio", "zap_p50_ms") else ""
    if column in ("coverage", "missing"):
        return f"{value:.0%}"
    if isinstance(value, dict):
        return _codes(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _codes(validity: Mapping[str, int]) -> str:
    return " ".join(f"{code}={n}" for code, n in validity.items())


def _csv(rows: Iterable[Row], columns: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _codes(v) if isinstance(v, dict) else v for name, v in row.items()} for row in rows)
    return out.getvalue()
