"""What does a probe say when something happens, or once an hour or a day?"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter

from balise_agent.contract import Value
from balise_collector.town import calendar, plan, spans
from balise_collector.town.condition import FAST_ETHERNET_BPS, Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.timeline import MICROCUT_MS, OUTAGE_MS, Cut, Timeline

HOUR_MS = calendar.HOUR_MS
_EVIDENCE = {
    "lan.link": "link=no",
    "home.box_or_lan": "link=yes gateway=no isp=no operator=no anycast=no",
    "access.line": "link=yes gateway=yes isp=no operator=no anycast=no",
    "operator.core": "link=yes gateway=yes isp=yes operator=no anycast=no",
    "upstream": "link=yes gateway=yes isp=yes operator=yes anycast=no web=no",
    "dns": "link=yes gateway=yes isp=yes operator=yes anycast=yes dns=no",
    "operator.server": "link=yes gateway=yes isp=yes operator=no anycast=yes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A record with its date."""

    ts_ms: int
    measurement: str
    target: str
    fields: dict[str, Value]


def of(line: Timeline, bounds: spans.Span) -> list[Event]:
    """What happens to a probe over the run, in order of time."""
    found = [*_outages(line, bounds), *_starts(line, bounds), *_links(line)]
    return sorted(found, key=attrgetter("ts_ms"))


def _outages(line: Timeline, bounds: spans.Span) -> Iterator[Event]:
    for cut in line.cuts:
        told: dict[str, Value] = {"id": f"{line.home.number}.{cut.start_ms}", "class": cut.places[0]}
        told |= {"course": ">".join(cut.places), "evidence": _EVIDENCE[cut.places[0]], "start_ms": cut.start_ms}
        down_ms = cut.end_ms - cut.start_ms - cut.unwatched_ms
        known_ms = cut.start_ms + OUTAGE_MS + 1_000
        if down_ms >= OUTAGE_MS and known_ms < cut.end_ms and spans.covers(line.watched, known_ms):
            yield Event(
                ts_ms=known_ms,
                measurement="outage",
                target="",
                fields=told | {"state": "open", "kind": "outage", "down_s": 31.0, "unknown_s": 0.0, "restarts": 0},
            )
        if cut.end_ms < bounds[1]:
            yield Event(ts_ms=cut.end_ms + 1_500, measurement="outage", target="", fields=told | _ended(cut, down_ms))


def _ended(cut: Cut, down_ms: int) -> dict[str, Value]:
    return {
        "state": "ended",
        "kind": "outage" if down_ms >= OUTAGE_MS else "microcut",
        "dur_s": (cut.end_ms - cut.start_ms) / 1_000,
        "down_s": down_ms / 1_000,
        "unknown_s": cut.unwatched_ms / 1_000,
        "restarts": cut.restarts,
        "end_ms": cut.end_ms,
    }


def _starts(line: Timeline, bounds: spans.Span) -> Iterator[Event]:
    for run in line.runs:
        if run.start_ms > bounds[0]:
            fields: dict[str, Value] = {"version": "0.1.0"}
            yield Event(ts_ms=run.start_ms + 100, measurement="agent_event", target="started", fields=fields)
        if run.clean and run.end_ms < bounds[1]:
            yield Event(ts_ms=run.end_ms - 100, measurement="agent_event", target="stopped", fields={})


def _links(line: Timeline) -> Iterator[Event]:
    """The link is told when carrier or speed change, as far as an agent sees it."""
    before = line.stretches[0].condition
    for stretch in line.stretches[1:]:
        now = stretch.condition
        changed = (now.has_box, now.fast_ethernet) != (before.has_box, before.fast_ethernet)
        if changed and spans.covers(line.watched, stretch.start_ms + 2_000):
            said = link(now, 0)
            yield Event(ts_ms=stretch.start_ms + 2_000, measurement="link", target="", fields=said.fields)
        before = now


def link(condition: Condition, before_ms: int) -> Said:
    """The probe's own link."""
    fields: dict[str, Value] = {"carrier": condition.has_box, "errors": 0}
    if condition.has_box:
        speed = FAST_ETHERNET_BPS if condition.fast_ethernet else 1_000_000_000
        fields |= {"speed_bps": speed, "duplex": "full"}
    return Said("link", "", before_ms, fields)


