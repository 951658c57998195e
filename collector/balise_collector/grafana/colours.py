"""Which five colours does Balise have, and what does each say?

The same as on the mediator's page. Each stands with a word wherever it is shown: a colour alone tells some readers
nothing. Their contrast on Grafana's dark and light panels is at least 3 to 1 (WCAG 2.2, 1.4.11).
"""

from __future__ import annotations

from typing import NamedTuple

from balise_collector.grafana.board import Text

GREEN, ORANGE, RED, GREY, BLUE = "#2E8B57", "#D9730D", "#D64545", "#808A94", "#3D7EDB"


class State(NamedTuple):
    """A state of `home_state`, as it is said and shown."""

    value: int
    word: Text
    colour: str


STATES = (
    State(0, Text("Marche", "Works"), GREEN),
    State(1, Text("En partie", "In part"), ORANGE),
    State(2, Text("Coupé", "Down"), RED),
    State(3, Text("On ne sait pas", "Not known"), GREY),
)
