"""Is the line bad without being out, and is it one home's or the PON's?

By ten minutes: a home is bad in them where most of its minutes lost echoes or were slow, and neither its box nor its
radio did it. Bad ten minutes in a row are a spell; where most of a PON has it at once, it is the PON's.

Rule 1: what the box or the radio loses is never the operator's.
Rule 2: round trips that are long in one home are its own use; in most of a PON at once they are congestion.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from balise_collector.judge import cells as c
from balise_collector.judge.cells import MINUTE_MS, RADIO_MIN
from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Incident, Spell, reused
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import BUCKET_MIN
from balise_collector.judge.shared import Element, is_shared

BUCKET_MS = BUCKET_MIN * MINUTE_MS
EVENINGS_APART = 22 * 60 // BUCKET_MIN  # evenings of one congestion are one incident
SETTLED_MS = 100_000  # after its end: the windows of its last minute have come by then
SLOW_SHARE = 0.6  # of the minutes seen
GAP = 1  # ten minutes in a row that may be well within one spell
LEAST_OWN = 3  # ten minutes in a row that one home's loss is an incident from
EDGE_SHARE = 0.35  # of a PON's homes in one minute: it has begun, or is not over


class Quality:
    """Bad ten minutes by home and by PON, and what was concluded from them. ``_marked``: ten minutes of a home in which
    anything was bad; ``_pending``: those that are to be judged, once they are over."""

    __slots__ = ("_bad", "_ground", "_homes", "_is_open", "_marked", "_pending", "_pons", "_until", "incidents")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._marked: dict[str, set[int]] = {}
        self._pending: dict[int, set[str]] = {}
        self._homes: dict[str, list[int]] = {}  # lossy
        self._bad: dict[str, set[int]] = {}  # lossy or slow
        self._pons: dict[str, dict[int, bool]] = {}  # whether most of the bad were slow
        self._until = -1  # ten minutes that are over
        self._is_open = False
        self.incidents: list[Incident] = []

    def mark(self, home: str, buckets: set[int]) -> None:
        """Something was bad in them."""
        self._marked.setdefault(home, set()).update(buckets)
        for bucket in buckets:
            self._pending.setdefault(bucket, set()).add(home)

    def late(self, home: str, from_ms: int) -> None:
        """Rows of that date on came: what is over may be other than it was."""
        first = (from_ms - MINUTE_MS) // BUCKET_MS
        if first <= self._until:
            self.mark(home, {b for b in self._marked.get(home, ()) if b >= first})

    def conclude(self, now_ms: int) -> bool:
        """Judges what is over by then; whether anything changed."""
        until = (now_ms - SETTLED_MS) // BUCKET_MS - 1
        changed = self._is_open and until != self._until
        self._until = until
        pons: set[tuple[str, int]] = set()
        for bucket in sorted(b for b in self._pending if b <= until):
            for home in self._pending.pop(bucket):
                changed |= self._conclude_home(home, bucket)
                pon = self._ground.topology.homes[home].pon
                if pon:  # whether it lasts is seen by its neighbours
                    pons |= {(pon, b) for b in range(bucket - 2, bucket + 3) if b <= until}
        for pon, bucket in pons:
            known = self._pons.setdefault(pon, {})
            found = self._pon(pon, bucket)
            changed |= known.get(bucket) != found
            if found is None:
                known.pop(bucket, None)
            else:
                known[bucket] = found
        if changed:
            self.incidents = reused(self.incidents, self._incidents())
            self._is_open = any(i.until_ms is None for i in self.incidents)
        return changed

    def _conclude_home(self, home: str, bucket: int) -> bool:
        seen, lossy, slow = self._home(self._ground.logs[home], bucket)
        is_lossy = seen >= 3 and lossy >= self._ground.settings.dense_share * seen
        bad = self._bad.setdefault(home, set())
        if is_lossy or (seen >= 3 and slow >= SLOW_SHARE * seen):
            bad.add(bucket)
        else:
            bad.discard(bucket)
        return _keep(self._homes.setdefault(home, []), bucket, is_lossy)

    def _home(self, log: HomeLog, bucket: int) -> tuple[int, int, int]:
        """Minutes seen, lossy, and slow; none of a probe on Wi-Fi, which is never told from its radio."""
        if log.on_wifi:
            return 0, 0, 0
        first = bucket * BUCKET_MIN
        seen = lossy = slow = 0
        for minute in range(first, first + BUCKET_MIN):
            bits = log.cells.at(minute)
            if bits & c.REACHED:
                seen += 1
                lossy += bool(bits & c.LOSSY and not bits & c.GW_LOSSY)
                slow += bool(bits & c.SLOW_RTT)
        return seen, lossy, slow

    def _pon(self, pon: str, bucket: int) -> bool | None:
        """None: it is well; else whether it is slow, not only lossy."""
        ground, settings = self._ground, self._ground.settings
        measured = bad = slow_homes = long = few = 0
        for home in ground.members.get(("pon", pon), ()):
            seen, lossy, slow = self._home(ground.logs[home], bucket)
            if seen >= 3:
                measured += 1
                is_slow = slow >= SLOW_SHARE * seen
                bad += is_slow or lossy >= settings.dense_share * seen
                few += is_slow or lossy >= settings.pon_few_share * seen
                slow_homes += is_slow
                long += self._lasts(home, bucket)
        tests = (
            (bad, settings.pon_base),  # as now
            (long, settings.pon_long_base),  # for half an hour
            (few, settings.pon_few_base),  # a little, in nearly all
        )
        least = max(3.0, settings.pon_share * measured)
        if any(count >= least and is_shared(count, measured, base, settings.pon_alpha) for count, base in tests):
            return slow_homes * 2 > max(bad, few)
        return None

    def _lasts(self, home: str, bucket: int) -> bool:
        """It is one of three bad ones in a row."""
        bad = self._bad.get(home, ())
        return any(all(b in bad for b in range(first, first + 3)) for first in range(bucket - 2, bucket + 1))

    def _goes_on(self, homes: Sequence[str], bucket: int) -> bool:
        """Of these homes nothing younger is known than these ten minutes, but for one."""
        newest = max((self._ground.logs[home].cells.newest for home in homes), default=-1)
        return bucket >= min(self._until, newest // BUCKET_MIN) - GAP

    def _incidents(self) -> list[Incident]:
        found: list[Incident] = []
        covered: dict[str, set[int]] = {}
        for pon, buckets in sorted(self._pons.items()):
            covered[pon] = {b + step for b in buckets for step in (-1, 0, 1)}
            found += [self._of_pon(pon, runs) for runs in _gathered(buckets)]
        for home, bad in sorted(self._homes.items()):
            mine = covered.get(self._ground.topology.homes[home].pon, set())
            found += self._own(home, [b for b in bad if b not in mine])
        return sorted(found, key=lambda i: (i.since_ms, i.key))

    def _of_pon(self, pon: str, runs: Sequence[tuple[int, int, bool]]) -> Incident:
        ground, element = self._ground, _element(pon)
        edges = [self._edges(pon, first, last) for first, last, _ in runs]
        is_slow = sum(slow for *_, slow in runs) * 2 > len(runs)
        goes_on = self._goes_on(ground.members[element], runs[-1][1])
        ends = [end for _, end in edges[:-1]] + [None if goes_on else edges[-1][1]]
        spells = tuple(
            Spell(home=home, start_ms=start, end_ms=end)
            for (start, known_ms), end in zip(edges, ends, strict=True)
            for home in ground.members[element]
            if _was_there(ground.logs[home], start, known_ms)
        )
        since_ms = edges[0][0]
        return Incident(
            kind="loss",
            element=element,
            what="pon",
            since_ms=since_ms,
            opened_ms=(runs[0][0] + 1) * BUCKET_MS + SETTLED_MS,
            until_ms=ends[-1],
            spells=spells,
            homes=ground.size[element],
            measured=ground.measured(element),
            cause="congestion" if is_slow else "loss",
            confidence="sure",
            evidence=("most of its measured homes lose echoes or are slow in the same ten minutes",),
            works=ground.works(ground.members[element], since_ms),
            reviewed=True,
        )

    def _edges(self, pon: str, first: int, last: int) -> tuple[int, int]:
        """The minutes in which it began and ended."""
        logs = [self._ground.logs[home] for home in self._ground.members[("pon", pon)]]
        begin, end = first * BUCKET_MIN, (last + 1) * BUCKET_MIN
        minutes = [m for m in range(begin - BUCKET_MIN, end + BUCKET_MIN) if _share(logs, m) >= EDGE_SHARE]
        if not minutes:
            return begin * MINUTE_MS, end * MINUTE_MS
        return max(minutes[0], begin - BUCKET_MIN) * MINUTE_MS, (minutes[-1] + 1) * MINUTE_MS

    def _own(self, home: str, bad: Sequence[int]) -> list[Incident]:
        ground, found = self._ground, list[Incident]()
        for first, last in _rows(bad, GAP):
            if last + 1 - first < LEAST_OWN:
                continue
            since_ms = first * BUCKET_MS
            until_ms = None if self._goes_on([home], last) else (last + 1) * BUCKET_MS
            found.append(
                Incident(
                    kind="loss",
                    element=("home", home),
                    what="home",
                    since_ms=since_ms,
                    opened_ms=(first + LEAST_OWN) * BUCKET_MS + SETTLED_MS,
                    until_ms=until_ms,
                    spells=(Spell(home=home, start_ms=since_ms, end_ms=until_ms),),
                    homes=1,
                    measured=1,
                    cause="loss",
                    evidence=("its line loses echoes beyond the box, its neighbours' do not",),
                    works=ground.works([home], since_ms),
                    reviewed=True,
                )
            )
        return found


def is_weak(log: HomeLog, minute: int) -> bool:
    """The probe's radio was weak when it was last looked at."""
    if not log.impaired:
        return False
    last = log.cells.last(c.RADIO_BAD | c.RADIO_OK, minute, RADIO_MIN)
    return last >= 0 and bool(log.cells.at(last) & c.RADIO_BAD)


