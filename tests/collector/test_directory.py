"""Does the directory keep what it is told, refuse what contradicts, and place each record? On both databases."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from balise_agent.contract import is_probe_id
from balise_collector.directory import (
    Consent,
    Directory,
    DirectoryError,
    Home,
    Imported,
    Inventory,
    Line,
    Offer,
    Pon,
    Site,
    dates,
    draw_id,
)
from balise_collector.placement import Orphan, Place, UnknownProbe, Withdrawn

NOV, DEC, JAN = 1_793_491_200_000, 1_796_083_200_000, 1_798_761_600_000
P, Q = "probe000000000p1", "probe000000000q2"
H, K = "home0000000000h1", "home0000000000k2"
AGREED = Consent(purpose="mesure", text="v1", given_ms=0)
UNASSIGNED = Orphan(reason="unassigned")


def home(id_: str = H, *, building: str = "B12", lines: tuple[Line, ...] = (), consents: Any = (AGREED,)) -> Home:
    return Home(id=id_, building=building, lines=lines, consents=tuple(consents))


def inventory(*homes: Home, **more: Any) -> Inventory:
    pons = {line.pon: Pon() for one in homes for line in one.lines if line.pon}
    parts: dict[str, Any] = {"buildings": {one.building: "" for one in homes}, "pons": pons}
    return Inventory(homes={one.id: one for one in homes}, **(parts | more))


@pytest.fixture
def directory(url: str) -> Iterator[Directory]:
    with Directory(url) as opened:
        yield opened


@pytest.fixture
def at_home(directory: Directory) -> Directory:
    """P is at H from December on; H agrees from the beginning and is on PON A."""
    directory.import_homes(inventory(home(lines=(Line(from_ms=NOV, pon="A"),)), home(K)))
    directory.add_probes([P, Q], now_ms=NOV)
    directory.assign(P, home=H, from_ms=DEC)
    return directory


IN_A = Place(home=H, building="B12", pon="A")


def test_a_record_is_placed_where_its_probe_stood_at_its_date(at_home: Directory) -> None:
    at_home.unassign(P, at_ms=JAN)
    at_home.assign(P, home=K, from_ms=JAN + 10)
    resolve = at_home.snapshot().resolve
    assert resolve(P, DEC - 1) == UNASSIGNED
    assert resolve(P, DEC) == IN_A
    assert resolve(P, JAN - 1) == IN_A
    assert resolve(P, JAN) == UNASSIGNED
    assert resolve(P, JAN + 9) == UNASSIGNED
    assert resolve(P, JAN + 10) == Place(home=K, building="B12")


def test_two_assignments_that_touch_leave_no_gap(at_home: Directory) -> None:
    at_home.unassign(P, at_ms=JAN)
    at_home.assign(P, home=K, from_ms=JAN)
    resolve = at_home.snapshot().resolve
    assert [resolve(P, ms).home for ms in (JAN - 1, JAN)] == [H, K]  # type: ignore[union-attr]


def test_a_probe_that_stands_nowhere_is_an_orphan_s_and_one_that_is_not_known_unknown(at_home: Directory) -> None:
    resolve = at_home.snapshot().resolve
    assert resolve(Q, DEC) == UNASSIGNED
    assert resolve("neverheardof", DEC) == UnknownProbe()


def test_a_revoked_probe_is_unknown_at_any_date_and_stands_nowhere(at_home: Directory) -> None:
    at_home.revoke_probe(P, now_ms=JAN)
    at_home.revoke_probe(P, now_ms=JAN + 1)
    assert at_home.snapshot().resolve(P, DEC) == UnknownProbe()
    assert [(a.from_ms, a.until_ms) for a in at_home.assignments()] == [(DEC, JAN)]
    assert [(probe.id, probe.revoked_ms) for probe in at_home.probes(at_ms=JAN)] == [(P, JAN), (Q, None)]
    with pytest.raises(DirectoryError, match="is revoked"):
        at_home.assign(P, home=H, from_ms=JAN)


def test_nothing_is_stored_from_the_very_ms_of_a_withdrawal(at_home: Directory) -> None:
    assert at_home.withdraw(H, from_ms=JAN) == 1
    resolve = at_home.snapshot().resolve
    assert resolve(P, JAN - 1) == IN_A
    assert resolve(P, JAN) == Withdrawn()
    assert resolve(P, JAN + 10**9) == Withdrawn()
    assert at_home.withdraw(H, from_ms=JAN) == 0


def test_a_withdrawal_ahead_can_be_brought_forward_but_not_put_off(at_home: Directory) -> None:
    for date, ended in ((JAN, 1), (JAN - 5, 1), (JAN, 0)):
        assert at_home.withdraw(H, from_ms=date) == ended
    assert at_home.snapshot().resolve(P, JAN - 5) == Withdrawn()


def test_measuring_needs_a_consent_that_was_given_by_then(directory: Directory) -> None:
    later = Consent(purpose="mesure", text="v1", given_ms=JAN)
    other = Consent(purpose="aide", text="v1", given_ms=0)
    directory.import_homes(inventory(home(consents=[later]), home(K, consents=[other])))
    directory.add_probes([P, Q], now_ms=0)
    directory.assign(P, home=H, from_ms=DEC)
    directory.assign(Q, home=K, from_ms=DEC)
    resolve = directory.snapshot().resolve
    assert resolve(P, JAN - 1) == Withdrawn()
    assert resolve(P, JAN) == Place(home=H, building="B12")
    assert resolve(Q, JAN) == Withdrawn()


def test_who_withdrew_may_agree_again(at_home: Directory) -> None:
    at_home.withdraw(H, from_ms=DEC + 10)
    again = home(consents=[AGREED, Consent(purpose="mesure", text="v2", given_ms=DEC + 20)])
    at_home.import_homes(inventory(again))
    resolve = at_home.snapshot().resolve
    assert [resolve(P, DEC + ms) for ms in (9, 10, 19, 20)] == [IN_A, Withdrawn(), Withdrawn(), IN_A]


def test_withdrawing_one_purpose_leaves_the_others(directory: Directory) -> None:
    directory.import_homes(inventory(home(consents=[AGREED, replace(AGREED, purpose="aide")])))
    directory.withdraw(H, from_ms=JAN, purpose="aide")
    assert [c.withdrawn_ms for c in directory.export_homes().homes[H].consents] == [JAN, None]


def test_the_pon_is_the_one_of_the_record_s_date(directory: Directory) -> None:
    lines = (Line(from_ms=DEC, pon="A"), Line(from_ms=JAN, pon="B"))
    directory.import_homes(inventory(home(lines=lines)))
    directory.add_probes([P], now_ms=0, home=H, from_ms=NOV)
    resolve = directory.snapshot().resolve
    assert [resolve(P, ms).pon for ms in (DEC - 1, DEC, JAN - 1, JAN)] == ["", "A", "A", "B"]  # type: ignore[union-attr]


def test_a_reference_probe_s_place_needs_no_consent(at_home: Directory) -> None:
    place = at_home.put_place("nro-est", pon="A")
    at_home.assign(Q, place="nro-est", from_ms=DEC)
    assert at_home.snapshot().resolve(Q, DEC) == Place(home=place, kind="place", pon="A")
    assert at_home.put_place("nro-est", building="B12") == place
    assert at_home.snapshot().resolve(Q, DEC) == Place(home=place, kind="place", building="B12", pon="A")


def test_a_snapshot_does_not_change_and_its_generation_tells_that_it_is_old(at_home: Directory) -> None:
    snapshot = at_home.snapshot()
    assert snapshot.generation == at_home.generation()
    at_home.withdraw(H, from_ms=DEC)
    assert snapshot.resolve(P, DEC) == IN_A
    assert snapshot.generation != at_home.generation()
    assert at_home.snapshot().generation == at_home.generation()


def test_what_failed_changes_neither_directory_nor_generation(at_home: Directory) -> None:
    before = at_home.generation(), at_home.export_homes()
    with pytest.raises(DirectoryError):
        at_home.import_homes(inventory(home(K, building="B13"), home(P)))
    with pytest.raises(DirectoryError):
        at_home.add_probes(["z" * 16], now_ms=0, home="unknown-home", from_ms=0)
    assert (at_home.generation(), at_home.export_homes()) == before
    assert [probe.id for probe in at_home.probes(at_ms=0)] == [P, Q]


@pytest.mark.parametrize(
    ("start", "end", "overlaps"),
    [
        (DEC - 10, DEC - 5, False),
        (DEC - 10, DEC, False),
        (DEC - 10, DEC + 1, True),
        (DEC - 10, None, True),
        (DEC, DEC + 5, True),
        (DEC + 5, None, True),
        (JAN - 1, JAN + 5, True),
        (JAN, None, False),
    ],
)
def test_one_probe_s_assignments_never_overlap(at_home: Directory, start: int, end: int | None, overlaps: bool) -> None:
    at_home.unassign(P, at_ms=JAN)
    if overlaps:
        text = rf"probe {P} is at home {H} from 2026-12-01 until 2027-01-01, which overlaps; balise homes unassign {P}"
        with pytest.raises(DirectoryError, match=text):
            at_home.assign(P, home=K, from_ms=start, until_ms=end)
    else:
        at_home.assign(P, home=K, from_ms=start, until_ms=end)
    assert len(at_home.assignments()) == 1 + (not overlaps)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda d: d.assign("0" * 16, home=H, from_ms=0), "probe 0+ is not in the directory"),
        (lambda d: d.assign(Q, home="0" * 16, from_ms=0), "home 0+ is not in the directory"),
        (lambda d: d.assign(Q, place="nowhere", from_ms=0), "place nowhere is not in the directory"),
        (lambda d: d.assign(Q, from_ms=0), "a home or to a place"),
        (lambda d: d.assign(Q, home=H, from_ms=DEC, until_ms=DEC), "2026-12-01, is not after the start, 2026-12-01"),
        (lambda d: d.unassign(P, at_ms=DEC - 1), "assigned to nothing at 2026-11-30T23:59:59.999Z"),
        (lambda d: d.revoke_probe("0" * 16, now_ms=0), "probe 0+ is not in the directory"),
        (lambda d: d.withdraw("0" * 16, from_ms=0), "home 0+ is not in the directory"),
        (lambda d: d.add_probes([P], now_ms=0), f"{P} is taken"),
        (lambda d: d.add_probes([H], now_ms=0), f"{H} is taken"),
        (lambda d: d.add_probes(["not an id"], now_ms=0), "no probe id"),
        (lambda d: d.put_place("x", pon="Z"), "pon Z is not in the directory"),
        (lambda d: d.put_place("12 rue X"), "allowed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_clear_line(
    at_home: Directory, act: Callable[[Directory], object], message: str
) -> None:
    with pytest.raises(DirectoryError, match=message) as refusal:
        act(at_home)
    assert "\n" not in str(refusal.value)


def test_an_assignment_taken_back_at_its_start_was_never_there(at_home: Directory) -> None:
    assert at_home.unassign(P, at_ms=DEC).home == H
    assert at_home.assignments() == []


def test_two_writers_at_once_cannot_both_assign_a_probe(at_home: Directory) -> None:
    outcomes: list[str] = []
    gate = threading.Barrier(4)

    def try_it() -> None:
        gate.wait()
        try:
            at_home.assign(Q, home=H, from_ms=DEC)
            outcomes.append("assigned")
        except DirectoryError:
            outcomes.append("refused")

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["assigned", "refused", "refused", "refused"]


def test_an_import_again_changes_nothing(directory: Directory) -> None:
    whole = inventory(
        home(lines=(Line(from_ms=NOV, pon="A", offer="fibre"), Line(from_ms=DEC, pon="B", offer="fibre"))),
        buildings={"B12": "north"},
        olts={"olt1": "head1"},
        pons={"A": Pon(olt="olt1", card="3"), "B": Pon(olt="olt1")},
        offers={"fibre": Offer(operator="op", down_bps=10**9, up_bps=10**8)},
    )
    assert directory.import_homes(whole) == Imported(added=1, changed=0, unchanged=0, kept_withdrawals=0)
    assert directory.export_homes() == whole
    segments = directory.sites(NOV)
    assert directory.import_homes(whole) == Imported(added=0, changed=0, unchanged=1, kept_withdrawals=0)
    assert (directory.export_homes(), directory.sites(NOV)) == (whole, segments)


def test_an_import_corrects_what_it_says_and_leaves_what_it_does_not(directory: Directory) -> None:
    directory.import_homes(
        inventory(
            home(lines=(Line(from_ms=NOV, pon="A", offer="old"),)),
            home(K),
            buildings={"B12": "north"},
            pons={"A": Pon(olt="olt1", card="3")},
            olts={"olt1": "head1"},
            offers={"old": Offer(operator="op", down_bps=1, up_bps=1)},
        )
    )
    done = directory.import_homes(
        inventory(
            home(building="B13", lines=(Line(from_ms=NOV, pon="B"), Line(from_ms=JAN, pon="A"))),
            pons={"A": Pon(olt="olt2"), "B": Pon()},
            olts={"olt2": ""},
        )
    )
    assert done == Imported(added=0, changed=1, unchanged=0, kept_withdrawals=0)
    now = directory.export_homes()
    assert now.homes[H].lines == (Line(from_ms=NOV, pon="B", offer="old"), Line(from_ms=JAN, pon="A"))
    assert (now.homes[H].building, now.homes[K].building) == ("B13", "B12")
    assert now.pons["A"] == Pon(olt="olt2")  # the card of another OLT is not this one's
    assert now.buildings == {"B12": "north", "B13": ""}


def test_an_older_file_does_not_undo_a_withdrawal(at_home: Directory) -> None:
    at_home.withdraw(H, from_ms=JAN)
    older = inventory(home(lines=(Line(from_ms=NOV, pon="A"),)))
    later = inventory(home(consents=[replace(AGREED, withdrawn_ms=JAN + 10**9)]))
    assert at_home.import_homes(older).kept_withdrawals == 1
    assert at_home.import_homes(later).kept_withdrawals == 1
    assert at_home.snapshot().resolve(P, JAN) == Withdrawn()
    earlier = inventory(home(consents=[replace(AGREED, withdrawn_ms=JAN - 5)]))
    assert at_home.import_homes(earlier) == Imported(added=0, changed=1, unchanged=0, kept_withdrawals=0)
    assert at_home.snapshot().resolve(P, JAN - 5) == Withdrawn()


def test_a_site_is_what_a_probe_s_configuration_needs(directory: Directory) -> None:
    offer = Offer(operator="op", down_bps=10**9, up_bps=10**8)
    consents = [AGREED, Consent(purpose="aide", text="v1", given_ms=0, withdrawn_ms=DEC)]
    one = home(lines=(Line(from_ms=NOV, pon="A", offer="fibre"),), consents=consents)
    directory.import_homes(inventory(one, home(K), offers={"fibre": offer}))
    directory.put_place("nro", pon="A")
    directory.add_probes([P, Q, "r" * 16, "s" * 16], now_ms=0)
    directory.assign(P, home=H, from_ms=NOV)
    directory.assign(Q, place="nro", from_ms=NOV)
    directory.assign("r" * 16, home=K, from_ms=NOV)
    directory.revoke_probe("r" * 16, now_ms=JAN)
    sites = directory.sites(DEC)
    assert set(sites) == {P, Q}
    assert sites[P] == Site(
        probe=P,
        home=H,
        kind="home",
        building="B12",
        pon="A",
        segment=sites[P].segment,
        offer=offer,
        consents=frozenset({"mesure"}),
    )
    assert is_probe_id(sites[P].segment)
    assert (sites[Q].kind, sites[Q].segment) == ("place", sites[P].segment)
    assert directory.sites(NOV - 1) == {}


def test_ids_are_random_and_shared_by_nobody(directory: Directory) -> None:
    drawn = directory.draw_ids(2000)
    assert len(set(drawn)) == 2000
    assert all(is_probe_id(id_) and len(id_) == 16 for id_ in drawn)
    assert {character for id_ in drawn for character in id_} == set("abcdefghijklmnopqrstuvwxyz0123456789")
    assert draw_id(drawn) not in drawn


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01", 0),
        ("2026-12-01", DEC),
        ("2026-12-01T00:00Z", DEC),
        ("2026-12-01T01:00:00+01:00", DEC),
        ("2026-12-01T00:00:00.250Z", DEC + 250),
        ("2026-12-01T00:00:00", None),
        ("2026-12-01 00:00Z", None),
        ("2026-13-01", None),
        ("01/12/2026", None),
        ("20261201", None),
        ("now", None),
        ("", None),
    ],
)
def test_a_date_is_a_day_or_a_time_that_says_its_offset(text: str, ms: int | None) -> None:
    assert dates.read(text) == ms
    if ms is not None:
        assert dates.read(dates.write(ms)) == ms
