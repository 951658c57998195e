"""What else does the probe's machine do while a test runs, and over which link?

Read from /proc and /sys, which a test may put elsewhere. What a machine does not tell is None.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFADDR = 0x8915
_IFREQ = struct.Struct("16s24x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The interface that a connection leaves by. ``forwards``: the machine is a router, its traffic is not its own."""

    name: str
    wifi: bool
    bps: int | None
    forwards: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Counters of now; ``rx`` and ``tx``: bytes of the interface."""

    at_s: float
    process_s: float
    busy: int
    total: int
    rx: int | None = None
    tx: int | None = None


def link_of(address: str, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Link | None:
    """The interface that has this address; None where none has, or it is the loopback."""
    name = next((name for _, name in socket.if_nameindex() if address in _addresses(name, proc)), None)
    if name is None or name == "lo":
        return None
    folder = sys / "class/net" / name
    mbps = _number(folder / "speed")
    bare = ipaddress.ip_address(address.partition("%")[0])
    family = "ipv6" if bare.version == 6 else "ipv4"
    forwarding = "sys/net/ipv4/ip_forward" if family == "ipv4" else f"sys/net/ipv6/conf/{name}/forwarding"
    return Link(
        name=name,
        wifi=(folder / "wireless").exists() or (folder / "phy80211").exists(),
        bps=mbps * 1_000_000 if mbps is not None and mbps > 0 else None,
        forwards=_number(proc / forwarding) == 1,
    )


def moment(link: Link | None, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Moment:
    """The counters of now."""
    busy, total = _processors(proc)
    counted: dict[str, int | None] = {"rx": None, "tx": None}
    if link is not None:
        folder = sys / "class/net" / link.name / "statistics"
        counted = {"rx": _number(folder / "rx_bytes"), "tx": _number(folder / "tx_bytes")}
    now_s = time.monotonic()
    return Moment(at_s=now_s, process_s=time.process_time(), busy=busy, total=total, **counted)


def process_share(before: Moment, after: Moment) -> float:
    """CPU of this process, 1.0 = one core."""
    return (after.process_s - before.process_s) / max(1e-6, after.at_s - before.at_s)


def machine_share(before: Moment, after: Moment) -> float | None:
    """CPU of the whole machine, 1.0 = all cores."""
    total = after.total - before.total
    return (after.busy - before.busy) / total if total > 0 else None


def interface_share(before: Moment, after: Moment, nic_bps: float | None) -> float | None:
    """What the interface carried, of what it has, the busier way; 1.0 = all."""
    moved = [b - a for a, b in ((before.rx, after.rx), (before.tx, after.tx)) if a is not None and b is not None]
    if not moved or not nic_bps:
        return None
    return max(moved) * 8 / max(1e-6, after.at_s - before.at_s) / nic_bps


def _processors(proc: Path) -> tuple[int, int]:
    """Ticks that were not idle, and all (proc(5): user nice system idle iowait irq softirq steal)."""
    try:
        ticks = [int(word) for word in (proc / "stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    except (OSError, ValueError, IndexError):
        return 0, 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # a link that is down has no speed (EINVAL)
        return None


def _addresses(name: str, proc: Path) -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            reply = fcntl.ioctl(sock, _SIOCGIFADDR, _IFREQ.pack(name.encode()))
            found.append(socket.inet_ntop(socket.AF_INET, reply[20:24]))
        except OSError:  # it has no IPv4
            found.clear()
    try:
        rows = [line.split() for line in (proc / "net/if_inet6").read_text("ascii").splitlines()]
    except OSError:
        rows = []
    found += [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])) for row in rows if row[-1] == name]
    return found
