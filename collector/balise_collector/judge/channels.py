"""Which channels are bad for everybody? A sparse matrix of samples, channel by home.

A channel's run: bad samples in several homes of several buildings with hardly a good one between. Channels that are
bad over the same time are one fault of the head-end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from balise_collector.judge import cells as c
from balise_collector.judge.cells import DAY_MIN, MINUTE_MS
from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Incident, Spell, reused
from balise_collector.judge.marks import DAY_MS, NEVER, Channel
from balise_collector.judge.runs import is_explained
from balise_collector.judge.topology import Scope

GOODS_BREAK = 3  # so many good samples between two bad ones: the channel was well meanwhile
APART_MS = 90 * MINUTE_MS  # bad samples further apart are two faults, as no good one tells
TOGETHER_MS = 30 * MINUTE_MS  # channels that fail within it fail together
UNSEEN_MIN = 15  # so long a channel is taken to be bad after its last bad sample, where none tells
ONE_ELEMENT = 0.6
BUILDING: Scope = "building"
PON: Scope = "pon"
MOST = 0.8  # of the channels: all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``end_ms`` None: it goes on."""

    channel: str
    start_ms: int
    end_ms: int | None
    last_bad_ms: int
    known_ms: int
    homes: tuple[str, ...]


class Channels:
    """Runs by channel, and the incidents that they are."""

    __slots__ = ("_ground", "_samples", "incidents", "runs")

    def __init__(self, ground: Ground, samples: Mapping[str, Channel]) -> None:
        self._ground, self._samples = ground, samples
        self.runs: dict[str, list[Run]] = {}
        self.incidents: list[Incident] = []

    def conclude(self, changed: Mapping[str, int]) -> int | None:
        """Judges these channels again from a date on; from when on runs changed."""
        dates: list[int] = []
        for channel, from_ms in changed.items():
            before = self.runs.get(channel, [])
            now = self._runs(channel, self._samples[channel], from_ms)
            if now != before:
                dates += [run.start_ms for run in {*before} ^ {*now}]
            self.runs[channel] = now
        if dates:
            self.incidents = reused(self.incidents, self._incidents())
        return min(dates) if dates else None

    def is_bad(self, channel: str, ts_ms: int) -> bool:
        """It was bad for everybody then."""
        return any(
            r.start_ms - MINUTE_MS <= ts_ms and (r.end_ms is None or ts_ms <= r.end_ms)
            for r in self.runs.get(channel, ())
        )

    def _runs(self, channel: str, seen: Channel, from_ms: int) -> list[Run]:
        """Those before that are over stay as they are."""
        kept = [r for r in self.runs.get(channel, []) if r.last_bad_ms + APART_MS < from_ms and r.end_ms is not None]
        since = kept[-1].last_bad_ms + 1 if kept else 0
        bad = sorted(
            s for day, samples in seen.bad.items() if (day + 1) * DAY_MS > since for s in samples if s[0] >= since
        )
        own = [s for s in bad if not self._explained(*s)]
        runs, run = kept, list[tuple[int, str]]()
        for sample in own:
            if run and (self._broken(seen, run[-1][0], sample[0])):
                self._close(runs, channel, seen, run)
                run = []
            run.append(sample)
        self._close(runs, channel, seen, run)
        return runs

    def _explained(self, ts_ms: int, home: str) -> bool:
        """The home's line or radio was bad then."""
        log = self._ground.logs[home]
        minute = ts_ms // MINUTE_MS
        return is_explained(log, minute)

    @staticmethod
    def _broken(seen: Channel, last_ms: int, next_ms: int) -> bool:
        if next_ms - last_ms > APART_MS:
            return True
        return seen.goods(last_ms // MINUTE_MS, next_ms // MINUTE_MS + 1) >= GOODS_BREAK

    def _close(self, runs: list[Run], channel: str, seen: Channel, run: Sequence[tuple[int, str]]) -> None:
        settings, ground = self._ground.settings, self._ground
        homes = sorted({home for _, home in run})
        if len(homes) < settings.channel_homes or any(_is_one(ground, homes, scope) for scope in (BUILDING, PON)):
            return
        first, last = run[0][0] // MINUTE_MS, run[-1][0] // MINUTE_MS
        if seen.goods(first, last + 1) > len(run) * (1 - settings.channel_share):
            return
        before = _near(seen, first, -1)
        order = {home: ts_ms for ts_ms, home in reversed(run)}
        runs.append(
            Run(
                channel=channel,
                start_ms=run[0][0]
                if before is None
                else max((before + first + 1) // 2 * MINUTE_MS, run[0][0] - 900_000),
                end_ms=_ended(seen, last),
                last_bad_ms=run[-1][0],
                known_ms=sorted(order.values())[settings.channel_homes - 1],
                homes=tuple(homes),
            )
        )

    def _incidents(self) -> list[Incident]:
        """Runs that begin and end together are one."""
        left = sorted((r for runs in self.runs.values() for r in runs), key=lambda r: (r.start_ms, r.channel))
        found: list[Incident] = []
        while left:
            first = left[0]
            same = [r for r in left if _together(first, r)]
            left = [r for r in left if r not in same]
            found.append(self._incident(same))
        return found

    def _incident(self, runs: Sequence[Run]) -> Incident:
        ground = self._ground
        channels = tuple(sorted({r.channel for r in runs}))
        starts = sorted(r.start_ms for r in runs)
        ends = sorted(r.end_ms for r in runs if r.end_ms is not None)
        since_ms = starts[len(starts) // 2]
        until_ms = ends[len(ends) // 2] if len(ends) == len(runs) else None
        homes = sorted({home for r in runs for home in r.homes})
        element = ground.groups[homes[0]][-1]
        everything = len(channels) >= MOST * len(self._samples) and len(channels) > 1
        measured = ground.members[element]
        spells = tuple(
            Spell(home=h, start_ms=since_ms, end_ms=until_ms)
            for h in measured
            if _watches(ground, h, since_ms, until_ms)
        )
        cause, why = _reference(ground, channels, since_ms, until_ms)
        words = "all channels" if everything else ", ".join(channels)
        return Incident(
            kind="tv",
            element=element,
            what="head_end" if len(channels) > 1 else "channel",
            since_ms=since_ms,
            opened_ms=min(r.known_ms for r in runs) + ground.settings.hold_s * 1_000,
            until_ms=until_ms,
            spells=spells,
            homes=ground.size[element],
            measured=len(measured),
            cause=cause,
            confidence="probable",
            evidence=(f"{words} bad in {len(homes)} homes of several buildings", why),
            channels=channels,
            works=ground.works(homes, since_ms),
            reviewed=until_ms is not None,
        )


def _reference(ground: Ground, channels: Sequence[str], since_ms: int, until_ms: int | None) -> tuple[str, str]:
    """The cause and its evidence: only a probe at the head-end itself tells the source from the network."""
    end_ms = until_ms if until_ms is not None else NEVER
    seen = [bad for channel in channels for ts_ms, bad in ground.referred(channel, since_ms, end_ms)]
    if not seen:
        return "head_end", "no reference probe at the head-end: source and network cannot be told apart"
    if sum(seen) * 2 > len(seen):
        return "head_end", "the reference probe at the head-end sees it too: the source"
    return "network", "the reference probe at the head-end has them well: the network after it"


def _is_one(ground: Ground, homes: Sequence[str], scope: Scope) -> bool:
    """Most of them are of one building, or of one PON, and more than its size explains: then it is that one's."""
    count = Counter(element for home in homes for element in ground.groups[home] if element[0] == scope)
    if not count:
        return False
    element, most = max(count.items(), key=lambda c: (c[1], c[0]))
    share = ground.measured(element) / max(1, len(ground.logs))
    return most > max(ONE_ELEMENT, 1.5 * share) * len(homes) or (scope == BUILDING and len(count) < 2)


def _watches(ground: Ground, home: str, since_ms: int, until_ms: int | None) -> bool:
    """Its probe was there while it lasted."""
    last = ground.logs[home].cells.newest if until_ms is None else until_ms // MINUTE_MS
    return ground.logs[home].cells.last(c.ALIVE, last, max(1, last - since_ms // MINUTE_MS + 15)) >= 0


def _ended(seen: Channel, last: int) -> int | None:
    """Half way to the next good sample; where none came for long and then one did, nobody looked. None: it goes on."""
    after = _near(seen, last, 1)
    if after is None:
        known = max((day for day in seen.good), default=-1)
        later = known >= 0 and seen.goods(last + 1, (known + 1) * DAY_MIN) > 0
        return (last + UNSEEN_MIN) * MINUTE_MS if later else None
    enough = seen.goods(last, (max(seen.good) + 1) * DAY_MIN) >= GOODS_BREAK
    return (last + after + 1) // 2 * MINUTE_MS if enough else None


def _near(seen: Channel, minute: int, step: int) -> int | None:
    """The nearest minute with a good sample, before or after, within the time that hangs together."""
    for away in range(1, APART_MS // MINUTE_MS):
        at = minute + step * away
        page = seen.good.get(at // DAY_MIN)
        if page is not None and page[at % DAY_MIN]:
            return at
    return None


def _together(one: Run, other: Run) -> bool:
    if abs(one.start_ms - other.start_ms) > TOGETHER_MS:
        return False
    if one.end_ms is None or other.end_ms is None:
        return True
    return abs(one.end_ms - other.end_ms) <= 2 * TOGETHER_MS
