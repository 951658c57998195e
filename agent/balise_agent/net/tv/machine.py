"""Did this machine itself lose or damage anything while it listened?

Rule 1: a window in which it did is not valid: the line is never blamed for the probe.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path

# Not `rx_dropped`: frames that no protocol of the kernel's wants (LLDP, a box's own) count there, on every LAN.
_COUNTERS = ("rx_missed_errors", "rx_fifo_errors", "rx_crc_errors")
_STEP_NS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """At one moment. ``errors``: of its interfaces, its softirq queues and UDP's checksum, all together."""

    errors: int
    wall_less_monotonic_ns: int


def look(folder: Path = Path("/sys/class/net"), proc: Path = Path("/proc/net")) -> Machine:
    """What is not told counts as 0."""
    errors = sum(_number(folder / name / "statistics" / one) for _, name in socket.if_nameindex() for one in _COUNTERS)
    errors += sum(int(line.split()[1], 16) for line in _lines(proc / "softnet_stat"))
    return Machine(errors=errors + _checksums(proc), wall_less_monotonic_ns=time.time_ns() - time.monotonic_ns())


def is_sound(before: Machine, after: Machine) -> bool:
    """Nothing was lost here between the two, and the clock that stamps packets did not step."""
    step_ns = abs(after.wall_less_monotonic_ns - before.wall_less_monotonic_ns)
    return after.errors == before.errors and step_ns <= _STEP_NS


def _checksums(proc: Path) -> int:
    names, values = ([line.split() for line in _lines(proc / "snmp") if line.startswith("Udp:")] + [[], []])[:2]
    found = dict(zip(names, values, strict=False)).get("InCsumErrors", "0")
    return int(found) + sum(int(line.split()[1]) for line in _lines(proc / "snmp6") if line.startswith("Udp6InCsum"))


def _number(path: Path) -> int:
    return int((_lines(path) or ["0"])[0])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
