"""What is each service of a home, when? From its minutes, its outages and the incidents that it is in.

A `Span` a state; no span overlaps another, none is missing between the two dates asked for.

Rule 1: nothing is ok without something fresh that says so: a sample holds for its TTL, in silence for two minutes.
Rule 2: what a home measured itself goes before what an incident says of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from balise_collector.judge import cells as c
from balise_collector.judge.cells import DAY_MIN, MINUTE_MS
from balise_collector.judge.incidents import Incident, Spell
from balise_collector.judge.log import CUT_CLASSES, HomeLog
from balise_collector.judge.settings import Settings

Service = Literal["internet", "television", "telephone", "probe"]
SERVICES: tuple[Service, ...] = ("internet", "television", "telephone", "probe")
OK, DEGRADED, DOWN, UNKNOWN = 0, 1, 2, 3
STATES = ("ok", "degraded", "down", "unknown")
SILENT_MIN = 2
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
        if service in _hit(incident) and incident.opened_ms <= to_ms:
            spans = _paint(spans, spell, incident, service, to_ms)
    for outage in log.outage_list():
        if outage.place in CARRIED[service] and outage.start_ms < to_ms:
            end_ms = _end(log, outage.start_ms, outage.end_ms, to_ms)
            if end_ms > from_ms:
                spans = over(spans, Span(outage.start_ms, end_ms, DOWN, f"outage {outage.place}"))
    return _merged(spans)


def _hit(incident: Incident) -> tuple[str, ...]:
    from balise_collector.judge.incidents import SERVICES as HIT

    return HIT[incident.kind]


def _paint(spans: list[Span], spell: Spell, incident: Incident, service: Service, to_ms: int) -> list[Span]:
    end_ms = to_ms if spell.end_ms is None else spell.end_ms
    state = state_of(incident, service)
    if incident.kind == "line":  # who measured something meanwhile knows better
        return over(spans, Span(spell.start_ms, end_ms, state, incident.id), frozenset({UNKNOWN}))
    worse = frozenset({OK, UNKNOWN, DEGRADED}) if state == DOWN else frozenset({OK})
    return over(spans, Span(spell.start_ms, end_ms, state, incident.id), worse)


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
    first = start_ms // MINUTE_MS + 2
    for minute in range(first, min(log.cells.newest, to_ms // MINUTE_MS) + 1):
        if log.cells.at(minute) & c.LINE_UP:
            return minute * MINUTE_MS
    return to_ms


# -- what the home's own minutes say


def _base(log: HomeLog, service: Service, from_ms: int, to_ms: int, settings: Settings) -> list[Span]:
    ttl = _ttl(log, service, settings)
    bits = _bits(service)
    spans = [Span(from_ms, to_ms, UNKNOWN, "silence")]
    samples = list(_samples(log, bits, from_ms // MINUTE_MS - ttl, to_ms // MINUTE_MS))
    for number, (minute, seen) in enumerate(samples):
        state = _state(service, seen)
        if state is None:
            continue
        start = minute * MINUTE_MS
        end = (minute + ttl + 1) * MINUTE_MS
        if number + 1 < len(samples):
            end = min(end, samples[number + 1][0] * MINUTE_MS)
        end = _until_silent(log, start, end)
        if end > from_ms and start < to_ms:
            _append(spans, Span(max(start, from_ms), min(end, to_ms), state, "measured"))
    return _impaired(log, spans, from_ms, to_ms) if service == "probe" else spans


def _append(spans: list[Span], span: Span) -> None:
    """Samples come in order: the last span is what is open."""
    last = spans.pop()
    start = max(span.start_ms, last.start_ms)
    if start > last.start_ms:
        before = spans[-1] if spans else None
        if before is not None and before.state == last.state and before.end_ms == last.start_ms:
            spans[-1] = before._replace(end_ms=start)
        else:
            spans.append(last._replace(end_ms=start))
    before = spans[-1] if spans else None
    if before is not None and before.state == span.state and before.end_ms == start:
        spans[-1] = before._replace(end_ms=span.end_ms)
    else:
        spans.append(span._replace(start_ms=start))
    spans.append(Span(span.end_ms, last.end_ms, UNKNOWN, "silence"))


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


def _samples(log: HomeLog, bits: int, first: int, last: int) -> Iterable[tuple[int, int]]:
    pages = log.cells.pages
    for day in range(max(0, first) // DAY_MIN, last // DAY_MIN + 1):
        page = pages.get(day)
        if page is None:
            continue
        base = day * DAY_MIN
        for at in range(max(0, first - base), min(DAY_MIN, last - base + 1)):
            if page[at] & bits:
                yield base + at, page[at]


def _until_silent(log: HomeLog, start_ms: int, end_ms: int) -> int:
    """A sample is not believed for long once the probe's session is lost."""
    sessions = log.sessions
    if not sessions:
        return end_ms
    at = bisect_right(sessions, (start_ms, True)) - 1
    if at >= 0 and not sessions[at][1]:
        return min(end_ms, start_ms + SILENT_MIN * MINUTE_MS)
    if at + 1 < len(sessions):
        lost_ms, online = sessions[at + 1]
        if not online and lost_ms < end_ms:
            return max(min(end_ms, lost_ms), start_ms + MINUTE_MS)
    return end_ms


def _impaired(log: HomeLog, spans: list[Span], from_ms: int, to_ms: int) -> list[Span]:
    """A probe that works, on a cable or a radio that does not do."""
    first, last = from_ms // MINUTE_MS - LINK_TTL_MIN, to_ms // MINUTE_MS
    kinds = (
        ("cable", c.LINK_BAD, c.LINK_OK, LINK_TTL_MIN),
        ("wifi", c.RADIO_BAD, c.RADIO_OK, LINK_TTL_MIN),
        ("clock", c.CLOCK_BAD, 0, 5),
    )
    for why, bad, ok, ttl in kinds:
        samples = list(_samples(log, bad | ok, first, last))
        for number, (minute, bits) in enumerate(samples):
            if bits & bad:
                end = minute + ttl
                if number + 1 < len(samples):
                    end = min(end, samples[number + 1][0])
                span = Span(minute * MINUTE_MS, end * MINUTE_MS, DEGRADED, why)
                spans = over(spans, span, frozenset({OK}))
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
