"""Is the cable in, or the radio associated, and how fast is that link?

Rule 1: what this driver does not tell is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CLASS = Path("/sys/class/net")
_MEGA = 1_000_000  # the kernel gives Mbit/s
_ERRORS = ("rx_errors", "tx_errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One interface. ``carrier`` None: it is not there, or does not say."""

    carrier: bool | None
    speed_bps: int | None = None
    duplex: str | None = None
    errors: int | None = None


def has_carrier(interface: str, folder: Path = _CLASS) -> bool | None:
    """None: there is no such interface. One that is switched off has no carrier: reading it is EINVAL."""
    try:
        return (folder / interface / "carrier").read_text("ascii").strip() == "1"
    except OSError:
        return False if (folder / interface).exists() else None


def look(interface: str, folder: Path = _CLASS) -> Link:
    """All of it; a few small reads."""
    speed = _number(folder / interface / "speed")  # -1: not known
    duplex = _text(folder / interface / "duplex")
    errors = [_number(folder / interface / "statistics" / name) for name in _ERRORS]
    return Link(
        carrier=has_carrier(interface, folder),
        speed_bps=speed * _MEGA if speed is not None and speed > 0 else None,
        duplex=duplex if duplex in ("full", "half") else None,
        errors=None if None in errors else sum(n for n in errors if n is not None),
    )


def carrier_changes(interface: str = "", folder: Path = _CLASS) -> dict[str, int]:
    """How often each interface has lost or found its carrier since it is there; ``interface``: only that one."""
    found = {path.name: _number(path / "carrier_changes") for path in folder.glob(interface or "*")}
    return {name: count for name, count in found.items() if count is not None}


def was_cut(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether one that was there lost its carrier between the two, if only for a moment."""
    return any(after.get(name, count) != count for name, count in before.items())


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):  # EINVAL: this driver has none, or the link is down
        return None
