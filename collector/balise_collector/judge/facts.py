"""What is each service of a home, when? From its minutes, its outages and the incidents that it is in.

A `Span` a state; no span overlaps another, none is missing between the two dates asked for.

Rule 1: nothing is ok without something fresh that says so: a sample holds for its TTL, in silence for two minutes.
Rule 2: what a home measured itself goes before what an incident says of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from balise_collector.judge import cells as c
from balise_collector.judge import clock
from balise_collector.judge.cells import MINUTE_MS
from balise_collector.judge.incidents import SERVICES as HIT
from balise_collector.judge.incidents import Incident, Spell
from balise_collector.judge.ladder import CUT_CLASSES
from balise_collector.judge.log import HomeLog
from balise_collector.judge.settings import Settings

Service = Literal["internet", "television", "telephone", "probe"]
SERVICES: tuple[Service, ...] = ("internet", "television", "telephone", "probe")
OK, DEGRADED, DOWN, UNKNOWN = 0, 1, 2, 3
STATES = ("ok", "degraded", "down", "unknown")
SILENT_MIN = 2
OUTAGE_MS = 86_400_000  # one that was not told of for a day is over, whatever its last word was
REGISTERED_MIN = 65  # a registrar's fault is dated to half the time between two registrations: before that none tells
LINK_TTL_MIN = 150  # the link is told of once an hour
CARRIED = {
    "internet": frozenset({"dns", "upstream"}) | CUT_CLASSES,
    "television": CUT_CLASSES,
    "telephone": CUT_CLASSES,
}


class Span(NamedTuple):
    """From one date up to another a service is in one state, for a reason."""

    start_ms: int
    end_ms: int
    state: int
    why: str = ""


Part = tuple[Spell, Incident]


def timeline(
    log: HomeLog, service: Service, from_ms: int, to_ms: int, parts: Sequence[Part], settings: Settings
) -> list[Span]:
    """All of it between two dates."""
    spans = _base(log, service, from_ms, to_ms, settings)
    if service == "probe":
        return _merged(spans)
    for spell, incident in parts:
        if service in HIT[incident.kind] and incident.opened_ms <= to_ms:
            there = _there(log, incident, from_ms, to_ms, settings)
            dark = incident.kind == "line" and _was_dark(log, spell, to_ms)
            part = _until_well(log, spell, incident, to_ms)
            spans = _paint(spans, part, incident, service, there, dark=dark)
    for outage in log.stretches:
        if outage.place in CARRIED[service] and outage.start_ms < to_ms:
            end_ms = _end(log, outage.start_ms, outage.end_ms, to_ms)
            if end_ms > from_ms:
                spans = over(spans, Span(outage.start_ms, end_ms, DOWN, f"outage {outage.place}"))
    return _merged(spans)


def _there(log: HomeLog, incident: Incident, from_ms: int, to_ms: int, settings: Settings) -> list[Span]:
    """When an incident may speak for the home: in a shared silence always, else while its probe was there."""
    if incident.kind == "line":
        return [Span(from_ms, to_ms, OK)]
    return [span for span in _base(log, "probe", from_ms, to_ms, settings) if span.state != UNKNOWN]


def _is_there(log: HomeLog, now_ms: int, settings: Settings) -> bool:
    minute = log.cells.last(c.ALIVE, now_ms // MINUTE_MS, settings.probe_ttl_min + 1)
    return minute >= 0 and _held(log, minute, settings.probe_ttl_min) > now_ms


def _until_well(log: HomeLog, spell: Spell, incident: Incident, to_ms: int) -> Spell:
    """A home whose own line is up again, or that has registered again, is out of it, whatever others have."""
    if incident.kind == "line":
        last_ms = _last_ms(spell, to_ms)
        end_ms = _end(log, spell.start_ms, None, last_ms)
        return spell if end_ms + SILENT_MIN * MINUTE_MS >= last_ms else replace(spell, end_ms=end_ms)
    if incident.what != "registrar":
        return spell
    first, last = spell.start_ms // MINUTE_MS + REGISTERED_MIN, _last_ms(spell, to_ms) // MINUTE_MS
    well = log.cells.next(c.TEL_OK, first, last - first) if last > first else -1
    return spell if well < 0 else replace(spell, end_ms=well * MINUTE_MS)


def _last_ms(spell: Spell, to_ms: int) -> int:
    """Up to when it lasts, as far as is asked for."""
    return to_ms if spell.end_ms is None else min(spell.end_ms, to_ms)


def _was_dark(log: HomeLog, spell: Spell, to_ms: int) -> bool:
    """Its probe measured nothing while it lasted: what is still believed is older."""
    first, last = spell.start_ms // MINUTE_MS + 1, _last_ms(spell, to_ms) // MINUTE_MS
    return last > first and log.cells.next(c.ALIVE, first, last - first) < 0


def _gives_way(incident: Incident, state: int, *, dark: bool) -> frozenset[int]:
    """Over which states of a home's own its incident's goes."""
    if incident.kind == "line" and not dark:  # who measured something meanwhile knows better
        return frozenset({UNKNOWN})
    return frozenset({OK, UNKNOWN}) if state == DEGRADED else frozenset({OK, UNKNOWN, DEGRADED})


def _paint(
    spans: list[Span], spell: Spell, incident: Incident, service: Service, there: Sequence[Span], *, dark: bool
) -> list[Span]:
    state = state_of(incident, service)
    worse = _gives_way(incident, state, dark=dark)
    for when in there:
        start_ms, end_ms = max(spell.start_ms, when.start_ms), _last_ms(spell, when.end_ms)
        if start_ms < end_ms:
            spans = over(spans, Span(start_ms, end_ms, state, incident.key), worse)
    return spans


def state_of(incident: Incident, service: Service) -> int:
    """What a home in it has."""
    if incident.kind in ("loss", "slow"):
        return DEGRADED
    if incident.kind == "tv" and incident.channels:
        return DEGRADED
    if incident.kind == "telephone" and incident.what == "voice":
        return DEGRADED
    del service
    return DOWN


def _end(log: HomeLog, start_ms: int, end_ms: int | None, to_ms: int) -> int:
    """Of an outage that was never told to have ended: until its probe says that the line is up."""
    if end_ms is not None:
        return end_ms
    up = next(log.cells.seen(c.LINE_UP, start_ms // MINUTE_MS + 2, to_ms // MINUTE_MS), None)
    return to_ms if up is None else up[0] * MINUTE_MS


# -- what the home's own minutes say


def _base(log: HomeLog, service: Service, from_ms: int, to_ms: int, settings: Settings) -> list[Span]:
    """Each sample holds until the next, for its TTL, or until the probe fell silent."""
    ttl, found = _ttl(log, service, settings), list[Span]()
    begin_ms = at = state = -1
    for minute, seen in log.cells.seen(_bits(service), from_ms // MINUTE_MS - ttl, to_ms // MINUTE_MS):
        now = _state(service, seen)
        if now is None:
            continue
        if at >= 0 and now == state and minute - at <= SILENT_MIN:
            at = minute
            continue
        if at >= 0:
            end_ms = min(_held(log, at, ttl), minute * MINUTE_MS)
            found.append(Span(begin_ms, end_ms, state, "measured"))
        begin_ms, at, state = minute * MINUTE_MS, minute, now
    if at >= 0:
        found.append(Span(begin_ms, _held(log, at, ttl), state, "measured"))
    spans = _filled(found, from_ms, to_ms)
    return _impaired(log, spans, from_ms, to_ms) if service == "probe" and log.impaired else spans


def _held(log: HomeLog, minute: int, ttl: int) -> int:
    """Until when a sample of that minute is believed."""
    return _until_silent(log, minute * MINUTE_MS, (minute + ttl + 1) * MINUTE_MS)


def _filled(spans: Sequence[Span], from_ms: int, to_ms: int) -> list[Span]:
    """What no sample tells of is unknown."""
    found: list[Span] = []
    at = from_ms
    for span in spans:
        start, end = max(span.start_ms, at), min(span.end_ms, to_ms)
        if start >= end:
            continue
        if start > at:
            found.append(Span(at, start, UNKNOWN, "silence"))
        found.append(span._replace(start_ms=start, end_ms=end))
        at = end
    if at < to_ms:
        found.append(Span(at, to_ms, UNKNOWN, "silence"))
    return found


def now(log: HomeLog, now_ms: int, parts: Sequence[Part], settings: Settings) -> list[tuple[int, str]]:
    """Each service's state at that date and why: the ends of their timelines without the rest of them. ``parts``: those
    of then."""
    broken, speaking = _broken(log, now_ms), _speaking(log, now_ms, parts, settings)
    found = []
    for service in SERVICES:
        state, why = _measured(log, service, now_ms, settings)
        if service == "probe":
            found.append(_impaired_now(log, now_ms, state, why) if log.impaired else (state, why))
            continue
        for incident, dark in speaking:
            if service in HIT[incident.kind]:
                told = state_of(incident, service)
                if state in _gives_way(incident, told, dark=dark):
                    state, why = told, incident.key
        place = next((place for place in broken if place in CARRIED[service]), None)
        found.append((state, why) if place is None else (DOWN, f"outage {place}"))
    return found


def _measured(log: HomeLog, service: Service, now_ms: int, settings: Settings) -> tuple[int, str]:
    ttl = _ttl(log, service, settings)
    minute = _last(log, service, now_ms // MINUTE_MS, ttl + 1)
    if minute >= 0 and _held(log, minute, ttl) > now_ms:
        seen = _state(service, log.cells.at(minute))
        if seen is not None:
            return seen, "measured"
    return UNKNOWN, "silence"


def _speaking(log: HomeLog, now_ms: int, parts: Sequence[Part], settings: Settings) -> list[tuple[Incident, bool]]:
    """The incidents that may speak for the home then, and whether its probe was dark through them."""
    opened = [part for part in parts if part[1].opened_ms <= now_ms and HIT[part[1].kind]]
    there = any(incident.kind != "line" for _, incident in opened) and _is_there(log, now_ms, settings)
    found = []
    for spell, incident in opened:
        until_ms = _until_well(log, spell, incident, now_ms).end_ms
        if (there or incident.kind == "line") and (until_ms is None or until_ms > now_ms):
            found.append((incident, incident.kind == "line" and _was_dark(log, spell, now_ms)))
    return found


def _broken(log: HomeLog, now_ms: int) -> list[str]:
    """Where its line is broken then by its own account, the latest first."""
    if log.out_until_ms <= now_ms or log.last_outage_ms <= now_ms - OUTAGE_MS:
        return []
    begun = [outage for outage in reversed(log.stretches) if outage.start_ms <= now_ms]
    return [o.place for o in begun if _end(log, o.start_ms, o.end_ms, now_ms + 1) > now_ms]


def _last(log: HomeLog, service: Service, minute: int, within: int) -> int:
    """The minute of its last sample; of what is sampled now and then the log knows it without looking."""
    if service in ("television", "telephone"):
        last = log.last_tv if service == "television" else log.last_telephone
        if last <= minute:
            return last if last > minute - within else -1
    return log.cells.last(_bits(service), minute, within)


def _ttl(log: HomeLog, service: Service, settings: Settings) -> int:
    if service == "internet":
        return settings.internet_ttl_min
    if service == "probe":
        return settings.probe_ttl_min
    if service == "telephone":
        return settings.telephone_ttl_min
    slow = 0 < log.site.down_bps <= settings.slow_contract_bps
    return settings.tv_slow_ttl_min if slow else settings.tv_ttl_min


def _bits(service: Service) -> int:
    if service == "internet":
        return c.REACHED | c.LINE_UP | c.LINE_DOWN
    if service == "probe":
        return c.ALIVE
    return c.TV_OK if service == "television" else c.TEL_OK


def _state(service: Service, bits: int) -> int | None:
    """Of one minute; None: it says nothing."""
    if service != "internet":
        return OK
    if bits & (c.LINE_UP | c.OUT_OK):
        return OK
    if bits & (c.LINE_DOWN | c.OUT_LOST):
        return DOWN
    return OK if bits & c.OP_OK else None


def _until_silent(log: HomeLog, start_ms: int, end_ms: int) -> int:
    """A sample is not believed for long once the probe's session is lost."""
    sessions = log.sessions
    if not sessions:
        return end_ms
    at = bisect_right(sessions, (start_ms, True)) - 1
    if at >= 0 and not sessions[at][1]:
        return min(end_ms, start_ms + SILENT_MIN * MINUTE_MS)
    while (at := at + 1) < len(sessions) and sessions[at][0] < end_ms:
        if not sessions[at][1]:  # an opening before it takes nothing from a loss
            return max(sessions[at][0], start_ms + MINUTE_MS)
    return end_ms


