"""How small, how fast to read and to write is the embedded store?

    python -m bench.store [--homes N] [--runs N] [--json]

A record is one point of the store: one measurement of one target with all its fields. A value is one field of it.
Records are those of the probes (`reach` through the probe's own summary) on a plausible line; sizes are of all files
after a day is over, with every table and free page in them. Two plans: `minute`, seven series each minute, which is
what the goal counts; `default`, the agent's own cadence, where names and web are asked each five minutes.
Reading is one home's day of `reach` to the operator: 1,440 records. Writing is of 1,000 homes, each series known.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from balise_agent.contract import Outcome, Value
from balise_agent.probes.echoes import Echo, summarise
from balise_collector.store import Point
from balise_collector.store.chunks import open_reader, open_store

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS
MINUTES = 1_440
DNS_WEB_EVERY = {"minute": 1, "default": 5}  # minutes
BATCHES = (500, 5_000)
WRITE_HOMES = 1_000
GOALS = {"minute_bytes_a_record": 12.0, "read_warm_ms": 10.0, "read_new_process_ms": 10.0}

_READ = """
import sys, time
from pathlib import Path
from balise_collector.store.chunks import open_reader
start = time.perf_counter()
count = sum(1 for _ in open_reader(Path(sys.argv[1])).read("home0", "reach", "op", int(sys.argv[2]), int(sys.argv[3])))
print(count, (time.perf_counter() - start) * 1_000)
"""


class Line:
    """One home's line and probe, minute by minute; seeded."""

    def __init__(self, home: int, plan: str) -> None:
        self._home = home
        self._every = DNS_WEB_EVERY[plan]
        self._rng = random.Random(home)
        self._available_kb, self._rss_kb, self._disk_kb = 600_000, 33_000, 20_000_000

    def minute(self, number: int) -> Iterator[Point]:
        """The records of one minute, dated with a scheduler's jitter."""
        at_ms = START_MS + number * 60_000
        yield self._reach("gw", "icmp", at_ms, base_us=450, spread=0.2, echoes=6)
        yield self._reach("op", "stamp", at_ms, base_us=8_200, spread=0.05, echoes=40)
        yield self._reach("any1", "icmp", at_ms, base_us=11_800, spread=0.05, echoes=6)
        yield self._point("host", "", at_ms, self._host(number))
        if number % self._every == 0:
            yield self._point("dns", "box", at_ms, self._dns("cached", 1.2, 0, 1))
            yield self._point("dns", "box.unique", at_ms, self._dns("unique", 9, 3, 0))
            yield self._point("web", "target", at_ms, self._web())

    def _reach(self, target: str, method: str, at_ms: int, *, base_us: float, spread: float, echoes: int) -> Point:
        rng = self._rng
        sent = []
        for sequence in range(echoes):
            rtt_ns = int(1_000 * base_us * (1 + rng.gammavariate(2, spread) * (6 if rng.random() < 0.1 else 1)))
            lost = rng.random() < 0.0005
            sent.append(Echo(sequence=sequence, rtt_ns=None if lost else rtt_ns, stamped=True, reflected=sequence))
        outcome, fields = summarise(sent, method=method, af=4, window_s=60 + abs(rng.gauss(0, 0.0005)))
        return self._point("reach", target, at_ms, fields, outcome)

    def _host(self, number: int) -> dict[str, Value]:
        rng = self._rng
        self._available_kb += rng.randrange(-400, 400)
        self._rss_kb += rng.choice((0, 0, 0, 4))
        self._disk_kb -= rng.choice((0, 0, 4, 8))
        return {
            "cpu_pct": round(1.5 + rng.gammavariate(2, 0.3), 2),
            "mem_available_kb": self._available_kb,
            "mem_total_kb": 948_304,
            "agent_rss_kb": self._rss_kb,
            "agent_cpu_pct": round(0.25 + rng.random() * 0.1, 3),
            "temp_c": 48 + rng.randrange(4) * 0.5,
            "under_voltage": False,
            "throttled": False,
            "disk_free_kb": self._disk_kb,
            "uptime_s": 500_000 + number * 60,
            "agent_uptime_s": 499_700 + number * 60,
            "rows_waiting": rng.choice((6, 6, 6, 7, 8)),
            "clock_ok": True,
        }

    def _dns(self, kind: str, base_ms: float, rcode: int, answers: int) -> dict[str, Value]:
        return {
            "af": 4,
            "query_ms": self._around(base_ms),
            "rcode": rcode,
            "tc": False,
            "answers": answers,
            "name_kind": kind,
        }

    def _web(self) -> dict[str, Value]:
        steps = {"dns_ms": 9, "connect_ms": 9, "tls_ms": 14, "ttfb_ms": 11}
        fields: dict[str, Value] = {name: self._around(base_ms) for name, base_ms in steps.items()}
        total_ms = round(sum(float(fields[name]) for name in steps) + self._rng.random() * 0.4, 3)
        return {"af": 4, **fields, "total_ms": total_ms, "status": 200, "bytes": 1_024}

    def _around(self, base_ms: float) -> float:
        return round(base_ms * (1 + self._rng.gammavariate(2, 0.15)), 3)

    def _point(
        self, measurement: str, target: str, at_ms: int, fields: dict[str, Value], outcome: Outcome | None = None
    ) -> Point:
        return Point(
            home=f"home{self._home}",
            building=f"building{self._home // 40}",
            pon=f"pon{self._home // 32}",
            probe=f"probe{self._home:05d}",
            measurement=measurement,
            target=target,
            ts_ms=at_ms + self._rng.randrange(8),
            kind=outcome.kind if outcome else "ok",
            reason=outcome.reason if outcome else None,
            fields=fields,
        )


