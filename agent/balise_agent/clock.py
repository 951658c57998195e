"""When was it?

Records are stamped with CLOCK_BOOTTIME, which never steps and goes on through suspend; their date follows from one
offset, wall time minus boot time, held as long as it is true within `HOLD_MS`. So a record's date is the same however
often it is worked out.

Rule 1: a time is never invented: without a synchronised clock a record has no date yet; after a reboot it never will.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HOLD_MS = 250
"""Slewing by NTP moves the offset by some ms an hour; a step that matters to an outage of 5 s is larger than this."""

_TIMESYNC = Path("/run/systemd/timesync/synchronized")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class _Timex(ctypes.Structure):
    """The beginning of adjtimex(2)'s struct timex, 208 bytes on 64-bit."""

    _fields_ = (
        ("modes", ctypes.c_uint),  # 0: only read
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # in us
        ("rest", ctypes.c_char * 512),
    )


class Clock(Protocol):
    """What the agent asks of time; tests hand in their own."""

    def bt_ms(self) -> int:
        """CLOCK_BOOTTIME in ms."""

    def wall_ms(self) -> int:
        """UTC in ms, whatever it is worth."""

    def synchronised(self) -> bool | None:
        """Whether wall time may be believed; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemClock:
    """The kernel's clocks. ``trust``: take wall time as true without asking (a container, a server that others keep on
    time)."""

    trust: bool = False

    def bt_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def synchronised(self) -> bool | None:
        if self.trust or _TIMESYNC.exists():
            return True
        return _adjtimex_synchronised()


def offset_ms(clock: Clock, held: int | None) -> int | None:
    """Wall time minus boot time: the one held where it is still true, a new one where the clock stepped, None where
    unknown."""
    if clock.synchronised() is not True:
        return held
    now = clock.wall_ms() - clock.bt_ms()
    return held if held is not None and abs(now - held) <= HOLD_MS else now


def error_ms() -> float | None:
    """How far from UTC the kernel says that its clock may be; None: it does not know.

    chrony and ntpd write the way to their server into it, systemd-timesyncd 0 at each answer; it grows by 0.5 ms a
    second until the next.
    """
    told = _adjtimex()
    return None if told is None or told[0] == _TIME_ERROR else told[1] / 1_000


def _adjtimex_synchronised() -> bool | None:
    """The kernel's own word (chrony and ntpd set it); None where it cannot be asked."""
    told = _adjtimex()
    return None if told is None else told[0] != _TIME_ERROR


def _adjtimex() -> tuple[int, int] | None:
    """The clock's state and its largest error in us; None where the kernel cannot be asked."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else (state, timex.maxerror)
