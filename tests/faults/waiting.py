"""When has something come about, and what does `balise status` say of the programs that a test runs?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from balise_collector.demo.programs import Programs

WAIT_S = 90.0


def status(programs: Programs) -> dict[str, Any]:
    """`balise status --json`."""
    command = [sys.executable, "-m", "balise_collector.entry", "status", "--json", "--data", str(programs.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
