"""Which faults does a script ask for?

A script is TOML; `docs/town.md` documents it. What it leaves open (``any`` place, channels by number, a drawn fault) is
drawn from the town's seed.

Rule 1: a script that cannot be read is refused whole, with every fault of it named.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from balise_collector.town import calendar
from balise_collector.town.condition import FAST_ETHERNET_BPS
from balise_collector.town.faults import Fault
from balise_collector.town.kinds import KINDS
from balise_collector.town.spans import Span
from balise_collector.town.topology import Home, Town

_LASTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_AT = re.compile(r"(\d{1,2}):(\d{2})")
_KEYS = {"kind", "place", "day", "at", "after", "lasts", "strength", "channels", "declared"}
_RANDOM_KEYS = {"count", "kinds"}
_TOP = {"title", "life", "fault", "random"}


class ScriptError(Exception):
    """What of a script cannot be, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """``faults``: as they stand in the file. ``count`` more are drawn, of ``kinds``."""

    title: str = ""
    faults: tuple[Mapping[str, Any], ...] = ()
    count: int = 0
    kinds: tuple[str, ...] = ()
    life: bool = True


def read(path: Path) -> Script:
    """From a file. ScriptError: it is no script."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as exc:
        raise ScriptError(f"{path}: {exc.strerror}") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ScriptError(f"{path}: {exc}") from exc
    return parse(raw, str(path))


def shipped(name: str) -> Path:
    """One of the examples beside this file."""
    return Path(str(files("balise_collector.town") / "scripts" / name))


def parse(raw: Mapping[str, Any], name: str) -> Script:
    """From what TOML gave. ScriptError: with a line for each fault found."""
    drawn, faults = raw.get("random", {}), raw.get("fault", [])
    if not isinstance(drawn, dict) or not (isinstance(faults, list) and all(isinstance(f, dict) for f in faults)):
        raise ScriptError(f"{name}: [random] is a table, [[fault]] a list of tables")
    wrong = [f"{name}: {key}: unknown; known are {', '.join(sorted(_TOP))}" for key in sorted(raw.keys() - _TOP)]
    if not isinstance(raw.get("life", True), bool):
        wrong.append(f"{name}: life: {raw['life']!r}; allowed: true, false")
    wrong += [f"{name}: random.{why}" for why in _wrong_draw(drawn)]
    for number, fault in enumerate(faults, 1):
        wrong += [f"{name}: fault {number}: {why}" for why in _wrong(fault)]
    if wrong:
        raise ScriptError("\n".join(wrong))
    return Script(
        title=str(raw.get("title", "")),
        faults=tuple(faults),
        count=int(drawn.get("count", 0)),
        kinds=tuple(drawn.get("kinds", ())),
        life=bool(raw.get("life", True)),
    )


def _wrong_draw(drawn: Mapping[str, Any]) -> list[str]:
    found = [f"{key}: unknown; known are count, kinds" for key in sorted(drawn.keys() - _RANDOM_KEYS)]
    count, kinds = drawn.get("count", 0), drawn.get("kinds", [])
    if not _is_count(count, 0):
        found.append(f"count: {count!r}; allowed: a whole number from 0")
    if not isinstance(kinds, list):
        return [*found, f"kinds: {kinds!r}; allowed: a list of kinds"]
    return found + [f"kinds: {kind!r}; allowed: {', '.join(KINDS)}" for kind in kinds if kind not in list(KINDS)]


def _wrong(fault: Mapping[str, Any]) -> list[str]:
    kind = KINDS.get(str(fault.get("kind")))
    found = [f"{key}: unknown; known are {', '.join(sorted(_KEYS))}" for key in sorted(fault.keys() - _KEYS)]
    if kind is None:
        return [*found, f"kind: {fault.get('kind')!r}; allowed: {', '.join(KINDS)}"]
    place = str(fault.get("place", f"{kind.places[0]}:any"))
    if place.partition(":")[0] not in kind.places:
        found.append(f"place: {place!r}; a {fault['kind']} is at {' or '.join(kind.places)}")
    if {"at", "after"} <= fault.keys():
        found.append(f"after: {fault['after']!r}; not beside `at`: give one of them")
    return found + [
        f"{key}: {fault[key]!r}; allowed: {allowed}"
        for key, (is_fine, allowed) in _ALLOWED.items()
        if key in fault and not is_fine(fault[key])
    ]


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_time(value: object) -> bool:
    match = _AT.fullmatch(str(value))
    return match is not None and int(match[1]) < 24 and int(match[2]) < 60


def _is_length(value: object) -> bool:
    return bool(value) and _LASTS.fullmatch(str(value)) is not None


def _is_channels(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) for one in value)
    return _is_count(value, 1)


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "day": (lambda value: _is_count(value, 0), "a whole number from 0, the first day"),
    "at": (_is_time, "a time by the clock, 00:00 to 23:59"),
    "lasts": (_is_length, "a length such as 3d, 2h30m, 45s"),
    "after": (_is_length, "a length such as 2h30m"),
    "strength": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    "declared": (lambda value: isinstance(value, bool), "true, false"),
    "channels": (_is_channels, "how many, from 1, or a list of names"),
}


def faults(script: Script, town: Town, bounds: Span) -> list[Fault]:
    """Those of a script in a town, in order of their start. ScriptError: places or channels that it does not have."""
    rng = random.Random(f"{town.seed}/faults/{script.title}")
    wrong = [f"fault {number}: {why}" for number, raw in enumerate(script.faults, 1) for why in _wrong_here(raw, town)]
    if wrong:
        raise ScriptError("\n".join(wrong))
    found = [_one(raw, number, town, bounds, rng) for number, raw in enumerate(script.faults)]
    kinds = script.kinds or tuple(_drawable(town))
    found += [_drawn(rng.choice(kinds), town, bounds, rng) for _ in range(script.count)]
    found = [fault for fault in found if fault.start_ms < bounds[1]]
    found.sort(key=lambda fault: (fault.start_ms, fault.kind, fault.place))
    return [replace(fault, number=number) for number, fault in enumerate(found)]


def _wrong_here(raw: Mapping[str, Any], town: Town) -> list[str]:
    """What of a fault this town does not have."""
    kind, found = str(raw["kind"]), list[str]()
    place = str(raw.get("place", f"{KINDS[kind].places[0]}:any"))
    if _place(place, kind, town, random.Random(0)) is None:
        where = place.partition(":")[0]
        count = len(_fitting(where, kind, town))
        found.append(f"place: {place!r}; this town of {len(town.homes)} homes has {where}:1 to {where}:{count} for it")
    named = raw.get("channels", 1)
    unknown = sorted(set(named) - set(town.channels)) if isinstance(named, list) else []
    return found + [f"channels: {name!r}; allowed: {', '.join(town.channels)}" for name in unknown]


def _one(raw: Mapping[str, Any], number: int, town: Town, bounds: Span, rng: random.Random) -> Fault:
    kind = KINDS[raw["kind"]]
    place = _place(str(raw.get("place", f"{kind.places[0]}:any")), str(raw["kind"]), town, rng)
    start_ms = _start(raw, bounds)
    lasts_ms = lasts(str(raw["lasts"])) if "lasts" in raw else int(rng.uniform(*kind.hours) * 3_600_000)
    return Fault(
        number=number,
        kind=str(raw["kind"]),
        place=place or "town",
        start_ms=start_ms,
        end_ms=start_ms + lasts_ms,
        strength=float(raw.get("strength", rng.uniform(*kind.strength))),
        channels=_channels(raw["kind"], raw.get("channels"), town, rng),
        declared=bool(raw.get("declared", False)),
    )


def _start(raw: Mapping[str, Any], bounds: Span) -> int:
    """So long after the run's start, or at a time of one of its civil days."""
    if "after" in raw:
        return bounds[0] + lasts(str(raw["after"]))
    at = _AT.fullmatch(str(raw.get("at", "12:00")))
    minute = int(at[1]) * 60 + int(at[2]) if at else 720
    return calendar.civil_ms(calendar.ordinal(bounds[0]) + int(raw.get("day", 0)), minute)


