"""When does a test that fills the line run, and who ends it?

The shell around `heavy_plan`, `budget`, `heavy_day` and `line_use`: it waits for slots, asks the gate, runs the test
with the watch beside it, and keeps the ledger.

Rule 1: never over the home's own use: not begun while somebody uses the line, ended at once when somebody begins.
Rule 2: what was refused or ended leaves the probe only as a day's count; on demand the asker is told, and nobody else.
Rule 3: bytes are on disk as spent before the first is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from balise_agent import civil, heavy_day
from balise_agent.budget import MOST_DEMANDS, Bounds, Contract, bounds, cost, fits, may_be_full
from balise_agent.clock import Clock
from balise_agent.config import AgentConfig
from balise_agent.contract import Record, Value
from balise_agent.gate import Verdict, is_aborted
from balise_agent.heavy_plan import MOST_TRIES, History, Next, Rules, Slot, next_tests, slots_of
from balise_agent.line_use import LineUse
from balise_agent.net.throughput.shape import SHAPES
from balise_agent.outbox import Outbox
from balise_agent.outbox_budget import Ledger, day_key
from balise_agent.outbox_thread import OutboxThread
from balise_agent.probes.context import Context
from balise_agent.runner import LineLock, Runner, run_once, until

log = logging.getLogger(__name__)

QUIET_S = 11.0  # the hint looks back 10 s, at round trips that the test before made long
KINDS = ("throughput", "loaded", "udp_capacity", "speedtest")
"""Probes whose tests go by this gate."""
_SHAPES = {"loaded": "loaded", "udp_capacity": "burst", "speedtest": "speedtest"}  # of those that have but one

DRAIN_S = 1.0  # of the longest queue that is usual

TURN_S = 120.0  # a wall clock that is set, or a new day, is seen this soon; below `heavy_plan.LATE_S`
SEED, RATIO = "heavy_seed", "gate_ratio"
_COUNTS_AS_TAKEN = {"line_busy", "gate_unknown", "server_busy", "line_down"}  # another moment may be better


class RefusedError(Exception):
    """A test asked for that is not run: a reason, told to who asked."""


class _AbortedError(Exception):
    """It was ended: line_busy, or paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One to be run now: probe, shape, and why."""

    probe: str
    shape: str
    cause: str


class Heavy:
    """The tests of one agent. ``config``: the one in force; ``emit``: takes a record to the disk."""

    def __init__(
        self,
        *,
        config: Callable[[], AgentConfig],
        context: Context,
        clock: Clock,
        outbox: Outbox,
        on_disk: OutboxThread,
        runner: Runner,
        line: LineLock,
        emit: Callable[[Record], Awaitable[None]],
    ) -> None:
        self._config, self._context, self._clock = config, context, clock
        self._outbox, self._on_disk, self._runner, self._line, self._emit = outbox, on_disk, runner, line, emit
        self._use = LineUse(context, lambda: config().probes["box"], self._contract)
        self._ledger = Ledger()
        self._seed = ""
        self._last_test_s: float | None = None
        self._filling, self._filled_s = False, -DRAIN_S
        self._changed = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._running, self._loading = asyncio.Lock(), asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled: each slot in its time."""
        while True:
            self._changed.clear()  # before the look: what changes meanwhile is looked at again
            wait_s = TURN_S
            try:
                await self._load()
                wait_s = await self._turn()
            except sqlite3.OperationalError as exc:
                log.error("disk_refuses", extra={"why": str(exc)})
            await until(self._changed, wait_s)

    @property
    def is_filling(self) -> bool:
        """A test fills the line now, or its queue has not drained yet."""
        return self._filling or self._context.monotonic() - self._filled_s < DRAIN_S

    def reconsider(self) -> None:
        """Another configuration is in force."""
        self._changed.set()

    def interrupt(self) -> None:
        """Ends what runs, now: nothing is to be measured."""
        self._unwanted.set()

    async def forget(self) -> None:
        """Consent was withdrawn: what ran has ended, and nothing of it stays."""
        self.interrupt()
        async with self._running:
            self._ledger = Ledger()
            self._unwanted.clear()

    async def demand(self, probe: str, shape: str | None, on_running: Callable[[], None]) -> list[Record]:
        """A test asked for now; RefusedError: why it is not run. ``on_running``: the gate let it pass."""
        wanted = _SHAPES.get(probe) or ("full" if shape == "full" else "light")
        tests = [Test(probe=probe, shape=wanted, cause="demand")]
        if wanted == "light":  # settled: in every full or on-demand test; a full one has it already
            tests.append(Test(probe="loaded", shape="loaded", cause="demand"))
        if self._line.locked() or self._running.locked():
            raise RefusedError("test_running")
        await self._load()
        today = civil.day_of(self._now_s())
        async with self._running:
            try:
                return await self._demanded(tests, today, on_running)
            except RefusedError as refused:
                await self._count(today, probe, **{_reason(str(refused)): 1})
                raise

    # the plan

    async def _turn(self) -> float:
        """What is due now; seconds to the next look."""
        if self._clock.synchronised() is not True:
            return TURN_S
        now_s = self._now_s()
        await self._follow_day(civil.day_of(now_s))
        config = self._config()
        if not config.heavy.enabled or not config.probes["throughput"].targets or self._runner.paused:
            return TURN_S
        due = self._next(now_s)
        if due is None or due.at_s > now_s:
            return TURN_S if due is None else min(TURN_S, due.at_s - now_s)
        async with self._running:
            await self._try(due.slot)
        return 0.0

    def _next(self, now_s: float) -> Next | None:
        history = History(tried=self._ledger.tried, last_test_s=self._last_test_s)
        found = next_tests(self._seed, self._contract(), self._rules(), now_s, history)
        return found[0] if found else None

    async def _try(self, slot: Slot) -> None:
        test = Test(probe=slot.probe, shape=slot.shape, cause=slot.cause)
        why = self._refusal(test)
        records: list[Record] = []
        if not why:
            try:
                async with self._line:
                    records = await self._gated(test, patient=True)
            except RefusedError as refused:
                why = str(refused)
            except _AbortedError:
                await self._note(slot, over=True)
                return
            if not why and _are_busy(records):
                why = "server_busy"
        before = self._ledger.tried.get(slot.id)
        tries = 1 if before is None else before.count + 1
        await self._note(slot, over=not why or why not in _COUNTS_AS_TAKEN or tries >= MOST_TRIES, why=why)

    async def _demanded(self, tests: Sequence[Test], today: int, on_running: Callable[[], None]) -> list[Record]:
        await self._follow_day(today)
        asked = sum(count.on_demand for count in self._ledger.of(day_key(today)).values())
        if asked >= MOST_DEMANDS:
            raise RefusedError("budget_tests")
        if self._runner.paused:
            raise RefusedError("paused")
        for test in tests:
            if why := self._refusal(test):
                raise RefusedError(why)
        records: list[Record] = []
        async with self._line:
            for number, test in enumerate(tests):
                if records and records[-1].fields.get("gate_by") == "rtt":
                    await asyncio.sleep(QUIET_S)
                try:
                    records += await self._gated(test, patient=False, on_running=None if number else on_running)
                except (_AbortedError, RefusedError) as why:
                    if records:
                        break  # what was measured is measured
                    raise RefusedError(str(why)) from None
        await self._count(today, tests[0].probe, on_demand=1)
        return records

    # one test

    def _refusal(self, test: Test) -> str:
        """Why it may not run whatever the line does; empty: it may."""
        config, contract = self._config(), self._contract()
        if not config.probes["throughput"].targets:
            return "no_target"
        if test.shape == "full" and not may_be_full(contract):
            return "line_too_slow"
        if self._context.line is not None and self._context.line.is_down:
            return "line_down"
        day, month = self._periods(civil.day_of(self._now_s()))
        return "" if fits(self._limits(), day, month, self._price(test)) else "budget"

    async def _gated(self, test: Test, *, patient: bool, on_running: Callable[[], None] | None = None) -> list[Record]:
        """The test, if the gate lets it pass. RefusedError, _AbortedError: it does not, or no longer."""
        verdict = await (self._use.look_patiently() if patient else self._use.look())
        if verdict.use == "busy":
            raise RefusedError("line_busy")
        if verdict.use == "unknown" and (verdict.by is None or test.shape == "full"):
            raise RefusedError("gate_unknown")
        if on_running is not None:
            on_running()
        day, reserved = civil.day_of(self._now_s()), self._price(test)
        await self._count(day, test.probe, bytes=reserved)
        try:
            records, crossed = await self._watched(test)
        except _AbortedError:
            self._last_test_s = self._now_s()
            await self._count(day, test.probe, aborted=1)
            raise
        self._last_test_s = self._now_s()
        await self._on_disk(partial(self._outbox.put, RATIO, json.dumps([round(part, 4) for part in self._use.ratio])))
        ran = 0 if _are_busy(records) else 1
        await self._count(day, test.probe, run=ran, bytes=_moved(records, test.shape, reserved) - reserved)
        verdict = Verdict(use="unknown", by=verdict.by) if self._use.lies else verdict
        marked = [_marked(record, verdict, test.cause, crossed=crossed) for record in records]
        for record in marked:
            await self._emit(record)
        return marked

    async def _watched(self, test: Test) -> tuple[list[Record], bool]:
        """Its records, and whether others used the line meanwhile. It is ended where the line is needed."""
        settings, self._filling = self._settings(test), True
        work = asyncio.create_task(run_once(test.probe, settings, self._context), name=f"test {test.probe}")
        busy, unwanted = asyncio.create_task(self._use.until_busy()), asyncio.create_task(self._until_unwanted())
        try:
            await asyncio.wait([work, busy, unwanted], return_when=asyncio.FIRST_COMPLETED)
            crossed = busy.done() and not work.done()
            if crossed:
                busy.result()  # the watch's own fault is no tenant
            if crossed and is_aborted(self._contract()):
                raise _AbortedError("line_busy")
            await asyncio.wait([work, unwanted], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _AbortedError("paused")
            return work.result(), crossed
        finally:
            for task in (work, busy, unwanted):
                task.cancel()
            await asyncio.wait([work, busy, unwanted])
            self._filling, self._filled_s = False, self._context.monotonic()

    async def _until_unwanted(self) -> None:
        while not self._runner.paused and not self._unwanted.is_set():
            await until(self._unwanted, 0.5)

    # settings and ledger

    def _contract(self) -> Contract:
        settings = self._config().probes["throughput"]
        return Contract(down_bps=settings.contract_down_bps, up_bps=settings.contract_up_bps)

    def _rules(self) -> Rules:
        since = self._config().heavy.campaign_from
        try:
            return Rules(campaign_day=None if since is None else civil.day_from(since))
        except ValueError:  # 2026-02-30
            return Rules()

    def _limits(self) -> Bounds:
        heavy = self._config().heavy
        return bounds(self._contract(), heavy.day_bytes, heavy.month_bytes, times=self._times())

    def _price(self, test: Test) -> int:
        return self._times() * cost(test.shape, self._contract())

    def _times(self) -> int:
        """How often a test fills the line: once a target and address family."""
        return sum(2 if target.af == "both" else 1 for target in self._config().probes["throughput"].targets)

    def _settings(self, test: Test) -> Any:
        settings = self._config().probes[test.probe]
        if not settings.targets:
            settings = replace(settings, targets=self._config().probes["throughput"].targets)
        return replace(settings, shape=test.shape) if test.probe == "throughput" else settings

    def _now_s(self) -> float:
        return self._clock.wall_ms() / 1000

    def _periods(self, day: int) -> tuple[Sequence[Any], Sequence[Any]]:
        ledger = self._ledger
        return list(ledger.of(day_key(day)).values()), list(ledger.of(civil.month_of(day)).values())

    async def _load(self) -> None:
        """What is on the disk, once: a test may be asked for before the plan's first look."""
        async with self._loading:
            if self._seed:
                return
            seed = self._outbox.get(SEED) or secrets.token_urlsafe(16)
            await self._on_disk(partial(self._outbox.put, SEED, seed))
            self._ledger = await self._on_disk(self._outbox.ledger)
            if (ratio := self._outbox.get(RATIO)) is not None:
                down, up = json.loads(ratio)
                self._use.ratio = float(down), float(up)
            self._seed = seed

    async def _follow_day(self, today: int) -> None:
        """Tells the day that is over, and begins this one."""
        if self._ledger.day == today:
            return
        if self._ledger.day is not None:
            closed = heavy_day.close(
                self._ledger, slots_of(self._seed, self._ledger.day, self._contract(), self._rules())
            )
            if self._config().probes["throughput"].targets:
                for record in heavy_day.records(closed, self._limits(), self._context.now_bt_ms()):
                    await self._emit(record)
            self._ledger = closed
        await self._keep(heavy_day.begin(self._ledger, today))

    async def _note(self, slot: Slot, *, over: bool, why: str = "") -> None:
        reason = why and _reason(why)
        await self._keep(heavy_day.tried(self._ledger, slot, self._now_s(), over=over, why=reason))

    async def _count(self, day: int, kind: str, **more: int) -> None:
        await self._keep(heavy_day.add(self._ledger, day, kind, **more))

    async def _keep(self, ledger: Ledger) -> None:
        self._ledger = ledger
        await self._on_disk(partial(self._outbox.keep_ledger, ledger))


def _reason(why: str) -> str:
    """The word of the day's count."""
    known: Mapping[str, str] = {"budget_tests": "budget", "no_target": "off", "paused": "off", "line_too_slow": "off"}
    return known.get(why, why)


def _are_busy(records: Sequence[Record]) -> bool:
    return bool(records) and all(record.outcome.reason == "server_busy" for record in records)


def _moved(records: Sequence[Record], shape: str, reserved: int) -> int:
    """Bytes that the test moved: its rates over its whole length. One that failed half-way is taken at its price."""
    if _are_busy(records):
        return 0
    rates = [
        (float(record.fields[f"{way}_bps"]), SHAPES[shape].lasts_s)
        for record in records
        for way in ("down", "up")
        if f"{way}_bps" in record.fields
    ]
    return max(reserved, round(sum(bps * lasts_s / 8 for bps, lasts_s in rates)))


def _marked(record: Record, verdict: Verdict, cause: str, *, crossed: bool) -> Record:
    """The record, with what the gate said."""
    if record.measurement not in ("throughput", "loaded"):
        return record
    fields: dict[str, Value] = {**record.fields, "gate": verdict.use, "cause": cause}
    if verdict.by is not None:
        fields["gate_by"] = verdict.by
    if crossed and fields.get("limited_by") in ("none", "loss"):
        fields |= {"limited_by": "cross_traffic", "validity": "cross_traffic"}
    return replace(record, fields=fields)
