"""How soon is a fault's class known, is it right, and what does watching cost the line and the processor?

    python -m bench.ladder [--cases cost,place] [--runs N] [--homes N] [--families 4,6] [--seed S] [--seconds S]

Namespaces of `tests/faults/namespaces`, the real runner and windows at the real cadence: STAMP each 1.5 s, four rungs
of ICMP and a name each 10 s, a page each 60 s. ``place``: each fault at a seeded random moment, from its injection to
the first class that was settled, in homes side by side, each of one address family alone. ``cost``: all IP packets of
the probe's interface both ways with their Ethernet headers off, and the whole process's processor time.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from balise_agent.clock import SystemClock
from bench.relay.line import why_not
from tests.faults.namespaces import ANYCAST, FAULTS, OPERATOR, ROOT, Fault, Home, home

GOAL_CPU, GOAL_GB = 0.005, 0.7
GOAL_STEADY_S, GOAL_OTHER_S = 10.0, 25.0
NOT_STEADY = ("upstream", "dns")  # classes that the steady echo does not miss: the operator's target answers
PATIENCE_S = 90.0
MONTH_S = 30 * 86_400
ETHERNET_BYTES = 14

Row = dict[str, Any]
Todo = Queue[tuple[Fault, float]]


def settings(family: int) -> dict[str, Any]:
    """As `deploy/agent.example.toml` has it; windows of 10 s, so that a home is ready soon."""
    any1, any2 = ANYCAST[family]
    targets: list[dict[str, Any]] = [
        {"label": "gw", "host": "gateway"},
        {"label": "op", "host": OPERATOR[family], "method": "stamp", "every_s": 1.5},
        {"label": "any1", "host": any1},
        {"label": "any2", "host": any2},
    ]
    page = f"http://[{any1}]/" if family == 6 else f"http://{any1}/"
    rungs = {"dns_host": OPERATOR[family], "dns_name": "probe.example.net", "web_url": page}
    return {"interval_s": 10, "targets": targets} | rungs


class Probe:
    """What the probe in a home says, as it says it."""

    def __init__(self, there: Home, folder: Path) -> None:
        reach = json.dumps(settings(there.families[0]))
        words = [sys.executable, "-m", "tests.faults.line_probe", str(folder), "boot", reach]
        self.process = subprocess.Popen(there.command("home", *words), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.said: list[Row] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def until(self, holds: Callable[[Row], object], after: int = 0) -> Row | None:
        """The first thing it says since then that holds; None: it says none in `PATIENCE_S`."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            found = next((one for one in self.said[after:] if holds(one)), None)
            if found is not None:
                return found
            time.sleep(0.05)
        return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.said.append(json.loads(text))


def cost(asked: argparse.Namespace) -> Iterator[Row]:
    """Of a quiet line, all rungs."""
    with home((4,)) as there, tempfile.TemporaryDirectory() as folder:
        probe = Probe(there, Path(folder))
        try:
            _ready(probe)
            before = _moment(there, probe.process.pid)
            time.sleep(asked.seconds)
            after = _moment(there, probe.process.pid)
        finally:
            probe.kill()
    took_s, cpu_s, size, packets = (b - a for a, b in zip(before, after, strict=True))
    month_gb = (size - packets * ETHERNET_BYTES) / took_s * MONTH_S / 1e9
    yield {
        "case": "cost",
        "seconds": round(took_s, 1),
        "cpu_of_a_core": round(cpu_s / took_s, 5),
        "line_gb_a_month": round(month_gb, 3),
        "goal": f"<= {GOAL_CPU} of a core, <= {GOAL_GB} GB",
        "holds": cpu_s / took_s <= GOAL_CPU and month_gb <= GOAL_GB,
    }


def place(asked: argparse.Namespace) -> Iterator[Row]:
    """Each fault so many times a family, in homes side by side."""
    rng = random.Random(asked.seed)
    todo = {family: _wanted(rng, asked.runs) for family in asked.families}
    done: Queue[Row] = Queue()
    families = islice(cycle(asked.families), max(asked.homes, len(asked.families)))
    workers = [threading.Thread(target=_work, args=(family, todo[family], done)) for family in families]
    for worker in workers:
        worker.start()
    for _ in range(asked.runs * len(FAULTS) * len(asked.families)):
        yield done.get()
    for worker in workers:
        worker.join()


def _wanted(rng: random.Random, runs: int) -> Todo:
    """Each fault so often, and how long a home is healthy before."""
    wanted = [(fault, rng.random() * 10) for _ in range(runs) for fault in FAULTS]
    rng.shuffle(wanted)
    todo: Todo = Queue()
    for one in wanted:
        todo.put(one)
    return todo


def _work(family: int, todo: Todo, done: Queue[Row]) -> None:
    with home((family,)) as there, tempfile.TemporaryDirectory() as folder:
        probe = Probe(there, Path(folder))
        try:
            _ready(probe)
            while (one := _next(todo)) is not None:
                fault, wait_s = one
                time.sleep(wait_s)
                done.put(_placed(there, probe, fault))
        finally:
            probe.kill()


def _next(todo: Todo) -> tuple[Fault, float] | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


def _placed(there: Home, probe: Probe, fault: Fault) -> Row:
    after, began_ms = len(probe.said), SystemClock().bt_ms()
    fault.break_(there)
    found = probe.until(lambda one: one.get("place") not in (None, "unplaced"), after)
    fault.heal(there)
    probe.until(lambda one: one.get("state") == "up", len(probe.said) - 1)
    goal_s = GOAL_OTHER_S if fault.place in NOT_STEADY else GOAL_STEADY_S
    seconds = None if found is None else round((found["at_ms"] - began_ms) / 1_000, 2)
    right = found is not None and found["place"] == fault.place
    return {
        "case": "place",
        "fault": fault.name,
        "af": there.families[0],
        "class": None if found is None else found["place"],
        "right": right,
        "seconds": seconds,
        "goal": goal_s,
        "holds": right and seconds is not None and seconds <= goal_s,
    }


def _ready(probe: Probe) -> None:
    for holds in (lambda one: one.get("target") == "isp1" and one["reason"] is None, lambda one: "state" in one):
        if probe.until(holds) is None:
            raise RuntimeError("the home is not ready")


def _moment(there: Home, pid: int) -> tuple[float, float, float, float]:
    """Now, processor seconds of the process, bytes and packets of the home's port both ways."""
    read = there.command("home", "cat", "/proc/net/dev")
    row = next(
        line
        for line in subprocess.run(read, capture_output=True, text=True, check=True).stdout.split("\n")
        if "h0:" in line
    )
    numbers = [int(word) for word in row.partition(":")[2].split()]
    clock_s = time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    return time.monotonic(), clock_s, float(numbers[0] + numbers[8]), float(numbers[1] + numbers[9])


CASES: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {"cost": cost, "place": place}


def main() -> int:
    """0 where all holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.ladder", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--homes", type=int, default=3)
    parser.add_argument("--families", default=(4, 6), type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if (why := why_not()) is not None:
        print(f"not here: {why}", file=sys.stderr)
        return 1
    fine = True
    for name in asked.cases.split(","):
        for row in CASES[name](asked):
            fine = fine and row["holds"]
            print(json.dumps(row) if asked.json else "  ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