def _drawn(name: str, town: Town, bounds: Span, rng: random.Random) -> Fault:
    """Not within the first two hours: nobody knows a town that has just begun."""
    kind = KINDS[name]
    lasts_ms = int(rng.uniform(*kind.hours) * 3_600_000)
    first_ms, last_ms = bounds[0] + 7_200_000, max(bounds[0] + 7_200_001, bounds[1] - lasts_ms - 3_600_000)
    start_ms = rng.randrange(first_ms // 1_000, last_ms // 1_000 + 1) * 1_000
    return Fault(
        number=0,
        kind=name,
        place=_place(f"{rng.choice(kind.places)}:any", name, town, rng) or "town",
        start_ms=start_ms,
        end_ms=min(start_ms + lasts_ms, bounds[1]),
        strength=rng.uniform(*kind.strength),
        channels=_channels(name, None, town, rng),
        declared=name == "works" and rng.random() < 0.5,
    )


def _drawable(town: Town) -> list[str]:
    """Kinds that a town has a place for; those of daily life are not drawn."""
    return [
        name
        for name, kind in KINDS.items()
        if name not in ("strip_off", "agent_restart")
        and any(place == "town" or _fitting(place, name, town) for place in kind.places)
    ]


def _place(text: str, kind: str, town: Town, rng: random.Random) -> str | None:
    """``pon:P003``, the third as ``pon:3``, or one drawn as ``pon:any``; None: there is none."""
    where, _, which = text.partition(":")
    if where == "town":
        return "town"
    if f"{where}:{which}" in town.members:
        return f"{where}:{which}"
    fitting = _fitting(where, kind, town)
    if which.isdigit():
        return fitting[int(which) - 1] if 0 < int(which) <= len(fitting) else None
    return rng.choice(fitting) if fitting and which in ("any", "") else None


def _fitting(where: str, kind: str, town: Town) -> list[str]:
    """Places at which it means something and at which somebody measures."""
    return [place for place in town.places(where) if any(_fits(home, kind) for home in town.at(place))]


def _fits(home: Home, kind: str) -> bool:
    if not home.probe:
        return False
    if kind == "cable_100":
        return home.down_bps > FAST_ETHERNET_BPS and not home.on_wifi
    if kind == "wifi_weak":
        return home.on_wifi
    return kind not in ("bufferbloat", "slow_profile") or not home.on_wifi


def _channels(kind: str, asked: object, town: Town, rng: random.Random) -> tuple[str, ...]:
    if kind != "tv_channels" or not town.channels:
        return ()
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return tuple(str(channel) for channel in asked)
    count = asked if isinstance(asked, int) else rng.choice((1, 1, 4, len(town.channels)))
    return tuple(sorted(rng.sample(town.channels, min(count, len(town.channels)))))


def lasts(text: str) -> int:
    """ "2h30m" in ms."""
    match = _LASTS.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 1, 0, 0)
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000