IMPAIRED = (
    ("cable", c.LINK_BAD, c.LINK_OK, LINK_TTL_MIN),
    ("wifi", c.RADIO_BAD, c.RADIO_OK, LINK_TTL_MIN),
)
"""What a probe that works may still suffer from, beside a wrong clock."""


def _impaired_now(log: HomeLog, now_ms: int, state: int, why: str) -> tuple[int, str]:
    minute = now_ms // MINUTE_MS
    if clock.is_wrong(log, now_ms):
        return DEGRADED, "clock"
    if state != OK:
        return state, why
    for why, bad, ok, ttl in IMPAIRED:
        last = log.cells.last(bad | ok, minute, ttl)
        if last >= 0 and log.cells.at(last) & bad:
            return DEGRADED, why
    return OK, "measured"


def _impaired(log: HomeLog, spans: list[Span], from_ms: int, to_ms: int) -> list[Span]:
    """A probe that works, on a cable or a radio that does not do, or with a clock that puts its records elsewhere."""
    first, last = from_ms // MINUTE_MS - LINK_TTL_MIN, to_ms // MINUTE_MS
    for why, bad, ok, ttl in IMPAIRED:
        samples = list(log.cells.seen(bad | ok, first, last))
        for number, (minute, bits) in enumerate(samples):
            if bits & bad:
                end = minute + ttl
                if number + 1 < len(samples):
                    end = min(end, samples[number + 1][0])
                span = Span(minute * MINUTE_MS, end * MINUTE_MS, DEGRADED, why)
                spans = over(spans, span, frozenset({OK}))
    for start_ms, end_ms in clock.spells(log):
        spans = over(spans, Span(start_ms, end_ms, DEGRADED, "clock"), frozenset({OK, UNKNOWN}))
    return spans


# -- laying spans over each other


def over(spans: Sequence[Span], new: Span, where: frozenset[int] | None = None) -> list[Span]:
    """``new`` lies over what is in one of these states; None: over everything."""
    found: list[Span] = []
    for span in spans:
        start, end = max(span.start_ms, new.start_ms), min(span.end_ms, new.end_ms)
        if start >= end or (where is not None and span.state not in where):
            found.append(span)
            continue
        if span.start_ms < start:
            found.append(span._replace(end_ms=start))
        found.append(new._replace(start_ms=start, end_ms=end))
        if end < span.end_ms:
            found.append(span._replace(start_ms=end))
    return found


def _merged(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for span in spans:
        if span.start_ms >= span.end_ms:
            continue
        if found and found[-1].state == span.state and found[-1].why == span.why:
            found[-1] = found[-1]._replace(end_ms=span.end_ms)
        else:
            found.append(span)
    return found
