"""Is somebody on the telephone, or using the line, before the probe makes a test call?

The gate of heavy tests looks for 0.5 Mbit/s; a call moves 31 to 87 kbit/s each way. So where the box's counters tell,
it is looked again: what moves both ways at once is taken for one.

Rule 1: what cannot be told is unknown; that a call is under way is said to nobody, the test call is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from balise_agent.budget import Contract
from balise_agent.gate import LOOK_S, By, Reading, Use, moved
from balise_agent.line_use import LineUse
from balise_agent.probes.box import Box, BoxSettings, own_bytes
from balise_agent.probes.context import Context

CALL_BPS = 25_000
"""Below a call in G.729: 20 bytes each 20 ms, 78 on the wire, 31 kbit/s; in G.711 it is 87."""


class CallUse:
    """Of one home. ``is_testing``: a test of our own fills the line."""

    def __init__(
        self,
        context: Context,
        settings: Callable[[], BoxSettings],
        contract: Callable[[], Contract],
        is_testing: Callable[[], bool],
    ) -> None:
        self._box = context.box or Box()
        self._monotonic = context.monotonic
        self._settings, self._is_testing = settings, is_testing
        self._use = LineUse(context, settings, contract)

    async def look(self) -> tuple[Use, By | None]:
        """Whether a test call may be made now, and what tells so; takes 4 s."""
        if self._is_testing():
            return "busy", None
        verdict = await self._use.look()
        if verdict.use != "idle" or verdict.by not in ("box", "wan"):
            return verdict.use, verdict.by
        first = await self._reading()
        await asyncio.sleep(LOOK_S)
        last = await self._reading()
        if first is None or last is None:
            return "unknown", None
        return "busy" if is_call(first, last) else "idle", verdict.by

    async def _reading(self) -> Reading | None:
        wan = await self._box.bytes(self._settings())
        own = (0, 0) if self._settings().placement == "box" else own_bytes()
        return None if wan is None or own is None else Reading(at_s=self._monotonic(), wan=wan, own=own)


def is_call(first: Reading, last: Reading) -> bool:
    """Whether others move a call or more, both ways at once."""
    span_s = max(1e-3, last.at_s - first.at_s)
    both = zip(first.wan, last.wan, first.own, last.own, strict=True)
    return all((moved(a, b) - moved(c, d)) * 8 / span_s > CALL_BPS for a, b, c, d in both)
