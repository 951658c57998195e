"""What is left when the writer is killed in the middle of a write, a sealing, an erasure?"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from balise_collector.store import Damage, Reader
from balise_collector.store.chunks import open_reader, open_store
from tests.collector.store.stores import FAR_MS, exact
from tests.collector.store.worker import FEED, erased, kept, trace

ROOT = Path(__file__).parents[3]
KILLS = 21
LONGEST_DELAY_S = 0.02  # from a step's beginning to the kill: its commits, and what comes after them


class Promises:
    """What a worker said, over all its lives."""

    def __init__(self) -> None:
        self.written = 0  # said to be done
        self.begun = 0  # may be there all the same
        self.deleted = 0  # below this, nothing of the erased home
        self.deleting = {0}  # where erasures began: each is whole or is not

    def hear(self, line: str) -> str:
        stage, what, number = line.split()
        if what == "write":
            self.begun = max(self.begun, int(number))
            self.written = int(number) if stage == "done" else self.written
        if what == "delete":
            self.deleting.add(int(number))
            self.deleted = int(number) if stage == "done" else self.deleted
        return f"{stage} {what}"


def live_and_die(folder: Path, seed: int, promises: Promises) -> None:
    """One life of the worker: killed some moments after a step of the kind that is this life's turn begins."""
    rng = random.Random(seed)
    victim = f"begin {('write', 'seal', 'delete')[seed % 3]}"
    command = [sys.executable, "-m", "tests.collector.store.worker", str(folder), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        steps = rng.randrange(1, 10)
        for line in worker.stdout:
            steps -= 1
            if promises.hear(line) == victim and steps <= 0:
                break
        time.sleep(rng.uniform(0, LONGEST_DELAY_S))
        worker.kill()
        for line in worker.stdout:
            promises.hear(line)


def check(reader: Reader, promises: Promises) -> None:
    found = [*map(exact, reader.read("stays", "reach", None, 0, FAR_MS))]
    assert promises.written <= len(found) <= promises.begun
    assert found == [exact(kept(number)) for number in range(len(found))]
    assert promises.written <= reader.cursor(FEED) <= len(found)


def check_erased(reader: Reader, folder: Path, promises: Promises) -> None:
    """The home's points since the last erasure that began or was done, all of them, and no byte from before it."""
    found = [*map(exact, reader.read("goes", "reach", None, 0, FAR_MS))]
    upto = sum(1 for _ in reader.read("stays", "reach", None, 0, FAR_MS))
    since = upto - len(found)
    assert found == [exact(erased(number)) for number in range(since, upto)]
    assert since >= promises.deleted
    assert since in promises.deleting or not found
    held = b"".join(path.read_bytes() for path in folder.iterdir())
    assert [number for number in range(since) if trace(number).encode() in held] == []


def test_no_kill_loses_a_promised_point_doubles_one_or_leaves_half_an_erasure(tmp_path: Path) -> None:
    folder, promises, damages = tmp_path / "store", Promises(), list[Damage]()
    for seed in range(KILLS):
        live_and_die(folder, seed, promises)
        check(open_reader(folder, damages.append), promises)  # as the killed process left it
        store = open_store(folder, damages.append)
        check(store, promises)
        check_erased(store, folder, promises)
        store.close()
    assert damages == []
    assert promises.written > 0
    assert len(promises.deleting) > 1
