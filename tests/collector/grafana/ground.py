"""What does an InfluxDB hold of a small fleet, as its collector and its judge write it?

Every measurement that a panel or an alert may ask for, of twelve homes in three buildings on two PONs, over some hours:
one PON is cut, one channel is bad, one probe is silent. Written through the collector's own encoder, so that names and
types are those of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from balise_agent.catalogue import CATALOGUE, Measurement, Retention
from balise_agent.contract import Value
from balise_collector.stats.indicators import ASKED
from balise_collector.store.influx.lines import Encoder
from balise_collector.store.influx.posting import open_post
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.setup import prepare
from balise_collector.store.points import Point

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
HOMES = tuple(f"home{number:04d}" for number in range(12))
SERVICES = ("internet", "television", "telephone", "probe")
CHANNELS = ("ch1", "ch2", "ch3")
ELEMENTS = ("olt:olt1", "card:olt1/1", "core", "dns", "upstream", "target", "headend:he1", "registrar:reg1")
CUT_PON, BAD_CHANNEL, SILENT_HOME, POOR_HOME = "pon1", "ch2", "home0011", "home0000"
WRONG_CLOCK, CONTRACT_BPS = "home0002", 300_000_000
DAYS_MS = (20 * 24 * HOUR_MS, 51 * 24 * HOUR_MS)  # two months that are over began so long ago

_FIXED: dict[str, Value] = {
    "validity": "ok",
    "state": "ended",
    "kind": "outage",
    "register_ok": True,
    "register_code": 200,
    "setup_ok": True,
    "one_way_audio": True,
    "valid": True,
    "es_ratio": 0.1,
}
_TARGETS = {
    "agent_event": ("started",),
    "reach": ("gw", "op"),
    "dns": ("operator",),
    "web": ("target",),
    **dict.fromkeys(("tv_window", "tv_zap", "tv_hls"), CHANNELS),
}
_OF_PROBES = (
    *("reach", "dns", "web", "host", "link", "outage", "avail", "throughput", "loaded", "tv_join"),
    *("udp_capacity", "wifi", "agent_event"),
)
_OF_TELEPHONES = ("voip_signal", "voip_call")


def building(home: str) -> str:
    return f"bat{int(home[-4:]) % 3}"


def pon(home: str) -> str:
    return f"pon{int(home[-4:]) % 2}"


def fill(server: Server, end_ms: int, hours: int = 6) -> None:
    """Writes all of it, the newest at ``end_ms``."""
    prepare(server)
    encoder = Encoder()
    by_class: dict[Retention, list[str]] = {}
    for point in points(end_ms, hours):
        by_class.setdefault(CATALOGUE[point.measurement].retention, []).append(encoder.line(point))
    with closing(open_post(server)) as post:
        for retention, lines in by_class.items():
            post.post(retention, "\n".join(lines).encode())


def points(end_ms: int, hours: int) -> Iterator[Point]:
    """Raw ones each hour and at the end, states each five minutes."""
    for at_ms in range(end_ms - hours * HOUR_MS, end_ms + 1, HOUR_MS):
        yield from _raw(at_ms)
        yield from _hourly(at_ms)
    for at_ms in range(end_ms - hours * HOUR_MS, end_ms + 1, 5 * MINUTE_MS):
        yield from _states(at_ms)
    yield from _platform(end_ms)
    for number, ago_ms in enumerate(DAYS_MS):
        yield from _month(end_ms - ago_ms, 202610 - number)
    yield _incident(end_ms - HOUR_MS, "open")
    yield _incident(end_ms - HOUR_MS // 2, "closed")


def _raw(at_ms: int) -> Iterator[Point]:
    for home in HOMES:
        for name in (*_OF_PROBES, *_OF_TELEPHONES, "tv_window", "tv_zap", "tv_hls", "presence"):
            for target in _TARGETS.get(name, ("",)):
                yield _point(CATALOGUE[name], at_ms, _some(CATALOGUE[name]), home=home, target=target)
        yield _point(CATALOGUE["outage"], at_ms + 1, {"dur_s": 7.0, "state": "ended", "kind": "microcut"}, home=home)
        for nth, code in enumerate((403, 503, 603)):
            refused: dict[str, Value] = {"register_ok": False, "register_code": code}
            yield _point(CATALOGUE["voip_signal"], at_ms + 1 + nth, refused, home=home)
        for nth, took_ms in enumerate((300.0, 700.0, 1_500.0, 3_000.0, 6_000.0)):
            yield _point(
                CATALOGUE["tv_zap"], at_ms + 1 + nth, {"ok": True, "zap_rap_ms": took_ms}, home=home, target="ch1"
            )
        for name in ("dns", "web", "throughput"):
            yield Point(
                home=home,
                building=building(home),
                pon=pon(home),
                probe=f"p{home}",
                measurement=name,
                target="operator",
                ts_ms=at_ms + 1,
                kind="failed",
                reason="timeout",
                fields={"af": 4},
            )


def _states(at_ms: int) -> Iterator[Point]:
    for home in HOMES:
        for service in SERVICES:
            state = _state(home, service)
            fields: dict[str, Value] = {
                "state": state,
                "age_s": 1_200.0 if home == SILENT_HOME else 20.0,
                "coverage": 0.9,
                "evidence": "clock" if (home, service) == (WRONG_CLOCK, "probe") else "measured",
            }
            if service == "internet":
                fields["contract_bps"] = CONTRACT_BPS
            yield _point(CATALOGUE["home_state"], at_ms, fields, home=home, target=service)
    for service in SERVICES:
        yield _element(at_ms, f"fleet:{service}", HOMES, service)
        for code in ("pon0", "pon1"):
            yield _element(at_ms, f"pon:{service}", [home for home in HOMES if pon(home) == code], service, pon=code)
        for code in ("bat0", "bat1", "bat2"):
            homes = [home for home in HOMES if building(home) == code]
            yield _element(at_ms, f"building:{service}", homes, service, building=code)
    for target in (*ELEMENTS, *(f"channel:{code}" for code in CHANNELS)):
        state = 2 if target.endswith(BAD_CHANNEL) else 0
        fields = {"state": state, "homes": 12, "known": 11, "degraded": 0, "down": 0}
        yield _point(CATALOGUE["element_state"], at_ms, fields, target=target)


def _state(home: str, service: str) -> int:
    if home == SILENT_HOME:
        return 3
    if (home, service) in ((POOR_HOME, "television"), (WRONG_CLOCK, "probe")):
        return 1
    return 2 if pon(home) == CUT_PON and service != "probe" else 0


def _element(at_ms: int, target: str, homes: object, service: str, **place: str) -> Point:
    states = [_state(home, service) for home in homes]  # type: ignore[attr-defined]
    known, down = sum(state != 3 for state in states), states.count(2)
    fields: dict[str, Value] = {
        "state": 2 if down == known else (1 if down else 0),
        "homes": len(states),
        "known": known,
        "degraded": states.count(1),
        "down": down,
    }
    return _point(CATALOGUE["element_state"], at_ms, fields, target=target, **place)


def _hourly(at_ms: int) -> Iterator[Point]:
    shares: dict[str, Value] = {
        "good_s": 3_000.0,
        "degraded_s": 0.0,
        "down_s": 300.0,
        "works_s": 0.0,
        "unknown_s": 300.0,
        "total_s": 3_600.0,
    }
    for service in SERVICES:
        yield _point(CATALOGUE["slo"], at_ms, shares, target=f"fleet:{service}")
        for code in ("bat0", "bat1", "bat2"):
            yield _point(CATALOGUE["slo"], at_ms, shares, target=f"building:{service}", building=code)
    for series, unit in (("throughput.down_ratio", 1.0), ("reach.p95_us.op", 9_000.0)):
        fields: dict[str, Value] = {"p5": 0.7 * unit, "p10": 0.8 * unit, "p50": 0.95 * unit, "p95": unit, "n": 40}
        yield _point(CATALOGUE["rollup_hour"], at_ms, {**fields, "coverage": 0.9}, target=f"fleet:{series}")


def _month(start_ms: int, month: int) -> Iterator[Point]:
    """Each home's frozen figures, one hundredth apart."""
    for number, home in enumerate(HOMES):
        for indicator in ("availability", *(asked.name for asked in ASKED)):
            fields: dict[str, Value] = {"month": month, "unit": "1", "n": 28, "days": 28, "coverage": 0.9}
            fields |= {"value": 0.99 - number / 100, "contract_bps": CONTRACT_BPS, "frozen": True}
            yield _point(CATALOGUE["month_indicator"], start_ms, fields, home=home, target=indicator)
    for indicator in ("availability", *(asked.name for asked in ASKED)):
        fleet: dict[str, Value] = {"month": month, "unit": "1", "n": 11, "homes": 12, "coverage": 0.9, "frozen": True}
        fleet |= {"p10": 0.89, "p50": 0.94, "p90": 0.99}
        yield _point(CATALOGUE["month_fleet"], start_ms, fleet, target=indicator)


