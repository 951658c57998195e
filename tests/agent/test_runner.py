"""Do the probes run at their slots, and does none of them stop the others?

Time is a number that the tests move: a wait of the runner moves it to the wait's end.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from balise_agent import codec
from balise_agent.config import AgentConfig, BrokerSettings, ProbeSettings
from balise_agent.contract import OK, Record, failed
from balise_agent.plan import slots
from balise_agent.probes import Probe
from balise_agent.probes.context import Context
from balise_agent.runner import LineLock, Runner, run_once, until
from balise_agent.settings import flag, number

ID = "k3v9q2xa7m"
Run = Callable[[Any, Context], Awaitable[list[Record]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    enabled: bool = flag(True)
    interval_s: float = number(60.0, low=1, high=3600, unit="s")


class World:
    """Probes, a clock that the runner's waits move, and the records that came out."""

    def __init__(self, end_s: float = 300.0, **probes: Probe) -> None:
        self.now_s, self.end_s = 0.0, end_s
        self.waits = 0
        self.at: dict[float, Callable[[], object]] = {}
        self.records: list[Record] = []
        self.context = Context(
            now_bt_ms=lambda: int(self.now_s * 1000),
            monotonic=lambda: self.now_s,
            rng=random.Random(1),
            rows_waiting=lambda: 0,
            clock_ok=lambda: None,
            state_dir=Path("/"),
        )
        self.line = LineLock()
        self.sleepers: list[tuple[float, asyncio.Event]] = []
        self.config = config({name: Settings() for name in probes})
        self.runner = Runner(probes, self.config, self.context, self.emit, self.line, wait=self.wait)

    async def emit(self, record: Record) -> None:
        self.records.append(record)

    async def wait(self, changed: asyncio.Event, seconds: float | None) -> None:
        """Lets what runs go on, then moves time to the next thing that happens."""
        self.waits += 1
        target_s = self.end_s if seconds is None else self.now_s + seconds
        while not changed.is_set():
            await settle()
            due = [*self.at, *(wake_s for wake_s, _ in self.sleepers), self.end_s]
            step_s = min((s for s in due if s <= target_s), default=target_s)
            self.now_s = max(self.now_s, step_s)
            if step_s == self.end_s:
                self.runner.stop()
            elif step_s in self.at:
                self.at.pop(step_s)()
            else:
                self.wake(step_s)
            await settle()
            if self.now_s >= target_s:
                return

    def wake(self, now_s: float) -> None:
        for wake_s, event in self.sleepers:
            if wake_s <= now_s:
                event.set()
        self.sleepers = [(wake_s, event) for wake_s, event in self.sleepers if wake_s > now_s]

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        entry = (self.now_s + seconds, event)
        self.sleepers.append(entry)
        try:
            await event.wait()
        finally:
            self.sleepers = [other for other in self.sleepers if other[1] is not event]

    def run(self) -> None:
        asyncio.run(self.runner.run())

    def starts(self, name: str) -> list[float]:
        return [record.bt_ms / 1000 for record in self.records if record.measurement == name]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def config(probes: dict[str, Any]) -> AgentConfig:
    return AgentConfig(broker=BrokerSettings(host="127.0.0.1"), probe=ProbeSettings(id=ID), probes=probes)


def probe(name: str, run: Run | None = None, **options: Any) -> Probe:
    async def measures(_settings: Any, context: Context) -> list[Record]:
        return [Record(measurement=name, bt_ms=context.now_bt_ms())]

    return Probe(name=name, settings=Settings, run=run or measures, **options)


def lasting(world: list[World], name: str, seconds: float) -> Run:
    async def lasts(_settings: Any, context: Context) -> list[Record]:
        await world[0].sleep(seconds)
        return [Record(measurement=name, bt_ms=context.now_bt_ms())]

    return lasts


async def breaks(_settings: Any, _context: Context) -> list[Record]:
    raise ValueError("secret-peer.example.net is odd")


def grid(name: str, end_s: float, interval_s: float = 60.0, start_s: float = 0.0) -> list[float]:
    first = slots(name, interval_s, ID, start_s).first_s
    return [round(first + k * interval_s, 3) for k in range(int((end_s - first) / interval_s) + 1)]


def about(times: list[float]) -> list[Any]:
    return [pytest.approx(time, abs=0.002) for time in times]


