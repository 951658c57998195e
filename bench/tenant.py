"""What does a tenant notice of our tests, on a line of 10 Mbit/s behind a real box?

    python -m bench.tenant [--cases use,abort,call,blind] [--runs N] [--json]

The household is `bench/relay/household`: miniupnpd 2.3.1 in a namespace, a relay of 10 Mbit/s each way, RTT 10 ms, 100
ms of queue, BBR at the target. ``use``: somebody downloads 0.6 Mbit/s, how many of the tests asked for ran. ``abort``:
from the first byte of such a download, begun during a test, to the test's end. ``call``: the same with a call's packets
(1.2 Mbit/s to the home, 50 frames a second), and how long from its start until 200 ms of it are as on an idle line;
``knows``: the gate has seen a test before, and so what the box counts of one.
``blind``: the box does not speak; what the round-trip hint makes of the same download, before and during a test.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

from bench.relay.household import ROOT, Household, Probe, household
from bench.relay.line import Way, why_not

LINE = Way(rate_bps=10_000_000, delay_ms=5, queue_ms=100)
TENANT_BPS = 600_000
GOAL_ABORT_S = 2.5
GOAL_CALL_S = 1.5
WELL_MS = 10.0  # a call is as before while its delay rises by no more
CALL_S = 8
HEAR_S = 40  # a first test is in it
TENANT = "10.1.0.3"

Row = dict[str, Any]


def use(runs: int) -> Iterator[Row]:
    """Tests asked for while somebody downloads."""
    with _home() as (there, probe), there.tenant(TENANT_BPS):
        said = [_outcome(probe, "throughput") for _ in range(2 * runs)]
    ran = sum(one["event"] == "done" for one in said)
    yield {"case": "use", "tenant_bps": TENANT_BPS, "asked": len(said), "ran": ran, "goal": 0, "holds": ran == 0}


def abort(runs: int) -> Iterator[Row]:
    """A test that is under way when somebody begins."""
    rng = random.Random(1)
    for _ in range(runs):
        with _home() as (there, probe):
            began_s = _begun(probe)
            time.sleep(0.5 + rng.random() * 2.5)
            with there.tenant(TENANT_BPS) as first_byte_s:
                said = _next(probe)
            ended = said["at_s"] - first_byte_s
            yield {
                "case": "abort",
                "after_s": round(first_byte_s - began_s, 2),
                "ended": said.get("reason", said["event"]),
                "seconds": round(ended, 2),
                "goal": GOAL_ABORT_S,
                "holds": said.get("reason") == "line_busy" and ended <= GOAL_ABORT_S,
            }


def call(runs: int) -> Iterator[Row]:
    """A call that begins just after the gate let a test pass."""
    for _, knows in product(range(runs), (True, False)):
        with _home() as (there, probe):
            module = [sys.executable, "-m", "bench.relay.call"]
            hears = _popen(there, "tenant", *module, "receive", "6000", str(HEAR_S))
            assert hears.stdout is not None
            hears.stdout.readline()
            if knows:
                _outcome(probe, "loaded")
            _begun(probe)
            says = _popen(there, "far", *module, "send", TENANT, "6000", str(CALL_S))
            said = _next(probe)
            sent = int(says.communicate()[0])
            came = json.loads(hears.communicate()[0].splitlines()[-1])
        yield {"case": "call", "knows": knows, "ended": said.get("reason", said["event"])} | _suffered(
            came, sent, said["at_s"]
        )


def blind(runs: int) -> Iterator[Row]:
    """Without counters: before a test, and during one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balise-tenant-")))
        there = stack.enter_context(household(folder, LINE, speaks=False))
        probe = stack.enter_context(there.probe("--hint"))
        assert probe.next()["event"] == "ready"
        with there.tenant(TENANT_BPS):
            time.sleep(10)  # the hint looks at as much
            said = [_outcome(probe, "throughput") for _ in range(runs)]
        ran = [one for one in said if one["event"] == "done"]
        unknown = sum(record["gate"] == "unknown" for one in ran for record in one["records"])
        yield {"case": "blind, before", "asked": runs, "ran": len(ran), "stated_unknown": unknown}
        time.sleep(12)
        _begun(probe)
        with there.tenant(TENANT_BPS):
            ended = _next(probe)
        yield {"case": "blind, during", "ended": ended.get("reason", ended["event"])}


class _home:  # noqa: N801 - used as a function
    """A household with its probe, ready."""

    def __enter__(self) -> tuple[Household, Probe]:
        self._folder = tempfile.TemporaryDirectory(prefix="balise-tenant-")
        self._there = household(Path(self._folder.name), LINE)
        there = self._there.__enter__()
        self._probe = there.probe()
        probe = self._probe.__enter__()
        assert probe.next()["event"] == "ready"
        return there, probe

    def __exit__(self, *_: object) -> None:
        self._probe.__exit__(None, None, None)
        self._there.__exit__(None, None, None)
        self._folder.cleanup()


def _popen(there: Household, where: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(there.at(where, *words), cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _begun(probe: Probe) -> float:
    """Asks for a test that the gate lets pass; when it began."""
    probe.ask("throughput")
    said = probe.next()
    if said["event"] != "running":
        raise RuntimeError(f"the gate did not let it pass: {said}")
    return float(said["at_s"])


def _next(probe: Probe) -> Mapping[str, Any]:
    said = probe.next()
    return said if said["event"] != "running" else _next(probe)


def _outcome(probe: Probe, kind: str) -> Mapping[str, Any]:
    probe.ask(kind)
    return _next(probe)


def _suffered(came: list[list[float]], sent: int, ended_s: float) -> Row:
    """From the call's first packet to the first 200 ms that are all there and as fast as on an idle line."""
    began_s = came[0][0] if came else ended_s
    idle_s = min((delay_s for _, delay_s in came), default=0.0)
    well_s = None
    at_s = began_s
    while at_s < began_s + CALL_S - 0.5 and well_s is None:
        part = sorted(delay_s for sent_s, delay_s in came if at_s <= sent_s < at_s + 0.2)
        if len(part) >= 19 and part[len(part) * 95 // 100] <= idle_s + WELL_MS / 1_000:
            well_s = at_s - began_s
        at_s += 0.02
        if well_s is not None and at_s < ended_s - 0.3:  # before the test filled the line at all
            well_s = None
    worst_ms = max((delay_s for _, delay_s in came), default=0.0) * 1_000
    return {
        "sent": sent,
        "lost": sent - len(came),
        "worst_ms": round(worst_ms, 1),
        "test_ended_s": round(ended_s - began_s, 2),
        "well_s": None if well_s is None else round(well_s, 2),
        "goal": GOAL_CALL_S,
        "holds": well_s is not None and well_s <= GOAL_CALL_S,
    }


CASES: dict[str, Callable[[int], Iterator[Row]]] = {"use": use, "abort": abort, "call": call, "blind": blind}


def main() -> int:
    """0 where all that has a goal holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.tenant", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if (why := why_not()) is not None:
        print(f"not here: {why}", file=sys.stderr)
        return 1
    fine = True
    for name in asked.cases.split(","):
        for row in CASES[name](asked.runs):
            fine = fine and row.get("holds", True)
            print(json.dumps(row) if asked.json else "  ".join(f"{k}={v}" for k, v in row.items()), flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
