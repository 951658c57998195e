"""Does a test fill the line only where nobody uses it, and is what was refused a number of a day and nothing more?

A real target, a box on loopback whose counters are the tenant's, a real outbox; the wall clock is the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from balise_agent import civil
from balise_agent.budget import MOST_DEMANDS, Contract
from balise_agent.clock import SystemClock
from balise_agent.codec import check_record
from balise_agent.config import AgentConfig, from_tables
from balise_agent.contract import Record
from balise_agent.heavy import SEED, Heavy, RefusedError
from balise_agent.heavy_plan import Rules, Slot, slots_of
from balise_agent.outbox import Outbox
from balise_agent.outbox_budget import day_key
from balise_agent.outbox_thread import OutboxThread
from balise_agent.probes import PROBES
from balise_agent.probes.box import Box
from balise_agent.probes.context import Context
from balise_agent.probes.line import open_line
from balise_agent.runner import LineLock, Runner
from tests.agent import boxes
from tests.agent.targets import target
from tests.waiting import soon

PATIENCE_S = 60.0
NOON_S = civil.utc_of(civil.day_from("2026-11-24"), 12 * 3600)
TENANT_BPS = 600_000


class WallClock:
    """Boot time is the kernel's; the date is what a test says."""

    def __init__(self, utc_s: float) -> None:
        self.shift_ms = 0
        self.set(utc_s)

    def set(self, utc_s: float) -> None:
        self.shift_ms = round(utc_s * 1000) - self.bt_ms()

    def bt_ms(self) -> int:
        return SystemClock().bt_ms()

    def wall_ms(self) -> int:
        return self.bt_ms() + self.shift_ms

    def synchronised(self) -> bool:
        return True


class Tenant:
    """What the home uses, as the box counts it: a whisper, or a stream from a moment on."""

    def __init__(self) -> None:
        self.since_s, self.bps, self._before = time.monotonic(), 8_000.0, 0.0

    def uses(self, bps: float) -> None:
        self._before, self.since_s, self.bps = self.moved, time.monotonic(), bps

    @property
    def moved(self) -> float:
        return self._before + (time.monotonic() - self.since_s) * self.bps / 8


class Home:
    """One agent's heavy tests."""

    def __init__(self, folder: Path, tenant: Tenant, box: boxes.Box | None, port: int, **heavy: Any) -> None:
        self.folder, self.tenant, self.clock, self.records = folder, tenant, WallClock(NOON_S), list[Record]()
        tables = {
            "agent": {"state_dir": str(folder)},
            "broker": {"host": "127.0.0.1"},
            "probe": {"id": "k3v9q2xa7m"},
            "heavy": heavy,
            "box": {"enabled": box is not None, "host": "127.0.0.1", "ssdp_port": box.ssdp_port if box else 1},
            "throughput": {
                "only": "down",
                "contract_down_bps": 1e6,
                "contract_up_bps": 1e6,
                "targets": [{"label": "op", "url": f"http://127.0.0.1:{port}"}],
            },
            "loaded": {"only": "down"},
        }
        config = from_tables(tables)
        assert isinstance(config, AgentConfig), config
        self.config = config
        self.on_disk = OutboxThread(folder / "outbox.db", boot="boot", clock=self.clock)

    async def opened(self) -> None:
        outbox = await self.on_disk.open(asyncio.Event())
        assert outbox is not None
        self.outbox: Outbox = outbox
        context = Context(
            now_bt_ms=self.clock.bt_ms,
            monotonic=time.monotonic,
            rng=random.Random(1),
            rows_waiting=lambda: 0,
            clock_ok=self.clock.synchronised,
            state_dir=Path("/"),
            box=Box(),
        )
        self.line = open_line(
            state_dir=self.folder,
            boot="boot",
            now_bt_ms=self.clock.bt_ms,
            wall_ms=self.clock.wall_ms,
            clock_ok=self.clock.synchronised,
        )
        context = replace(context, line=self.line)
        lock = LineLock()
        self.runner = Runner(PROBES, self.config, context, self.emit, lock)
        self.heavy = Heavy(
            config=lambda: self.config,
            context=context,
            clock=self.clock,
            outbox=outbox,
            on_disk=self.on_disk,
            runner=self.runner,
            line=lock,
            emit=self.emit,
        )

    def contract(self, **rates: float) -> None:
        """Another one."""
        faster = {f"contract_{name}": rate for name, rate in rates.items()}
        probes = {**self.config.probes, "throughput": replace(self.config.probes["throughput"], **faster)}
        self.config = replace(self.config, probes=probes)

    async def emit(self, record: Record) -> None:
        assert check_record(record) is None, record
        self.records.append(record)

    async def refused(self, probe: str = "throughput", shape: str | None = None) -> str:
        with pytest.raises(RefusedError) as raised:
            await self.heavy.demand(probe, shape, lambda: None)
        return str(raised.value)

    async def counts(self) -> dict[str, Any]:
        """Of the day, by kind of test: what is not 0."""
        ledger = await self.on_disk(self.outbox.ledger)
        kinds = ledger.of(day_key(civil.day_of(self.clock.wall_ms() / 1000)))
        return {
            kind: {name: value for name in count.__slots__ if (value := getattr(count, name))}
            for kind, count in kinds.items()
        }


