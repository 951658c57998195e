"""Is a sample of a channel due, may it be taken, and what becomes of one that does not come to its end?

The shell around `tv_plan`, for channels that are received and for those over HTTP.

Rule 1: never over the home's own use: not begun while somebody uses the line, ended at once when somebody begins.
Rule 2: what was refused, or ended so, leaves the probe only as a count of the day: with its time it would be a diary.
Rule 3: a sample whose agent was killed has failed, and the next run says so; neither channel nor line had a part in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from balise_agent.channels import Channel
from balise_agent.contract import Outcome, Record, failed
from balise_agent.probes import tv_plan
from balise_agent.probes.context import Context
from balise_agent.probes.tv_plan import Kept, Plan, Watch

log = logging.getLogger(__name__)

Sample = Callable[[Channel], Coroutine[Any, Any, list[Record]]]
"""Takes one."""

Unmeasured = Callable[[Channel, Outcome], list[Record]]
"""The records of one of which nothing is known but why."""


class Turn:
    """One run. ``kind``: tv or hls; ``ungated``: nobody asks whether the line is in use. ``kept``: what the sample has
    to add is set there, and is on disk with its end."""

    def __init__(self, plan: Plan, context: Context, kind: str, *, ungated: bool) -> None:
        self._plan, self._context, self._kind, self._ungated = plan, context, kind, ungated
        # `once` without a configuration has no folder, and keeps nothing.
        self._path = None if context.state_dir == Path("/") else context.state_dir / f"{kind}.json"
        self.kept = Kept() if self._path is None else tv_plan.load(self._path)

    async def take(self, sample: Sample, unmeasured: Unmeasured) -> list[Record]:
        """What is told of a day that is over, or of a sample that was lost; else the sample that is due."""
        told = self._told(unmeasured)
        if told and not self._context.asked:
            return told if self._keep() else []  # a sample that is cancelled would take them along
        watch = self._due()
        if watch is None:
            return told
        self.kept = tv_plan.taken(self.kept, watch)
        refused = await self._refused(watch)
        if refused is not None:
            self.kept = tv_plan.refused(self.kept, refused)
            self._keep()
            return told
        self.kept = tv_plan.begun(self.kept, watch)
        if not self._keep():
            return told  # what cannot be counted is not spent
        return [*told, *await self._sampled(sample(watch.channel))]

    def _told(self, unmeasured: Unmeasured) -> list[Record]:
        self.kept, over = tv_plan.today(self.kept, self._context.wall_s())
        records = [] if over is None else tv_plan.records_of(over, self._plan, self._kind, self._context.now_bt_ms())
        if self.kept.under_way:
            channel = tv_plan.channel_of(self._plan, self.kept.slot) if self._plan.watched else None
            records += [] if channel is None else unmeasured(channel, failed("interrupted"))
            self.kept = tv_plan.ended(self.kept)
        return records

    def _due(self) -> Watch | None:
        kept = Kept() if self._context.asked else self.kept  # somebody wants it now
        return tv_plan.due(self._plan, kept, self._context.wall_s())

    async def _refused(self, watch: Watch) -> str | None:
        use: tuple[str, str | None] = ("idle", None)
        if self._context.line_use is not None and not self._ungated:
            use = await self._context.line_use()
        return tv_plan.refusal(self._plan, self.kept, watch, *use)

    async def _sampled(self, sample: Coroutine[Any, Any, list[Record]]) -> list[Record]:
        try:
            records = await self._guarded(sample)
        except asyncio.CancelledError:
            self.kept = tv_plan.aborted(self.kept)
            self._keep()
            raise
        self.kept = tv_plan.aborted(self.kept) if records is None else tv_plan.ended(self.kept)
        self._keep()
        return records or []

    async def _guarded(self, sample: Coroutine[Any, Any, list[Record]]) -> list[Record] | None:
        """None: somebody began to use the line."""
        until_busy = None if self._ungated else self._context.until_busy
        if until_busy is None:
            return await sample
        work, busy = asyncio.create_task(sample), asyncio.create_task(until_busy())
        try:
            await asyncio.wait([work, busy], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            busy.result()  # the watch's own fault is no tenant
            return None
        finally:
            for task in (work, busy):
                task.cancel()
            await asyncio.wait([work, busy])

    def _keep(self) -> bool:
        """Whether it is on disk."""
        try:
            if self._path is not None:
                tv_plan.save(self._path, self.kept)
        except OSError as exc:
            log.warning("tv_not_kept", extra={"file": self._kind, "why": exc.strerror})
            return False
        return True
