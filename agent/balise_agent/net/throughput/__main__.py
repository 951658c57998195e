"""What does the child process that runs one test read and print?

As any `errand`: `decode_spec`'s object, an outcome and fields. On a terminal, progress.

Rule 1: told to stop (SIGTERM), it resets its streams, then gives the line's turn back.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balise_agent.net import errand
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
    spec, terminal = decode_spec(errand.asked()), sys.stderr.isatty()
    outcome, fields = measure(spec, _progress if terminal else _nothing)
    if terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    errand.answer(outcome, fields)


def _stop(_number: int, _frame: object) -> None:
    """Unwinds the test; what is still held up after `GIVE_BACK_S` is ended by the kernel (SIGALRM)."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, GIVE_BACK_S)
    raise SystemExit(128 + signal.SIGTERM)


def _first_to_go() -> None:
    """Where memory runs out, the kernel kills this test, and not the agent (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _nothing(_direction: str, _since_s: float, _moved: int) -> None:
    """Where nobody looks."""


def _progress(direction: str, since_s: float, moved: int) -> None:
    """So far, the discarded second in it; without a rate where nobody counts while it runs (speedtest-cli)."""
    rate = f"  {moved * 8 / since_s / 1e6:8.2f} Mbit/s" if since_s > 0 and moved else ""
    print(f"\r\033[K{direction:<4} {since_s:4.1f} s{rate}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
