"""Which databases do the tests of the directory run on?"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from balise_collector.directory import sqlite_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server of this session's own on a socket of its own: as whoever runs the tests, for root as `postgres`."""
    bin_dir = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        if user:
            shutil.chown(name, "postgres", "postgres")
        initdb = ["initdb", "--no-sync", "--auth=trust", "--username=balise", "--pgdata=data"]
        subprocess.run([bin_dir / initdb[0], *initdb[1:]], check=True, capture_output=True, cwd=name, **user)
        server: list[str | Path] = [bin_dir / "postgres", "-D", "data", "-k", name, "-c", "listen_addresses=", "-F"]
        with (
            Path(name, "log").open("wb") as log,
            subprocess.Popen(server, stderr=log, stdout=log, cwd=name, **user) as process,
        ):
            try:
                isready: list[str | Path] = [bin_dir / "pg_isready", "-q", "-h", name, "-t", "30"]
                while subprocess.run(isready, check=False).returncode != 0:
                    assert process.poll() is None, Path(name, "log").read_text()
                yield name
            finally:
                process.send_signal(signal.SIGINT)  # at once, whoever is still connected


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, numbers: Iterator[int]) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    socket_dir, database_name = request.getfixturevalue("postgres"), f"test{next(numbers)}"
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database_name))
    with psycopg.connect(host=socket_dir, user="balise", dbname="postgres", autocommit=True) as connection:
        connection.execute(create)
    return f"postgresql://balise@/{database_name}?host={socket_dir}"


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()
