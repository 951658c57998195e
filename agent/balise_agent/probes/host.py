"""How is the probe itself: processor, memory, heat, power, disk?

Rule 1: what this machine does not tell is absent, never 0.
Rule 2: a share is over the time since the last record; the first record of a process has none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from balise_agent import clock
from balise_agent.contract import Record, Value
from balise_agent.probes.context import Context
from balise_agent.settings import flag, number

GET_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
"""Raspberry Pi: what its firmware saw of the supply and the heat, in hexadecimal."""

# raspberrypi.com/documentation, vcgencmd get_throttled: bits 0-3 now, 16-19 since boot
_UNDER_VOLTAGE = 1 << 0
_SLOWED = 1 << 1 | 1 << 2 | 1 << 3  # frequency capped, throttled, soft temperature limit

_PROCESSOR_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "zenpower", "soc_thermal", "acpitz")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """How often the probe looks at itself."""

    enabled: bool = flag(True)
    interval_s: float = number(60.0, low=1, high=86_400, unit="s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counters at one moment, in seconds."""

    at_s: float  # monotonic
    busy_s: float  # all cores
    total_s: float  # all cores
    agent_s: float


_last: Usage | None = None  # the process has one processor time, so one place for it


async def run(settings: HostSettings, context: Context) -> list[Record]:  # noqa: ARG001 - one shape for all probes
    """One record of what the kernel tells at once; nothing is waited for."""
    global _last  # noqa: PLW0603 - shares are of the time between two records
    process = psutil.Process()
    usage = _usage(process, context.monotonic())
    fields = shares(_last, usage) | _memory(process) | _supply() | _state(context)
    _last = usage
    return [Record(measurement="host", bt_ms=context.now_bt_ms(), fields=fields)]


def shares(before: Usage | None, now: Usage) -> dict[str, Value]:
    """Processor shares between two moments; empty where there is no time between them."""
    if before is None:
        return {}
    fields: dict[str, Value] = {}
    if now.total_s > before.total_s:
        share = (now.busy_s - before.busy_s) / (now.total_s - before.total_s)
        fields["cpu_pct"] = round(100 * min(1.0, max(0.0, share)), 2)
    if now.at_s > before.at_s:
        fields["agent_cpu_pct"] = round(100 * max(0.0, now.agent_s - before.agent_s) / (now.at_s - before.at_s), 3)
    return fields


def decode_throttled(content: str) -> tuple[bool, bool] | None:
    """(supply voltage too low now, slowed down now); None where it is not the firmware's number."""
    try:
        bits = int(content.strip(), 16)
    except ValueError:
        return None
    return bool(bits & _UNDER_VOLTAGE), bool(bits & _SLOWED)


def processor_temperature(sensors: Mapping[str, Sequence[float]]) -> float | None:
    """The hottest of the processor's own sensors, or None; a disk's or a Wi-Fi chip's says nothing of the processor."""
    readings = next((sensors[name] for name in _PROCESSOR_SENSORS if sensors.get(name)), None)
    return round(max(readings), 1) if readings else None


def _usage(process: psutil.Process, at_s: float) -> Usage:
    cpu, agent = psutil.cpu_times(), process.cpu_times()
    total = sum(cpu[:8])  # guest time, the last two, is in user time already (proc(5))
    idle = cpu.idle + cpu.iowait
    return Usage(at_s=at_s, busy_s=total - idle, total_s=total, agent_s=agent.user + agent.system)


def _memory(process: psutil.Process) -> dict[str, Value]:
    memory = psutil.virtual_memory()
    rss = process.memory_info().rss
    return {
        "mem_available_kb": memory.available // 1024,
        "mem_total_kb": memory.total // 1024,
        "agent_rss_kb": rss // 1024,
    }


def _supply() -> dict[str, Value]:
    """Heat and power, where the machine tells."""
    fields: dict[str, Value] = {}
    sensors = {name: [r.current for r in readings] for name, readings in psutil.sensors_temperatures().items()}
    temperature = processor_temperature(sensors)
    if temperature is not None:
        fields["temp_c"] = temperature
    try:
        throttled = decode_throttled(GET_THROTTLED.read_text(encoding="ascii", errors="replace"))
    except OSError:
        throttled = None
    if throttled is not None:
        fields["under_voltage"], fields["throttled"] = throttled
    return fields


def _state(context: Context) -> dict[str, Value]:
    uptime_s = context.now_bt_ms() // 1_000
    fields: dict[str, Value] = {"uptime_s": uptime_s}
    if (waiting := context.rows_waiting()) is not None:
        fields["rows_waiting"] = waiting
    fields["agent_uptime_s"] = max(0, uptime_s - _started_s())
    clock_ok = context.clock_ok()
    if clock_ok is not None:
        fields["clock_ok"] = clock_ok
    if clock_ok and (error_ms := clock.error_ms()) is not None:
        fields["clock_error_ms"] = error_ms
    try:
        fields["disk_free_kb"] = psutil.disk_usage(str(context.state_dir)).free // 1024
    except OSError:  # the directory is gone, or its disk is
        return fields
    return fields


def _started_s() -> int:
    """When this process started, in s since boot: psutil gives wall time, which steps."""
    stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    ticks = int(stat.rpartition(")")[2].split()[19])  # field 22; the second, in brackets, may hold spaces (proc(5))
    return ticks // os.sysconf("SC_CLK_TCK")