@asynccontextmanager
async def home(folder: Path, port: int = 1, *, speaks: bool = True, **heavy: Any) -> AsyncIterator[Home]:
    tenant = Tenant()
    box = boxes.Box()

    def counting(request: bytes) -> bytes | None:
        box.says["NewTotalBytesReceived"] = str(round(tenant.moved))
        return None

    box.answer = counting
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(boxes.running(box)) if speaks else None
        made = Home(folder, tenant, there, port, **heavy)
        await made.opened()
        running = asyncio.create_task(made.heavy.run())
        try:
            await soon(lambda: made.heavy._ledger.day is not None)  # its first look is over
            yield made
        finally:
            running.cancel()
            await asyncio.wait([running])
            await made.on_disk.close(made.outbox)


def test_on_an_idle_line_a_test_asked_for_runs_with_its_delay_and_says_what_the_gate_said(tmp_path: Path) -> None:
    async def play() -> None:
        with target() as port:
            async with home(tmp_path, port) as there:
                told: list[str] = []
                records = await there.heavy.demand("throughput", None, lambda: told.append("running"))
                assert told == ["running"]
                assert [record.measurement for record in records] == ["throughput", "loaded"]
                for record in records:
                    assert record.outcome.kind == "ok"
                    assert (record.fields["gate"], record.fields["gate_by"]) == ("idle", "box")
                    assert record.fields["cause"] == "demand"
                assert there.records == records
                counts = await there.counts()
                assert counts["throughput"] | {"bytes": 0} == {"on_demand": 1, "run": 1, "bytes": 0}
                assert counts["throughput"]["bytes"] >= float(records[0].fields["down_bps"]) * 4 / 8 - 1

    asyncio.run(play())


def test_a_line_in_use_is_never_filled_and_the_refusal_is_a_number_of_the_day(tmp_path: Path) -> None:
    async def play() -> None:
        async with home(tmp_path) as there:
            there.tenant.uses(TENANT_BPS)
            assert await there.refused() == "line_busy"
            assert there.records == []
            assert await there.counts() == {"throughput": {"line_busy": 1}}

    asyncio.run(play())


def test_a_test_is_ended_when_somebody_begins_and_leaves_nothing_but_a_number(tmp_path: Path) -> None:
    async def play() -> None:
        with target() as port:
            async with home(tmp_path, port) as there:
                began = there.heavy.demand("throughput", None, lambda: there.tenant.uses(TENANT_BPS))
                with pytest.raises(RefusedError, match="line_busy"):
                    await began
                assert there.records == []
                counts = (await there.counts())["throughput"]
                assert (counts["aborted"], counts["line_busy"], "run" in counts) == (1, 1, False)
                assert counts["bytes"] > 0  # it was paid for before it began

    asyncio.run(play())


def test_a_pause_ends_a_test_too(tmp_path: Path) -> None:
    async def play() -> None:
        with target() as port:
            async with home(tmp_path, port) as there:
                with pytest.raises(RefusedError, match="paused"):
                    await there.heavy.demand("throughput", None, lambda: there.runner.pause(60))
                assert await there.refused() == "paused"
                assert there.records == []

    asyncio.run(play())


