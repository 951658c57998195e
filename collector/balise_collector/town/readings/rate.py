"""What does a test that fills the line find in such a condition?"""

from __future__ import annotations

import random

from balise_agent.contract import Value
from balise_collector.town.condition import FAST_ETHERNET_BPS, Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.topology import Home

LABEL = "op.v4"
WIFI_BPS = 180_000_000
PAYLOAD = 0.949  # of Ethernet's bits, in full segments
PROVISIONED = 1.07  # lines are set a little above what is sold, so that the contract is reached in payload


def carried_bps(home: Home, condition: Condition, way: str) -> float:
    """What the way from the target's disk to the probe's socket carries."""
    contract = home.down_bps if way == "down" else home.up_bps
    line = contract * condition.rate * PROVISIONED
    link = FAST_ETHERNET_BPS * PAYLOAD if condition.fast_ethernet else 1e9 * PAYLOAD
    radio = WIFI_BPS * (1 - 0.85 * condition.wifi_weak) if home.on_wifi else 1e12
    return min(line * PAYLOAD, link, radio) * condition.target_rate


def throughput(home: Home, condition: Condition, rng: random.Random, shape: str) -> Said:
    """A light test (1 + 3 s each way) or a full one (3 + 10 s)."""
    seconds = 3 if shape == "light" else 10
    asked: dict[str, Value] = {"af": 4, "role": "operator", "shape": shape, "streams": 4}
    asked |= {"gate": "idle", "gate_by": "box", "cause": "plan"}
    if (reason := _no_test(condition)) is not None:
        return Said("throughput", LABEL, 30_000, asked, "failed", reason)
    asked |= {"duration_ms": seconds * 1_000, "discard_ms": 1_000 if shape == "light" else 3_000}
    asked |= {"limited_by": _limit(home, condition), "validity": _validity(home, condition)}
    for way in ("down", "up"):
        bps = int(carried_bps(home, condition, way) * rng.uniform(0.985, 1.0))
        asked |= {
            f"{way}_bps": bps,
            f"{way}_p5_bps": int(bps * 0.93),
            f"{way}_p95_bps": int(bps * 1.03),
            f"{way}_bytes": bps * seconds // 8,
            f"{way}_cc": "bbr",
            f"{way}_retrans_ratio": round(condition.loss + rng.uniform(0, 0.001), 6),
            f"{way}_min_rtt_us": home.rtt_us,
            f"{way}_counter": "segments",
        }
    return Said("throughput", LABEL, 30_000, asked)


def loaded(home: Home, condition: Condition, rng: random.Random) -> Said:
    """Round trips before and while cubic fills the line."""
    asked: dict[str, Value] = {"af": 4, "role": "operator", "gate": "idle", "gate_by": "box", "cause": "plan"}
    if (reason := _no_test(condition)) is not None:
        return Said("loaded", LABEL, 26_000, asked, "failed", reason)
    idle = home.rtt_us + condition.queue_us + rng.randrange(300)
    asked |= {"idle_p50_us": idle, "rpm_method": "stamp"}
    for way in ("down", "up"):
        delta = int(rng.uniform(4_000, 25_000) + condition.bloat_us * rng.uniform(0.85, 1.0))
        asked |= {
            f"{way}_loaded_p50_us": idle + delta,
            f"{way}_loaded_p95_us": int(idle + delta * 1.2),
            f"{way}_delta_us": delta,
            f"{way}_rpm": int(60_000_000 / (idle + delta * 0.97)),
            f"{way}_lost": int(rng.random() < 0.02 + condition.loss * 10),
            f"{way}_cc": "cubic",
        }
    return Said("loaded", LABEL, 26_000, asked)


def _no_test(condition: Condition) -> str | None:
    if not condition.has_box:
        return "no_route"
    if not condition.line or not condition.target:
        return "connect_timeout"
    return None if condition.dns else "resolve"


def _limit(home: Home, condition: Condition) -> str:
    if home.on_wifi and carried_bps(home, condition, "down") < home.down_bps * condition.rate * 0.9:
        return "wifi"
    if condition.fast_ethernet and home.down_bps > FAST_ETHERNET_BPS * 0.9:
        return "lan"
    return "loss" if condition.loss > 0.001 else "none"


def _validity(home: Home, condition: Condition) -> str:
    if home.on_wifi:
        return "probe_on_wifi"
    return "link_lt_contract" if condition.fast_ethernet and home.down_bps >= FAST_ETHERNET_BPS else "ok"
