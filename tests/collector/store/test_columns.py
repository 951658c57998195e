"""Does a column, a row, an hour of the store come back exactly, or not at all?"""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.contract import MAX_INT, Value
from balise_collector.store import Point, bodies, columns
from tests.collector.store.stores import FLOATS, HOUR_MS, INTEGERS, OUTCOMES, START_MS, TEXTS, VALUES, exact, point

KINDS = [INTEGERS, FLOATS, TEXTS, st.booleans(), VALUES]
COLUMNS = st.one_of(*(st.lists(st.one_of(st.none(), kind), min_size=1, max_size=80) for kind in KINDS))


def bits(value: Value | None) -> object:
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@given(COLUMNS)
def test_any_column_comes_back_bit_for_bit_and_takes_no_byte_of_the_next(values: list[Value | None]) -> None:
    data = columns.Bytes(columns.encode(values) + b"next")
    assert [*map(bits, columns.decode(data, len(values)))] == [*map(bits, values)]
    assert data.take(4) == b"next"


@given(COLUMNS)
def test_the_same_values_give_the_same_bytes(values: list[Value | None]) -> None:
    assert columns.encode(values) == columns.encode([*values])


@pytest.mark.parametrize(
    ("values", "most_bytes"),
    [
        ([4] * 60, 4),  # what never changes
        ([500_000 + 60 * minute for minute in range(60)], 8),  # a counter
        ([60.0] * 59 + [60.001], 70),  # a rounded figure: one byte each
        ([431 + random.Random(1).randrange(200) for _ in range(60)], 66),
        ([MAX_INT, -MAX_INT], 40),
    ],
)
def test_what_varies_little_takes_little(values: list[Value | None], most_bytes: int) -> None:
    assert len(columns.encode(values)) <= most_bytes


@given(COLUMNS, st.data())
def test_a_column_that_is_cut_is_told_and_nothing_is_made_up(values: list[Value | None], data: st.DataObject) -> None:
    whole = columns.encode(values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - which of its reasons depends on where
        columns.decode(columns.Bytes(whole[:cut]), len(values))


@st.composite
def hours(draw: st.DrawFn) -> list[Point]:
    times = sorted(draw(st.sets(st.integers(0, HOUR_MS - 1), min_size=1, max_size=20)))
    fields = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
    ends = [draw(OUTCOMES) for _ in times]
    return [
        point(START_MS + at, kind=kind, reason=reason, fields=draw(fields))
        for at, (kind, reason) in zip(times, ends, strict=True)
    ]


@given(hours())
def test_any_hour_comes_back_exactly(given_points: list[Point]) -> None:
    names = bodies.names_of(given_points)
    body = bodies.encode_hour(given_points, START_MS, names)
    found = bodies.decode_hour(given_points[0].tags, START_MS, len(given_points), names, body)
    assert [*map(exact, found)] == [*map(exact, given_points)]


@given(hours(), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_of_an_hour_is_told(given_points: list[Point], byte: int, bit: int) -> None:
    names = bodies.names_of(given_points)
    body = bytearray(bodies.encode_hour(given_points, START_MS, names))
    body[byte % len(body)] ^= 1 << bit
    with pytest.raises(ValueError, match="checksum"):
        bodies.decode_hour(given_points[0].tags, START_MS, len(given_points), names, bytes(body))


def test_the_checksum_covers_whose_the_points_are_and_when() -> None:
    given_points = [point(START_MS), point(START_MS + 1)]
    names = bodies.names_of(given_points)
    tags = given_points[0].tags
    body = bodies.encode_hour(given_points, START_MS, names)
    others = [tags._replace(home="h2"), tags._replace(pon=""), tags._replace(building="p1", pon="b1")]
    for other in [(one, START_MS, 2, names) for one in others] + [
        (tags, START_MS + HOUR_MS, 2, names),
        (tags, START_MS, 1, names),
        (tags, START_MS, 2, ("x", *names[1:])),
    ]:
        with pytest.raises(ValueError, match="checksum"):
            bodies.decode_hour(*other, body)


@given(hours(), st.integers(0), st.integers(0, 7))
def test_a_row_comes_back_exactly_and_a_flipped_bit_is_told(given_points: list[Point], byte: int, bit: int) -> None:
    one = given_points[0]
    body = bytearray(bodies.encode_row(one, bodies.fingerprint(one.tags)))
    assert exact(bodies.decode_row(one.tags, one.ts_ms, bytes(body))) == exact(one)
    body[byte % len(body)] ^= 1 << bit
    with pytest.raises(ValueError, match="checksum"):
        bodies.decode_row(one.tags, one.ts_ms, bytes(body))