def test_where_nothing_tells_no_test_runs(tmp_path: Path) -> None:
    async def play() -> None:
        async with home(tmp_path, speaks=False) as there:
            assert await there.refused() == "gate_unknown"
            assert await there.refused("throughput", "full") == "line_too_slow"
            assert await there.counts() == {"throughput": {"gate_unknown": 1, "off": 1}}

    asyncio.run(play())


def test_a_budget_that_is_used_up_refuses_at_once_and_so_does_a_seventh_test(tmp_path: Path) -> None:
    async def play() -> None:
        async with home(tmp_path, speaks=False, day_bytes=1) as there:
            assert await there.refused() == "budget"
        async with home(tmp_path / "other", speaks=False) as there:
            day = civil.day_of(NOON_S)
            for _ in range(MOST_DEMANDS):
                await there.heavy._count(day, "throughput", on_demand=1)
            assert await there.refused() == "budget_tests"

    (tmp_path / "other").mkdir()
    asyncio.run(play())


def test_where_only_round_trips_tell_a_light_test_runs_and_says_so_and_a_full_one_does_not(tmp_path: Path) -> None:
    async def play() -> None:
        with target() as port:
            async with home(tmp_path, port, speaks=False) as there:
                there.contract(down_bps=300e6)
                for number in reversed(range(2_500)):  # more than an hour of echoes, 1.5 s apart, all as fast
                    there.line.hint.answered(there.clock.bt_ms() - number * 1_500, 10_000)
                assert await there.refused("throughput", "full") == "gate_unknown"
                (record,) = await there.heavy.demand("loaded", None, lambda: None)
                assert (record.fields["gate"], record.fields["gate_by"]) == ("unknown", "rtt")
                there.line.hint.lost(there.clock.bt_ms())
                assert await there.refused("loaded") == "line_busy"

    asyncio.run(play())


def first_slot(there: Home) -> Slot:
    seed = there.outbox.get(SEED)
    assert seed is not None
    return slots_of(seed, civil.day_of(NOON_S), Contract(down_bps=1e6, up_bps=1e6), Rules())[0]


def test_a_slot_is_tried_in_its_time_and_the_day_is_told_once_when_it_is_over_without_time_of_day(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        async with home(tmp_path, speaks=False) as there:
            slot = first_slot(there)
            there.clock.set(slot.start_s)
            there.heavy.reconsider()
            await soon(lambda: there.heavy._ledger.tried)
            assert there.heavy._ledger.tried[slot.id].why == "gate_unknown"
            assert there.records == []
            there.clock.set(civil.utc_of(civil.day_of(NOON_S) + 1, 60))
            there.heavy.reconsider()
            await soon(lambda: there.records)
            told = {record.target: record.fields for record in there.records}
            assert set(told) == {"throughput", "loaded"}
            assert told["throughput"]["day"] == civil.day_of(NOON_S)
            assert told["throughput"]["planned"] == 4
            for fields in told.values():
                reasons = sum(int(value) for name, value in fields.items() if name.startswith("skipped_"))
                assert fields["skipped"] == reasons == fields["planned"]
                assert not [name for name in fields if "ms" in name or "hour" in name]
            assert sum(int(fields["skipped_gate_unknown"]) for fields in told.values()) == 1

    asyncio.run(play())


def test_what_was_spent_and_the_moments_drawn_outlive_the_agent_and_end_with_consent(tmp_path: Path) -> None:
    async def play() -> None:
        async with home(tmp_path, speaks=False) as there:
            assert await there.refused() == "gate_unknown"
            seed = there.outbox.get(SEED)
        async with home(tmp_path, speaks=False) as there:
            await soon(lambda: there.heavy._ledger.counts)
            assert there.outbox.get(SEED) == seed
            assert await there.counts() == {"throughput": {"gate_unknown": 1}}
            await there.heavy.forget()
            await there.on_disk(there.outbox.erase)
            assert await there.counts() == {}
            assert await there.refused() == "gate_unknown"

    asyncio.run(play())
