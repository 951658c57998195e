"""How does a board become Grafana's JSON?

Built with the SDK, so that what Grafana does not know cannot be said; then what the SDK adds and Grafana's own types
refuse is taken back: ``auto`` and its like of a variable, a table's ``footer``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap as build_heatmap
from grafana_foundation_sdk.builders import stat, statetimeline, statushistory, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard, heatmap

from balise_collector.grafana.alerts import PRODUCT
from balise_collector.grafana.board import Board, Lang, Panel, Query, Scale, Text
from balise_collector.grafana.choosing import ALL, LABELS, READ, WHOSE
from balise_collector.grafana.colours import BLUE, GREEN, ORANGE, RED, STATES
from balise_collector.grafana.influxql import SOURCE_TYPE, influxql, raw
from balise_collector.grafana.linking import drill, grouped_by, leading
from balise_collector.grafana.wording import WORDS

TIMEZONE = "Europe/Paris"
WIDTH = 24
CELLS = 96  # Grafana refuses to draw denser grids ("Too many points to visualize properly")

_STEPS: dict[Scale, tuple[tuple[float | None, str], ...]] = {
    "state": tuple((None if state.value == 0 else state.value, state.colour) for state in STATES),
    "bad_share": ((None, GREEN), (0.01, ORANGE), (0.05, RED)),
    "good_share": ((None, RED), (0.95, ORANGE), (0.995, GREEN)),
    "count_bad": ((None, GREEN), (1, ORANGE), (3, RED)),
    "age": ((None, GREEN), (300, ORANGE), (900, RED)),
    "plain": ((None, BLUE),),
}


def to_json(board: Board, lang: Lang) -> str:
    """The dashboard as a file's text, the same for the same board."""
    found = json.loads(json.dumps(_dashboard(board, lang).build(), cls=JSONEncoder))
    for variable in found["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):
            variable.pop(name, None)
    for panel in found["panels"]:
        panel.get("options", {}).pop("footer", None)
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _dashboard(board: Board, lang: Lang) -> build.Dashboard:
    made = (
        build.Dashboard(board.title.say(lang))
        .uid(board.uid)
        .description(board.question.say(lang))
        .tags(["balise", *(["logement"] if board.restricted else [])])
        .timezone(TIMEZONE)
        .time(board.since, "now")
        .refresh("1m")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables(list(_variables(board, lang)))
        .annotations(list(_annotations(lang)))
        .link(
            build.DashboardLink("Balise")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["balise"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    number, y = 0, 0
    for row in board.rows:
        number += 1
        title = row.title.say(lang)
        made.with_row(build.Row(title).id(number).grid_pos(_place(0, y, WIDTH, 1)))
        y += 1
        for panel, x, at in _laid(row.panels, y):
            number += 1
            made.with_panel(_panel(panel, board, lang).id(number).grid_pos(_place(x, at, panel.width, panel.height)))
            y = max(y, at + panel.height)
    return made


def _place(x: int, y: int, width: int, height: int) -> dashboard.GridPos:
    return dashboard.GridPos(h=height, w=width, x=x, y=y)


def _laid(panels: Sequence[Panel], top: int) -> Iterator[tuple[Panel, int, int]]:
    """From left to right, then the next line."""
    x, y, tallest = 0, top, 0
    for panel in panels:
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        yield panel, x, y
        x, tallest = x + panel.width, max(tallest, panel.height)


def _variables(board: Board, lang: Lang) -> Iterator[Any]:
    source = build.DatasourceVariable("ds").label(Text("Source", "Source").say(lang)).type(SOURCE_TYPE)
    yield source.regex("/^Balise/")
    for choice in board.choices:
        made = (
            build.QueryVariable(choice)
            .label(LABELS[choice].say(lang))
            .datasource(_source())
            .query(WHOSE[choice])
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
            .multi(choice != "home")
            .include_all(choice != "home")
            .all_value(ALL)
            .current(dashboard.VariableOption(text="All", value="$__all") if choice != "home" else _nothing())
        )
        yield made.regex(f"/^{READ[choice]}$/") if choice in READ else made


def _nothing() -> dashboard.VariableOption:
    return dashboard.VariableOption(text="", value="")


def _source() -> common.DataSourceRef:
    return common.DataSourceRef(type_val=SOURCE_TYPE, uid="${ds}")


def _annotations(lang: Lang) -> Iterator[build.AnnotationQuery]:
    """What `balise grafana annotate` mirrors, by its tags."""
    for name, tag, colour in (
        (Text("Incidents", "Incidents"), "incident", RED),
        (Text("Travaux", "Works"), "works", BLUE),
    ):
        yield (
            build.AnnotationQuery()
            .name(name.say(lang))
            .datasource(common.DataSourceRef(type_val="grafana", uid="-- Grafana --"))
            .enable(True)
            .icon_color(colour)
            .target(_tagged(["balise", tag]))
        )


def _tagged(tags: list[str]) -> Any:
    """The built-in source's question for annotations that have all of these tags; the SDK has no builder for it."""
    return raw({"limit": 500, "matchAny": False, "tags": tags, "type": "tags"})


def _panel(panel: Panel, board: Board, lang: Lang) -> Any:
    if panel.kind == "alerts":
        return _alerts().title(panel.title.say(lang)).description(panel.meaning.say(lang))
    made = _KINDS[panel.kind](panel, board, lang)
    made.title(panel.title.say(lang)).description(panel.meaning.say(lang)).datasource(_source())
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        made.with_target(_target(query, ref, lang))
    made.unit(panel.unit).thresholds(_thresholds(panel.scale)).no_value(Text("pas de mesure", "no data").say(lang))
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.scale == "state":
        made.mappings([_words(lang)])
    if panel.low is not None:
        made.min(panel.low)
    if panel.high is not None:
        made.max(panel.high)
    made.interval(panel.step)
    if panel.window:
        made.time_from(panel.window)
    if panel.drill and panel.kind != "table":
        tags = grouped_by(panel.queries[0].text)
        made.data_links([drill(panel, board, {tag: f"${{__field.labels.{tag}}}" for tag in tags}, lang)])
    return made


def _target(query: Query, ref: str, lang: Lang) -> Any:
    return influxql(query.text, ref=ref, alias=query.alias.say(lang) if query.alias else None, table=query.table)


def _alerts() -> Any:
    """Grafana's list of what fires now, of our rules alone; the SDK knows the panel by its name only."""
    return (
        build.Panel()
        .type("alertlist")
        .options(
            {
                "alertInstanceLabelFilter": f'{{product="{PRODUCT}"}}',
                "alertName": "",
                "dashboardAlerts": False,
                "groupBy": [],
                "groupMode": "default",
                "maxItems": 20,
                "showInactiveAlerts": False,
                "sortOrder": 3,  # by importance
                "stateFilter": {
                    "error": True,
                    "firing": True,
                    "noData": True,
                    "normal": False,
                    "pending": False,
                    "recovering": True,
                },
                "viewMode": "list",
            }
        )
    )


def _figure(_panel: Panel, _board: Board, _lang: Lang) -> Any:
    return (
        stat.Panel()
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .orientation(common.VizOrientation.AUTO)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )


def _curve(panel: Panel, _board: Board, _lang: Lang) -> Any:
    mode = common.StackingMode.NORMAL if panel.stacked else common.StackingMode.NONE
    return (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(25 if panel.stacked else 0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(False)
        .stacking(build_common.StackingConfig().mode(mode))
        .legend(
            build_common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )


def _states(_panel: Panel, _board: Board, _lang: Lang) -> Any:
    return statetimeline.Panel().show_value(common.VisibilityMode.NEVER).row_height(0.85).fill_opacity(90).per_page(50)


def _cells(_panel: Panel, _board: Board, _lang: Lang) -> Any:
    return statushistory.Panel().show_value(common.VisibilityMode.NEVER).max_data_points(CELLS).fill_opacity(90)


def _heat(panel: Panel, _board: Board, lang: Lang) -> Any:
    """Each query is a row of cells that InfluxDB has counted: nothing is made of raw points in the browser."""
    return (
        build_heatmap.Panel()
        .calculate(False)
        .color(build_heatmap.HeatmapColorOptions().mode(heatmap.HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .cell_gap(1)
        .rows_frame(build_heatmap.RowsHeatmapOptions().value(panel.title.say(lang)))
        .tooltip(build_heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE))
        .show_legend()
    )


def _table(panel: Panel, board: Board, lang: Lang) -> Any:
    made = table.Panel().filterable(True).max_data_points(CELLS)
    for name, title, unit in panel.columns:
        found = [_property("displayName", title.say(lang)), _property("unit", "string" if unit in WORDS else unit)]
        if unit == "state":
            found[1:] = [
                _property("mappings", [_words(lang)]),
                _property("thresholds", _thresholds("state").build()),
                _property("custom.cellOptions", {"type": "color-background"}),
            ]
        elif words := WORDS.get(name if unit == "string" else unit):
            found.append(_property("mappings", [_said(words, lang)]))
        if panel.drill and name in leading(panel):
            found.append(_property("links", [drill(panel, board, {name: "${__value.raw}"}, lang).build()]))
        made.override_by_name(name, found)
    if len(panel.queries) > 1:
        made.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    return made.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=_order(panel)))


def _property(name: str, value: Any) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def _order(panel: Panel) -> dict[str, Any]:
    """Grafana's server puts tags in any order, and a date before them, of an aggregate that of its window."""
    names = [name for name, _, _ in panel.columns]
    hidden = {} if "Time" in names else {"Time": True}
    return {"indexByName": {name: at for at, name in enumerate(names)}, "excludeByName": hidden, "renameByName": {}}


_KINDS = {
    "figure": _figure,
    "curve": _curve,
    "states": _states,
    "cells": _cells,
    "heat": _heat,
    "table": _table,
}


def _thresholds(scale: Scale) -> build.ThresholdsConfig:
    steps = [dashboard.Threshold(value=value, color=colour) for value, colour in _STEPS[scale]]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _said(words: Mapping[str, Text], lang: Lang) -> dashboard.ValueMap:
    texts = {code: text.say(lang) for code, text in words.items() if text.say(lang) != code}
    return dashboard.ValueMap(options={code: dashboard.ValueMappingResult(text=said) for code, said in texts.items()})


def _words(lang: Lang) -> dashboard.ValueMap:
    return dashboard.ValueMap(
        options={
            str(state.value): dashboard.ValueMappingResult(
                text=state.word.say(lang), color=state.colour, index=state.value
            )
            for state in STATES
        }
    )
