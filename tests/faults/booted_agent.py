"""An agent on a machine whose kernel says that its clock is not synchronised until a file says that it is.

libfaketime stands between the program and wall time, but not between it and adjtimex(2).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from balise_agent.agent import Agent
from balise_agent.config import load
from balise_agent.identity import identify

SYNCHRONISED = "BALISE_TEST_SYNCHRONISED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootedClock:
    """The kernel's clocks; `synchronised` is the file's."""

    synchronised_file: Path

    def bt_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def synchronised(self) -> bool | None:
        return self.synchronised_file.exists()


def main(config: Path) -> int:
    """Runs it as `balise-agent run` would."""
    loaded = load(config)
    clock = BootedClock(synchronised_file=Path(os.environ[SYNCHRONISED]))
    return asyncio.run(Agent(loaded, identify(loaded), clock).run())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[sys.argv.index("--config") + 1])))
