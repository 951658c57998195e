"""Is an outage told with its start, end and place, and is time that nobody watched neither up nor down?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.ladder import Place, Reading
from balise_agent.outage import (
    HOUR_MS,
    MICROCUT_MS,
    OUTAGE_MS,
    UNWATCHED_MS,
    Book,
    Ended,
    Fact,
    Hour,
    Ongoing,
    begin,
    dump,
    load,
    read,
    resume,
)

OFFSET_MS = 1_800_000_000_000 - 1_800_000_000_000 % HOUR_MS  # the boot clock's 0 is a full hour
BOOT, OTHER = "boot-one", "boot-two"


def up(at_ms: int, since_ms: int | None = None) -> Reading:
    return Reading(at_ms=at_ms, state="up", since_ms=at_ms if since_ms is None else since_ms)


def down(at_ms: int, since_ms: int, where: Place = "access.line") -> Reading:
    return Reading(at_ms=at_ms, state="down", since_ms=since_ms, place=where, evidence=f"of {where}")


def unsure(at_ms: int) -> Reading:
    return Reading(at_ms=at_ms, state="unsure", since_ms=at_ms)


def told(book: Book, *readings: Reading, offset_ms: int | None = OFFSET_MS) -> tuple[Book, list[Fact]]:
    facts: list[Fact] = []
    for reading in readings:
        book, more = read(book, reading, offset_ms)
        facts += more
    return book, facts


def seconds(from_s: int, to_s: int) -> list[Reading]:
    return [up(s * 1_000) for s in range(from_s, to_s)]


def cut(from_ms: int, to_ms: int, where: Place = "access.line") -> list[Reading]:
    """Known 8 s after it began, over with the first answer."""
    knows = range(min(from_ms + 8_000, to_ms), to_ms, 1_000)
    return [unsure(from_ms + 1_000), *(down(ms, from_ms, where) for ms in knows), up(to_ms + 20, to_ms)]


@pytest.mark.parametrize(
    ("length_ms", "kind"),
    [
        (MICROCUT_MS - 1, None),
        (MICROCUT_MS, "microcut"),
        (OUTAGE_MS - 1, "microcut"),
        (OUTAGE_MS, "outage"),
        (90_000, "outage"),
    ],
)
def test_a_cut_is_told_by_its_length(length_ms: int, kind: str | None) -> None:
    readings = [up(0), unsure(1_500), down(1_500 + min(length_ms, 4_000), 1_000)]
    readings += [down(ms, 1_000) for ms in range(6_000, 1_000 + length_ms, 1_000)]
    _, facts = told(begin(BOOT, 0), *readings, up(length_ms + 1_010, 1_000 + length_ms))
    ended = [fact for fact in facts if isinstance(fact, Ended)]
    assert [fact.kind for fact in ended] == ([kind] if kind else [])
    assert [isinstance(fact, Ongoing) for fact in facts if not isinstance(fact, Ended)] == [True] * (length_ms > 30_000)
    for fact in ended:
        assert fact.outage.down_ms == length_ms
        assert fact.at_ms == 1_000 + length_ms
        assert fact.outage.start_ms == OFFSET_MS + 1_000
        assert fact.end_ms == OFFSET_MS + 1_000 + length_ms
        assert (fact.outage.places, fact.outage.unknown_ms, fact.outage.restarts) == (("access.line",), 0, 0)


def test_the_first_place_that_is_settled_is_kept_with_those_after_it() -> None:
    where: list[Place] = ["unplaced", "lan.link", "home.box_or_lan", "unplaced", "access.wan"]
    readings = [down(n * 10_000, 0, name) for n, name in enumerate(where, start=1)]
    _, facts = told(begin(BOOT, 0), up(0), *readings, up(60_000))
    (ended,) = (fact for fact in facts if isinstance(fact, Ended))
    assert ended.outage.places == ("lan.link", "home.box_or_lan", "access.wan")
    assert ended.outage.evidence == "of lan.link"


def test_an_hour_tells_what_was_watched_and_what_of_it_was_down() -> None:
    readings = [*seconds(0, 600), *cut(600_000, 720_000), *seconds(721, 1_000), *cut(1_000_000, 1_010_000)]
    book, facts = told(begin(BOOT, 0), *readings, *seconds(1_011, 3_602))
    (hour,) = (fact for fact in facts if isinstance(fact, Hour))
    number = OFFSET_MS // HOUR_MS
    assert hour == Hour(number=number, dated=True, observed_ms=HOUR_MS, down_ms=120_000, microcut_ms=10_000)
    assert [h.number for h in book.hours] == [number + 1]


def test_an_outage_over_the_full_hour_is_shared_and_the_hour_waits_for_it() -> None:
    book, facts = told(begin(BOOT, 0), *seconds(0, 3_590), *cut(HOUR_MS - 10_000, HOUR_MS + 50_000))
    hours = [fact for fact in facts if isinstance(fact, Hour)]
    assert [(h.observed_ms, h.down_ms) for h in hours] == [(HOUR_MS, 10_000)]
    assert [h.down_ms for h in book.hours] == [50_000]


def test_a_cut_over_the_full_hour_that_ends_soon_is_a_microcut_in_both() -> None:
    book, facts = told(
        begin(BOOT, 0), *seconds(0, 3_590), *cut(HOUR_MS - 10_000, HOUR_MS + 9_000), *seconds(3_610, 3_620)
    )
    hours = [fact for fact in facts if isinstance(fact, Hour)]
    assert [(h.down_ms, h.microcut_ms) for h in hours] == [(0, 10_000)]
    assert [(h.down_ms, h.microcut_ms) for h in book.hours] == [(0, 9_000)]


def test_the_operator_s_server_alone_is_no_time_down() -> None:
    book, facts = told(begin(BOOT, 0), *seconds(0, 10), *cut(10_000, 100_000, "operator.server"))
    assert [fact.outage.places for fact in facts if isinstance(fact, Ended)] == [("operator.server",)]
    assert [(h.down_ms, h.microcut_ms, h.observed_ms) for h in book.hours] == [(0, 0, 100_020)]


def test_a_line_that_breaks_while_the_server_is_out_is_an_outage_of_its_own() -> None:
    server = [down(ms, 0, "operator.server") for ms in range(5_000, 100_000, 1_000)]
    line = [down(ms, 100_000) for ms in range(105_000, 150_000, 1_000)]
    _, facts = told(begin(BOOT, 0), up(0), *server, *line, up(150_000))
    assert [(f.outage.places[0], f.outage.down_ms) for f in facts if isinstance(f, Ended)] == [
        ("operator.server", 100_000),
        ("access.line", 50_000),
    ]


def test_an_agent_that_was_off_within_an_outage_goes_on_with_it_and_leaves_the_time_unknown() -> None:
    book, _ = told(begin(BOOT, 0), *seconds(0, 100), *cut(100_000, 140_000)[:-1])
    last_ms = book.seen_ms
    book = resume(book, BOOT, last_ms + 60_000, OFFSET_MS)
    book, facts = told(book, unsure(last_ms + 61_000), down(last_ms + 70_000, last_ms + 62_000), up(last_ms + 80_000))
    (ended,) = (fact for fact in facts if isinstance(fact, Ended))
    assert ended.outage.down_ms == last_ms - 100_000 + 18_000
    assert (ended.outage.unknown_ms, ended.outage.restarts) == (62_000, 1)
    assert sum(h.observed_ms for h in book.hours) == last_ms + 18_000


def test_one_that_was_off_and_finds_the_line_up_ends_it_with_the_first_answer() -> None:
    book, _ = told(begin(BOOT, 0), *seconds(0, 100), *cut(100_000, 140_000)[:-1])
    last_ms = book.seen_ms
    book, facts = told(resume(book, BOOT, last_ms + 5_000, OFFSET_MS), up(last_ms + 6_000, last_ms + 5_100))
    (ended,) = facts
    assert isinstance(ended, Ended)
    assert (ended.outage.down_ms, ended.outage.unknown_ms) == (last_ms - 100_000, 5_100)


@pytest.mark.parametrize(("clock", "unknown_ms"), [(OFFSET_MS, 300_000 + 4_000), (None, None)])
def test_after_a_reboot_the_time_off_is_told_where_both_clocks_were_known(
    clock: int | None, unknown_ms: int | None
) -> None:
    book, _ = told(begin(BOOT, 0), *seconds(0, 100), *cut(100_000, 140_000)[:-1])
    off = None if clock is None else clock + book.seen_ms + 300_000 - 2_000  # the new boot's clock is at 2 s
    book = resume(book, OTHER, 2_000, off)
    _, facts = told(book, down(14_000, 6_000), up(20_000), offset_ms=off)
    (ended,) = (fact for fact in facts if isinstance(fact, Ended))
    assert ended.outage.id.startswith(BOOT)
    assert (ended.outage.unknown_ms, ended.outage.restarts) == (unknown_ms, 1)
    assert ended.outage.down_ms == 39_000 + 14_000


def test_a_machine_that_slept_watched_nothing() -> None:
    book, _ = told(begin(BOOT, 0), *seconds(0, 100), *seconds(700, 800))
    assert sum(h.observed_ms for h in book.hours) == 99_000 + 99_000


def test_without_a_clock_an_hour_is_told_without_its_number() -> None:
    _, facts = told(begin(BOOT, 0), *seconds(0, 3_602), offset_ms=None)
    assert facts == [Hour(number=0, dated=False, observed_ms=HOUR_MS)]


def test_a_clock_that_becomes_known_closes_the_hour_that_had_no_number() -> None:
    book, _ = told(begin(BOOT, 0), *seconds(0, 100), offset_ms=None)
    book, facts = told(book, *seconds(100, 110))
    assert facts == [Hour(number=0, dated=False, observed_ms=99_000)]
    assert [(h.number, h.dated) for h in book.hours] == [(OFFSET_MS // HOUR_MS, True)]


@pytest.mark.parametrize(
    "raw", [None, 1, "x", [], {}, {"open": None}, {"open": None, "hours": [1]}, {"open": 1, "hours": []}]
)
def test_what_is_no_book_is_none(raw: object) -> None:
    assert load(raw) is None


Moment = tuple[int, str, int, Place]
PLACES: tuple[Place, ...] = ("access.line", "operator.core", "operator.server", "unplaced", "dns")
MOMENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 3_000), st.integers(0, 40_000), st.integers(0, 3 * HOUR_MS)),
        st.sampled_from(("up", "down", "down", "unsure")),
        st.integers(0, 12_000),
        st.sampled_from(PLACES),
    ),
    max_size=80,
)


def readings_of(moments: list[Moment]) -> list[Reading]:
    found, at_ms = [], 0
    for step_ms, state, ago_ms, where in moments:
        at_ms += step_ms
        since_ms = max(0, at_ms - ago_ms)
        found.append(down(at_ms, since_ms, where) if state == "down" else up(at_ms, since_ms))
        if state == "unsure":
            found[-1] = unsure(at_ms)
    return found


@given(MOMENTS, st.sets(st.integers(0, 80)))
def test_a_book_that_is_written_and_read_back_anywhere_tells_the_same(moments: list[Moment], splits: set[int]) -> None:
    readings = readings_of(moments)
    whole = told(begin(BOOT, 0), *readings)
    book, facts = told(begin(BOOT, 0))
    for n, reading in enumerate(readings):
        if n in splits:
            again = load(json.loads(json.dumps(dump(book))))
            assert again is not None
            book = again
        book, more = read(book, reading, OFFSET_MS)
        facts += more
    assert (book, facts) == whole


@given(MOMENTS, st.sets(st.integers(0, 80)))
def test_no_time_is_counted_twice_and_none_that_nobody_watched(moments: list[Moment], kills: set[int]) -> None:
    readings = readings_of(moments)
    book, hours, ended, watched_ms, last_ms = begin(BOOT, 0), [], [], 0, 0
    for n, reading in enumerate(readings):
        if n in kills:
            book = resume(book, BOOT, reading.at_ms, OFFSET_MS)
        elif reading.at_ms - last_ms <= UNWATCHED_MS:
            watched_ms += reading.at_ms - last_ms
        last_ms = reading.at_ms
        book, facts = read(book, reading, OFFSET_MS)
        hours += [fact for fact in facts if isinstance(fact, Hour)]
        ended += [fact for fact in facts if isinstance(fact, Ended)]
    for hour in (*hours, *book.hours):
        assert 0 <= hour.down_ms + hour.microcut_ms <= hour.observed_ms <= HOUR_MS
    assert sum(h.observed_ms for h in (*hours, *book.hours)) <= watched_ms
    assert len({(h.number, h.dated) for h in hours}) == len(hours)
    for outage in ended:
        assert outage.outage.down_ms >= MICROCUT_MS
        assert outage.outage.unknown_ms is not None
    assert sum(o.outage.down_ms for o in ended) <= watched_ms
    ids = [o.outage.id for o in ended]
    assert len(set(ids)) == len(ids)
