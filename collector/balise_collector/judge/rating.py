"""Does a home get the rate it pays for, and does its line keep its delay while it is full?

From the few tests that fill the line. Too slow: two tests in a row below the contract, one of them on a clear line,
with no good one between; until there is a second, one is enough on a clear line that nobody used, once others who were
tested after it got more: the first tests of a target that grows slow are low in a few homes alone. Bufferbloat: one
test of latency under load above the limit, until the next good one.

Rule 1: where most of the fleet is slow in the same hours, our target is, and no home; but one that is then slower than
others who pay for no less is slow itself, whether the target gives all the same rate or all the same share.
Rule 2: a full PON shows in echoes: a line that lost none and was not slow to answer was clear, in the evening too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from balise_collector.judge import cells as c
from balise_collector.judge.cells import MINUTE_MS
from balise_collector.judge.ground import Ground
from balise_collector.judge.habits import civil
from balise_collector.judge.incidents import Incident, Spell, reused
from balise_collector.judge.log import HomeLog, Rate
from balise_collector.judge.marks import NEAR_TEST_MS

FLEET_MS = 3 * 3_600_000  # before and after a test, the others' tests are looked at
FLEET_SHARE = 0.5
AFTER, AFTER_LEAST = 3, 2  # of the next other homes, so many got more
FLEET_LEAST = 5  # so many other homes, each by its test that is nearest in time, tell of the target
PEERS_LEAST = 3  # so many of them pay for no less than it; the slowest may be slow itself, the next is compared with
EVENING = range(36, 48)  # half hours from 18 h
CLEAR_MOST = 6  # minutes around a test that lost echoes or were slow: a fifth, and the line was not clear


NONE: Mapping[int, int] = MappingProxyType({})
Test = tuple[int, str, float]
"""Date, home, share of its contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A home's rate is bad. ``end_ms`` None: it still is, as far as is known."""

    cause: str
    start_ms: int
    end_ms: int | None
    known_ms: int
    last_ms: int


