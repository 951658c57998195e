"""Does a probe send more than an honest one can?

Pure: what each probe has sent so far and a clock go in; who is over its bounds, and why, comes out.

Rule 1: an honest probe is never over. It has at most `WINDOW` messages unacknowledged, so that it sends as fast as acks
come; how much a probe with a full outbox and a good line sends is in each default's reason.
Rule 2: what the broker kept while the collector was away is nobody's haste: after each pause a probe may have that much
beside its bounds, until all of it has been taken. Who knows when that is says so (`caught_up`); else it is told from
how much comes.
Rule 3: what was sent is a level that leaks: an amount in a span of time, however it is spread, is never over; more
than twice that amount in the same span always is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

SHORT_S, DAY_S = 10.0, 86_400.0

CAUGHT_UP_PER_S = 200.0
"""From all probes together. A collector that catches up takes thousands; 12,000 homes at one message a minute send
this."""
CATCH_UP_S = 120.0  # the broker's whole queue takes a loaded machine of two cores 30 s

_MOST = 10**12


class Sent(NamedTuple):
    """What a probe has sent: messages, their bytes, how many of them could not be read, and how many came before those
    before them were acknowledged, although its window was full."""

    messages: int
    bytes: int
    refused: int
    ahead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The bounds a probe. Each is generous: it bounds what one broken or stolen probe costs, it does not shape."""

    # Ten unacknowledged, acknowledged at the soonest 20 ms later: 500 a second; twice that.
    messages_10_s: int = 10_000
    # 5,000 in the same time, of 13 kB each, a dozen times what five minutes of measurements take.
    bytes_10_s: int = 64_000_000
    # A day of minutes, refused by a collector that is older than its agents, and a third more.
    refused_10_s: int = 2_000
    # It has one window, and one more each 30 s that its acks are late. This bound does not wait for a collector that a
    # flood has slowed down: of the little that it takes, nearly all is the flood's.
    ahead_10_s: int = 1_000
    # 90 days of minutes, which is all that an outbox keeps, in three retention classes, and a quarter more.
    messages_day: int = 500_000
    # Twice what an outbox holds.
    bytes_day: int = 512_000_000
    # A fortnight of minutes.
    refused_day: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What the broker keeps for a collector that is away: its own configuration says so."""

    messages: int = 110_000  # those in flight are not in its count
    bytes: int = 270_000_000


class _Bound(NamedTuple):
    """An amount that may be sent in a span, of one of the parts of `Sent`."""

    part: int
    amount: int
    span_s: float
    text: str


@dataclass(slots=True)
class _Levels:
    at_s: float
    levels: list[float]
    credit: tuple[float, ...]


@dataclass(slots=True)
class Meter:
    """Remembers levels; one thread uses it."""

    queue: Queue = field(default_factory=Queue)
    _seen: dict[str, Sent] = field(default_factory=dict)
    _of: dict[str, _Levels] = field(default_factory=dict)
    _resumed_s: float | None = None  # the queue is being taken since then
    _looked_s: float = 0.0

    def resumed(self, now_s: float) -> None:
        """The collector takes messages again, after a pause of whatever length."""
        self._resumed_s = self._looked_s = now_s
        for levels in self._of.values():
            levels.credit = self._credit()

    @property
    def is_catching_up(self) -> bool:
        """What the broker kept may still be on its way."""
        return self._resumed_s is not None

    def caught_up(self) -> None:
        """All that the broker kept has been taken: from now on everything counts."""
        self._resumed_s = None
        for levels in self._of.values():
            levels.credit = self._credit()

    def forget(self, probe: str) -> None:
        """It begins anew, as one that was let back does."""
        self._of.pop(probe, None)

    def over(self, sent: Mapping[str, Sent], quotas: Quotas, now_s: float) -> dict[str, str]:
        """Each probe that is over a bound now, and which. ``sent``: since the collector's start."""
        bounds = _bounds(quotas)
        self._look_whether_caught_up(sent, now_s)
        found = {}
        for probe, total in sent.items():
            before = self._seen.get(probe, Sent(0, 0, 0, 0))
            if total == before:
                continue
            self._seen[probe] = total
            delta = tuple(now - then for now, then in zip(total, before, strict=True))
            why = self._add(probe, delta, bounds, now_s)
            if why:
                found[probe] = why
        return found

    def _add(self, probe: str, delta: tuple[int, ...], bounds: tuple[_Bound, ...], now_s: float) -> str:
        levels = self._of.get(probe)
        if levels is None:
            levels = self._of[probe] = _Levels(now_s, [0.0] * len(bounds), self._credit())
        counted = [max(0.0, new - credit) for new, credit in zip(delta, levels.credit, strict=True)]
        levels.credit = tuple(max(0.0, credit - new) for new, credit in zip(delta, levels.credit, strict=True))
        passed_s, levels.at_s = now_s - levels.at_s, now_s
        worst = ""
        for n, (part, amount, span_s, text) in enumerate(bounds):
            left = max(0.0, levels.levels[n] - passed_s * amount / span_s)
            levels.levels[n] = left + counted[part]
            if levels.levels[n] > amount and not worst:
                worst = f"{round(levels.levels[n]):,} {text}, {amount:,} are allowed"
        return worst

    def _credit(self) -> tuple[float, ...]:
        queue = self.queue
        if self._resumed_s is None:
            return (0.0, 0.0, 0.0, 0.0)
        return (queue.messages, queue.bytes, queue.messages, queue.messages)

    def _look_whether_caught_up(self, sent: Mapping[str, Sent], now_s: float) -> None:
        """The queue is empty where the time since the last look brought little, and in any case after a while."""
        if self._resumed_s is None or now_s <= self._looked_s:
            return
        before = sum(total.messages for total in self._seen.values())
        per_s = (sum(total.messages for total in sent.values()) - before) / (now_s - self._looked_s)
        self._looked_s = now_s
        if per_s < CAUGHT_UP_PER_S or now_s - self._resumed_s > CATCH_UP_S:
            self.caught_up()


def read_quotas(table: Mapping[str, object]) -> Quotas | list[str]:
    """Quotas from ``[quota]`` of ``fleet.toml``, what is not said as the defaults; or every fault of it."""
    known = [f.name for f in fields(Quotas)]
    faults = [f"quota.{name}: unknown key; known are {', '.join(known)}" for name in table if name not in known]
    values: dict[str, int] = {}
    for name in known:
        value = table.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST:
            values[name] = value
        elif value is not None:
            faults.append(f"quota.{name}: {value!r} is not a number from 1 to {_MOST:,}")
    return faults or Quotas(**values)


def _bounds(quotas: Quotas) -> tuple[_Bound, ...]:
    return (
        _Bound(0, quotas.messages_10_s, SHORT_S, "messages in 10 s"),
        _Bound(1, quotas.bytes_10_s, SHORT_S, "bytes in 10 s"),
        _Bound(2, quotas.refused_10_s, SHORT_S, "unreadable messages in 10 s"),
        _Bound(3, quotas.ahead_10_s, SHORT_S, "messages beyond its window in 10 s"),
        _Bound(0, quotas.messages_day, DAY_S, "messages in a day"),
        _Bound(1, quotas.bytes_day, DAY_S, "bytes in a day"),
        _Bound(2, quotas.refused_day, DAY_S, "unreadable messages in a day"),
    )
