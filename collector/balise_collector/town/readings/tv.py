"""What does a sample of a channel find in such a condition?"""

from __future__ import annotations

import random

from balise_agent.contract import Value
from balise_collector.town.faults import Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.topology import Home

LISTEN_S = 10.0
DATAGRAMS = 7_600  # of 10 s at 8 Mbit/s, seven packets of 188 bytes each


def sample(home: Home, condition: Condition, channel: str, rng: random.Random) -> list[Said]:
    """A join and ten seconds of listening."""
    asked: dict[str, Value] = {"encap": "udp", "access": "wifi" if home.on_wifi else "ethernet"}
    if not condition.has_box:
        return [Said("tv_zap", channel, 35_000, asked, "failed", "no_route")]
    if not condition.line or not condition.multicast:
        return [Said("tv_zap", channel, 35_000, asked | {"ok": False}, "failed", "no_signal")]
    return [_zap(condition, channel, asked, rng), _window(condition, channel, asked, rng)]


def _zap(condition: Condition, channel: str, asked: dict[str, Value], rng: random.Random) -> Said:
    network = round(rng.uniform(8, 60) + condition.queue_us / 1_000, 2)
    times = {"zap_network_ms": network, "zap_pat_ms": round(network + rng.uniform(5, 90), 2)}
    times |= {"zap_pmt_ms": round(network + rng.uniform(20, 110), 2)}
    times |= {"zap_rap_ms": round(network + rng.uniform(150, 1_800), 2), "leave_ms": round(rng.uniform(20, 900), 2)}
    return Said("tv_zap", channel, 35_000, asked | times | {"ok": True})


def _window(condition: Condition, channel: str, asked: dict[str, Value], rng: random.Random) -> Said:
    is_bad = channel in condition.bad_channels
    share = 1 - (1 - condition.loss) * (1 - (rng.uniform(0.01, 0.08) if is_bad else 0.0)) * (
        1 - condition.wifi_weak * 0.03
    )
    lost = int(DATAGRAMS * share)
    bad_s = min(LISTEN_S, float(lost)) if lost < 10 else LISTEN_S
    fields: dict[str, Value] = {
        "listened_s": LISTEN_S,
        "valid": True,
        "es_ratio": round(bad_s / LISTEN_S, 3),
        "net_lost_datagrams": lost,
        "loss_ratio": round(lost / DATAGRAMS, 6),
        "loss_events": min(lost, 40),
        "cc_err": min(lost, 60),
        "iat_max_ms": round(rng.uniform(3, 20), 2),
    }
    return Said("tv_window", channel, 24_000, asked | fields)
