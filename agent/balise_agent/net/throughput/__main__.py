"""What does the child process that runs one test read and print?

One JSON object on stdin (`decode_spec`), one on stdout: ``{"kind", "reason", "fields"}``. On a terminal, progress.

Rule 1: told to stop (SIGTERM), or where its agent is gone, it resets its streams, then gives the line's turn back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balise_agent.net.throughput.dialogue import GIVE_BACK_S, Peer
from balise_agent.net.throughput.measure import Spec, measure


def decode_spec(raw: Mapping[str, Any]) -> Spec:
    """From the parent's JSON; it is ours, so a wrong one raises."""
    told = raw["peer"]
    peer = told and Peer(family=told["family"], address=tuple(told["address"]), name=told["name"])
    return Spec(**{name: value for name, value in raw.items() if name != "peer"}, peer=peer)


def main() -> None:
    """Runs the test."""
    _first_to_go()
    signal.signal(signal.SIGTERM, _stop)
    raw = json.loads(sys.stdin.readline())
    parent = raw.pop("parent", os.getppid())
    spec, terminal = decode_spec(raw), sys.stderr.isatty()

    def say(direction: str, since_s: float, moved: int) -> None:
        if os.getppid() != parent:  # killed: nobody waits for this test, and it fills somebody's line
            os.kill(os.getpid(), signal.SIGTERM)  # by signal: speedtest-cli says so from its own threads
        if terminal:
            _progress(direction, since_s, moved)

    outcome, fields = measure(spec, say)
    if terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    print(json.dumps({"kind": outcome.kind, "reason": outcome.reason, "fields": fields}), flush=True)


def _stop(_number: int, _frame: object) -> None:
    """Unwinds the test; what is still held up after `GIVE_BACK_S` is ended by the kernel (SIGALRM)."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, GIVE_BACK_S)
    raise SystemExit(128 + signal.SIGTERM)


def _first_to_go() -> None:
    """Where memory runs out, the kernel kills this test, and not the agent (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _progress(direction: str, since_s: float, moved: int) -> None:
    """So far, the discarded second in it; without a rate where nobody counts while it runs (speedtest-cli)."""
    rate = f"  {moved * 8 / since_s / 1e6:8.2f} Mbit/s" if since_s > 0 and moved else ""
    print(f"\r\033[K{direction:<4} {since_s:4.1f} s{rate}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