class Rating:
    """Tests of all homes in order, and what was concluded from them."""

    __slots__ = ("_all", "_by_home", "_ground", "incidents")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._all: list[Test] = []
        self._by_home: dict[str, list[Slow]] = {}
        self.incidents: list[Incident] = []

    def conclude(self, rated: dict[str, int]) -> bool:
        """Judges the homes with a new test again, and those whose low tests are near it in time."""
        again = set(rated)
        for home, from_ms in rated.items():
            for rate in self._ground.logs[home].rates:
                if rate.ts_ms >= from_ms and rate.share >= 0:
                    self._note(rate, home)
                    again |= self._looking_at(rate.ts_ms)
        changed = False
        for home in again:
            found = self._spells(self._ground.logs[home])
            changed |= found != self._by_home.get(home, [])
            self._by_home[home] = found
        if changed:
            self.incidents = reused(self.incidents, self._incidents())
        return changed

    def _note(self, rate: Rate, home: str) -> None:
        entry = (rate.ts_ms, home, rate.share)
        at = bisect_left(self._all, entry)
        if at == len(self._all) or self._all[at] != entry:
            insort(self._all, entry)

    def _is_low(self, share: float) -> bool:
        return share < self._ground.settings.slow_share

    def _window(self, ts_ms: int) -> tuple[int, int]:
        """Where the tests within reach of that date stand."""
        first = bisect_left(self._all, (ts_ms - FLEET_MS, "", 0.0))
        return first, bisect_left(self._all, (ts_ms + FLEET_MS, "", 0.0))

    def _looking_at(self, ts_ms: int) -> set[str]:
        """Homes with a low test for which a test of that date is among the nearest: not so many homes lie between."""
        first, end = self._window(ts_ms)
        at = bisect_left(self._all, (ts_ms, "", 0.0))
        return self._low_until(self._all[first:at][::-1]) | self._low_until(self._all[at:end])

    def _low_until(self, tests: Sequence[Test]) -> set[str]:
        """Of tests further and further away, the homes of low ones, until enough homes stand before them."""
        found: set[str] = set()
        before: set[str] = set()
        same, same_ms = set[str](), -1  # of one date none stands before the other
        for ts_ms, home, share in tests:
            if ts_ms != same_ms:
                before |= same
                same, same_ms = set(), ts_ms
            if len(before) >= FLEET_LEAST + 2:  # two of them may be its own and the new test's
                break
            same.add(home)
            if self._is_low(share):
                found.add(home)
        return found

    def _is_ours(self, rate: Rate, home: str) -> bool:
        """Most of the others were slow then too, and it was no slower than they."""
        nearest = self._nearest(rate.ts_ms, home)
        low = sum(map(self._is_low, nearest.values()))
        if len(nearest) < FLEET_LEAST or low < FLEET_SHARE * FLEET_LEAST:
            return False
        sites = self._ground.topology.homes
        peers = sorted(nearest[other] for other in nearest if sites[other].down_bps >= sites[home].down_bps)
        return len(peers) < PEERS_LEAST or rate.share >= self._ground.settings.slow_share * peers[1]

    def _is_alone_by(self, rate: Rate, home: str) -> int | None:
        """When it was known that others who were tested after it got more; None: it is not."""
        at, end = bisect_left(self._all, (rate.ts_ms + 1, "", 0.0)), self._window(rate.ts_ms)[1]
        after: dict[str, tuple[int, float]] = {}
        while at < end and len(after) < AFTER:
            ts_ms, other, share = self._all[at]
            if other != home:
                after.setdefault(other, (ts_ms, share))
            at += 1
        more = [ts_ms for ts_ms, share in after.values() if rate.share < self._ground.settings.slow_share * share]
        return more[AFTER_LEAST - 1] if len(more) >= AFTER_LEAST else None

    def _nearest(self, ts_ms: int, home: str) -> dict[str, float]:
        """Of the other homes nearest in time, each by its nearest test, what share it found. A few tests to both sides
        mostly hold them, and it is wider where something outside may be as near."""
        low, high = self._window(ts_ms)
        at, reach = bisect_left(self._all, (ts_ms, "", 0.0)), 4 * FLEET_LEAST
        while True:
            first, end = max(low, at - reach), min(high, at + reach)
            others = sorted((abs(t - ts_ms), other, share) for t, other, share in self._all[first:end] if other != home)
            by_home: dict[str, tuple[int, float]] = {}  # one slow neighbour that was tested again and again is one
            for away_ms, other, share in others:
                by_home.setdefault(other, (away_ms, share))
            found = list(by_home.items())[:FLEET_LEAST]
            outside = [abs(self._all[i][0] - ts_ms) for i in (first - 1, end) if low <= i < high]
            if not outside or (len(found) == FLEET_LEAST and found[-1][1][0] < min(outside)):
                return {other: share for other, (_, share) in found}
            reach *= 4

    def _spells(self, log: HomeLog) -> list[Slow]:
        if log.on_wifi:
            return []
        bloat_us = self._ground.settings.bloat_us
        mine = [r for r in log.rates if r.share >= 0 and not (self._is_low(r.share) and self._is_ours(r, log.id))]
        rates = [(r.ts_ms, self._is_low(r.share)) for r in mine]
        clear = {r.ts_ms for r in mine if _is_clear(log, r.ts_ms)}
        idle = [r for r in mine if r.idle and r.ts_ms in clear and self._is_low(r.share)]
        sure = {r.ts_ms: known_ms for r in idle if (known_ms := self._is_alone_by(r, log.id)) is not None}
        loads = [(r.ts_ms, r.bloat_us > bloat_us) for r in log.rates if r.bloat_us >= 0]
        return [
            *(run for run in _runs(rates, "provisioning", 2, sure) if _is_in(rates, run, clear)),
            *_runs(loads, "bufferbloat", 1),
        ]

    def _incidents(self) -> list[Incident]:
        return sorted(
            (self._incident(home, slow) for home, spells in self._by_home.items() for slow in spells),
            key=lambda i: (i.since_ms, i.key),
        )

    def _incident(self, home: str, slow: Slow) -> Incident:
        ground = self._ground
        ttl_ms = ground.settings.rate_ttl_min * MINUTE_MS
        end_ms = slow.end_ms if slow.end_ms is not None else slow.last_ms + ttl_ms
        words = "below its contract at all hours" if slow.cause == "provisioning" else "slow to answer while full"
        return Incident(
            kind="slow",
            element=("home", home),
            what="home",
            since_ms=slow.start_ms,
            opened_ms=slow.known_ms,
            until_ms=end_ms,
            spells=(Spell(home=home, start_ms=slow.start_ms, end_ms=end_ms),),
            homes=1,
            measured=1,
            cause=slow.cause,
            evidence=(f"its line is {words}, by its tests",),
            works=ground.works([home], slow.start_ms),
            reviewed=slow.end_ms is not None,
        )


def _runs(tests: Sequence[tuple[int, bool]], cause: str, least: int, sure: Mapping[int, int] = NONE) -> list[Slow]:
    """Bad tests in a row, or a sure one that no other followed (``sure``: when it was known to be); from half way after
    the last good one to the next."""
    found: list[Slow] = []
    run: list[int] = []
    good: int | None = None
    for ts_ms, bad in [*tests, (-1, False)]:
        if bad:
            run.append(ts_ms)
            continue
        known = run[least - 1 : least] + ([sure[at_ms] for at_ms in run if at_ms in sure] if ts_ms < 0 else [])
        if known:
            end_ms = None if ts_ms < 0 else (run[-1] + ts_ms) // 2
            start_ms = run[0] if good is None else (good + run[0]) // 2
            found.append(Slow(cause=cause, start_ms=start_ms, end_ms=end_ms, known_ms=min(known), last_ms=run[-1]))
        run, good = [], ts_ms
    return found


def _is_clear(log: HomeLog, ts_ms: int) -> bool:
    """By day it mostly is; in the evening its echoes tell."""
    if civil(ts_ms)[1] not in EVENING:
        return True
    first, last = (ts_ms - NEAR_TEST_MS) // MINUTE_MS, (ts_ms + NEAR_TEST_MS) // MINUTE_MS
    return sum(1 for _ in log.cells.seen(c.LOSSY | c.SLOW_RTT, first, last)) <= CLEAR_MOST


def _is_in(tests: Sequence[tuple[int, bool]], slow: Slow, clear: Collection[int]) -> bool:
    """One of its bad tests was on a clear line; else it is congestion."""
    return any(bad and slow.start_ms <= ts_ms <= slow.last_ms and ts_ms in clear for ts_ms, bad in tests)
