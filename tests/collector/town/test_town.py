"""Is the town the same for the same seed, and does what breaks show where it should?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.catalogue import CATALOGUE
from balise_collector import wire
from balise_collector.store import Point
from balise_collector.town import calendar, spans
from balise_collector.town.condition import Condition
from balise_collector.town.faults import condition
from balise_collector.town.kinds import KINDS
from balise_collector.town.messages import Outbox
from balise_collector.town.stream import Heard
from balise_collector.town.timeline import place
from balise_collector.town.topology import OFFERS, build
from tests.collector.town.ground import HOUR_MS, START_MS, deliveries, faults, stream, town

ROOT = Path(__file__).parents[3]

BYTES = """
import hashlib
from balise_collector.town.messages import Outbox
from tests.collector.town.ground import deliveries, stream, town
t = town(40, seed=7)
s = stream(t, {"kind": "pon_cut", "at": "00:20", "lasts": "30m"}, {"kind": "tv_channels", "at": "00:10"}, life=True)
boxes = {h.probe: Outbox(h.probe, t.seed) for h in t.probed}
digest = hashlib.sha256()
for d in deliveries(s):
    for name, payload in boxes[d.home.probe].messages(d):
        digest.update(name.encode() + payload)
print(digest.hexdigest())
"""


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_another_hash_seed() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", BYTES],
            cwd=ROOT,
            env={"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(said) == 1


def test_another_seed_is_another_town() -> None:
    assert build(homes=50, seed=1) != build(homes=50, seed=2)


def test_homes_share_pons_of_32_to_64_and_buildings_cross_them() -> None:
    made = build(homes=1_000, seed=3)
    pons = [made.members[p] for p in made.places("pon")]
    assert all(32 <= len(pon) <= 64 for pon in pons[:-1])
    assert any(len({made.homes[n].pon for n in made.members[b]}) > 1 for b in made.places("building"))
    assert all(len(made.members[b]) <= 8 for b in made.places("branch"))
    assert min(down for down, *_ in OFFERS) == 10_000_000
    assert 0 < len(made.probed) < len(made.homes)


def test_a_day_is_the_tenants_and_one_has_23_hours() -> None:
    day = calendar.ordinal(1_774_700_000_000)  # 28 March 2026
    short = calendar.civil_ms(day + 2, 0) - calendar.civil_ms(day + 1, 0)
    assert short == 23 * HOUR_MS
    assert calendar.minute_of_day(calendar.civil_ms(day + 1, 12 * 60)) == 12 * 60


def test_every_record_of_every_fault_is_one_that_the_contract_takes() -> None:
    of = town(40)
    kinds = [{"kind": kind, "after": f"{20 + 9 * n}m", "lasts": "8m"} for n, kind in enumerate(KINDS)]
    s = stream(of, *kinds, hours=6, life=True)
    boxes = {home.probe: Outbox(home.probe, of.seed) for home in of.probed}
    seen: set[str] = set()
    for delivery in deliveries(s):
        for name, payload in boxes[delivery.home.probe].messages(delivery):
            if name.endswith("records"):
                decoded = wire.decode(payload)
                assert isinstance(decoded, wire.Decoded)
                seen |= {row.measurement for row in decoded.records}
    assert seen >= {
        "reach",
        "alive",
        "outage",
        "avail",
        "link",
        "dns",
        "web",
        "host",
        "box",
        "voip_signal",
        "voip_call",
    }


def test_a_message_is_read_back_as_the_very_points_that_were_made() -> None:
    of = town(10)
    s = stream(of, hours=1)
    box = Outbox(of.homes[0].probe, of.seed)
    for delivery in [d for d in deliveries(s) if d.home is of.homes[0] and d.end_ms]:
        rows = []
        for _, payload in box.messages(delivery):
            decoded = wire.decode(payload)
            assert isinstance(decoded, wire.Decoded)
            rows += [
                (r.measurement, r.target, decoded.ts_ms + r.at, r.kind, r.reason, r.fields) for r in decoded.records
            ]
        made = [(p.measurement, p.target, p.ts_ms, p.kind, p.reason, p.fields) for p in delivery.points]
        assert sorted(map(repr, rows)) == sorted(map(repr, made))
        for _, _, _, _, _, fields in rows:
            assert fields is not None


def test_values_have_the_types_of_the_catalogue() -> None:
    kinds = {"int": int, "float": float, "bool": bool, "str": str}
    of = town(20)
    for delivery in deliveries(stream(of, hours=2, life=True)):
        for point in delivery.points:
            for name, value in point.fields.items():
                field = CATALOGUE[point.measurement].field(name)
                assert field is not None, f"{point.measurement}.{name}"
                assert type(value) is kinds[field.type], f"{point.measurement}.{name}: {value!r}"


def test_no_series_has_a_date_twice() -> None:
    of = town(30)
    s = stream(of, {"kind": "clock_wrong", "after": "30m", "lasts": "1h", "strength": -1.0}, hours=4, life=True)
    keys = [(p.probe, p.measurement, p.target, p.ts_ms) for d in deliveries(s) for p in d.points]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("fibre_cut", "access.line"),
        ("box_hung", "home.box_or_lan"),
        ("box_unplugged", "lan.link"),
        ("core_down", "operator.core"),
        ("upstream_down", "upstream"),
        ("dns_down", "dns"),
        ("target_down", "operator.server"),
        ("loss", None),
    ],
)
def test_the_ladder_names_the_place(kind: str, where: str | None) -> None:
    (fault,) = faults(town(), {"kind": kind, "at": "01:00", "lasts": "1h"})
    assert place(condition((fault,))) == where


def test_faults_combine() -> None:
    both = faults(town(), {"kind": "loss", "strength": 0.05}, {"kind": "slow_profile", "strength": 0.5})
    found = condition(tuple(both))
    assert (found.loss, found.rate) == (0.05, 0.5)
    assert condition(()) == Condition()


def test_a_cut_home_is_silent_then_tells_of_it_and_its_minutes_come_in_their_order() -> None:
    of = town()
    s = stream(of, {"kind": "fibre_cut", "place": "home:1", "after": "1h", "lasts": "40m"})
    cut_ms, back_ms = START_MS + HOUR_MS, START_MS + HOUR_MS + 2_400_000
    home = of.at(s.faults[0].place)[0]
    mine = [d for d in deliveries(s) if d.home is home]
    came = [d.received_ms for d in mine if d.end_ms]
    assert not [ms for ms in came if cut_ms + 3_000 < ms < back_ms]
    ends = [d.end_ms for d in mine if d.end_ms]
    assert ends == sorted(ends)
    gone = [p.ts_ms for d in mine for p in d.points if p.measurement == "presence" and p.fields["online"] is False]
    assert len(gone) == 1
    assert 40_000 <= gone[0] - cut_ms <= 63_000
    outages = [p for d in mine for p in d.points if p.measurement == "outage"]
    assert [p.fields["state"] for p in outages] == ["open", "ended"]
    assert {p.fields["class"] for p in outages} == {"access.line"}
    assert outages[-1].fields["dur_s"] == 2_400.0


def test_a_power_cut_leaves_a_hole_and_a_new_start() -> None:
    of = town()
    s = stream(of, {"kind": "power_cut", "place": "building:1", "after": "1h", "lasts": "20m"})
    number = s.faults[0].place
    home = of.at(number)[0]
    points = [p for d in deliveries(s) if d.home is home for p in d.points]
    cut_ms = START_MS + HOUR_MS
    assert not [p for p in points if cut_ms + 1_000 < p.ts_ms < cut_ms + 1_200_000 and p.measurement != "presence"]
    uptimes = [(p.ts_ms, p.fields["uptime_s"]) for p in points if p.measurement == "host"]
    after = [int(up) for ts, up in uptimes if ts > cut_ms + 1_200_000]
    assert after[0] < 120
    assert [p.fields["class"] for p in points if p.measurement == "outage"] == []


def test_late_delivery_holds_everything_back_and_then_empties_outboxes_together() -> None:
    of = town(20)
    s = stream(of, {"kind": "late_delivery", "place": "town", "after": "30m", "lasts": "1h"})
    found = [d for d in deliveries(s) if d.end_ms]
    held = [d for d in found if d.received_ms - d.end_ms > 60_000]
    assert len(held) > 20 * 50
    assert min(d.received_ms for d in held) >= START_MS + 5_400_000
    assert not [p for d in found for p in d.points if p.measurement == "outage"]


def test_outboxes_that_are_emptied_together_are_never_all_in_memory() -> None:
    made = 0

    def make(**fields: Any) -> Heard:
        nonlocal made
        made += 1
        return Heard(**fields)

    s = stream(town(20), {"kind": "late_delivery", "place": "town", "after": "30m", "lasts": "1h"}, make=make)
    handed, ahead = 0, 0
    for delivery in s.deliveries():
        handed += len(delivery.points)
        ahead = max(ahead, made - handed)
    assert handed > 20 * 60 * 8
    assert ahead <= 20 * 3  # on and off and on again; its minutes are made one by one


def test_what_a_minute_says_does_not_depend_on_when_it_arrives() -> None:
    of = town(20)

    def said(*script: dict[str, object]) -> dict[tuple[str, int], list[Point]]:
        found = deliveries(stream(of, *script))
        return {(d.home.id, d.end_ms): [p for p in d.points if p.measurement != "host"] for d in found if d.end_ms}

    plain, late = said(), said({"kind": "late_delivery", "place": "town", "after": "30m", "lasts": "1h"})
    assert plain.keys() == late.keys()
    for key, points in plain.items():
        assert [(p.measurement, p.target, p.ts_ms, p.fields) for p in points] == [
            (p.measurement, p.target, p.ts_ms, p.fields) for p in late[key]
        ]


SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8).map(
    lambda pairs: spans.union((min(a, b), max(a, b)) for a, b in pairs)
)


@given(SPANS, SPANS)
def test_spans_are_sets_of_moments(some: list[spans.Span], others: list[spans.Span]) -> None:
    def moments(of: list[spans.Span]) -> set[int]:
        return {at for start, end in of for at in range(start, end)}

    assert moments(spans.cut(some, others)) == moments(some) & moments(others)
    assert moments(spans.without(some, others)) == moments(some) - moments(others)
    assert spans.length(some) == len(moments(some))
    for at in range(52):
        assert (spans.covers(some, at) is not None) == (at in moments(some))
