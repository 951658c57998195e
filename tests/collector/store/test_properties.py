"""Do any order of arrival, sealing, erasure and restarts leave the same store?"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balise_collector.store import Point, Store
from tests.collector.store.stores import HOUR_MS, START_MS, STORES, Kind, everything, exact, key, points


@dataclass(frozen=True)
class Write:
    points: list[Point]


@dataclass(frozen=True)
class Seal:
    now_ms: int


@dataclass(frozen=True)
class Delete:
    home: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True)
class Restart:
    pass


Step = Write | Seal | Delete | Restart
MOMENTS_MS = st.integers(20 * 3_600, 27 * 3_600).map(lambda second: START_MS + second * 1_000)
WRITES = st.lists(points(), max_size=12).map(Write)
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        WRITES,
        st.sampled_from([Seal(START_MS + hours * HOUR_MS) for hours in (23, 24, 25, 48)]),
        st.builds(Delete, st.sampled_from(["h1", "h2"]), MOMENTS_MS, MOMENTS_MS),
        st.just(Restart()),
    ),
    max_size=12,
)


def follow(kind: Kind, folder: Path, store: Store, step: Step, model: dict[tuple[str, str, str, int], Point]) -> Store:
    """Do a step on the store and on the model, which is one dictionary."""
    match step:
        case Write(points=given):
            store.write(given, "journal", 1)
            model.update({key(one): one for one in given})
        case Seal(now_ms=now_ms):
            store.seal(now_ms)
        case Delete(home=home, from_ms=low, to_ms=high):
            gone = [key for key, one in model.items() if one.home == home and low <= one.ts_ms < high]
            assert store.delete(home, low, high) == len(gone)
            for one in gone:
                del model[one]
        case Restart():
            store.close()
            store = kind.open(folder)
    return store


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_store_is_its_last_writings_less_what_was_erased(name: str) -> None:
    kind = STORES[name]

    @settings(max_examples=round(60 * kind.share), deadline=None)
    @given(steps=STEPS)
    def check(steps: list[Step]) -> None:
        model = dict[tuple[str, str, str, int], Point]()
        with tempfile.TemporaryDirectory() as folder:
            store = kind.open(Path(folder))
            for step in steps:
                store = follow(kind, Path(folder), store, step, model)
                assert everything(store) == {key: exact(one) for key, one in model.items()}
                assert store.count(0, START_MS * 2) == len(model)
            for home in ("h1", "h2"):
                newest: dict[object, Point] = {}
                for one in sorted(model.values(), key=lambda one: one.ts_ms):
                    newest |= {one.series: one} if one.home == home else {}
                assert [*map(exact, store.latest(home, since_ms=0))] == [exact(newest[one]) for one in sorted(newest)]  # type: ignore[type-var]
            store.close()

    check()


@pytest.mark.parametrize("name", sorted(STORES))
def test_any_order_and_any_sealing_between_leaves_the_same(name: str) -> None:
    kind = STORES[name]

    @settings(max_examples=round(40 * kind.share), deadline=None)
    @given(given_points=st.lists(points(), max_size=30, unique_by=key), data=st.data())
    def check(given_points: list[Point], data: st.DataObject) -> None:
        order = data.draw(st.permutations(given_points))
        again = data.draw(st.lists(st.sampled_from(given_points))) if given_points else []
        with tempfile.TemporaryDirectory() as folder:
            store = kind.open(Path(folder))
            for at, one in enumerate([*order, *again]):
                store.write([one], "journal", at)
                if data.draw(st.integers(0, 3)) == 0:
                    store.seal(START_MS + 48 * HOUR_MS)
            assert everything(store) == {key(one): exact(one) for one in given_points}
            store.close()

    check()
