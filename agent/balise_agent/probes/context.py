"""What is a probe handed beside its settings: clocks, chance, and what only the agent knows?"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from balise_agent.probes.box import Box
    from balise_agent.probes.line import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The outside of a probe, so that a test states it.

    ``now_bt_ms``: CLOCK_BOOTTIME in ms; ``monotonic``: seconds, as the loop's; ``clock_ok``: None: it is not known.
    ``line``: what `reach` tells of each echo; None: its windows stand alone (one asked for by hand).
    ``wall_s``: UTC as this machine has it, right or not. ``line_use``: how others use the line, idle, busy or unknown,
    and what told so (None: nothing could); ``until_busy``: returns when they begin to; None: nobody looks.
    ``line_taken``: a test or sample of this probe's own has the line. ``asked``: somebody wants it now, whatever the
    plan says. ``box``: what is known of the home's box; None: it is looked for anew. ``in_box``: the agent lives there.
    ``own_load``: a test of this probe's own fills the line now. ``identity``: the probe's; plans are drawn from it.
    """

    now_bt_ms: Callable[[], int]
    monotonic: Callable[[], float]
    rng: random.Random
    rows_waiting: Callable[[], int | None]
    clock_ok: Callable[[], bool | None]
    state_dir: Path
    line: Line | None = None
    box: Box | None = None
    wall_s: Callable[[], float] = time.time
    line_use: Callable[[], Awaitable[tuple[str, str | None]]] | None = None
    until_busy: Callable[[], Coroutine[Any, Any, None]] | None = None
    line_taken: Callable[[], bool] = lambda: False
    asked: bool = False
    in_box: Callable[[], bool] = lambda: False
    own_load: Callable[[], bool] = lambda: False
    identity: str = ""
