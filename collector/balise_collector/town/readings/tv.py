"""What does a sample of a channel find in such a condition?"""

from __future__ import annotations

import random

from balise_agent.contract import Value
from balise_collector.town.condition import Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.topology import Home

LISTEN_S = 10.0
DATAGRAMS = 7_600  # of 10 s at 8 Mbit/s, seven packets of 188 bytes each
SECOND = DATAGRAMS / LISTEN_S


def sample(home: Home, condition: Condition, channel: str, rng: random.Random) -> list[Said]:
    """A join and ten seconds of listening."""
    asked: dict[str, Value] = {"af": 4, "encap": "rtp", "access": "wifi" if home.on_wifi else "ethernet"}
    if not condition.has_box:
        return [Said("tv_zap", channel, 35_000, asked, "failed", "no_route")]
    if not condition.line or not condition.multicast:
        return [Said("tv_zap", channel, 35_000, asked | {"ok": False}, "failed", "no_signal")]
    return [_zap(channel, asked, rng), _window(condition, channel, asked, rng)]


def _zap(channel: str, asked: dict[str, Value], rng: random.Random) -> Said:
    """From the first packet on: how long the join took is told once a day, over all channels."""
    pat = round(rng.uniform(1, 95), 2)
    times = {
        "zap_pat_ms": pat,
        "zap_pmt_ms": round(pat + rng.uniform(1, 60), 2),
        "zap_pcr_ms": round(pat + rng.uniform(1, 40), 2),
        "zap_rap_ms": round(pat + rng.uniform(100, 1_800), 2),
    }
    return Said("tv_zap", channel, 35_000, asked | times | {"ok": True})


def _window(condition: Condition, channel: str, asked: dict[str, Value], rng: random.Random) -> Said:
    source = rng.uniform(0.01, 0.08) if channel in condition.bad_channels else 0.0
    share = 1 - (1 - condition.loss) * (1 - source) * (1 - condition.wifi_weak * 0.03)
    lost = int(DATAGRAMS * share)
    bad_s = min(LISTEN_S, float(lost)) if share * SECOND < 1 else LISTEN_S
    fields: dict[str, Value] = {
        "listened_s": LISTEN_S,
        "valid": True,
        "local_drop_datagrams": 0,
        "es_ratio": round(bad_s / LISTEN_S, 3),
        "net_lost_datagrams": lost,
        "loss_method": "rtp",
        "loss_ratio": round(lost / DATAGRAMS, 6),
        "loss_events": min(lost, 40),
        "cc_err": min(lost, 60),
        "iat_max_ms": round(rng.uniform(3, 20), 2),
        "ts_bps": 8_000_000,
    }
    return Said("tv_window", channel, 24_000, asked | fields)


def joins(condition: Condition, samples: int, rng: random.Random) -> Said:
    """Of a day."""
    p50 = round(rng.uniform(8, 40) + condition.queue_us / 1_000, 2)
    fields: dict[str, Value] = {"n": samples, "failed": 0, "zap_network_p50_ms": p50}
    fields |= {"zap_network_p95_ms": round(p50 * 2.5, 2), "leave_p95_ms": round(rng.uniform(20, 900), 2)}
    return Said("tv_join", "", 180, fields)
