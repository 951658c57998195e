"""What does a probe's own telephone account meet in such a condition?"""

from __future__ import annotations

import random

from balise_agent.contract import Value
from balise_collector.town.condition import Condition
from balise_collector.town.readings.said import Said
from balise_collector.town.topology import Home

ACCOUNT, NUMBER = "op", "echo"
TALK_PACKETS = 1_000  # 20 s of 20 ms
PAST_PLC = 25.1  # loss robustness of G.711 with concealment, ITU-T G.113 appendix I


def options(home: Home, condition: Condition, rng: random.Random, before_ms: int = 41_000) -> Said:
    """OPTIONS: is the operator's server there? It is the registrar."""
    asked: dict[str, Value] = {"af": 4, "transport": "udp"}
    target = f"{ACCOUNT}.options"
    if (reason := _silent(condition)) is not None:
        fields = asked | {"options_ok": False, "tx_count": 4, "fail_class": _whose(reason)}
        return Said("voip_signal", target, before_ms, fields, "failed", reason)
    took_ms = round((home.rtt_us + condition.queue_us) / 1_000 + rng.expovariate(0.5), 3)
    asked |= {"options_ok": True, "options_rtt_ms": took_ms, "options_code": 200, "tx_count": _sendings(condition, rng)}
    return Said("voip_signal", target, before_ms, asked)


def register(home: Home, condition: Condition, rng: random.Random, before_ms: int = 40_000) -> Said:
    """REGISTER with the probe's own account."""
    asked: dict[str, Value] = {"af": 4, "transport": "udp"}
    target = f"{ACCOUNT}.register"
    if (reason := _silent(condition)) is not None:
        fields = asked | {"register_ok": False, "tx_count": 4, "fail_class": _whose(reason)}
        return Said("voip_signal", target, before_ms, fields, "failed", reason)
    took_ms = round((home.rtt_us + condition.queue_us) / 1_000 + rng.expovariate(0.3), 3)
    asked |= {"register_ms": took_ms, "tx_count": _sendings(condition, rng)}
    if not condition.registered:
        fields = asked | {"register_ok": False, "register_code": 403, "fail_class": "auth"}
        return Said("voip_signal", target, before_ms, fields, "failed", "sip_forbidden")
    return Said(
        "voip_signal",
        target,
        before_ms,
        asked | {"register_ok": True, "register_code": 200, "register_expires_s": 3_600},
    )


def call(home: Home, condition: Condition, rng: random.Random, before_ms: int = 5_000) -> Said:
    """A test call to the operator's echo."""
    asked: dict[str, Value] = {"af": 4, "transport": "udp"}
    if (reason := _silent(condition)) is not None:
        fields = asked | {"setup_ok": False, "fail_class": _whose(reason), "tx_count": 7}
        return Said("voip_call", NUMBER, before_ms, fields, "failed", reason)
    if not condition.registered:
        fields = asked | {"setup_ok": False, "code": 403, "fail_class": "auth", "tx_count": 1}
        return Said("voip_call", NUMBER, before_ms, fields, "failed", "sip_forbidden")
    talk = asked | _talk(home, condition, rng)
    if not condition.audio:
        return Said("voip_call", NUMBER, before_ms, talk | {"fail_class": "network"}, "failed", "no_media")
    return Said("voip_call", NUMBER, before_ms, talk)


def _talk(home: Home, condition: Condition, rng: random.Random) -> dict[str, Value]:
    share = min(1.0, 1 - (1 - condition.loss) ** 2 + rng.uniform(0, 0.0005))
    received = 0 if not condition.audio else int(TALK_PACKETS * (1 - share))
    trip_ms = (home.rtt_us + condition.queue_us) / 1_000
    fields: dict[str, Value] = {
        "setup_ok": True,
        "code": 200,
        "tx_count": _sendings(condition, rng),
        "pdd_ms": round(trip_ms + rng.uniform(200, 600), 1),
        "answer_ms": round(trip_ms + rng.uniform(800, 1_500), 1),
        "talk_s": 20.0,
        "sent": TALK_PACKETS,
        "received": received,
        "one_way_audio": not condition.audio,
        "sender_late_ms": round(rng.uniform(0.1, 2.0), 2),
        "valid": True,
    }
    if received:
        rating = 93.2 - 95 * 100 * share / (100 * share + PAST_PLC)
        mos = 1 + 0.035 * rating + 7e-6 * rating * (rating - 60) * (100 - rating)
        fields |= {
            "loss_rt_pct": round((TALK_PACKETS - received) * 100 / TALK_PACKETS, 3),
            "jitter_ms": round(rng.uniform(0.2, 2) + condition.queue_us / 10_000, 3),
            "burst_r": 1.0,
            "discard_pct": 0.0,
            "rtt_ms": round(trip_ms + 0.4, 3),
            "rtt_by": "echo",
            "r_factor": round(rating, 2),
            "mos_cqe": round(mos, 3),
            "model": "g711 plc",
        }
    return fields


def _silent(condition: Condition) -> str | None:
    """Why nothing comes back at all."""
    if not condition.has_box:
        return "no_route"
    if not condition.line or not condition.registrar:
        return "sip_timeout"
    return None if condition.dns else "resolve"


def _whose(reason: str) -> str:
    return "local" if reason == "no_route" else "network"


def _sendings(condition: Condition, rng: random.Random) -> int:
    return 1 + (rng.random() < condition.loss * 2)