def box(condition: Condition) -> Said:
    """What the box says of its own way out."""
    if not (condition.has_box and condition.box):
        return Said("box", "", 8_000, {"via": "upnp"}, "failed", "timeout")
    works = condition.light and condition.core
    return Said(
        "box",
        "",
        8_000,
        {
            "via": "upnp",
            "wan_status": "connected" if works else "connecting",
            "link_up": condition.light,
            "counters": "good",
        },
    )


def wifi(condition: Condition, rng: random.Random) -> Said:
    """The probe's own radio, where it has no cable."""
    weak = condition.wifi_weak
    fields: dict[str, Value] = {
        "rssi_dbm": int(-52 - 34 * weak + rng.uniform(-3, 3)),
        "tx_bitrate_bps": int(300_000_000 * (1 - 0.85 * weak)),
        "rx_bitrate_bps": int(400_000_000 * (1 - 0.85 * weak)),
        "freq_mhz": 5_180,
        "tx_packets": rng.randrange(900, 1_500),
        "retries": int(60 + 700 * weak),
        "tx_failed": int(40 * weak),
    }
    return Said("wifi", "", 9_000, fields)


def hourly(line: Timeline, day: plan.Day, end_ms: int) -> list[Said]:
    """Of the hour that is over; after a civil day's end, of the day."""
    hour = end_ms // HOUR_MS - 1
    span = [(hour * HOUR_MS, (hour + 1) * HOUR_MS)]
    low = bisect_left(line.watched, (span[0][0] - 31 * calendar.DAY_MS, 0))
    seen = spans.cut(line.watched[low:], span)
    down = {"outage": 0.0, "microcut": 0.0}
    first = bisect_right(line.cuts, span[0][1], key=attrgetter("start_ms"))
    for cut in line.cuts[max(0, first - 8) : first]:
        if cut.places != ("operator.server",):
            length = cut.end_ms - cut.start_ms - cut.unwatched_ms
            kind = "outage" if length >= OUTAGE_MS else "microcut"
            down[kind] += spans.length(spans.cut(seen, [(cut.start_ms, cut.end_ms)])) / 1_000
    fields: dict[str, Value] = {"hour": hour, "observed_s": spans.length(seen) / 1_000}
    fields |= {"down_s": down["outage"], "microcut_s": down["microcut"]}
    found = [Said("avail", "", 300, fields)]
    if calendar.ordinal(end_ms) != calendar.ordinal(end_ms - HOUR_MS):
        found += _daily(line, day, end_ms)
    return found


def _daily(line: Timeline, day: plan.Day, end_ms: int) -> list[Said]:
    ordinal = calendar.ordinal(end_ms - HOUR_MS)
    ran = day.planned - day.skipped if day.ordinal == ordinal else 0
    counts: dict[str, Value] = {"day": ordinal - 719_163, "planned": ran + day.skipped, "on_demand": 0, "run": ran}
    counts |= {"aborted": 0, "skipped": day.skipped, "skipped_line_busy": day.skipped}
    router = random.Random(f"path/{line.home.olt}").getrandbits(32)
    path: dict[str, Value] = {"af": 4, "hops": 7, "isp1_hop": 2, "isp1_ip_hash": f"{router:08x}", "changed": False}
    said = [Said("heavy_day", "throughput", 250, counts)]
    if line.stretches[line.index(end_ms - 1)].condition.line:
        said.append(Said("path", "", 200, path))
    return said


def waited_minutes(line: Timeline, at_ms: int) -> int:
    """For how long nothing has reached the collector."""
    index = bisect_right(line.open, (at_ms, 2**62)) - 1
    if index < 0:
        return 0
    return max(0, at_ms - line.open[index][1]) // calendar.MINUTE_MS


def text(condition: Condition) -> str:
    """The same in each process: what a set's order or a hash could change is sorted."""
    values = (getattr(condition, f.name) for f in fields(condition))
    return ";".join(",".join(sorted(v)) if isinstance(v, frozenset) else str(v) for v in values)


__all__ = ["MICROCUT_MS", "Event", "box", "hourly", "link", "of", "text", "waited_minutes", "wifi"]
