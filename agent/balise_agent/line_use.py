"""Who is on the line: what is asked before a test, and what is watched while it runs?

The shell around `gate`: the box's counters or the agent's own interfaces, each `EVERY_S` before a test and each
`WATCH_S` while one runs, against what the probe itself moves; where they do not tell, the hint of round trips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from balise_agent.budget import Contract
from balise_agent.gate import EVERY_S, RATIOS, By, Reading, Use, Verdict, Watch
from balise_agent.probes.box import Box, BoxSettings, own_bytes
from balise_agent.probes.context import Context

AGAIN_S, PATIENCE_S = 5.0, 30.0
"""Settled: busy, it is looked at again every 5 s for 30 s; then it is skipped."""
WATCH_S = 0.25
"""A call that is 0.8 s old stands just below the threshold of one second: the next reading must not be 0.5 s away."""
MOST_SILENT = 4
"""Questions in a row that a box may leave open; it has other things to do."""


class LineUse:
    """Of one home, as long as the agent runs. ``settings`` and ``contract``: those in force; ``ratio``: what the last
    test taught of the box's counters, to be kept across restarts."""

    def __init__(self, context: Context, settings: Callable[[], BoxSettings], contract: Callable[[], Contract]) -> None:
        self._context, self._settings, self._contract = context, settings, contract
        self._box = context.box or Box()
        self._lies = False
        self.ratio = RATIOS[1], RATIOS[1]
        self._looked: Watch | None = None  # what the last look read: the watch goes on from there

    async def look(self) -> Verdict:
        """Whether somebody uses the line now; takes 2 s, up to 6 where no counter moves."""
        use = await self._counted() if self._settings().enabled else None
        if use in ("idle", "busy"):
            return Verdict(use=use, by=self._by())
        line = self._context.line
        if line is None or not line.hint.knows(self._context.now_bt_ms()):
            return Verdict(use="unknown")
        return Verdict(use="unknown" if line.hint.is_idle(self._context.now_bt_ms()) else "busy", by="rtt")

    async def look_patiently(self) -> Verdict:
        """As `look`, again and again while the line is in use, as long as is reasonable."""
        until_s = self._context.monotonic() + PATIENCE_S
        verdict = await self.look()
        while verdict.use == "busy" and self._context.monotonic() + AGAIN_S < until_s:
            await asyncio.sleep(AGAIN_S)
            verdict = await self.look()
        return verdict

    async def until_busy(self) -> None:
        """While a test runs: returns when somebody else uses the line; never, where nothing tells."""
        watch = (self._settings().placement == "lan" and self._looked) or self._watch()
        due_s = self._context.monotonic()
        try:
            while True:
                asked_s = self._context.monotonic()
                reading = await self._reading(during=True)
                took_s = self._context.monotonic() - asked_s
                if reading is not None:
                    watch.add(reading)
                    use = watch.during()
                    self._found(watch)
                    if use == "busy":
                        return
                every_s = min(EVERY_S, max(WATCH_S, 2 * took_s))  # a slow box rests as long as it answers
                due_s = max(due_s + every_s, self._context.monotonic())
                await asyncio.sleep(due_s - self._context.monotonic())
        except asyncio.CancelledError:  # the test came to its end
            self.ratio = watch.ratio
            raise

    @property
    def lies(self) -> bool:
        """The counters did not see the last test."""
        return self._lies

    def _by(self) -> By:
        return "box" if self._settings().placement == "lan" else "wan"

    async def _counted(self) -> Use | None:
        """What counters say; None: there are none."""
        watch = self._looked = self._watch()
        silent = 0
        while silent < MOST_SILENT:
            reading = await self._reading(during=False)
            silent = silent + 1 if reading is None else 0
            if reading is not None:
                watch.add(reading)
                use = watch.look()
                if use is not None:
                    self._found(watch)
                    return use
            await asyncio.sleep(EVERY_S)
        return None

    def _watch(self) -> Watch:
        return Watch(contract=self._contract(), quality="wrong" if self._lies else "none", ratio=self.ratio)

    def _found(self, watch: Watch) -> None:
        if watch.quality != "none":
            self._box.counters_are = watch.quality
            self._lies = watch.quality == "wrong"

    async def _reading(self, *, during: bool) -> Reading | None:
        settings = self._settings()
        before = self._own()
        wan = await (self._box.of_others(settings) if during else self._box.bytes(settings))
        after = self._own()
        if wan is None or before is None or after is None:
            return None
        middle = (before[0] + after[0]) // 2, (before[1] + after[1]) // 2  # the box answered somewhere in between
        slack = (after[0] - before[0] + 1) // 2, (after[1] - before[1] + 1) // 2
        return Reading(at_s=self._context.monotonic(), wan=wan, own=middle, slack=slack)

    def _own(self) -> tuple[int, int] | None:
        return (0, 0) if self._settings().placement == "box" else own_bytes()
