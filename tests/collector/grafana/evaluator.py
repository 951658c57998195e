"""When would each alert fire? Grafana's own arithmetic, a minute at a time, on a real InfluxDB.

As its documentation has it: the query over the rule's window, the last value of each series, the threshold; all
conditions of a rule for one set of labels; then `for`. No answer at all is what the rule says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from balise_collector.grafana.alerts import Alert
from balise_collector.grafana.expanding import Range, expand
from balise_collector.store.influx.asking import Asking, Rows

MINUTE_MS = 60_000
Labels = tuple[tuple[str, str], ...]
Values = Mapping[Labels, float]


class Step(NamedTuple):
    """An alert's series from minute to minute: since when each has been reached."""

    alert: Alert
    since: dict[Labels, int]


class Evaluator:
    """Each minute once, in order; ``fired``: the minutes (as dates in ms) in which each alert fires."""

    def __init__(self, asking: Asking, alerts: Iterable[Alert]) -> None:
        self._asking = asking
        self._steps = [Step(alert, {}) for alert in alerts]
        self.fired: dict[str, set[int]] = {step.alert.uid: set() for step in self._steps}

    def minute(self, minute_ms: int) -> None:
        """One evaluation of all of them, on what the server holds by now."""
        asked = [
            expand(one.query, Range(start_ms=minute_ms - one.window_s * 1_000, end_ms=minute_ms), {})
            for step in self._steps
            for one in step.alert.conditions
        ]
        answers = map(_last, self._asking.all(asked))
        for alert, since in self._steps:
            reached = _reached(alert, [next(answers) for _ in alert.conditions], since)
            again = {labels: since.get(labels, minute_ms) for labels in reached}
            since.clear()
            since.update(again)
            if any(minute_ms - start_ms >= alert.hold_s * 1_000 for start_ms in since.values()):
                self.fired[alert.uid].add(minute_ms)


def _reached(alert: Alert, each: Sequence[Values], before: Iterable[Labels]) -> set[Labels]:
    """The sets of labels for which all conditions are reached."""
    if not any(each):
        nothing: dict[str, set[Labels]] = {"Alerting": {()}, "KeepLast": set(before), "OK": set()}
        return nothing[alert.no_data]
    reached = [
        {labels for labels, value in values.items() if one.holds(value)}
        for one, values in zip(alert.conditions, each, strict=True)
    ]
    return set.intersection(*reached)


def _last(rows: Rows) -> Values:
    last = {tuple(sorted(found.get("tags", {}).items())): found["values"][-1][-1] for found in rows}
    return {labels: float(value) for labels, value in last.items() if value is not None}
