"""On which PostgreSQL? Debian's, a server of one's own on a socket of its own, empty, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql


@contextmanager
def server() -> Iterator[str]:
    """Its socket's folder. It runs as whoever runs this, for root as `postgres`; what it says it has not synced."""
    bin_dir = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        if user:
            shutil.chown(name, "postgres", "postgres")
        initdb = ["initdb", "--no-sync", "--auth=trust", "--username=balise", "--pgdata=data"]
        subprocess.run([bin_dir / initdb[0], *initdb[1:]], check=True, capture_output=True, cwd=name, **user)
        command: list[str | Path] = [bin_dir / "postgres", "-D", "data", "-k", name, "-c", "listen_addresses=", "-F"]
        with (
            Path(name, "log").open("wb") as log,
            subprocess.Popen(command, stderr=log, stdout=log, cwd=name, **user) as process,
        ):
            try:
                isready: list[str | Path] = [bin_dir / "pg_isready", "-q", "-h", name, "-t", "30"]
                while subprocess.run(isready, check=False).returncode != 0:
                    assert process.poll() is None, Path(name, "log").read_text()
                yield name
            finally:
                process.send_signal(signal.SIGINT)  # at once, whoever is still connected


def create(socket_dir: str, name: str) -> str:
    """The URL of a new database."""
    with psycopg.connect(host=socket_dir, user="balise", dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"postgresql://balise@/{name}?host={socket_dir}"
