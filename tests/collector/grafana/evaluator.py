"""When would each alert fire? Grafana's own arithmetic, a minute at a time, on a real InfluxDB.

As its documentation has it: the query over the rule's window, the last value of each series, the threshold; all
conditions of a rule for one set of labels; then `for`. No answer at all is what the rule says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from balise_collector.grafana.alerts import Alert, Reduced
from balise_collector.grafana.expanding import Range, expand
from balise_collector.store.influx.asking import Asking

MINUTE_MS = 60_000
Labels = tuple[tuple[str, str], ...]


def firing(asking: Asking, alerts: Iterable[Alert], minutes: Iterable[int]) -> dict[str, set[int]]:
    """The minutes (as dates in ms) in which each alert fires."""
    found: dict[str, set[int]] = {}
    for alert in alerts:
        since: dict[Labels, int] = {}
        found[alert.uid] = set()
        for minute_ms in minutes:
            reached = _reached(asking, alert, minute_ms)
            since = {labels: since.get(labels, minute_ms) for labels in reached}
            if any(minute_ms - start_ms >= alert.hold_s * 1_000 for start_ms in since.values()):
                found[alert.uid].add(minute_ms)
    return found


def _reached(asking: Asking, alert: Alert, minute_ms: int) -> set[Labels]:
    """The sets of labels for which all conditions are reached."""
    each = [_reduced(asking, one, minute_ms) for one in alert.conditions]
    if not any(each):
        return {()} if alert.no_data == "Alerting" else set()
    reached = [
        {labels for labels, value in values.items() if value > one.above}
        for one, values in zip(alert.conditions, each, strict=True)
    ]
    return set.intersection(*reached)


def _reduced(asking: Asking, one: Reduced, minute_ms: int) -> Mapping[Labels, float]:
    over = Range(start_ms=minute_ms - one.window_s * 1_000, end_ms=minute_ms)
    (series,) = asking.all([expand(one.query, over, {})])
    last = {tuple(sorted(found.get("tags", {}).items())): found["values"][-1][-1] for found in series}
    return {labels: float(value) for labels, value in last.items() if value is not None}
