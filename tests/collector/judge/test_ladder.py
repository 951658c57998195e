"""From an outage and its minutes' marks: which parts of it are which fault's?"""

from __future__ import annotations

import pytest

from balise_collector.judge.ladder import Outage, stretches

M = 60_000
LINE, CORE, DNS, BOX = "access.line", "operator.core", "dns", "home.box_or_lan"


def marks(*places: str, first: int = 1) -> list[tuple[int, str]]:
    """One a minute; "": the probe was off."""
    return [(minute * M, place) for minute, place in enumerate(places, first) if place]


Part = tuple[float, float, str, bool]
"""From and to in minutes, its class, whether its end is hidden."""

TABLE: dict[str, tuple[Outage, list[tuple[int, str]], list[Part]]] = {
    "nothing but the line": (
        Outage(0, 5 * M, LINE, 5 * M),
        marks(LINE, LINE, LINE, LINE),
        [(0, 5, LINE, False)],
    ),
    "the core's fault ends, the home's own goes on": (
        Outage(0, 9 * M, CORE, 9 * M),
        marks(CORE, CORE, CORE, LINE, LINE, LINE, LINE, LINE),
        [(0, 3.5, CORE, True), (3.5, 9, LINE, False)],
    ),
    "a cut while names fail, and they fail after it": (
        Outage(0, 9 * M, DNS, 9 * M),
        marks(DNS, DNS, LINE, LINE, LINE, DNS, DNS, DNS),
        [(0, 9, DNS, False), (2.5, 5.5, LINE, False)],
    ),
    "the line is well again, names fail, then the line breaks anew": (
        Outage(0, 9 * M, LINE, 9 * M),
        marks(LINE, LINE, DNS, DNS, DNS, LINE, LINE, LINE),
        [(0, 2.5, LINE, False), (2.5, 5.5, DNS, True), (5.5, 9, LINE, False)],
    ),
    "one echo more or less is no fault": (
        Outage(0, 6 * M, CORE, 6 * M),
        marks(CORE, CORE, LINE, CORE, CORE),
        [(0, 6, CORE, False)],
    ),
    "the tenant switches off meanwhile: nobody knows when it ended": (
        Outage(0, 60 * M, LINE, 60 * M, 50 * 60.0),
        marks(LINE, LINE, LINE),
        [(0, 3.5, LINE, True)],
    ),
    "and it is still there when he switches on again": (
        Outage(0, 60 * M, LINE, 60 * M, 50 * 60.0),
        [*marks(LINE, LINE, LINE), *marks(LINE, LINE, first=58)],
        [(0, 3.5, LINE, True), (57.5, 60, LINE, False)],
    ),
    "marks that did not come yet change nothing": (
        Outage(0, 60 * M, LINE, 60 * M),
        [],
        [(0, 60, LINE, False)],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_outage_is_told_apart_by_what_its_minutes_name(name: str) -> None:
    outage, seen, wanted = TABLE[name]
    found = stretches(outage, seen)
    assert [(s.start_ms / M, s.end_ms and s.end_ms / M, s.place, s.hidden) for s in found] == wanted


def test_what_goes_on_has_no_end_however_many_faults_it_was() -> None:
    found = stretches(Outage(0, None, BOX, M), marks(BOX, BOX, LINE, LINE))
    assert [(s.start_ms, s.end_ms, s.place) for s in found] == [(0, 2.5 * M, BOX), (2.5 * M, None, LINE)]
