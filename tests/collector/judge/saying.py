"""What do the probes of a small plant say? Rows by hand, for the judge's tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from balise_agent.contract import Value
from balise_collector.judge.rows import Row
from balise_collector.judge.topology import HomeSite, Topology

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_772_600_400_000  # 2026-03-04 06:00 in Paris: nobody switches off
LOST_MS = 52_000  # after the cut the broker misses a probe


def plant(pons: int = 3, homes: int = 12, *, probed: int | None = None) -> Topology:
    """``homes`` a PON, each PON over two buildings, which the next PON shares one of."""
    sites = {}
    for number in range(pons * homes):
        pon, place = divmod(number, homes)
        building = f"B{pon + (place >= homes // 2)}"
        measured = probed is None or place < probed
        sites[f"home{number:04d}"] = HomeSite(
            building=building,
            pon=f"P{pon}",
            card="O1/C1" if pon < 2 else "O1/C2",
            olt="O1",
            operator="op1",
            down_bps=300_000_000,
            up_bps=100_000_000,
            probe=f"probe{number:04d}" if measured else "",
        )
    return Topology(homes=sites)


def row(home: str, measurement: str, ts_ms: int, target: str = "", *, why: str = "", **fields: Value) -> Row:
    """One row; ``why``: it failed."""
    return Row(
        home=home,
        probe=home.replace("home", "probe"),
        measurement=measurement,
        target=target,
        ts_ms=ts_ms,
        received_ms=ts_ms + 3_000,
        kind="failed" if why else "ok",
        reason=why or None,
        fields=fields,
    )


def online(home: str, ts_ms: int, is_online: bool = True) -> Row:
    return row(home, "presence", ts_ms, online=is_online, boot="b", agent="1", config=1)


def minute(home: str, ts_ms: int, *, lost: int = 0, state: str = "up", uptime_s: int = 500_000) -> Iterator[Row]:
    """What a probe says of the minute that ends there."""
    yield row(home, "alive", ts_ms, state=state, boot="b")
    for target in ("op", "any1"):
        if state == "down":
            yield row(home, "reach", ts_ms, target, why="no_answer", sent=40, lost=40)
        else:
            yield row(home, "reach", ts_ms, target, sent=40, lost=lost, p50_us=4_000)
    yield row(home, "host", ts_ms, uptime_s=uptime_s)


def outage(home: str, start_ms: int, end_ms: int, place: str, told_ms: int | None = None) -> Row:
    return row(
        home,
        "outage",
        end_ms if told_ms is None else told_ms,
        id=f"{home}-{start_ms}",
        state="ended",
        kind="outage",
        start_ms=start_ms,
        end_ms=end_ms,
        dur_s=(end_ms - start_ms) / 1_000,
        **{"class": place},
    )


def life(homes: Iterable[str], start_ms: int, end_ms: int) -> list[Row]:
    """Sessions that were open before, and quiet minutes."""
    found = []
    for number, home in enumerate(homes):
        if start_ms == T0:
            found.append(online(home, T0 - HOUR))
        for at in range(start_ms + number * 1_000, end_ms, MINUTE):
            found += minute(home, at + MINUTE)
    return found


def cut(homes: Iterable[str], start_ms: int, end_ms: int, place: str = "") -> list[Row]:
    """Sessions lost and back; ``place``: each probe tells it afterwards, "": it was off and started anew."""
    found = []
    for number, home in enumerate(homes):
        found.append(online(home, start_ms + LOST_MS + number % 9 * 1_000, False))
        back_ms = end_ms + 20_000 + number % 7 * 1_000
        found.append(online(home, back_ms))
        if place:
            found.append(outage(home, start_ms, end_ms, place, back_ms + MINUTE))
            for at in range(start_ms + MINUTE, end_ms, MINUTE):
                found += minute(home, at, state="down")
        else:
            found.append(row(home, "host", back_ms + 30_000, uptime_s=60))
    return found
