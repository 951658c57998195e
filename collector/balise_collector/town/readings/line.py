"""What do echoes, names and pages meet in such a condition?"""

from __future__ import annotations

import random
from collections.abc import Sequence

from balise_agent.contract import Value
from balise_collector.town.condition import Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.timeline import place
from balise_collector.town.topology import Home

WINDOW_S = 60.0
RUNGS = (("op", 1.5, "stamp", 8), ("gw", 10.0, "icmp", 16), ("isp1", 10.0, "icmp", 24), ("any1", 10.0, "icmp", 32))
"""Label, seconds between echoes, method, ms before the end of the minute."""

ANY_US = 9_000  # beyond the operator
NOISE_LOSS = 2e-4
WEAK_LOSS = 0.08  # what the weakest radio loses

Parts = Sequence[tuple[Condition, float]]
"""Conditions of a window in their order, and how many seconds each lasted."""


def answers(label: str, condition: Condition) -> bool:
    """Whether a rung can."""
    if label == "gw":
        return condition.has_box and condition.box
    if not condition.line:
        return False
    if label == "op":
        return condition.target
    return condition.upstream if label.startswith("any") else True


def loss(label: str, condition: Condition) -> float:
    """Of echoes that a rung could answer."""
    radio = condition.wifi_weak * WEAK_LOSS + NOISE_LOSS
    return radio if label == "gw" else min(1.0, radio + condition.loss)


def reach(home: Home, parts: Parts, rng: random.Random) -> list[Said]:
    """A window of each rung. ``sent`` follows the seconds that were watched."""
    return [_rung(home, parts, rng, *rung) for rung in RUNGS]


def _rung(
    home: Home, parts: Parts, rng: random.Random, label: str, every_s: float, method: str, before_ms: int
) -> Said:
    lost_echoes: list[bool] = []
    condition = parts[-1][0]
    for part, seconds in parts:
        count = max(1, round(seconds / every_s))
        fine, chance = answers(label, part), loss(label, part)
        lost_echoes += [not fine or rng.random() < chance for _ in range(count)]
        condition = part if fine else condition
    window_s = round(sum(seconds for _, seconds in parts) + rng.uniform(-0.02, 0.02), 3)
    sent, lost = len(lost_echoes), sum(lost_echoes)
    fields: dict[str, Value] = {"method": method, "af": 4, "window_s": max(0.1, window_s), "sent": sent, "lost": lost}
    fields["burst_max"] = _longest(lost_echoes)
    if lost == sent:
        no_way = label != "gw" and not parts[-1][0].has_box
        return Said("reach", label, before_ms, fields, "failed", "no_route" if no_way else "no_answer")
    fields |= _round_trips(home, condition, label, sent - lost, rng)
    if method == "stamp":
        up = sum(rng.random() < 0.5 for _ in range(lost))
        fields |= {"fwd_lost": up, "rev_lost": lost - up}
    return Said("reach", label, before_ms, fields)


def _round_trips(home: Home, condition: Condition, label: str, count: int, rng: random.Random) -> dict[str, Value]:
    base = {"gw": 350, "isp1": home.rtt_us - 900, "op": home.rtt_us}.get(label, home.rtt_us + ANY_US)
    if home.on_wifi:
        base += 1_800 + int(condition.wifi_weak * 20_000)
    if label != "gw":
        base += condition.queue_us
    spread = rng.uniform(60, 400) + condition.wifi_weak * 8_000 + condition.queue_us * 0.2
    p50 = int(base + rng.uniform(0, spread))
    return {
        "min_us": max(80, int(base - spread * 0.3)),
        "p50_us": p50,
        "p95_us": int(p50 + spread),
        "p99_us": int(p50 + spread * 1.7),
        "jitter_us": int(spread * 0.4),
        "kernel_stamped": count,
    }


def _longest(lost: Sequence[bool]) -> int:
    longest = run = 0
    for is_lost in lost:
        run = run + 1 if is_lost else 0
        longest = max(longest, run)
    return longest


def alive(condition: Condition, boot: str, before_ms: int = 500) -> Said:
    """The mark of a minute; an outage that began in the last seconds is not told yet by anybody."""
    where = place(condition)
    fields: dict[str, Value] = {"boot": boot, "state": "up" if where in (None, "operator.server") else "down"}
    return Said("alive", "", before_ms, fields if where is None else fields | {"class": where})


def dns(home: Home, condition: Condition, rng: random.Random) -> list[Said]:
    """The box's resolver asks the operator's: a fixed name and a random one."""
    return [_question(home, condition, rng, kind, n) for n, kind in enumerate(("cached", "unique"))]


def _question(home: Home, condition: Condition, rng: random.Random, kind: str, number: int) -> Said:
    target, before_ms = ("box", "box.unique")[number], 20_000 + 700 * number
    asked: dict[str, Value] = {"af": 4, "name_kind": kind}
    if not condition.has_box:
        return Said("dns", target, before_ms, asked, "failed", "no_route")
    if not (condition.box and condition.line):
        return Said("dns", target, before_ms, asked, "failed", "timeout")
    if not condition.dns:
        return Said("dns", target, before_ms, asked | {"rcode": 2}, "failed", "servfail")
    if rng.random() < loss("op", condition) ** 2:  # asked again once
        return Said("dns", target, before_ms, asked, "failed", "timeout")
    far_us = (home.rtt_us + condition.queue_us) * (0.1 if kind == "cached" else 1.2)
    query_ms = round(0.6 + far_us / 1_000 + rng.expovariate(0.5), 3)
    fine: dict[str, Value] = {"query_ms": query_ms, "tc": False}
    fine |= {"rcode": 0, "answers": 1} if kind == "cached" else {"rcode": 3, "answers": 0}
    return Said("dns", target, before_ms, asked | fine)


def web(home: Home, condition: Condition, rng: random.Random) -> list[Said]:
    """A page of ours and one beyond the operator, both by name."""
    return [
        _page(home, condition, rng, "target", condition.target, 15_000, 0),
        _page(home, condition, rng, "public", condition.upstream, 12_000, ANY_US),
    ]


def _page(
    home: Home, condition: Condition, rng: random.Random, label: str, is_there: bool, before_ms: int, far_us: int
) -> Said:
    asked: dict[str, Value] = {"af": 4}
    if not condition.has_box:
        return Said("web", label, before_ms, asked, "failed", "no_route")
    if not (condition.line and condition.dns):
        return Said("web", label, before_ms, asked, "failed", "resolve")
    if not is_there:
        return Said("web", label, before_ms, asked, "failed", "connect_timeout")
    trip_ms = (home.rtt_us + far_us + condition.queue_us) / 1_000
    again_ms = 200.0 if rng.random() < 6 * loss("op", condition) else 0.0
    parts = {
        "dns_ms": round(0.8 + rng.expovariate(0.5), 3),
        "connect_ms": round(trip_ms + rng.uniform(0, 1), 3),
        "tls_ms": round(2 * trip_ms + rng.uniform(1, 4), 3),
        "ttfb_ms": round(trip_ms + again_ms + rng.uniform(1, 8), 3),
    }
    body = 1_024 if label == "target" else 12_000
    total = round(sum(parts.values()) + body * 8_000 / (home.down_bps * condition.rate), 3)
    return Said("web", label, before_ms, asked | parts | {"total_ms": total, "status": 200, "bytes": body})
