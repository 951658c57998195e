"""What is due of a probe's telephone, and how many calls has it made today?

Pure, but for the file that keeps it over restarts.

Rule 1: a call is counted before it is made: one that is killed has been made.
Rule 2: starts lie on a grid of wall time with a phase of the probe's own: after a power cut 1,000 probes do not call at
once, and a probe that is switched off each night still has its daily call on some days.
Rule 3: what the gate refused leaves the probe as a count of the day, never with its time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from balise_agent.durable_file import replace as replace_file

FILE = "voice.json"
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``slots``: of each thing the last slot that was taken; ``day``: UTC, in days since 1970; ``phase``: 0 to 1."""

    phase: float
    day: int = 0
    calls: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)


def slot(every_s: float, phase: float, wall_s: float) -> int:
    """Which slot of that grid it is."""
    return math.floor(wall_s / every_s + phase)


def is_due(kept: Kept, name: str, every_s: float, wall_s: float) -> bool:
    """Another slot than the last; of what is new, the next one."""
    last = kept.slots.get(name)
    return last is not None and last != slot(every_s, kept.phase, wall_s)


def taken(kept: Kept, name: str, every_s: float, wall_s: float) -> Kept:
    """Its slot is over, whatever became of it."""
    return replace(kept, slots={**kept.slots, name: slot(every_s, kept.phase, wall_s)})


def today(kept: Kept, wall_s: float) -> tuple[Kept, Kept | None]:
    """The day's counts, and those of a day that is over, if it had any."""
    day = int(wall_s // DAY_S)
    if kept.day == day:
        return kept, None
    fresh = replace(kept, day=day, calls=0, skipped={})
    return fresh, kept if kept.calls or kept.skipped else None


def called(kept: Kept) -> Kept:
    """One call more."""
    return replace(kept, calls=kept.calls + 1)


def refused(kept: Kept, reason: str) -> Kept:
    """One that was not made."""
    return replace(kept, skipped={**kept.skipped, reason: kept.skipped.get(reason, 0) + 1})


def load(path: Path, phase: float) -> Kept:
    """What the file says; where there is none, or it is damaged, a start with that phase."""
    try:
        told = json.loads(path.read_text("utf-8"))
        return Kept(
            phase=float(told["phase"]) % 1.0,
            day=int(told["day"]),
            calls=int(told["calls"]),
            skipped={str(name): int(count) for name, count in told["skipped"].items()},
            slots={str(name): int(number) for name, number in told["slots"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Kept(phase=phase)


def save(path: Path, kept: Kept) -> None:
    """OSError: it could not be kept."""
    told = {"phase": kept.phase, "day": kept.day, "calls": kept.calls}
    told |= {"skipped": dict(kept.skipped), "slots": dict(kept.slots)}  # type: ignore[dict-item]
    replace_file(path, json.dumps(told).encode())
