"""What is remembered of one home?

Minutes as bits (`cells`), and what is rare with its exact date: sessions, outages, bad samples, tests of the rate.

Rule 1: everything is a set or a sorted list of values that carry their own dates: the order of arrival leaves no trace.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from balise_collector.judge.cells import DAY_MIN, MINUTE_MS, Cells
from balise_collector.judge.ladder import Outage, Stretch, by_start, stretches
from balise_collector.judge.topology import HomeSite

NOT_YET = 2**62
V = TypeVar("V", tuple[int, bool], tuple[int, str], "Rate")


class Rate(NamedTuple):
    """One test that filled the line. ``share``: of the contract, the worse way; -1: latency only."""

    ts_ms: int
    share: float
    bloat_us: int  # -1: rate only
    idle: bool = False  # nobody used the line meanwhile, as far as was seen


class Silence(NamedTuple):
    """A session that was lost. ``back_ms`` None: it is still away."""

    lost_ms: int
    back_ms: int | None


@dataclass(slots=True, eq=False)
class HomeLog:
    """A home's memory. ``boots``: when its probe's machine started, to 10 s; ``clocks``: by when a clock that was wrong
    says that it did, the first and the last record that say so; ``bad_tv``: (date, channel); ``broken``: minutes' marks
    that say where the line broke then, (date, class)."""

    id: str
    site: HomeSite
    cells: Cells = field(default_factory=Cells)
    sessions: list[tuple[int, bool]] = field(default_factory=list)
    outages: dict[str, Outage] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)
    boots: list[int] = field(default_factory=list)
    clocks: dict[int, tuple[int, int]] = field(default_factory=dict)
    bad_tv: list[tuple[int, str]] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    last_tv: int = -1  # minute of its last good sample
    last_telephone: int = -1
    last_outage_ms: int = -1
    on_wifi: bool = False  # its probe ever told of a radio: nothing that it loses is the line's
    impaired: bool = False  # its link or radio was ever found not to do
    bad_days: dict[str, set[int]] = field(default_factory=dict)  # by symptom: days with a bad sample
    stretches: tuple[Stretch, ...] = ()  # of its outages, as of the last `laid_out`
    out_until_ms: int = -1  # when the last of them ends; one that was not told to have ended never does

    def session(self, ts_ms: int, online: bool) -> bool:
        """Its session began or ended then; False: that is known."""
        return _add(self.sessions, (ts_ms, online))

    def online_at(self, ts_ms: int) -> bool | None:
        """Whether its session was open; None: not known."""
        at = bisect_right(self.sessions, (ts_ms, True)) - 1
        return self.sessions[at][1] if at >= 0 else None

    def silences(self, from_ms: int) -> list[Silence]:
        """Sessions lost from that date on, in order; what was lost again before it was back is one."""
        found: list[Silence] = []
        at = bisect_left(self.sessions, (from_ms, False))
        lost: int | None = None
        for ts_ms, online in self.sessions[at:]:
            if online and lost is not None:
                found.append(Silence(lost, ts_ms))
                lost = None
            elif not online and lost is None:
                lost = ts_ms
        if lost is not None:
            found.append(Silence(lost, None))
        return found

    def silence_at(self, ts_ms: int) -> Silence | None:
        """The silence that this date is in."""
        at = bisect_right(self.sessions, (ts_ms, True)) - 1
        if at < 0 or self.sessions[at][1]:
            return None
        first = at
        while first > 0 and not self.sessions[first - 1][1]:
            first -= 1
        back = next((t for t, online in self.sessions[at + 1 :] if online), None)
        return Silence(self.sessions[first][0], back)

    def outage(self, id_: str, told: Outage) -> bool:
        """It was told of an outage; the end is better than none, the later telling better than the first."""
        known = self.outages.get(id_)
        if known is not None and _rank(known) >= _rank(told):
            return False
        self.outages[id_] = told
        return True

    def breaks(self, ts_ms: int, place: str) -> bool:
        """A minute's mark said where its line is broken; False: that is known."""
        return _add(self.broken, (ts_ms, place))

    def laid_out(self) -> set[Stretch]:
        """Its outages are told apart by where they broke; what of it is other than before."""
        before = self.stretches
        found: list[Stretch] = []
        for outage in self.outages.values():
            first = bisect_left(self.broken, (outage.start_ms, ""))
            last = len(self.broken) if outage.end_ms is None else bisect_left(self.broken, (outage.end_ms, ""))
            found += stretches(outage, self.broken[first:last])
        self.stretches = tuple(sorted(found, key=by_start))
        changed = {*before} ^ {*self.stretches}
        if changed:
            self.cells.explained.clear()
            self.out_until_ms = max((NOT_YET if s.end_ms is None else s.end_ms for s in found), default=-1)
        return changed

    def boot(self, ts_ms: int) -> bool:
        """Its machine started then; of what a minute's records say of the same start, all are kept."""
        rounded = round(ts_ms / 10_000) * 10_000
        at = bisect_left(self.boots, rounded)
        if at < len(self.boots) and self.boots[at] == rounded:
            return False
        self.boots.insert(at, rounded)
        return True

    def misdated(self, ts_ms: int, started_ms: int) -> None:
        """A clock that is wrong gave a record this date, and its machine's start that one."""
        rounded = round(started_ms / 10_000) * 10_000
        first_ms, last_ms = self.clocks.get(rounded, (ts_ms, ts_ms))
        self.clocks[rounded] = (min(first_ms, ts_ms), max(last_ms, ts_ms))

    def booted_within(self, from_ms: int, to_ms: int) -> bool:
        at = bisect_left(self.boots, from_ms)
        return at < len(self.boots) and self.boots[at] <= to_ms

    def first_boot(self, from_ms: int, to_ms: int) -> int | None:
        """The first between these dates; None: none was."""
        at = bisect_left(self.boots, from_ms)
        return self.boots[at] if at < len(self.boots) and self.boots[at] <= to_ms else None

    def bad_channel(self, ts_ms: int, channel: str) -> bool:
        return _add(self.bad_tv, (ts_ms, channel))

    def rate(self, rate: Rate) -> bool:
        return _add(self.rates, rate)

    def told(self) -> dict[str, Any]:
        """All but its minutes, in plain values."""
        return {
            "sessions": self.sessions,
            "outages": self.outages,
            "broken": self.broken,
            "boots": self.boots,
            "clocks": self.clocks,
            "bad_tv": self.bad_tv,
            "rates": self.rates,
            "last": [self.last_tv, self.last_telephone, self.last_outage_ms, self.impaired, self.on_wifi],
            "bad_days": {name: sorted(days) for name, days in self.bad_days.items()},
        }

    @property
    def is_empty(self) -> bool:
        """It says nothing of its home, not even that there is one."""
        return not self.cells.pages and self.told() == HomeLog(self.id, self.site).told()

    def recall(self, told: dict[str, Any]) -> None:
        """What `told` gave."""
        self.sessions = [(int(ts), bool(online)) for ts, online in told["sessions"]]
        self.outages = {id_: Outage(*values) for id_, values in told["outages"].items()}
        self.broken = [(int(ts), str(place)) for ts, place in told["broken"]]
        self.boots = list(told["boots"])
        self.clocks = {int(started): (first, last) for started, (first, last) in told["clocks"].items()}
        self.bad_tv = [(int(ts), str(channel)) for ts, channel in told["bad_tv"]]
        self.rates = [Rate(*values) for values in told["rates"]]
        self.last_tv, self.last_telephone, self.last_outage_ms, self.impaired, self.on_wifi = told["last"]
        self.bad_days = {name: set(days) for name, days in told["bad_days"].items()}

    def forget(self, before_ms: int) -> None:
        """What is older goes; of its sessions the last before stays, for it tells how that time began."""
        self.cells.drop_before(before_ms // (DAY_MIN * MINUTE_MS))
        self.sessions = self.sessions[max(0, bisect_left(self.sessions, (before_ms, False)) - 1) :]
        self.outages = {id_: o for id_, o in self.outages.items() if (o.end_ms or o.told_ms) >= before_ms}
        self.boots = self.boots[max(0, bisect_left(self.boots, before_ms) - 1) :]  # it may still run since the last
        self.clocks = {started: dates for started, dates in self.clocks.items() if dates[1] >= before_ms}
        self.bad_tv = self.bad_tv[bisect_left(self.bad_tv, (before_ms, "")) :]
        self.rates = [rate for rate in self.rates if rate.ts_ms >= before_ms]
        oldest_ms = min((before_ms, *(o.start_ms for o in self.outages.values())))
        self.broken = self.broken[bisect_left(self.broken, (oldest_ms, "")) :]
        self.laid_out()


def _rank(outage: Outage) -> tuple[bool, int, Outage]:
    return (outage.end_ms is not None, outage.told_ms, outage)


def _add(into: list[V], value: V) -> bool:
    """Into its place, once."""
    if not into or into[-1] < value:
        into.append(value)
        return True
    at = bisect_left(into, value)
    if at < len(into) and into[at] == value:
        return False
    insort(into, value)
    return True
