"""Which databases do the tests of the directory run on, and which broker is attacked?"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from balise_collector.directory import sqlite_url
from tests.collector import ground as broker_ground
from tests.collector import postgres as postgresql
from tests.collector.ground import Ground


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server of this session's own."""
    with postgresql.server() as socket_dir:
        yield socket_dir


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, numbers: Iterator[int]) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    return postgresql.create(request.getfixturevalue("postgres"), f"test{next(numbers)}")


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A broker, the collector's intake, and an honest probe that goes on whatever is tried."""
    with broker_ground.ground(tmp_path_factory.mktemp("ground")) as found:
        yield found


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    """For one attack: what got in before is forgotten, whoever attacked is gone at its end."""
    shared.got_in()
    yield shared
    shared.close(first=1)  # the honest probe's stays
