"""Which databases do the tests of the directory run on?"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from balise_collector.directory import sqlite_url
from tests.collector import postgres as postgresql


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