def _platform(end_ms: int) -> Iterator[Point]:
    ingest: dict[str, Value] = {
        "messages": 5,
        "duplicates": 0,
        "dead_letters": 0,
        "orphans": 0,
        "bytes": 1_000,
        "disk_free_kb": 9_000_000,
    }
    for minutes in range(30):
        at_ms = end_ms - minutes * MINUTE_MS
        yield _point(CATALOGUE["platform"], at_ms, {**ingest, "messages": 9_000 - minutes}, target="ingest")
        for part in ("judge:journal", "store:journal"):
            yield _point(CATALOGUE["platform"], at_ms, {"lag_rows": 0, "lag_s": 0.0}, target=part)


def _incident(at_ms: int, state: str) -> Point:
    fields: dict[str, Value] = {
        "id": "i1",
        "state": state,
        "cause": "unknown",
        "hit": 5,
        "measured": 6,
        "unmeasured": 0,
        "confidence": "sure",
        "since_ms": at_ms - HOUR_MS,
        "works": "",
    }
    if state == "closed":
        fields["until_ms"] = at_ms
    return _point(CATALOGUE["incident"], at_ms, fields, target="silence:pon", pon=CUT_PON)


def _some(kind: Measurement) -> dict[str, Value]:
    made: dict[str, Value] = {"int": 5, "float": 5.5, "bool": True, "str": "x"}
    return {field.name: _FIXED.get(field.name, made[field.type]) for field in kind.fields}


def _point(
    kind: Measurement, at_ms: int, fields: dict[str, Value], *, home: str = "", target: str = "", **place: str
) -> Point:
    whose = {"building": building(home), "pon": pon(home)} if home else {"building": "", "pon": "", **place}
    probe = f"p{home}" if home and kind.writer == "probe" else "collector"
    return Point(
        home=home, probe=probe, measurement=kind.name, target=target, ts_ms=at_ms, kind="ok", fields=fields, **whose
    )
