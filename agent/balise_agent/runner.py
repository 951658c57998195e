"""Who runs the probes, so that one that is broken or slow never stops the others?

Rule 1: an exception of a probe becomes one ``probe_broken`` event and a line in the log; the others go on.
Rule 2: a new configuration changes only what it changes: a window under way of an unchanged probe ends as it began.
Rule 3: between two starts nothing wakes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from balise_agent.config import AgentConfig
from balise_agent.contract import MAX_TEXT, Record, skipped
from balise_agent.plan import Slots, slots
from balise_agent.probes import PROBES, Probe
from balise_agent.probes.context import Context

log = logging.getLogger(__name__)

STOP_S = 1.0
"""Systemd and the uplink need the rest of the agent's 3 s."""

LineLock = asyncio.Lock
"""Held by a heavy test, so that no two share the line."""

Wait = Callable[[asyncio.Event, float | None], Awaitable[None]]


async def until(event: asyncio.Event, seconds: float | None) -> None:
    """Returns when the event is set or the seconds are over; None: no end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def run_once(name: str, settings: Any, context: Context, probes: Mapping[str, Probe] = PROBES) -> list[Record]:
    """One run of a probe; an exception of it is a ``probe_broken`` event."""
    records, exc = await _attempt(name, settings, context, probes)
    if exc is not None:
        log.error("probe_broken", exc_info=exc, extra={"probe": name})
    return records


def broken(name: str, exc: BaseException, bt_ms: int) -> Record:
    """The event of an exception: what it is and where it rose; not its text, which could name a peer of the tenant."""
    frames = traceback.extract_tb(exc.__traceback__)
    where = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    detail = f"{name}: {type(exc).__name__}{where}"[:MAX_TEXT]
    return Record(measurement="agent_event", target="probe_broken", bt_ms=bt_ms, fields={"detail": detail})


async def _attempt(
    name: str, settings: Any, context: Context, probes: Mapping[str, Probe]
) -> tuple[list[Record], Exception | None]:
    try:
        return await probes[name].run(settings, context), None
    except Exception as exc:  # noqa: BLE001 - the one place: whatever a probe raises must not reach the others
        return [broken(name, exc, context.now_bt_ms())], exc


class Runner:
    """Runs each enabled probe at its slots and hands its records to ``emit``, until `stop`."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        config: AgentConfig,
        context: Context,
        emit: Callable[[Record], Awaitable[None]],
        line: LineLock,
        *,
        wait: Wait = until,
    ) -> None:
        self._probes, self._context, self._emit, self._line, self._wait = probes, context, emit, line, wait
        self._config = config
        self._slots: dict[str, Slots] = {}
        self._next: dict[str, float] = {}
        self._running: dict[asyncio.Task[Any], str] = {}
        self._keeping: set[asyncio.Task[Any]] = set()  # measured, and on the way to the disk: not cancelled any more
        self._failing: set[str] = set()
        self._changed = asyncio.Event()
        self._paused_until_s = -math.inf
        self._stopping = False
        self._replan()

    @property
    def paused(self) -> bool:
        """Whether nothing is started now."""
        return self._context.monotonic() < self._paused_until_s

    async def run(self) -> None:
        """Starts what is due, until `stop` or cancelled; ends what it started."""
        try:
            while not self._stopping:
                self._start_due()
                self._changed.clear()
                await self._wait(self._changed, self._seconds_to_next())
        finally:
            await self._end()

    def reconfigure(self, config: AgentConfig) -> None:
        """Measures by another configuration; a probe now disabled ends at once, the others finish their windows."""
        self._config = config
        self._replan()
        self._cancel(lambda name: not self._enabled(name))
        self._changed.set()

    def pause(self, seconds: float | None) -> None:
        """Ends what runs and starts nothing for that long; None: until `resume`."""
        self._paused_until_s = math.inf if seconds is None else self._context.monotonic() + seconds
        self._cancel(lambda _: True)
        self._reschedule()

    def resume(self) -> None:
        """Ends a pause."""
        self._paused_until_s = -math.inf
        self._reschedule()

    async def measure(self, name: str, *, asked: bool = False) -> list[Record]:
        """One run now, outside its slots, kept like any other; a heavy one waits for the line.

        ``asked``: somebody wants all of it now, also what the probe does less often than it runs.
        """
        context = replace(self._context, asked=True) if asked else self._context
        async with self._line if self._probes[name].heavy else contextlib.nullcontext():
            records, exc = await _attempt(name, self._config.probes[name], context, self._probes)
        self._log(name, records, exc)
        if (task := asyncio.current_task()) in self._running:
            self._keeping.add(task)
        for record in records:
            await self._emit(record)
        return records

    async def settled(self) -> None:
        """Returns when all that `pause` or `stop` ended has ended and is kept, at most `STOP_S` later."""
        if self._running:
            _, stuck = await asyncio.wait(list(self._running), timeout=STOP_S)
            for task in stuck:
                log.error("probe_does_not_stop", extra={"task": task.get_name()})

    def stop(self) -> None:
        """Makes `run` end, within `STOP_S`."""
        self._stopping = True
        self._changed.set()

    def _enabled(self, name: str) -> bool:
        return bool(self._config.probes[name].enabled)

    def _replan(self) -> None:
        now_s = self._context.monotonic()
        before, self._slots = self._slots, {}
        for name in filter(self._enabled, self._probes):
            interval_s = self._config.probes[name].interval_s
            kept = before.get(name)
            if kept is not None and kept.interval_s == interval_s:
                self._slots[name] = kept
            else:
                self._slots[name] = slots(name, interval_s, self._config.probe.id, now_s)
                self._next[name] = self._next_start(name)

    def _reschedule(self) -> None:
        self._next = {name: self._next_start(name) for name in self._slots}
        self._changed.set()

    def _next_start(self, name: str) -> float:
        after_s = max(self._context.monotonic(), self._paused_until_s)
        return math.inf if math.isinf(after_s) else self._slots[name].next_after(after_s)

    def _start_due(self) -> None:
        for name, grid in self._slots.items():
            now_s, start_s = self._context.monotonic(), self._next[name]
            if now_s < start_s:
                continue
            self._next[name] = grid.next_after(now_s)
            if grid.is_missed(start_s, now_s):
                log.warning("slot_missed", extra={"probe": name, "late_s": round(now_s - start_s, 1)})
            else:
                self._start(name)

    def _start(self, name: str) -> None:
        under_way = sum(running == name for running in self._running.values())
        full = under_way >= self._probes[name].overlap
        task = asyncio.create_task(self._skip(name) if full else self.measure(name), name=f"probe {name}")
        self._running[task] = f"{name}, skipped" if full else name
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._running[task]
        self._keeping.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("record_not_kept", exc_info=exc, extra={"task": task.get_name()})

    async def _skip(self, name: str) -> None:
        log.warning("slot_skipped", extra={"probe": name})
        event = Record(
            measurement="agent_event",
            target="slot_skipped",
            bt_ms=self._context.now_bt_ms(),
            outcome=skipped("still_running"),
            fields={"detail": name},
        )
        await self._emit(event)

    def _log(self, name: str, records: list[Record], exc: Exception | None) -> None:
        """The first failure of a streak and the recovery are worth a reader's time, the others only his asking."""
        reasons = sorted({record.outcome.reason for record in records if record.outcome.reason})
        failing = exc is not None or bool(reasons)
        level = logging.DEBUG if failing == (name in self._failing) else logging.WARNING if failing else logging.INFO
        event = "probe_ok" if not failing else "probe_failed" if exc is None else "probe_broken"
        fields = {"probe": name, "records": len(records), "reasons": ",".join(reasons)}
        log.log(level, event, exc_info=exc, extra=fields)
        (self._failing.add if failing else self._failing.discard)(name)

    def _seconds_to_next(self) -> float | None:
        if self._stopping:
            return 0.0
        next_s = min((self._next[name] for name in self._slots), default=math.inf)
        return None if math.isinf(next_s) else max(0.0, next_s - self._context.monotonic())

    def _cancel(self, chosen: Callable[[str], bool]) -> None:
        for task, name in self._running.items():
            if chosen(name) and task not in self._keeping:
                task.cancel()

    async def _end(self) -> None:
        self._cancel(lambda _: True)
        await self.settled()