def test_each_probe_runs_on_its_own_grid() -> None:
    world = World(dns=probe("dns"), web=probe("web"))
    world.run()
    assert world.starts("dns") == about(grid("dns", 300))
    assert world.starts("web") == about(grid("web", 300))


def test_between_two_starts_nothing_wakes_up() -> None:
    world = World(dns=probe("dns"), web=probe("web"))
    world.run()
    assert world.waits <= len(world.records) + 1


def test_a_broken_probe_is_said_and_the_others_go_on() -> None:
    world = World(dns=probe("dns", breaks), web=probe("web"))
    world.run()
    assert len(world.starts("web")) == len(grid("web", 300))
    events = [record for record in world.records if record.measurement == "agent_event"]
    assert len(events) == len(grid("dns", 300))
    assert {event.target for event in events} == {"probe_broken"}
    assert codec.check_record(events[0]) is None


def test_what_is_said_of_a_broken_probe_names_no_peer() -> None:
    (record,) = asyncio.run(run_once("dns", Settings(), World().context, {"dns": probe("dns", breaks)}))
    assert str(record.fields["detail"]).startswith("dns: ValueError at test_runner.py:")


def test_the_first_failure_of_a_streak_and_the_recovery_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([OK, failed("timeout"), failed("timeout"), OK, OK])

    async def fails_twice(_settings: Any, context: Context) -> list[Record]:
        return [Record(measurement="dns", bt_ms=context.now_bt_ms(), outcome=next(outcomes))]

    with caplog.at_level(logging.INFO):
        World(dns=probe("dns", fails_twice)).run()
    assert [(line.levelname, line.message) for line in caplog.records] == [
        ("WARNING", "probe_failed"),
        ("INFO", "probe_ok"),
    ]


def test_a_slow_probe_without_overlap_skips_the_slot_and_says_so() -> None:
    here: list[World] = []
    here.append(World(dns=probe("dns", lasting(here, "dns", 70))))
    here[0].run()
    skipped = [record for record in here[0].records if record.measurement == "agent_event"]
    assert {(record.target, record.outcome.reason) for record in skipped} == {("slot_skipped", "still_running")}
    assert here[0].starts("dns") == about([s + 70 for s in grid("dns", 300)[::2] if s + 70 <= 300])


def test_a_probe_with_overlap_starts_its_next_window_while_the_last_one_ends() -> None:
    here: list[World] = []
    here.append(World(reach=probe("reach", lasting(here, "reach", 62), overlap=2)))
    here[0].run()
    assert here[0].starts("reach") == about([s + 62 for s in grid("reach", 300) if s + 62 < 300])
    assert {record.measurement for record in here[0].records} == {"reach"}


def test_two_heavy_probes_never_hold_the_line_together() -> None:
    here: list[World] = []
    under_way: list[str] = []

    def heavy(name: str) -> Probe:
        async def fills_the_line(_settings: Any, context: Context) -> list[Record]:
            under_way.append(name)
            assert len(under_way) == 1
            await here[0].sleep(50)
            under_way.remove(name)
            return [Record(measurement=name, bt_ms=context.now_bt_ms())]

        return probe(name, fills_the_line, heavy=True)

    here.append(World(dns=heavy("dns"), web=heavy("web")))
    here[0].run()
    assert {"dns", "web"} <= {record.measurement for record in here[0].records}
    assert "probe_broken" not in {record.target for record in here[0].records}


def test_a_slot_slept_through_is_not_made_up_for() -> None:
    world = World(end_s=1000, dns=probe("dns"))
    first = grid("dns", 60)[0]

    def sleep_for_ten_minutes() -> None:
        world.now_s += 600

    world.at[first + 1] = sleep_for_ten_minutes
    world.run()
    assert world.starts("dns") == about([s for s in grid("dns", 1000) if s < first + 1 or s > first + 601])


def test_a_pause_ends_what_runs_and_measuring_goes_on_after_it() -> None:
    here: list[World] = []
    here.append(World(dns=probe("dns", lasting(here, "dns", 10)), web=probe("web")))
    world = here[0]
    second = grid("dns", 300)[1]
    world.at[second + 5] = lambda: world.runner.pause(100)
    world.run()
    paused = (second + 5, second + 105)
    assert world.starts("web") == about([s for s in grid("web", 300) if not paused[0] < s < paused[1]])
    assert world.starts("dns") == about([s + 10 for s in grid("dns", 290) if not paused[0] - 10 < s < paused[1]])


