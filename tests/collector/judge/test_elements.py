"""Is there a row for everything that homes share, well or not, and does it say what the judge says?"""

from __future__ import annotations

from dataclasses import replace

from balise_collector.consumers import derived_point
from balise_collector.journal_rows import DerivedEntry
from balise_collector.judge.elements import Elements, State
from balise_collector.judge.incidents import Incident, Kind
from balise_collector.judge.rows import Derived
from balise_collector.judge.topology import HomeSite, Topology

HOMES = {
    f"h{n}": HomeSite(
        building=f"b{n % 2}", pon=f"p{n % 4}", card="o/1", olt="o", head_end="he", operator="op", probe="x"
    )
    for n in range(8)
}
NOW_MS = 1_764_000_000_000


def rows(down: set[str] = frozenset(), unknown: set[str] = frozenset(), *incidents: Incident) -> dict[str, Derived]:  # type: ignore[assignment]
    found = Elements(Topology(homes=HOMES)).states(states(down, unknown), incidents, ["7"], NOW_MS)
    return {f"{target(row)} {row.tags.get('pon', row.tags.get('building', ''))}".strip(): row for row in found}


def states(down: set[str], unknown: set[str]) -> State:
    return lambda home, _service: (2 if home in down else 3 if home in unknown else 0, False)


def target(row: Derived) -> str:
    entry = DerivedEntry(id=1, measurement=row.measurement, tags=row.tags, ts_ms=row.ts_ms, fields=row.fields)
    (point,) = derived_point(entry)
    return point.target


def incident(kind: Kind, element: tuple[str, str], *, what: str = "", part: bool = False, works: str = "") -> Incident:
    return Incident(
        kind=kind, element=element, what=what or element[0], part=part, works=works, since_ms=1, opened_ms=1,  # type: ignore[arg-type]
        until_ms=None, spells=(), homes=2, measured=2, channels=("7",) if what == "channel" else (),
    )  # fmt: skip


def state(found: dict[str, Derived], name: str) -> object:
    return found[name].fields["state"]


def test_everything_has_a_row_while_all_is_well() -> None:
    found = rows()
    assert len(found) == 4 * (1 + 4 + 2) + 3 + 5 + 1
    assert {row.fields["state"] for row in found.values()} == {0}
    assert {"fleet:probe", "pon:internet p3", "building:telephone b1", "olt:o", "card:o/1", "headend:he"} <= set(found)
    assert {"core", "dns", "upstream", "target", "registrar", "channel:7"} <= set(found)


def test_a_place_is_down_where_an_incident_says_so_and_degraded_where_some_homes_are() -> None:
    found = rows({"h0", "h4"}, set(), incident("line", ("pon", "p0")))
    assert (state(found, "pon:internet p0"), state(found, "pon:telephone p0")) == (2, 2)
    assert (state(found, "pon:internet p1"), state(found, "building:internet b0")) == (0, 1)
    assert found["fleet:internet"].fields["down"] == 2


def test_a_part_of_a_place_and_declared_works_are_not_down() -> None:
    assert state(rows({"h0"}, set(), incident("line", ("pon", "p0"), part=True)), "pon:internet p0") == 1
    assert state(rows({"h0"}, set(), incident("line", ("pon", "p0"), works="W1")), "pon:television p0") == 1


def test_what_nobody_knows_of_is_unknown() -> None:
    found = rows(set(), {"h1", "h5"})
    assert state(found, "pon:internet p1") == 3
    assert found["fleet:internet"].fields["known"] == 6


def test_of_probes_only_homes_that_have_one_are_expected() -> None:
    homes = {name: replace(site, probe="" if name == "h0" else "x") for name, site in HOMES.items()}
    found = Elements(Topology(homes=homes)).states(states(set(), {"h0", "h1"}), (), (), NOW_MS)
    counts = {target(row): row.fields for row in found if row.tags["element"] == "fleet"}
    assert (counts["fleet:probe"]["homes"], counts["fleet:probe"]["known"]) == (7, 6)
    assert (counts["fleet:internet"]["homes"], counts["fleet:internet"]["known"]) == (8, 6)


def test_a_channel_the_head_end_and_the_registrar_have_their_own() -> None:
    whole = ("operator", "op")
    found = rows(set(), set(), incident("tv", whole, what="channel"), incident("telephone", whole, what="registrar"))
    assert (state(found, "channel:7"), state(found, "registrar"), state(found, "headend:he")) == (2, 2, 0)
    assert state(rows(set(), set(), incident("tv", whole, what="head_end")), "headend:he") == 2


def test_a_card_behind_which_all_television_is_bad_is_not_down() -> None:
    assert state(rows(set(), set(), incident("tv", ("card", "o/1"))), "card:o/1") == 0
    assert state(rows(set(), set(), incident("line", ("card", "o/1"))), "card:o/1") == 2


def test_an_hour_s_shares_add_up_to_its_homes_time() -> None:
    elements, hour = Elements(Topology(homes=HOMES)), NOW_MS // 3_600_000 * 3_600_000
    for step in range(12):
        found = list(elements.shares(states({"h0"}, {"h1"}), hour + step * 300_000))
    (fleet,) = (row for row in found if target(row) == "fleet:internet")
    seconds = {name: fleet.fields[name] for name in ("good_s", "down_s", "unknown_s", "total_s")}
    assert seconds == {"good_s": 6 * 3_600.0, "down_s": 3_600.0, "unknown_s": 3_600.0, "total_s": 8 * 3_600.0}
    assert fleet.ts_ms == hour
    assert {row.fields["total_s"] for row in elements.shares(states(set(), set()), hour + 3_600_000)} >= {8 * 300.0}
