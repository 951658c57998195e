"""Does a sketch keep the error that it states, and is the whole what its parts are merged?"""

import math

from hypothesis import given
from hypothesis import strategies as st

from balise_collector.stats.sketch import ERROR, MAX_BUCKETS, Sketch

VALUE = st.one_of(
    st.just(0.0),
    st.floats(min_value=1e-3, max_value=1e10),
    st.floats(min_value=-1e10, max_value=-1e-3),
)
VALUES = st.lists(VALUE, max_size=200)
SHARE = st.floats(min_value=0, max_value=1)


@given(VALUES.filter(bool), SHARE)
def test_a_quantile_is_within_one_percent_of_the_sorted_value(values: list[float], share: float) -> None:
    exact = sorted(values)[math.floor(share * (len(values) - 1))]
    found = Sketch(values).quantile(share)
    assert found is not None
    assert abs(found - exact) <= ERROR * abs(exact) * (1 + 1e-9)


@given(st.lists(VALUES, max_size=5))
def test_parts_merged_are_the_sketch_of_the_whole(parts: list[list[float]]) -> None:
    merged = Sketch()
    for part in parts:
        merged.merge(Sketch(part))
    whole = Sketch(value for part in parts for value in part)
    assert merged == whole
    assert merged.n == sum(map(len, parts))


@given(VALUES, VALUES)
def test_the_order_of_merging_does_not_matter(one: list[float], other: list[float]) -> None:
    left, right = Sketch(one), Sketch(other)
    left.merge(Sketch(other))
    right.merge(Sketch(one))
    assert left == right


def test_nothing_has_no_quantile() -> None:
    assert Sketch().quantile(0.5) is None


def test_buckets_are_bounded_and_the_large_values_stay_exact_to_one_percent() -> None:
    sketch = Sketch(math.exp(power / 60) for power in range(-6_000, 6_000))
    assert sketch.buckets <= MAX_BUCKETS
    assert sketch.n == 12_000
    exact = math.exp(math.floor(0.95 * 11_999 - 6_000) / 60)
    found = sketch.quantile(0.95)
    assert found is not None
    assert abs(found - exact) <= ERROR * exact


def test_a_day_of_one_value_a_second_is_some_hundred_buckets() -> None:
    assert Sketch(10 + (second % 600) / 10 for second in range(86_400)).buckets < 150