def test_a_pause_without_an_end_lasts_until_it_is_resumed() -> None:
    world = World(dns=probe("dns"))
    world.at[0.001] = lambda: world.runner.pause(None)
    world.at[200.0] = world.runner.resume
    world.run()
    assert not world.runner.paused
    assert world.starts("dns") == about([s for s in grid("dns", 300) if s > 200])


def test_a_new_configuration_leaves_the_windows_of_unchanged_probes_alone() -> None:
    here: list[World] = []
    here.append(World(reach=probe("reach", lasting(here, "reach", 60), overlap=2), dns=probe("dns")))
    world = here[0]
    changed = config({"reach": Settings(), "dns": Settings(interval_s=10)})
    world.at[100.0] = lambda: world.runner.reconfigure(changed)
    world.run()
    assert world.starts("reach") == about([s + 60 for s in grid("reach", 300) if s + 60 < 300])
    before = [s for s in grid("dns", 300) if s < 100]
    assert world.starts("dns") == about(before + grid("dns", 300, 10, 100.0))


def test_other_settings_on_the_same_interval_keep_the_grid_and_the_running_window() -> None:
    here: list[World] = []

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named(Settings):
        target: str = "old"

    async def window(settings: Named, context: Context) -> list[Record]:
        await here[0].sleep(60)
        return [Record(measurement="reach", bt_ms=context.now_bt_ms(), target=settings.target)]

    here.append(World(reach=probe("reach", window, overlap=2)))
    world = here[0]
    world.runner.reconfigure(config({"reach": Named()}))
    world.at[100.0] = lambda: world.runner.reconfigure(config({"reach": Named(target="new")}))
    world.run()
    began = [s for s in grid("reach", 300) if s + 60 < 300]
    assert world.starts("reach") == about([s + 60 for s in began])
    assert [record.target for record in world.records] == ["old" if s < 100 else "new" for s in began]


def test_a_disabled_probe_ends_at_once() -> None:
    here: list[World] = []
    here.append(World(dns=probe("dns", lasting(here, "dns", 30))))
    world = here[0]
    world.at[grid("dns", 300)[1] + 10] = lambda: world.runner.reconfigure(config({"dns": Settings(enabled=False)}))
    world.run()
    assert world.starts("dns") == about([grid("dns", 300)[0] + 30])


def test_one_run_now_is_kept_like_any_other() -> None:
    world = World(dns=probe("dns"))
    asyncio.run(world.runner.measure("dns"))
    assert world.starts("dns") == [0.0]


def test_what_was_measured_is_kept_even_when_the_end_comes_while_it_is_written() -> None:
    world = World(dns=probe("dns"))
    kept: list[Record] = []

    async def slow_disk(record: Record) -> None:
        world.runner.stop()
        for _ in range(10):  # the runner is at its end long before
            await settle()
        kept.append(record)

    world.runner = Runner({"dns": probe("dns")}, world.config, world.context, slow_disk, world.line, wait=world.wait)
    world.run()
    assert len(kept) == 1


def test_cancelling_the_runner_passes_and_leaves_nothing_running() -> None:
    async def scenario() -> tuple[bool, int]:
        world = World(dns=probe("dns", lambda _s, _c: asyncio.Event().wait()))  # type: ignore[arg-type,return-value]
        task = asyncio.create_task(world.runner.run())
        while not any(other.get_name() == "probe dns" for other in asyncio.all_tasks()):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == (True, 1)


def test_a_record_that_cannot_be_kept_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    world = World(dns=probe("dns"), web=probe("web"))
    kept: list[Record] = []

    async def refuses_dns(record: Record) -> None:
        if record.measurement == "dns":
            raise OSError("disk full")
        kept.append(record)

    probes = {"dns": probe("dns"), "web": probe("web")}
    world.runner = Runner(probes, world.config, world.context, refuses_dns, world.line, wait=world.wait)
    world.run()
    assert len(kept) == len(grid("web", 300))
    assert {line.message for line in caplog.records} == {"record_not_kept"}


def test_the_real_wait_ends_by_event_and_by_time() -> None:
    async def scenario() -> None:
        changed = asyncio.Event()
        await until(changed, 0.0)
        changed.set()
        await until(changed, None)

    asyncio.run(scenario())
