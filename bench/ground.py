"""On what is measured? A broker with a credential for each probe, a directory with a home for each, and programs.

Everything is a real program on loopback, in a folder of its own, on ports that the kernel chose.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from balise_collector import broker
from balise_collector.demo.programs import free_port
from balise_collector.directory import (
    Assignment,
    Consent,
    Directory,
    Home,
    Inventory,
    Line,
    Offer,
    Pon,
    database,
    sqlite_url,
)
from balise_collector.directory import probes as probes_of

Process = subprocess.Popen[bytes]

BALISE = (sys.executable, "-m", "balise_collector.entry")
START_S = 30.0
DAY_MS = 86_400_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Files of one broker and one directory; ``passwords``: of each probe; ``homes``: of each probe."""

    data: Path
    files: broker.BrokerFiles
    passwords: dict[str, str]
    homes: dict[str, str]


def prepare(
    data: Path, probes: int, tls: broker.Tls | None = None, *, homes_beside: int = 0, directory_url: str = ""
) -> Ground:
    """A broker that knows so many probes, each of which stands in a home that agreed two days ago, and a directory
    that knows ``homes_beside`` more, with a probe each that never speaks."""
    files = broker.init(data / "broker", port=free_port(), tls=tls, persistence=False)
    since_ms = time.time_ns() // 1_000_000 - 2 * DAY_MS
    url = directory_url or sqlite_url(data)
    with Directory(url) as directory:
        count = probes + homes_beside
        ids = directory.draw_ids(2 * count)
        placed = dict(zip(ids[:count], ids[count:], strict=True))
        directory.import_homes(_inventory(placed.values(), since_ms))
    with _engine(url) as engine, database.writing(engine) as connection:  # one commit for all of them
        probes_of.add(connection, list(placed), since_ms)
        for probe, home in placed.items():
            probes_of.assign(connection, Assignment(probe=probe, home=home, from_ms=since_ms))
    homes = dict(list(placed.items())[:probes])
    passwords = {probe: broker.new_password() for probe in homes}
    broker.admit(files, passwords)
    return Ground(data=data, files=files, passwords=passwords, homes=homes)


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = database.connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def mosquitto(files: broker.BrokerFiles) -> Iterator[Process]:
    """The broker, until the block ends."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise FileNotFoundError("mosquitto is not installed: sudo deploy/setup-debian.sh test")
    with running([program, "-c", str(files.conf)], files.directory / "mosquitto.log") as process:
        until(lambda: _answers(files.host, files.port), process)
        yield process


@contextmanager
def serve(where: Ground, log: Path, *options: str) -> Iterator[Process]:
    """The whole collector, until the block ends."""
    command = [*BALISE, "serve", "--data", str(where.data), "--http-port", "0", "--log-level", "warning", *options]
    with running(command, log) as process:
        until((where.data / "serve.json").exists, process)
        yield process


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[Process]:
    """A program with its output in a file; ended with SIGTERM, then SIGKILL."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        yield process
    except RuntimeError as exc:  # `until`: what it said last
        raise RuntimeError(f"{exc}: {' / '.join(log.read_text().splitlines()[-5:])}") from exc
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@contextmanager
def module(name: str, *arguments: str, log: Path) -> Iterator[Process]:
    """A Python module as a program."""
    with running([sys.executable, "-m", name, *arguments], log) as process:
        yield process


def until(is_so: Callable[[], bool], process: Process, seconds: float = START_S) -> None:
    """Waits for a condition. RuntimeError: the program ended, or it takes too long."""
    end_s = time.monotonic() + seconds
    while not is_so():
        if process.poll() is not None or time.monotonic() > end_s:
            raise RuntimeError(f"{process.args!r}: status {process.poll()}, or not ready after {seconds} s")
        time.sleep(0.02)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _inventory(homes: Iterable[str], since_ms: int) -> Inventory:
    line = Line(from_ms=since_ms, pon="pon-bench", offer="base")
    consent = Consent(purpose="mesure", given_ms=since_ms, text="bench")
    return Inventory(
        homes={home: Home(id=home, building="bench", lines=(line,), consents=(consent,)) for home in homes},
        buildings={"bench": ""},
        pons={"pon-bench": Pon()},
        offers={"base": Offer(operator="bench", down_bps=10_000_000, up_bps=10_000_000)},
    )


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
