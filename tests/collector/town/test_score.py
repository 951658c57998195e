"""Is the scorer right about somebody who knows everything, somebody who looks at nothing, and those between?"""

from __future__ import annotations

from typing import Any

import pytest

from balise_collector.town import running, script, spans, truth
from balise_collector.town.matching import CAUSES, ELEMENTS, match
from balise_collector.town.minutes import count
from balise_collector.town.notes import DOWN, OK, UNKNOWN, Notes
from balise_collector.town.score import p95, score
from balise_collector.town.script import ScriptError
from balise_collector.town.stream import Delivery, Stream
from balise_collector.town.topology import Town
from balise_collector.town.truth import Truth
from tests.collector.town.ground import HOUR_MS, START_MS, stream, town


class Mute:
    """Says nothing."""

    def take(self, delivery: Delivery) -> None:
        pass

    def beat(self, points: Any) -> None:
        pass

    def tick(self, now_ms: int) -> tuple[()]:
        return ()


def told(of: Town, *said: dict[str, Any], hours: float = 6, life: bool = False) -> tuple[Stream, Truth]:
    found = stream(of, *said, hours=hours, life=life)
    return found, truth.tell(found)


def all_knowing(known: Truth, of: Town) -> Notes:
    """Says what was true, at once, and one incident a fault."""
    notes = Notes()
    changes: list[tuple[int, str, str, int]] = []
    for home in known.probed:
        for service in ("internet", "television", "telephone", "probe"):
            broken = [b for b in known.broken if (b.home.id, b.service) == (home, service)]
            bad = spans.union(s for b in broken for s in b.knowable)
            changes.append((known.bounds[0], home, service, OK))
            changes += [(start, home, service, DOWN) for start, _ in bad] + [(end, home, service, OK) for _, end in bad]
    for at_ms, home, service, state in sorted(changes):
        notes.state(home, service, state, at_ms)
    for fault in known.faults:
        where, _, code = fault.place.partition(":")
        element = next(iter(ELEMENTS.get(fault.kind, (where,))))
        fields: dict[str, Any] = {"id": f"i{fault.number}", "state": "open", "element": element, "code": code}
        fields |= {"since_ms": fault.start_ms, "cause": next(iter(CAUSES.get(fault.kind, ("?",))))}
        notes.take("incident", {}, fields, fault.start_ms + 60_000)
        notes.take("incident", {}, fields | {"state": "closed", "until_ms": fault.end_ms}, fault.end_ms)
    return notes


FAULTS = (
    {"kind": "pon_cut", "place": "pon:1", "after": "1h", "lasts": "30m"},
    {"kind": "dns_down", "after": "2h", "lasts": "30m"},
    {"kind": "registrar_down", "after": "3h", "lasts": "40m"},
    {"kind": "broker_down", "after": "4h", "lasts": "20m"},
    {"kind": "power_cut", "after": "5h", "lasts": "20m"},
)


def test_who_knows_everything_is_right_about_everything() -> None:
    of = town()
    _, known = told(of, *FAULTS)
    found = score(known, all_knowing(known, of), of, alerts=5)
    assert (found.recall, found.precision, found.place_right, found.cause_right) == (1.0, 1.0, 1.0, 1.0)
    assert (found.false_incidents, found.missed, found.incidents, found.incidents_per_fault) == (0, 0, 5, 1.0)
    assert found.false_green_p95_s == 0.0
    assert found.detect_p95_s == 60.0
    assert set(found.by_fault.values()) == {1.0}


def test_who_always_says_ok_finds_nothing_and_stays_green_to_the_end() -> None:
    of = town()
    s, known = told(of, *FAULTS)
    run = running.run(s, Mute())
    watcher = run.watchers["always ok"]
    found = score(known, watcher.notes, of, alerts=watcher.alerts)
    assert (found.recall, found.precision, found.alerts) == (0.0, None, 0)
    assert found.missed == len(FAULTS)
    assert found.false_green_p95_s == 1_800.0


def test_a_threshold_a_home_calls_once_a_home_where_one_share_calls_once() -> None:
    of = town()
    s, known = told(of, FAULTS[0], hours=3)
    run = running.run(s, Mute())
    per_home, share = run.watchers["per-home thresholds"], run.watchers["fixed share of the PON"]
    hit = len(known.members[0])
    assert per_home.alerts >= hit
    assert share.alerts == 1
    found = score(known, share.notes, of, alerts=1)
    assert (found.place_right, found.missed, found.false_incidents) == (1.0, 0, 0)


def test_a_home_that_its_tenant_switched_off_is_no_fault_and_calling_it_one_is_wrong() -> None:
    of = town()
    s, known = told(of, hours=26, life=True)
    line = next(t for t in s.lines if any(f.kind == "strip_off" for x in t.stretches for f in x.faults))
    at = next(x.start_ms for x in line.stretches if any(f.kind == "strip_off" for f in x.faults))
    notes = Notes()
    notes.state(line.home.id, "internet", DOWN, at)
    notes.state(line.home.id, "internet", OK, at + HOUR_MS)
    counts = count(known, notes).by_service["internet"]
    assert counts.right == 0
    assert counts.called > 0


