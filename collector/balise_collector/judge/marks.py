"""What has changed since it was last concluded from, and from which date on must it be concluded again?

Rule 1: a mark only says where to look; what is found there depends on the logs alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from balise_collector.judge import cells as c
from balise_collector.judge.cells import DAY_MIN, MINUTE_MS, Cells
from balise_collector.judge.ladder import CUT_CLASSES, Stretch
from balise_collector.judge.log import HomeLog
from balise_collector.judge.settings import Settings

NEVER = 2**62
BUCKET_MIN = 10
DAY_MS = DAY_MIN * MINUTE_MS
BOOT_SLACK_MS = 300_000
APART_MIN = 2 * DAY_MIN  # bad samples further apart are two faults, though nobody looked in between
NEAR_TEST_MS = 900_000  # around a test, whether the line was clear
NEAR_MS = 5_400_000  # a radio is looked at so seldom, and speaks for the time around
TELEPHONE = (("sip", c.SIP_BAD, c.SIP_OK), ("register", c.TEL_BAD, c.TEL_OK), ("call", c.CALL_BAD, c.CALL_OK))


@dataclass(slots=True)
class Channel:
    """Samples of one channel in all homes: how many were good, by day and minute; which were bad, by date and home."""

    good: dict[int, array[int]] = field(default_factory=dict)
    bad: dict[int, set[tuple[int, str]]] = field(default_factory=dict)  # by day

    def saw(self, ts_ms: int) -> None:
        minute = ts_ms // MINUTE_MS
        page = self.good.get(minute // DAY_MIN)
        if page is None:
            page = self.good[minute // DAY_MIN] = array("H", bytes(2 * DAY_MIN))
        page[minute % DAY_MIN] = min(page[minute % DAY_MIN] + 1, 65_535)

    def recall(self, samples: Iterable[tuple[int, str]]) -> None:
        """Bad samples that were kept elsewhere."""
        for ts_ms, home in samples:
            self.bad.setdefault(ts_ms // DAY_MS, set()).add((ts_ms, home))

    def forget(self, before_ms: int) -> None:
        """Days before that date go."""
        day = before_ms // DAY_MS
        self.good = {d: page for d, page in self.good.items() if d >= day}
        self.bad = {d: samples for d, samples in self.bad.items() if d >= day}

    def goods(self, from_min: int, to_min: int) -> int:
        """Good samples in these minutes, the last one excluded."""
        found = 0
        for day in range(from_min // DAY_MIN, (to_min - 1) // DAY_MIN + 1):
            page = self.good.get(day)
            if page is not None:
                found += sum(page[max(0, from_min - day * DAY_MIN) : max(0, to_min - day * DAY_MIN)])
        return found


@dataclass(slots=True)
class Marks:
    """What changed since it was last looked at.

    ``line_ms``: from which date on cuts are judged again; ``lost``, ``began``: dates at which sessions were lost, or
    cuts or machines began; ``told``: homes that told of an outage; ``outages``: homes whose outages are others from a
    date on; ``runs``: by symptom and home, the first minute of a bad or good sample; ``lossy``: ten minutes of a home
    in which something was bad; ``rated``: by home; ``channels``: with the first day that changed.
    """

    settings: Settings
    line_ms: int = NEVER
    lost: list[tuple[int, str]] = field(default_factory=list)
    began: list[tuple[int, str]] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    outages: dict[str, int] = field(default_factory=dict)
    runs: dict[tuple[str, str], int] = field(default_factory=dict)
    lossy: dict[str, set[int]] = field(default_factory=dict)
    rated: dict[str, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Channel] = field(default_factory=dict)

    def line(self, ts_ms: int) -> None:
        self.line_ms = min(self.line_ms, ts_ms)

    def outage(self, log: HomeLog, told: Stretch) -> None:
        """A part of an outage is new, or other than it was."""
        self.outages[log.id] = min(told.start_ms, self.outages.get(log.id, NEVER))
        log.last_outage_ms = max(log.last_outage_ms, told.end_ms or told.told_ms)
        for name in log.bad_days:
            self._run(log, name, told.start_ms - MINUTE_MS, 0)
        for ts_ms, channel in log.bad_tv:
            if ts_ms >= told.start_ms - MINUTE_MS:
                self.channels[channel] = min(ts_ms, self.channels.get(channel, NEVER))
        if told.place in CUT_CLASSES:
            self.began.append((told.start_ms, log.id))
            self.line(told.start_ms)

    def everything(self, log: HomeLog) -> None:
        """All that a home's log holds is to be concluded from again."""
        self.lost += [(ts_ms, log.id) for ts_ms, online in log.sessions if not online]
        self.began += [(s.start_ms, log.id) for s in log.stretches if s.place in CUT_CLASSES]
        self.began += [(ts_ms, log.id) for ts_ms in log.boots]
        if log.outages:
            self.told.add(log.id)
            self.outages[log.id] = 0
        if log.rates:
            self.rated[log.id] = 0
        for name, days in log.bad_days.items():
            for day in days:
                self._run(log, name, day * DAY_MS, 0)
        for day, page in log.cells.pages.items():
            for at in range(DAY_MIN):
                if page[at] & (c.LOSSY | c.SLOW_RTT):
                    self.quality(log, (day * DAY_MIN + at) * MINUTE_MS)

    def session(self, log: HomeLog, ts_ms: int, online: bool) -> None:
        """A session began or ended: the silence that it ends, or begins, began there."""
        silence = log.silence_at(ts_ms - 1)
        if not online:
            self.lost.append((ts_ms, log.id))
        self.line(ts_ms if silence is None else min(ts_ms, silence.lost_ms))

    def boot(self, log: HomeLog, ts_ms: int) -> None:
        """A machine started: the silence around it, or just before, has a cause."""
        self.began.append((ts_ms, log.id))
        for near_ms in (ts_ms, ts_ms - BOOT_SLACK_MS, ts_ms + BOOT_SLACK_MS):
            silence = log.silence_at(near_ms)
            if silence is not None:
                self.line(silence.lost_ms)

    def radio(self, log: HomeLog) -> None:
        """Its probe has a radio: what was taken for the line's is judged again."""
        if not log.on_wifi:
            log.on_wifi = True
            self.everything(log)

    def telephone(self, log: HomeLog, ts_ms: int, bits: int) -> None:
        """A sample of the telephone; a good one matters only near a bad one."""
        minute = ts_ms // MINUTE_MS
        for name, bad, ok in TELEPHONE:
            if bits & bad:
                self._run(log, name, ts_ms, 1)
            elif bits & ok and _is_near(log.bad_days.get(name), ts_ms) and _turns(log.cells, minute, bad, bad | ok):
                self._run(log, name, ts_ms, 0)

    def quality(self, log: HomeLog, ts_ms: int) -> None:
        """A minute of a home became worse; so did the line on which a test near it was made."""
        self.lossy.setdefault(log.id, set()).add(ts_ms // MINUTE_MS // BUCKET_MIN)
        at = bisect_left(log.rates, ts_ms - NEAR_TEST_MS - MINUTE_MS, key=lambda rate: rate.ts_ms)
        if at < len(log.rates) and log.rates[at].ts_ms <= ts_ms + NEAR_TEST_MS + MINUTE_MS:
            self.rate(log, log.rates[at].ts_ms)

    def explained(self, log: HomeLog, ts_ms: int) -> None:
        """Something explains what was bad around that minute: the service's samples are judged again."""
        minute = ts_ms // MINUTE_MS
        for name, days in log.bad_days.items():
            if minute // DAY_MIN in days:
                self._run(log, name, ts_ms - NEAR_MS, 0)
        at = bisect_left(log.bad_tv, (ts_ms - NEAR_MS, ""))
        for bad_ms, channel in log.bad_tv[at : at + 40]:
            if bad_ms <= ts_ms + NEAR_MS:
                self.channels[channel] = min(bad_ms, self.channels.get(channel, NEVER))

    def rate(self, log: HomeLog, ts_ms: int) -> None:
        self.rated[log.id] = min(ts_ms, self.rated.get(log.id, NEVER))

    def sample(self, log: HomeLog, ts_ms: int, channel: str, bad: bool) -> None:
        """A television sample."""
        known = self.samples.get(channel)
        if known is None:
            known = self.samples[channel] = Channel()
        day = ts_ms // DAY_MS
        if bad:
            known.bad.setdefault(day, set()).add((ts_ms, log.id))
        else:
            known.saw(ts_ms)
        if bad or day in known.bad or day - 1 in known.bad or day + 1 in known.bad:
            self.channels[channel] = min(ts_ms, self.channels.get(channel, NEVER))
        if bad or (
            _is_near(log.bad_days.get("tv"), ts_ms)
            and _turns(log.cells, ts_ms // MINUTE_MS, c.TV_BAD, c.TV_BAD | c.TV_OK)
        ):
            self._run(log, "tv", ts_ms, int(bad))

    def _run(self, log: HomeLog, name: str, ts_ms: int, bad: int) -> None:
        minute = ts_ms // MINUTE_MS
        if bad:
            log.bad_days.setdefault(name, set()).add(minute // DAY_MIN)
        key = (name, log.id)
        self.runs[key] = min(minute, self.runs.get(key, NEVER))


def _turns(cells: Cells, minute: int, bad: int, any_: int) -> bool:
    """The sample before a good one, or the one after it, is bad: others change nothing about bad ones."""
    before = cells.last(any_, minute - 1, APART_MIN)
    if before >= 0 and cells.at(before) & bad:
        return True
    after = cells.next(any_, minute + 1, APART_MIN)
    return after >= 0 and bool(cells.at(after) & bad)


def _is_near(days: set[int] | None, ts_ms: int) -> bool:
    """A bad sample was on that day or within two of it."""
    if not days:
        return False
    day = ts_ms // DAY_MS
    return any(near in days for near in range(day - 2, day + 3))