def _keep(into: list[int], bucket: int, there: bool) -> bool:
    at = bisect_left(into, bucket)
    known = at < len(into) and into[at] == bucket
    if there and not known:
        insort(into, bucket)
    elif known and not there:
        del into[at]
    return there != known


def _rows(buckets: Sequence[int], gap: int) -> list[tuple[int, int]]:
    """Runs of buckets with at most so many missing between."""
    found: list[tuple[int, int]] = []
    for bucket in buckets:
        if found and bucket - found[-1][1] <= gap + 1:
            found[-1] = (found[-1][0], bucket)
        else:
            found.append((bucket, bucket))
    return found


def _gathered(buckets: dict[int, bool]) -> list[list[tuple[int, int, bool]]]:
    """Runs, those of evenings that follow each other together."""
    found: list[list[tuple[int, int, bool]]] = []
    for first, last in _rows(sorted(buckets), 2):
        slow = sum(buckets.get(b, False) for b in range(first, last + 1)) * 2 > last + 1 - first
        before = found[-1][-1] if found else None
        if before is not None and slow and before[2] and first - before[1] <= EVENINGS_APART:
            found[-1].append((first, last, slow))
        else:
            found.append([(first, last, slow)])
    return found


def _element(pon: str) -> Element:
    return ("pon", pon)


def _share(logs: Sequence[HomeLog], minute: int) -> float:
    bits = [b for log in logs if (b := log.cells.at(minute)) & c.REACHED]
    return sum(bool(b & (c.LOSSY | c.SLOW_RTT)) for b in bits) / len(bits) if bits else 0.0


def _was_there(log: HomeLog, start_ms: int, end_ms: int) -> bool:
    last = end_ms // MINUTE_MS
    return log.cells.last(c.REACHED, last, max(1, last - start_ms // MINUTE_MS)) >= 0
