"""Does the probe tell its own health, and leave out what the machine does not tell?"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent import clock
from balise_agent.codec import check_record
from balise_agent.contract import OK, Record
from balise_agent.probes.context import Context
from balise_agent.probes.host import HostSettings, Usage, decode_throttled, processor_temperature, run, shares


def measure(state_dir: Path, clock_ok: bool | None = None) -> Record:
    context = Context(
        now_bt_ms=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 42,
        clock_ok=lambda: clock_ok,
        state_dir=state_dir,
    )
    (record,) = asyncio.run(run(HostSettings(), context))
    assert check_record(record) is None
    assert record.outcome == OK
    return record


def test_this_machine_is_told_of(tmp_path: Path) -> None:
    fields = measure(tmp_path).fields
    assert fields["rows_waiting"] == 42
    assert 0 < int(fields["agent_rss_kb"]) < int(fields["mem_total_kb"])
    assert 0 < int(fields["mem_available_kb"]) <= int(fields["mem_total_kb"])
    assert int(fields["disk_free_kb"]) > 0
    assert 0 <= int(fields["agent_uptime_s"]) <= int(fields["uptime_s"])
    assert "clock_ok" not in fields


@pytest.mark.parametrize("known", [True, False])
def test_a_clock_that_is_known_is_told_of(tmp_path: Path, known: bool) -> None:
    assert measure(tmp_path, known).fields["clock_ok"] is known


def test_the_second_record_has_the_shares_since_the_first(tmp_path: Path) -> None:
    measure(tmp_path)
    until_s = time.process_time() + 0.05
    while time.process_time() < until_s:
        pass
    fields = measure(tmp_path).fields
    assert float(fields["agent_cpu_pct"]) > 0
    assert 0 <= float(fields["cpu_pct"]) <= 100


def test_a_state_directory_that_is_gone_costs_its_field_alone(tmp_path: Path) -> None:
    fields = measure(tmp_path / "gone").fields
    assert "disk_free_kb" not in fields
    assert "mem_total_kb" in fields


def test_the_first_record_has_no_shares() -> None:
    assert shares(None, Usage(at_s=1, busy_s=2, total_s=3, agent_s=4)) == {}


def test_shares_are_of_the_time_between_two_records() -> None:
    before, now = (
        Usage(at_s=0, busy_s=10, total_s=100, agent_s=1),
        Usage(at_s=10, busy_s=15, total_s=120, agent_s=1.5),
    )
    assert shares(before, now) == {"cpu_pct": 25.0, "agent_cpu_pct": 5.0}
    assert shares(now, now) == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\n", (False, False)),
        ("0x0", (False, False)),
        ("1", (True, False)),
        ("50005\n", (True, True)),  # under-voltage and throttled, now and since boot
        ("50000\n", (False, False)),  # both are over
        ("2", (False, True)),  # frequency capped
        ("8", (False, True)),  # soft temperature limit
        ("", None),
        ("error", None),
    ],
)
def test_the_firmwares_number_tells_what_is_the_matter_now(content: str, expected: tuple[bool, bool] | None) -> None:
    assert decode_throttled(content) == expected


@given(st.text(max_size=20))
def test_no_text_of_the_firmware_makes_it_raise(content: str) -> None:
    assert isinstance(decode_throttled(content), tuple | None)


def test_the_temperature_is_the_processors_and_the_hottest() -> None:
    assert processor_temperature({"nvme": [70.0], "cpu_thermal": [48.31, 51.26]}) == 51.3
    assert processor_temperature({"nvme": [70.0], "coretemp": []}) is None
    assert processor_temperature({}) is None


def test_how_far_from_utc_a_clock_may_be_is_told_only_of_one_that_is_right(tmp_path: Path) -> None:
    bound_ms = clock.error_ms()
    told = measure(tmp_path, clock_ok=True).fields.get("clock_error_ms")
    assert (told is None) == (bound_ms is None)
    assert bound_ms is None or 0 <= bound_ms < 16_000  # above it the kernel calls itself unsynchronised
    assert "clock_error_ms" not in measure(tmp_path, clock_ok=False).fields
