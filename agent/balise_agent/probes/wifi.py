"""How good is the probe's own radio link, where it has no cable?

`iw` in a child process (pyroute2 would cost 11 MB for good). No record where the way out is a cable.

Rule 1: of what `iw` prints only the lines of a list are read: network names and addresses are never looked at.
Rule 2: a count is of the time since the last record, never since the association: that would date it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from balise_agent.contract import OK, Record, Value, failed
from balise_agent.net import gateway
from balise_agent.probes.context import Context
from balise_agent.settings import flag, number

SYS = Path("/sys/class/net")
ANSWER_S = 5.0
MOST_BYTES = 65_536
_PATHS = "/usr/sbin:/sbin:/usr/bin:/bin"  # Debian has it in sbin, which a service's PATH may lack
_MEGA = 1e6

_INT = re.compile(r"^\s*(signal|tx packets|tx retries|tx failed):\s*(-?[0-9]{1,12})\b", re.MULTILINE)
_RATE = re.compile(r"^\s*(tx|rx) bitrate:\s*([0-9]{1,6}(?:\.[0-9])?) MBit/s", re.MULTILINE)
_FREQ = re.compile(r"^\s*channel [0-9]{1,3} \(([0-9]{3,6}) MHz\)", re.MULTILINE)
_COUNTS = {"tx packets": "tx_packets", "tx retries": "retries", "tx failed": "tx_failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WifiSettings:
    """How often."""

    enabled: bool = flag(True)
    interval_s: float = number(60.0, low=1, high=86_400, unit="s")


class Counts:
    """Of the last record, to tell what came since."""

    def __init__(self) -> None:
        self._last: Mapping[str, int] = {}

    def since(self, now: Mapping[str, int]) -> dict[str, Value]:
        """What was counted since the last call; nothing of what began anew (another association)."""
        before, self._last = self._last, dict(now)
        fresh = any(now[name] < before.get(name, 0) for name in now)
        return {} if fresh else {name: now[name] - before[name] for name in now if name in before}


_counts = Counts()


async def run(settings: WifiSettings, context: Context) -> list[Record]:  # noqa: ARG001 - one shape for all probes
    """One record, or none where the way out is no radio."""
    way = gateway.way_out()
    if way is None or not is_radio(way[1]):
        return []
    program = shutil.which("iw", path=_PATHS)
    if program is None:
        return [Record(measurement="wifi", bt_ms=context.now_bt_ms(), outcome=failed("no_iw"))]
    station, info = await _told(program, way[1], "station", "dump"), await _told(program, way[1], "info")
    if station is None or info is None:
        return [Record(measurement="wifi", bt_ms=context.now_bt_ms(), outcome=failed("iw_failed"))]
    fields, counts = read(station, info)
    outcome = OK if fields else failed("not_associated")
    return [
        Record(measurement="wifi", bt_ms=context.now_bt_ms(), outcome=outcome, fields=fields | _counts.since(counts))
    ]


def is_radio(interface: str, folder: Path = SYS) -> bool:
    """Whether that interface is one."""
    return (folder / interface / "wireless").exists() or (folder / interface / "phy80211").exists()


def read(station: str, info: str) -> tuple[dict[str, Value], dict[str, int]]:
    """Fields, and counts since the association, from `iw dev IF station dump` and `iw dev IF info`."""
    numbers = {name: int(value) for name, value in _INT.findall(station)}
    fields: dict[str, Value] = {}
    if "signal" in numbers:
        fields["rssi_dbm"] = numbers["signal"]
    for way, mbps in _RATE.findall(station):
        fields[f"{way}_bitrate_bps"] = round(float(mbps) * _MEGA)
    if fields and (match := _FREQ.search(info)):
        fields["freq_mhz"] = int(match[1])
    return fields, {_COUNTS[name]: value for name, value in numbers.items() if name in _COUNTS}


async def _told(program: str, interface: str, *words: str) -> str | None:
    """What `iw dev IF ...` prints; None: it failed, or took too long."""
    command = (program, "dev", interface, *words)
    quiet = asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=quiet, stdout=asyncio.subprocess.PIPE, stderr=quiet
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(ANSWER_S):
            told, _ = await child.communicate()
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return told[:MOST_BYTES].decode("utf-8", "replace") if child.returncode == 0 else None