def records(homes: int, plan: str) -> Iterator[Point]:
    """A day of all homes, minute after minute, as an ingest would see it."""
    lines = [Line(home, plan) for home in range(homes)]
    return (point for minute in range(MINUTES) for line in lines for point in line.minute(minute))


def measure(*, homes: int = 10, runs: int = 5) -> dict[str, float]:
    """Every figure by name."""
    figures: dict[str, float] = {}
    for plan in DNS_WEB_EVERY:
        with tempfile.TemporaryDirectory() as folder:
            figures |= _sizes(Path(folder), homes, plan)
            if plan == "minute":
                figures |= _reads(Path(folder), runs)
    points = list(islice(records(WRITE_HOMES, "minute"), 6 * WRITE_HOMES * 7))
    values = _values(points) / len(points)
    for batch in BATCHES:
        rate = statistics.median(_write_rate(points, batch) for _ in range(runs))
        figures[f"write_{batch}_records_a_second"] = rate
        figures[f"write_{batch}_values_a_second"] = rate * values
    return figures


def _sizes(folder: Path, homes: int, plan: str) -> dict[str, float]:
    points = list(records(homes, plan))
    store = open_store(folder)
    for start in range(0, len(points), 5_000):
        store.write(points[start : start + 5_000], "journal", start)
    store.close()
    hot_bytes = _bytes(folder)
    store = open_store(folder)
    began = time.perf_counter()
    store.seal(START_MS + 2 * DAY_MS)
    sealing_s = time.perf_counter() - began
    store.close()
    sealed_bytes = _bytes(folder)
    assert open_reader(folder).count(START_MS, START_MS + DAY_MS) == len(points)
    return {
        f"{plan}_bytes_a_record": sealed_bytes / len(points),
        f"{plan}_bytes_a_value": sealed_bytes / _values(points),
        f"{plan}_values_a_record": _values(points) / len(points),
        f"{plan}_hot_bytes_a_record": hot_bytes / len(points),
        f"{plan}_sealing_records_a_second": len(points) / sealing_s,
    }


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _values(points: Sequence[Point]) -> int:
    return sum(len(point.fields) for point in points)


def _reads(folder: Path, runs: int) -> dict[str, float]:
    reader = open_reader(folder)

    def warm() -> float:
        began = time.perf_counter()
        assert sum(1 for _ in reader.read("home0", "reach", "op", START_MS, START_MS + DAY_MS)) == MINUTES
        return (time.perf_counter() - began) * 1_000

    return {
        "read_warm_ms": statistics.median(warm() for _ in range(10 * runs)),
        "read_new_process_ms": statistics.median(_read_anew(folder) for _ in range(runs)),
    }


def _read_anew(folder: Path) -> float:
    """In a process that never read, from files that the kernel keeps no page of."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    command = [sys.executable, "-c", _READ, str(folder), str(START_MS), str(START_MS + DAY_MS)]
    count, taken_ms = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == MINUTES
    return float(taken_ms)


def _write_rate(points: Sequence[Point], batch: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        known = 7 * WRITE_HOMES  # the day's first minute gives each series its id
        store.write(points[:known], "journal", known)
        began = time.perf_counter()
        for start in range(known, len(points), batch):
            store.write(points[start : start + batch], "journal", start)
        taken_s = time.perf_counter() - began
        store.close()
    return (len(points) - known) / taken_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.store", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--homes", type=int, default=10, help="homes of the day that is sealed and read")
    parser.add_argument("--runs", type=int, default=5, help="runs that a figure is the median of")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measure(homes=asked.homes, runs=asked.runs)
    if asked.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:36} {figure:12,.2f}" + (f"   goal <= {GOALS[name]:g}" if name in GOALS else ""))


if __name__ == "__main__":
    main()
