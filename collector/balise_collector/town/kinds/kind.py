"""What is a kind of fault?

Its effect is a change of a home's `Condition`; several are applied one after the other, so that faults combine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from balise_collector.town.condition import Condition

Service = Literal["internet", "television", "telephone", "probe"]
Shows = Literal["cut", "window", "dns", "rate", "tv", "register", "call", "link", "never"]
"""By which of the probe's measurements a fault can be seen from inside; ``cut``: by echoes, to a second."""

ALL: tuple[Service, ...] = ("internet", "television", "telephone")


class Extent(Protocol):
    """What of one fault its effect depends on."""

    @property
    def strength(self) -> float:
        """What it means is the kind's."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that are bad."""


Effect = Callable[[Condition, Extent], Condition]


def sets(**changes: bool) -> Effect:
    """These parts of the condition are so, whatever they were."""
    return lambda condition, _of: replace(condition, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``places``: kinds of place that it can be at; ``hits``: services that do not work as they should; ``hours``: how
    long it lasts where nobody says, from and to; ``strength``: of a drawn one, from and to."""

    meaning: str
    places: tuple[str, ...]
    effect: Effect
    hits: tuple[Service, ...]
    shows: Shows
    cause: str
    hours: tuple[float, float] = (0.5, 4.0)
    strength: tuple[float, float] = (1.0, 1.0)
    evening: bool = False  # it is there from 19 to 23 h only
    loop_s: tuple[int, int] | None = None  # it comes and goes: so long there, so long away
    is_incident: bool = True  # an operator would want one line for it
