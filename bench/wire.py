"""How long does the collector take to judge one message, beside which peers?

`python -m bench.wire` prints microseconds of CPU a message: seven records of five fields, inflated, hashed and checked
against the catalogue. Peers: the agent's own codec, which makes the same checks with the standard library, and
json.loads of the body alone, which inflates, hashes and checks nothing.
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
from collections.abc import Callable

from balise_agent.codec import decode_batch, deflate, encode_batch, encode_body
from balise_agent.contract import Body, Envelope, Record, token
from balise_collector import wire

GOAL_US = 12.0
ROUNDS, CALLS = 15, 4_000

ENVELOPE = Envelope(
    stream=token(bytes(range(100, 116))),
    seq=1_234_567,
    boot=token(bytes(range(50, 66))),
    ts_ms=1_764_000_000_000,
    sent_ms=1_764_000_000_123,
    chain=token(bytes(range(200, 216))),
    retention="raw_90d",
)
_BT_MS = 86_400_000
_REACH = {"af": 4, "sent": 40, "lost": 0, "p50_us": 8_123, "p95_us": 9_406}
_DNS = {"af": 4, "query_ms": 12.34, "rcode": 0, "tc": False, "answers": 1}
_WEB = {"af": 4, "connect_ms": 9.87, "ttfb_ms": 12.5, "total_ms": 33.1, "status": 200}
_HOST = {"cpu_pct": 3.2, "mem_available_kb": 412_344, "agent_rss_kb": 31_212, "temp_c": 48.3, "uptime_s": 86_400}
BODY = Body(
    nonce=token(bytes(range(16))),
    bt_ms=_BT_MS,
    records=(
        *(Record(measurement="reach", bt_ms=_BT_MS - 70, target=t, fields=_REACH) for t in ("gw", "op", "any1")),
        *(Record(measurement="dns", bt_ms=_BT_MS - 9_000, target=t, fields=_DNS) for t in ("box", "public")),
        Record(measurement="web", bt_ms=_BT_MS - 31_000, target="target", fields=_WEB),
        Record(measurement="host", bt_ms=_BT_MS - 100, fields=_HOST),
    ),
)


def figures() -> dict[str, float]:
    """Median microseconds of CPU of each way to read the same message."""
    body_json = encode_body(BODY)
    body_zlib = deflate(body_json)
    payload = encode_batch(ENVELOPE, body_zlib)
    return {
        "wire.decode": _median_us(lambda: wire.decode(payload)),
        "wire.records": _median_us(lambda: wire.records(body_zlib)),
        "codec.decode_batch": _median_us(lambda: decode_batch(payload), calls=CALLS // 10),
        "json.loads": _median_us(lambda: json.loads(body_json)),
    }


def _median_us(work: Callable[[], object], calls: int = CALLS) -> float:
    return statistics.median(timeit.repeat(work, timer=time.process_time, number=calls, repeat=ROUNDS)) / calls * 1e6


if __name__ == "__main__":
    for name, us in figures().items():
        goal = f"   goal <= {GOAL_US} us" if name == "wire.decode" else ""
        print(f"{name:20} {us:7.2f} us{goal}")
