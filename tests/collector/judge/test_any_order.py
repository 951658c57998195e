"""Does the judge come to the same whatever came first, and however often it was asked meanwhile?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balise_collector.judge.facts import SERVICES
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Row
from tests.collector.judge.saying import HOUR, LOST_MS, MINUTE, T0, cut, life, minute, online, outage, plant, row

PLANT = plant(pons=2, homes=8)
HOMES = sorted(PLANT.homes)
END = T0 + 3 * HOUR


def pon_cut(at: int) -> list[Row]:
    return cut(HOMES[:8], at, at + 20 * MINUTE, "access.line")


def power_cut(at: int) -> list[Row]:
    return cut(HOMES[4:12], at, at + 15 * MINUTE)


def dns(at: int) -> list[Row]:
    return [outage(home, at + n * 300, at + 10 * MINUTE, "dns") for n, home in enumerate(HOMES)]


def one_box(at: int) -> list[Row]:
    return [outage(HOMES[2], at, at + 8 * MINUTE, "home.box_or_lan"), online(HOMES[2], at + 50_000, False)]


def tv(at: int) -> list[Row]:
    """A building's television, then its first good samples again."""
    found = []
    for n, home in enumerate(HOMES):
        for step in range(24):
            ts_ms = at - HOUR // 2 + step * 5 * MINUTE + n * 9_000
            bad = home in HOMES[4:12] and at <= ts_ms < at + 50 * MINUTE
            found.append(row(home, "tv_window", ts_ms, f"c{(step + n) % 9}", es_ratio=0.5 if bad else 0.0))
    return found


def telephone(at: int) -> list[Row]:
    found = []
    for n, home in enumerate(HOMES):
        for step in range(40):
            ts_ms = at - 10 * MINUTE + step * MINUTE + n * 2_000
            why = "timeout" if at <= ts_ms < at + 15 * MINUTE else ""
            found.append(row(home, "voip_signal", ts_ms, "op.options", why=why, options_ok=not why))
    return found


def loss(at: int) -> list[Row]:
    return [r for home in HOMES[8:] for m in range(at, at + 40 * MINUTE, MINUTE) for r in minute(home, m, lost=3)]


def rate(at: int) -> list[Row]:
    found = []
    for n, home in enumerate(HOMES):
        for step in range(3):
            low = home == HOMES[1]
            ts_ms = at + step * 20 * MINUTE + n * 4_000
            found.append(
                row(home, "throughput", ts_ms, "op.v4", validity="ok", down_bps=100_000_000 if low else 290_000_000)
            )
    return found


def core_and_pon(at: int) -> list[Row]:
    """The core is out, and within that time a PON's fibre: one outage in each home, told apart by its minutes."""
    found = []
    for n, home in enumerate(HOMES):
        found += [online(home, at + LOST_MS + n * 900, False), online(home, at + 25 * MINUTE + n * 800)]
        found.append(outage(home, at, at + 25 * MINUTE, "operator.core", at + 26 * MINUTE))
        for step in range(24):
            place = "access.line" if n < 8 and 8 <= step < 18 else "operator.core"
            ts_ms = at + step * MINUTE + 20_000 + n * 1_500
            found.append(row(home, "alive", ts_ms, state="down", boot="b", **{"class": place}))
    return found


def channel(at: int) -> list[Row]:
    """One of nine is bad for everybody, and once a home's telephone has no account."""
    found = []
    for n, home in enumerate(HOMES):
        for step in range(24):
            ts_ms = at - HOUR // 2 + step * 4 * MINUTE + n * 7_000
            bad = (step + n) % 9 == 3 and at <= ts_ms < at + 50 * MINUTE
            found.append(row(home, "tv_window", ts_ms, f"c{(step + n) % 9}", es_ratio=0.4 if bad else 0.0))
    for step in range(4):
        why = "sip_forbidden" if step < 3 else ""
        found.append(
            row(
                HOMES[5],
                "voip_signal",
                at + step * 20 * MINUTE,
                "op.register",
                why=why,
                register_code=403 if why else 200,
            )
        )
    return found


def blind(at: int) -> list[Row]:
    """The collector's own minutes have a hole, and after it sessions are new."""
    beats = [*range(T0, at, MINUTE), *range(at + 12 * MINUTE, END, MINUTE)]
    found = [row("", "platform", ts_ms, "ingest", broker_ok=True) for ts_ms in beats]
    for n, home in enumerate(HOMES):
        found += [online(home, at + 12 * MINUTE + n * 300, False), online(home, at + 13 * MINUTE + n * 300)]
    return found


def held_up(at: int) -> list[Row]:
    """Everybody's messages wait, and of some homes the power goes meanwhile."""
    found = []
    for n, home in enumerate(HOMES):
        found += [online(home, at + LOST_MS + n * 900, False), online(home, at + 40 * MINUTE + n * 800)]
        if n % 2:
            found.append(row(home, "host", at + 22 * MINUTE, uptime_s=80 + n))
    return found


def is_dark(said: Row, at: int) -> bool:
    """Of a home without power meanwhile."""
    return HOMES.index(said.home) % 2 == 1 and at + 10 * MINUTE < said.ts_ms < at + 21 * MINUTE


KINDS = [pon_cut, power_cut, dns, one_box, tv, telephone, loss, rate, core_and_pon, channel, blind, held_up]


def concluded(rows: Sequence[Row], asked: Sequence[int]) -> Any:
    """What is believed at the end, the rows taken in this order and the judge asked after so many of them."""
    judge = Judge(PLANT)
    before = 0
    for at in sorted({*asked, len(rows)}):
        judge.take(rows[before:at])
        before = at
        judge.advance(END if at == len(rows) else T0 + (END - T0) * at // len(rows))
    incidents = sorted(judge.incidents(), key=lambda i: (i.since_ms, i.key))
    history = {(home, s): judge.timeline(home, s, T0 - HOUR, END) for home in HOMES for s in SERVICES}
    now = {(home, s): judge.facts(home)[s] for home in HOMES for s in SERVICES}
    return incidents, history, now, [judge.outages(home) for home in HOMES]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.lists(st.tuples(st.sampled_from(KINDS), st.integers(20, 110)), min_size=1, max_size=3),
    seed=st.integers(0, 2**32),
    asked=st.lists(st.floats(0, 1), max_size=6),
    delay=st.sampled_from([0.0, 0.02, 1.0]),
)
def test_facts_outages_and_incidents_are_the_same_for_any_order_of_arrival(
    faults: list[tuple[Any, int]], seed: int, asked: list[float], delay: float
) -> None:
    begins = [(kind, T0 + at_min * MINUTE) for kind, at_min in faults]
    rows = [r for r in life(HOMES, T0, END) if not any(kind is held_up and is_dark(r, at) for kind, at in begins)]
    rows += [r for kind, at in begins for r in kind(at)]
    rows.sort(key=lambda r: (r.ts_ms, r.home, r.measurement, r.target))
    rng = random.Random(seed)
    late = sorted(range(len(rows)), key=lambda n: n + rng.random() * delay * len(rows))
    shuffled = [rows[n] for n in late]
    assert concluded(shuffled, [int(share * len(rows)) for share in asked]) == concluded(rows, [])