def test_unknown_is_a_miss_where_the_truth_could_be_known() -> None:
    of = town()
    _, known = told(of, FAULTS[0], hours=3)
    notes = Notes()
    for home in known.members[0]:
        notes.state(home, "internet", UNKNOWN, START_MS)
    assert count(known, notes).by_service["internet"].recall == 0.0


def test_what_a_dead_probe_cannot_say_counts_only_where_many_fell_together() -> None:
    of = town(200)
    alone = {"kind": "probe_unplugged", "after": "1h", "lasts": "1h"}
    _, known = told(of, alone, {"kind": "power_cut", "after": "3h", "lasts": "30m"})
    by_kind = {kind: [b for b in known.broken if b.fault.kind == kind] for kind in ("probe_unplugged", "power_cut")}
    assert not any(b.knowable for b in by_kind["probe_unplugged"])
    assert all(b.knowable for b in by_kind["power_cut"])


def test_a_slow_profile_can_be_known_from_the_first_test_on_and_no_sooner() -> None:
    of = town()
    _, known = told(of, {"kind": "slow_profile", "after": "1h", "lasts": "20h", "strength": 0.5}, hours=24)
    (one,) = known.broken
    assert one.knowable
    assert one.knowable[0][0] > one.span[0]
    assert one.blurred[0][0] == one.span[0]


def test_an_incident_that_nothing_is_behind_is_false_and_one_of_the_wrong_place_is_not_right() -> None:
    of = town(200)
    _, known = told(of, {"kind": "pon_cut", "place": "pon:2", "after": "1h", "lasts": "30m"}, hours=3)
    fields = {"id": "x", "state": "open", "element": "pon", "code": "P001", "since_ms": START_MS + 60_000}
    notes = Notes()
    notes.take("incident", {}, fields | {"until_ms": START_MS + 120_000}, START_MS + 90_000)
    notes.take(
        "incident",
        {},
        fields | {"id": "y", "element": "olt", "code": "O1", "since_ms": known.faults[0].start_ms},
        known.faults[0].start_ms + 60_000,
    )
    found = match(known, notes, of)
    assert (found.false, found.missed) == (("x",), ())
    assert [m.place_right for m in found.firsts] == [False]


def test_an_incident_of_messages_that_were_held_up_is_false_only_where_none_were_or_it_says_something_else() -> None:
    of = town()
    _, known = told(of, {"kind": "late_delivery", "place": "town", "after": "1h", "lasts": "30m"}, hours=3)
    late = known.faults[0].start_ms
    place = {"element": "platform", "scope": "olt.O1"}
    held_up: dict[str, object] = {"state": "open", **place, "kind": "platform", "cause": "delivery"}
    notes = Notes()
    cases: dict[str, dict[str, object]] = {
        "right": {"since_ms": late, "until_ms": late + 1_800_000},
        "another time": {"since_ms": START_MS, "until_ms": START_MS + 60_000},
        "a cut": {"since_ms": late, "until_ms": late + 1_800_000, "element": "olt", "kind": "line", "cause": "fibre"},
        "taken back": {"since_ms": late, "until_ms": late + 1_800_000, "cause": "withdrawn"},
    }
    for id_, said in cases.items():
        notes.take("incident", {}, held_up | {"id": id_} | said, late + 60_000)
    assert match(known, notes, of).false == ("another time", "a cut", "taken back")


def test_p95_is_nearest_rank() -> None:
    assert p95(range(1, 21)) == 19
    assert p95([]) is None


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"kind": "earthquake"}, "kind: 'earthquake'; allowed: fibre_cut"),
        ({"kind": "pon_cut", "place": "building:1"}, "place: 'building:1'; a pon_cut is at pon or branch"),
        ({"kind": "pon_cut", "at": "noon"}, "at: 'noon'; allowed: a time by the clock"),
        ({"kind": "pon_cut", "lasts": "long"}, "lasts: 'long'; allowed: a length"),
        ({"kind": "pon_cut", "colour": "red"}, "colour: unknown"),
        ({"kind": "pon_cut", "after": "1h", "at": "01:00"}, "after: '1h'; not beside `at`"),
    ],
)
def test_a_script_that_cannot_be_says_why(fault: dict[str, Any], why: str) -> None:
    with pytest.raises(ScriptError) as caught:
        script.parse({"fault": [fault]}, "f.toml")
    assert f"f.toml: fault 1: {why}" in str(caught.value)


def test_a_place_that_the_town_does_not_have_is_refused() -> None:
    with pytest.raises(ScriptError, match="place: 'pon:99'; this town of 60 homes has pon:1 to pon:"):
        stream(town(), {"kind": "pon_cut", "place": "pon:99"})
