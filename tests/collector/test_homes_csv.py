"""Is a file of homes read whole, or refused with every fault of it?"""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balise_collector import homes_csv
from balise_collector.directory import PURPOSES, Consent, Home, Inventory, Line, Offer, Pon
from balise_collector.homes_csv import COLUMNS, Fault

H, K = "home0000000000h1", "home0000000000k2"
NOV, DEC = 1_793_491_200_000, 1_796_083_200_000
GOOD = {
    "home": H,
    "building": "B12",
    "district": "north",
    "from": "2026-11-01",
    "pon": "A",
    "olt": "olt1",
    "card": "3",
    "head_end": "head1",
    "offer": "fibre",
    "operator": "op",
    "down_bps": "1000000000",
    "up_bps": "100000000",
    "mesure": "v1 2026-11-01",
    "aide": "",
    "evaluation": "",
}


def text(*rows: dict[str, str], columns: Iterable[str] = COLUMNS, delimiter: str = ",") -> str:
    lines = [delimiter.join(columns)]
    lines += [delimiter.join((GOOD | row)[column] for column in columns) for row in rows]
    return "\n".join(lines) + "\n"


def faults(source: str, taken: frozenset[str] = frozenset()) -> list[str]:
    found = homes_csv.parse(source, taken)
    assert isinstance(found, tuple)
    return [str(fault) for fault in found]


def read(source: str) -> Inventory:
    found = homes_csv.parse(source)
    assert isinstance(found, Inventory), found
    return found


def test_a_line_says_a_home_and_all_that_it_stands_on() -> None:
    assert read(text({})) == Inventory(
        homes={
            H: Home(
                id=H,
                building="B12",
                lines=(Line(from_ms=NOV, pon="A", offer="fibre"),),
                consents=(Consent(purpose="mesure", text="v1", given_ms=NOV),),
            )
        },
        buildings={"B12": "north"},
        olts={"olt1": "head1"},
        pons={"A": Pon(olt="olt1", card="3")},
        offers={"fibre": Offer(operator="op", down_bps=10**9, up_bps=10**8)},
    )


def test_a_home_may_have_its_id_and_building_alone_and_then_agrees_to_nothing() -> None:
    found = read(f"home,building,mesure\n{H},B12,\n")
    assert found == Inventory(homes={H: Home(id=H, building="B12")}, buildings={"B12": ""})


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_spreadsheet_s_ways_are_understood(delimiter: str) -> None:
    plain = read(text({}))
    source = text({}, columns=COLUMNS[::-1], delimiter=delimiter).replace("\n", "\r\n")
    assert read("\ufeff" + source + "\r\n" + delimiter * 3 + "\r\n") == plain
    assert read(source.replace("B12", '" B12 "')) == plain


def test_a_home_with_a_history_has_a_line_for_each_part_of_it() -> None:
    found = read(text({"from": "2026-12-01", "pon": "B", "card": ""}, {}, {"home": K, "district": "", "pon": "B"}))
    assert found.homes[H].lines == (
        Line(from_ms=NOV, pon="A", offer="fibre"),
        Line(from_ms=DEC, pon="B", offer="fibre"),
    )
    assert found.buildings == {"B12": "north"}
    assert found.pons["B"] == Pon(olt="olt1", card="3")


def test_consents_are_periods_of_a_version_of_a_text() -> None:
    cell = "v2 2026-12-01T18:00:00+01:00 + v1 2026-11-01/2026-11-02"
    assert read(text({"mesure": cell})).homes[H].consents == (
        Consent(purpose="mesure", text="v1", given_ms=NOV, withdrawn_ms=NOV + 86_400_000),
        Consent(purpose="mesure", text="v2", given_ms=DEC + 17 * 3_600_000),
    )


