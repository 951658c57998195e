"""Is chance refused as the reference says, and is the smallest element named that explains the failing?"""

from __future__ import annotations

import pytest

from balise_collector.judge.shared import Element, Place, is_shared, places, tail

DAY = 0.05 / 1_440 * 1.5  # a home goes silent once in 20 days


@pytest.mark.parametrize(
    ("measured", "needed"), [(3, 3), (4, 3), (5, 3), (8, 3), (13, 3), (16, 3), (25, 4), (40, 4), (64, 4)]
)
def test_by_day_as_many_are_needed_as_the_reference_computed(measured: int, needed: int) -> None:
    found = next(k for k in range(1, measured + 1) if is_shared(k, measured, DAY, 1e-10))
    assert found == needed


@pytest.mark.parametrize(("k", "m", "p"), [(0, 5, 0.1), (2, 4, 0.5), (3, 30, 0.02), (10, 10, 0.9), (7, 5, 0.1)])
def test_the_tail_is_that_of_a_binomial(k: int, m: int, p: float) -> None:
    from math import comb

    exact = sum(comb(m, x) * p**x * (1 - p) ** (m - x) for x in range(k, m + 1))
    assert tail(k, m, p) == pytest.approx(min(1.0, exact), abs=1e-15)


def test_one_home_is_never_a_shared_fault() -> None:
    assert not is_shared(1, 1, 1e-30, 1e-10)


GROUPS: dict[str, list[Element]] = {
    **{f"a{n}": [("building", "B1"), ("pon", "P1"), ("card", "C1")] for n in range(4)},
    **{f"b{n}": [("building", "B2"), ("pon", "P1"), ("card", "C1")] for n in range(4)},
    **{f"c{n}": [("building", "B2"), ("pon", "P2"), ("card", "C1")] for n in range(4)},
}
SIZE: dict[Element, int] = {("building", "B1"): 4, ("building", "B2"): 8, ("pon", "P1"): 8, ("pon", "P2"): 4}
SIZE[("card", "C1")] = 12


def named(failing: set[str]) -> list[Place]:
    members = {e: [h for h, groups in GROUPS.items() if e in groups] for e in SIZE}
    return places(
        failing,
        lambda home: GROUPS[home],
        lambda element: sum(home not in failing for home in members[element]),
        SIZE,
        lambda _element, homes: len(homes) >= 2,
        0.1,
    )


@pytest.mark.parametrize(
    ("prefixes", "element"),
    [("a", ("building", "B1")), ("ab", ("pon", "P1")), ("bc", ("building", "B2")), ("abc", ("card", "C1"))],
)
def test_the_smallest_element_that_explains_all_and_spares_nobody_else_is_named(
    prefixes: str, element: Element
) -> None:
    failing = {home for home in GROUPS if home[0] in prefixes}
    (place,) = named(failing)
    assert (place.element, place.part, set(place.homes)) == (element, False, failing)


def test_a_minority_of_every_element_is_part_of_the_smallest() -> None:
    (place,) = named({"b0", "b1"})
    assert (place.element, place.part) == (("pon", "P1"), True)
    assert place.rival == ("building", "B2")


def test_two_faults_at_once_are_two_places() -> None:
    found = named({home for home in GROUPS if home[0] in "a"} | {"c0", "c1", "c2", "c3"})
    assert [place.element for place in found] == [("pon", "P2"), ("building", "B1")]
