"""What do the tests of the stores start with?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from balise_collector.store import Reader, Store
from tests.collector.store.stores import STORES, Kind


@dataclass
class Place:
    """Where one store lives: it can be closed and opened again, and read beside its writer."""

    kind: Kind
    folder: Path
    store: Store

    def reopen(self) -> Store:
        self.store.close()
        self.store = self.kind.open(self.folder)
        return self.store

    def reader(self) -> Reader:
        return self.kind.read(self.folder)


@pytest.fixture(params=sorted(STORES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    kind = STORES[request.param]
    place = Place(kind, tmp_path / "store", kind.open(tmp_path / "store"))
    yield place
    place.store.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.store
