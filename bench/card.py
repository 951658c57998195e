"""How much does a probe write to its card in a day?

    python -m bench.card [--hours H]

The real outbox on an ext4 file system of its own (a file behind a loop device; it needs root), fed as the agent feeds
it at the real cadence: the slots of the real plan, a commit as each probe ends, sealing by the writer's rule, acks on
the next commit, the note of the time. Only the clock is not real: it is handed in, so that hours pass in seconds.
ext4 itself writes while a probe is idle: its journal, for the time of the file, some 16 kB at each of its commits. It
commits each 5 s where something changed, or as seldom as it was mounted to; at that pace it is told to here, as hours
pass in seconds. What is synced does not depend on it. A run in real time, with either mount, gave the same.
"""

from __future__ import annotations

import argparse
import ctypes
import heapq
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from balise_agent.agent import REMEMBER_S
from balise_agent.contract import OK, Outcome, Record, failed, token
from balise_agent.outbox import Outbox
from balise_agent.plan import plan
from balise_agent.writer import COMPANY_S, EARLY
from balise_collector.store import Point
from bench.store import Line

GOAL_MB = 20.0
INTERVALS_S = {"reach": 60.0, "host": 60.0, "dns": 300.0, "web": 300.0}
BATCH_S = 60.0
DAY_S = 86_400
MOUNTS_S = {"commit=300": 300.0, "commit=5": 5.0}
"""How ext4 is mounted, and how often it then commits: as `deploy/agent.example.toml` advises, and by default."""
_SECTOR_BYTES = 512
_SECTORS_WRITTEN = 6  # field of /sys/block/*/stat (Documentation/block/stat.rst), from 0
_IMAGE_BYTES = 256 * 2**20


@dataclass(slots=True)
class Time:
    """The clocks of a simulated probe, always in step."""

    s: float = 1_000.0
    since_ms: int = 1_790_000_000_000

    def bt_ms(self) -> int:
        """As `Clock.bt_ms`."""
        return int(self.s * 1_000)

    def wall_ms(self) -> int:
        """As `Clock.wall_ms`."""
        return self.since_ms + self.bt_ms()

    def synchronised(self) -> bool | None:
        """As `Clock.synchronised`."""
        return True


@dataclass(slots=True)
class Probe:
    """The agent's side of the outbox, event by event."""

    outbox: Outbox
    time: Time
    seed: str
    settle: Callable[[], None]
    settle_s: float
    line: Line = field(default_factory=lambda: Line(0, "default"))
    commits: int = 0
    _sealed_s: float = -1e9
    _settled_s: float = 0.0
    _acked: list[int] = field(default_factory=list)
    _after_id: int = 0

    def live(self, seconds: float) -> None:
        """Goes on as it did before."""
        until_s = self.time.s + seconds
        slots = plan(INTERVALS_S, self.seed, 0.0)
        due = [(slot.next_after(self.time.s), name) for name, slot in slots.items()] + [(self.time.s, "time")]
        heapq.heapify(due)
        while due[0][0] < until_s:
            began_s = due[0][0]
            records: list[Record] = []
            while due[0][0] <= began_s + COMPANY_S:
                self.time.s, name = heapq.heappop(due)
                if name == "time":
                    self.outbox.remember_time()
                    heapq.heappush(due, (self.time.s + REMEMBER_S, name))
                else:
                    records += self._records(name)
                    heapq.heappush(due, (slots[name].next_after(self.time.s), name))
            if records:
                self._keep(records)
            if due[0][0] - self._settled_s > self.settle_s:
                self.settle()
                self._settled_s = self.time.s
        self.time.s = until_s

    def _keep(self, records: list[Record]) -> None:
        """As `writer.Writer` does; at this cadence a commit is always near when sealing is due."""
        seal = self.time.s - self._sealed_s >= EARLY * BATCH_S
        acked, self._acked = self._acked, []
        self.outbox.commit(records, seal=seal, acked=acked)
        self.commits += 1
        if seal:
            self._sealed_s = self.time.s
            messages = self.outbox.waiting(self._after_id, 10)
            self._acked = [message.id for message in messages]
            self._after_id = max([self._after_id, *self._acked])

    def _records(self, name: str) -> list[Record]:
        number = int(self.time.s // 60) if name in ("reach", "host") else 0  # each fifth minute has all of them
        return [self._record(point) for point in self.line.minute(number) if point.measurement == name]

    def _record(self, point: Point) -> Record:
        outcome: Outcome = OK if point.reason is None else failed(point.reason)
        return Record(
            measurement=point.measurement,
            target=point.target,
            bt_ms=self.time.bt_ms(),
            outcome=outcome,
            fields=point.fields,
        )


@contextmanager
def card(mount: str) -> Iterator[tuple[Path, Path]]:
    """A mounted ext4 of its own, and the file that counts what its device wrote. Needs root."""
    folder = Path(tempfile.mkdtemp(prefix="balise-card-"))
    image, mounted = folder / "image", folder / "mnt"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    try:
        _run("mount", "-o", f"noatime,{mount}", device, str(mounted))
        try:
            yield mounted, Path("/sys/block") / Path(device).name / "stat"
        finally:
            _run("umount", str(mounted))
    finally:
        _run("losetup", "--detach", device)
        shutil.rmtree(folder)


def measure(hours: float, *, mount: str = "commit=300", warm_hours: float = 3.0) -> dict[str, float]:
    """A day's figures, from so many simulated hours after some that are not counted."""
    with card(mount) as (mounted, stat):
        clock = Time()
        outbox = Outbox(mounted / "outbox.db", boot=token(b"b" * 16), clock=clock, alone=True)
        fs = os.open(mounted, os.O_RDONLY)
        try:
            probe = Probe(
                outbox=outbox, time=clock, seed="k3v9q2xa7m", settle=partial(_syncfs, fs), settle_s=MOUNTS_S[mount]
            )
            probe.live(warm_hours * 3_600)
            before, commits = _written_bytes(stat), probe.commits
            probe.live(hours * 3_600)
            _syncfs(fs)
            written = _written_bytes(stat) - before
        finally:
            os.close(fs)
            outbox.close()
    a_day = DAY_S / (hours * 3_600)
    return {"mb_a_day": written * a_day / 1e6, "commits_a_day": (probe.commits - commits) * a_day}


def _syncfs(descriptor: int) -> None:
    """syncfs(2), which Python has not."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), "syncfs")


def _written_bytes(stat: Path) -> int:
    return int(stat.read_text().split()[_SECTORS_WRITTEN]) * _SECTOR_BYTES


def _run(*command: str) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}).stdout


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.card", description=__doc__)
    parser.add_argument("--hours", type=float, default=3.0)
    hours = parser.parse_args().hours
    for mount in MOUNTS_S:
        figures = measure(hours, mount=mount)
        said = f"{figures['mb_a_day']:.1f} MB a day in {figures['commits_a_day']:.0f} commits"
        print(f"ext4, {mount}: {said}; goal <= {GOAL_MB:.0f} MB")


if __name__ == "__main__":
    main()
