"""Does ingest care where the directory of 10,000 homes is: in SQLite, or in PostgreSQL?

`balise serve` whole takes the same load with either, in turn. While it does so the directory changes once, so that all
of it is read again beside ingest.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from balise_collector.directory import Directory, sqlite_url
from bench import ground, ingest
from tests.collector import postgres

PROBES, HOMES, EACH = 1_000, 10_000, 60
GOAL_SHARE = 0.95
_CHANGE_AFTER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Points a second by run, PostgreSQL beside the SQLite of the same turn."""

    postgresql: tuple[float, ...]
    sqlite: tuple[float, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """PostgreSQL's rate to SQLite's, turn by turn."""
        return tuple(ours / theirs for ours, theirs in zip(self.postgresql, self.sqlite, strict=True))

    @property
    def share(self) -> float:
        """The median of them."""
        return statistics.median(self.shares)


def measure(folder: Path, *, runs: int, probes: int = PROBES, homes: int = HOMES, each: int = EACH) -> Figure:
    """Each turn's order is the other's reversed: what the machine does meanwhile falls on both."""
    found: dict[str, list[float]] = {"sqlite": [], "postgresql": []}
    with postgres.server() as socket_dir:
        urls = {"sqlite": sqlite_url(folder), "postgresql": postgres.create(socket_dir, "bench")}
        grounds = {
            name: ground.prepare(folder / name, probes, homes_beside=homes - probes, directory_url=url)
            for name, url in urls.items()
        }
        loads = {name: ingest.make_load(list(where.passwords), each) for name, where in grounds.items()}
        for run in range(runs):
            for name in list(urls) if run % 2 else reversed(urls):
                where, there = grounds[name], folder / f"{name}{run}"
                with _changing(urls[name]):
                    figure = ingest.served(where, loads[name], there, "--directory", urls[name])
                found[name].append(round(figure.points_a_s))
    return Figure(postgresql=tuple(found["postgresql"]), sqlite=tuple(found["sqlite"]))


@contextmanager
def _changing(url: str) -> Iterator[None]:
    """One writing to the directory, a little later."""
    with Directory(url) as directory:
        change = threading.Timer(
            _CHANGE_AFTER_S, lambda: directory.add_probes(directory.draw_ids(1), now_ms=time.time_ns() // 1_000_000)
        )
        change.start()
        yield
        change.join()
