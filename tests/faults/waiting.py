"""When has something come about, and what does `balise status` say of the programs that a test runs?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from balise_collector.demo.programs import Programs

WAIT_S = 90.0


def until(is_so: Callable[[], bool], what: str) -> None:
    """Waits for it; AssertionError where it does not come."""
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, f"not after {WAIT_S:.0f} s: {what}"
        time.sleep(0.1)


def status(programs: Programs) -> dict[str, Any]:
    """`balise status --json`."""
    command = [sys.executable, "-m", "balise_collector.entry", "status", "--json", "--data", str(programs.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