DATE = "a day (2026-11-30: its midnight UTC) or a time with its offset (2026-11-30T18:00:00+01:00)"
CODE = "a code of 1 to 32 of A-Z a-z 0-9 . _ - /"
ID = "8 to 32 of a-z and 0-9, as `balise homes new` draws them"
CONSENT = f"VERSION DATE, or VERSION DATE/DATE once withdrawn; several joined by ' + '; a date is {DATE}"


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("home", "", f"line 2: home: ''; allowed: {ID}"),
        ("home", "Flat 12", f"line 2: home: 'Flat 12'; allowed: {ID}"),
        ("building", "", f"line 2: building: ''; allowed: {CODE}"),
        ("building", "12 rue X", f"line 2: building: '12 rue X'; allowed: {CODE}"),
        ("pon", "x" * 100, f"line 2: pon: '{'x' * 60}...'; allowed: {CODE}"),
        ("from", "01/11/2026", f"line 2: from: '01/11/2026'; allowed: {DATE}"),
        ("from", "2026-11-01T10:00", f"line 2: from: '2026-11-01T10:00'; allowed: {DATE}"),
        ("down_bps", "12k", "line 2: down_bps: '12k'; allowed: whole bit/s, 1-100000000000"),
        ("down_bps", "0", "line 2: down_bps: '0'; allowed: whole bit/s, 1-100000000000"),
        ("up_bps", "100000000001", "line 2: up_bps: '100000000001'; allowed: whole bit/s, 1-100000000000"),
        ("mesure", "yes", f"line 2: mesure: 'yes'; allowed: {CONSENT}"),
        ("aide", "v1 2026-11-02/2026-11-01", f"line 2: aide: 'v1 2026-11-02/2026-11-01'; allowed: {CONSENT}"),
        ("aide", "v1 2026-11-02/", f"line 2: aide: 'v1 2026-11-02/'; allowed: {CONSENT}"),
        ("aide", "v1 2026-11-02 + v2 2026-11-02", f"line 2: aide: 'v1 2026-11-02 + v2 2026-11-02'; allowed: {CONSENT}"),
        ("operator", "", "line 2: operator: ''; allowed: not empty where offer is not"),
        ("up_bps", "", "line 2: up_bps: ''; allowed: not empty where offer is not"),
        ("olt", "", "line 2: olt: ''; allowed: not empty where card is not"),
    ],
)
def test_a_fault_is_said_with_its_line_field_value_and_what_is_allowed(field: str, value: str, fault: str) -> None:
    assert fault in faults(text({field: value}))


@pytest.mark.parametrize(
    ("said", "missing"),
    [("pon", "from"), ("offer", "from"), ("card", "olt"), ("head_end", "olt"), ("olt", "pon"), ("down_bps", "offer")],
)
def test_what_hangs_in_the_air_is_a_fault(said: str, missing: str) -> None:
    only = dict.fromkeys(COLUMNS, "") | {"home": H, "building": "B12", said: GOOD[said]}
    assert f"line 2: {missing}: ''; allowed: not empty where {said} is not" in faults(text(only))


def test_all_faults_of_all_lines_are_reported_together() -> None:
    found = faults(text({"home": "?"}, {}, {"from": "?", "up_bps": "?"}) + "too,few\n" + ",".join("?" * len(COLUMNS)))
    assert [fault.split(";")[0] for fault in found[:5]] == [
        "line 2: home: '?'",
        "line 4: from: '?'",
        "line 4: up_bps: '?'",
        "line 5: line: '2 fields'",
        "line 6: home: '?'",
    ]
    assert len(found) == 4 + len(COLUMNS)


@pytest.mark.parametrize(
    ("field", "other", "code"),
    [
        ("building", "B13", H),
        ("mesure", "v2 2026-11-01", H),
        ("pon", "B", f"{H} from {NOV}"),
        ("district", "south", "B12"),
        ("card", "4", "A"),
        ("head_end", "head2", "olt1"),
        ("down_bps", "7", "fibre"),
    ],
)
def test_two_lines_that_contradict_each_other_are_a_fault(field: str, other: str, code: str) -> None:
    """The value of line 3, with the line that said otherwise."""
    was = GOOD[field]
    assert f"line 3: {field}: {other!r}; allowed: {was!r}, as on line 2 for {code}" in faults(text({}, {field: other}))


def test_a_home_has_no_id_of_a_probe_or_a_place() -> None:
    assert faults(text({}, {"home": K}), frozenset({K})) == [
        f"line 3: home: {K!r}; allowed: an id that no probe or place has"
    ]


