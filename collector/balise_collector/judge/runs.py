"""In which stretches of time was every sample of a service bad? From minutes to episodes.

Rule 1: a bad sample that a cut, a lossy line or the probe's own radio explains is not the service's.
Rule 2: a fault is known from its first bad sample to the next good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from balise_collector.judge import cells as c
from balise_collector.judge.cells import AROUND_MIN, MINUTE_MS, Cells
from balise_collector.judge.ladder import CUT_CLASSES
from balise_collector.judge.log import HomeLog
from balise_collector.judge.marks import APART_MIN
from balise_collector.judge.quality import is_weak
from balise_collector.judge.settings import Settings
from balise_collector.judge.symptoms import Episode

LOSSY_LEAST = 2  # of the minutes around: one echo in a minute is lost anywhere
POOR = c.LOSSY | c.SLOW_RTT  # a full PON delays each minute and loses in some
NEAR_MIN = 3  # a sample of ten seconds stands beside the minutes around it
FAR_LEAST = 4  # a few lost in a hundred leave some minutes whole: four of twenty are no chance either


def is_explained(log: HomeLog, minute: int) -> bool:
    """What the line loses or delays, or the probe's own radio or clock, or a cut, is no service's fault. The same
    bad samples are asked for again with each new one: what was found is kept until a bit or a cut could change it."""
    known = log.cells.explained.get(minute)
    if known is None:
        known = log.cells.explained[minute] = _is_explained(log, minute)
    return known


def _is_explained(log: HomeLog, minute: int) -> bool:
    return _is_poor(log, minute) or _is_misdated(log, minute) or is_weak(log, minute) or is_cut(log, minute)


def _is_poor(log: HomeLog, minute: int) -> bool:
    """The line lost or delayed in some of the minutes around, or in many further away."""
    near = [at for at, _ in log.cells.seen(POOR, minute - AROUND_MIN, minute + AROUND_MIN)]
    return len(near) >= FAR_LEAST or sum(abs(at - minute) <= NEAR_MIN for at in near) >= LOSSY_LEAST


def _is_misdated(log: HomeLog, minute: int) -> bool:
    return log.cells.next(c.CLOCK_BAD, minute - NEAR_MIN, 2 * NEAR_MIN + 1) >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``least``: bad samples in a row that are a run; ``plain``: what it says, no line can do by losing or delaying."""

    bad: int
    ok: int
    least: int
    plain: bool = False


KINDS = {
    "tv": Kind(bad=c.TV_BAD, ok=c.TV_OK, least=2),
    "sip": Kind(bad=c.SIP_BAD, ok=c.SIP_OK, least=2, plain=True),  # RFC 3261 asks again for 32 s
    "register": Kind(bad=c.TEL_BAD, ok=c.TEL_OK, least=1, plain=True),  # the registrar refused
    "call": Kind(bad=c.CALL_BAD, ok=c.CALL_OK, least=2, plain=True),  # nothing was heard at all
}

Skip = Callable[[int], bool]


def ttl_min(name: str, log: HomeLog, settings: Settings) -> int:
    """How long a sample is believed."""
    if name != "tv":
        return settings.telephone_ttl_min
    slow = 0 < log.site.down_bps <= settings.slow_contract_bps
    return settings.tv_slow_ttl_min if slow else settings.tv_ttl_min


def episodes(log: HomeLog, name: str, minute: int, settings: Settings, skip: Skip) -> tuple[int, list[Episode]]:
    """The runs that begin at or after the one that ``minute`` is in, and from which date on they are all."""
    kind, ttl = KINDS[name], ttl_min(name, log, settings)
    first = _begin(log.cells, kind, minute, ttl)
    found: list[Episode] = []
    last_ok, run = log.cells.last(kind.ok, first - 1, ttl), list[int]()
    for at, bits in log.cells.seen(kind.bad | kind.ok, first, log.cells.newest):
        if bits & kind.ok:
            if run:
                _close(found, log.id, kind, run, last_ok, at, ttl)
                run = []
            last_ok = at
            continue
        explained = _is_misdated(log, at) or is_cut(log, at) if kind.plain else is_explained(log, at)
        if explained or skip(at):
            continue
        if run and at - run[-1] > ttl:  # nobody looked for so long: it may have gone on, or not
            _close(found, log.id, kind, run, last_ok, at, ttl, hidden=True)
            run, last_ok = [], -1
        run.append(at)
    _close(found, log.id, kind, run, last_ok, None, ttl)
    return first * MINUTE_MS, [e for e in found if e.start_ms >= first * MINUTE_MS]


def is_cut(log: HomeLog, minute: int) -> bool:
    """The home's line was out then: nothing of its services is their own."""
    start_ms, end_ms = (minute - 1) * MINUTE_MS, (minute + 2) * MINUTE_MS
    return any(
        outage.place in CUT_CLASSES and outage.start_ms < end_ms and (outage.end_ms is None or outage.end_ms > start_ms)
        for outage in log.stretches
    )


def _begin(cells: Cells, kind: Kind, minute: int, ttl: int) -> int:
    """The minute after the last good sample before this run, however long nobody looked in between."""
    last, is_good = cells.row(kind.bad | kind.ok, kind.ok, minute, max(ttl, APART_MIN))
    return last + 1 if is_good else max(0, last - ttl)


def _close(
    found: list[Episode],
    home: str,
    kind: Kind,
    run: list[int],
    last_ok: int,
    next_: int | None,
    ttl: int,
    *,
    hidden: bool = False,
) -> None:
    if len(run) < kind.least:
        return
    found.append(
        Episode(
            start_ms=run[0] * MINUTE_MS,
            home=home,
            end_ms=None if next_ is None else min(next_, run[-1] + ttl) * MINUTE_MS,
            known_ms=(run[kind.least - 1] + 1) * MINUTE_MS,
            well_ms=(run[0] if last_ok < 0 else last_ok) * MINUTE_MS,
            last_ms=run[-1] * MINUTE_MS,
            hidden=hidden,
        )
    )
