"""Eight homes with a probe, in buildings of two and PONs of four, and what their probes may say."""

from __future__ import annotations

from balise_collector.judge.topology import HomeSite
from balise_collector.stats.rollup import HOUR_MS
from balise_collector.store import Point

T0 = 1_760_000_400_000 // HOUR_MS * HOUR_MS
HOMES = {
    f"h{number}": HomeSite(
        building=f"B{number // 2}", pon=f"P{number // 4}", down_bps=100_000_000, up_bps=50_000_000, probe=f"p{number}"
    )
    for number in range(8)
}


def ran(home: str, minute: float, share: float, **more: object) -> Point:
    site = HOMES[home]
    fields = {"down_bps": int(share * site.down_bps), "validity": "ok"} | more
    return point(home, "throughput", "target.v4", minute, fields)  # type: ignore[arg-type]


def point(home: str, measurement: str, target: str, minute: float, fields: dict[str, int | float | str]) -> Point:
    site = HOMES[home]
    return Point(
        home=home,
        building=site.building,
        pon=site.pon,
        probe=site.probe,
        measurement=measurement,
        target=target,
        ts_ms=T0 + int(minute * 60_000),
        fields=dict(fields),
    )