@pytest.mark.parametrize("column", ["name", "nom", "adresse", "address", "phone", "Home", ""])
def test_a_column_for_a_person_or_an_address_is_refused_and_its_values_are_not_repeated(column: str) -> None:
    found = faults(f"home,building,mesure,{column}\n{H},B12,,private\n")
    assert found == [
        f"line 1: unknown column: {column!r}; allowed: {', '.join(COLUMNS)}; none for a person or an address"
    ]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("", "line 1: header: ''; allowed: a column home"),
        ("\n\n", "line 1: header: ''; allowed: a column home"),
        ("home,building\n", "line 1: header: ''; allowed: a column mesure"),
        ("home,home,building,mesure\n", "line 1: column: 'home'; allowed: each column once"),
        (
            f'home,building,mesure\n{H},"B12,\n',
            "line 2: line: 'unexpected end of data'; allowed: comma-separated values",
        ),
        (f"home,building,mesure\n{H},B12\n", "line 2: line: '2 fields'; allowed: 3, as in the header"),
    ],
)
def test_what_is_no_such_file_is_said(source: str, fault: str) -> None:
    assert fault in faults(source)


def test_a_field_over_several_lines_does_not_shift_the_numbers_of_the_next() -> None:
    source = f'home,building,mesure\n{H},"B\n12",\n{K},?,\n'
    assert [fault.split(":")[0] for fault in faults(source)] == ["line 2", "line 4"]


# -- For all files --

codes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}", fullmatch=True)
dates_ms = st.integers(0, 4_000_000_000_000)
ids = st.from_regex(r"[a-z0-9]{8,32}", fullmatch=True)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Any that a file can say: each thing is of a home."""
    olts = draw(st.dictionaries(codes, st.just("") | codes, max_size=3))
    pon = st.builds(Pon) if not olts else st.builds(Pon, olt=st.sampled_from(sorted(olts)), card=st.just("") | codes)
    pons = draw(st.dictionaries(codes, pon, max_size=3))
    rate = st.integers(1, homes_csv.MOST_BPS)
    offers = draw(st.dictionaries(codes, st.builds(Offer, operator=codes, down_bps=rate, up_bps=rate), max_size=3))
    buildings = draw(st.dictionaries(codes, st.just("") | codes, min_size=1, max_size=3))
    line = st.tuples(dates_ms, st.sampled_from(["", *pons]), st.sampled_from(["", *offers]))
    homes = {}
    for id_ in sorted(draw(st.sets(ids, min_size=1, max_size=4))):
        lines = draw(st.lists(line, max_size=3, unique_by=lambda item: item[0]))
        homes[id_] = Home(
            id=id_,
            building=draw(st.sampled_from(sorted(buildings))),
            lines=tuple(Line(from_ms=ms, pon=p, offer=o) for ms, p, o in sorted(lines)),
            consents=draw(consents()),
        )
    return said(homes, buildings, olts, pons, offers)


@st.composite
def consents(draw: st.DrawFn) -> tuple[Consent, ...]:
    found = []
    for purpose in PURPOSES:
        for given_ms in draw(st.sets(dates_ms, max_size=3)):
            end = draw(st.none() | st.integers(given_ms, 4_000_000_000_000))
            found.append(Consent(purpose=purpose, text=draw(codes), given_ms=given_ms, withdrawn_ms=end))
    return tuple(sorted(found, key=lambda consent: (consent.given_ms, consent.purpose)))


def said(
    homes: dict[str, Home],
    buildings: dict[str, str],
    olts: dict[str, str],
    pons: dict[str, Pon],
    offers: dict[str, Offer],
) -> Inventory:
    """Without what no home stands on."""
    of_pons = {line.pon for home in homes.values() for line in home.lines}
    of_offers = {line.offer for home in homes.values() for line in home.lines}
    of_olts = {pons[code].olt for code in of_pons if code}
    return Inventory(
        homes=homes,
        buildings={code: buildings[code] for code in {home.building for home in homes.values()}},
        olts={code: olts[code] for code in of_olts if code},
        pons={code: pons[code] for code in of_pons if code},
        offers={code: offers[code] for code in of_offers if code},
    )


@given(inventories())
@settings(deadline=None)
def test_what_is_written_is_read_back_the_same(inventory: Inventory) -> None:
    assert homes_csv.parse(homes_csv.write(inventory)) == inventory


@given(st.text() | st.text(alphabet='home,building;mesure\n\r"0 +/:-', max_size=200).map(lambda end: text() + end))
@settings(deadline=None)
def test_any_text_is_homes_or_faults_and_never_an_exception(source: str) -> None:
    found = homes_csv.parse(source)
    assert isinstance(found, Inventory) or all(isinstance(fault, Fault) for fault in found)
    assert found
