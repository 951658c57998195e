"""What does a probe in a namespace say of its line? One JSON object a change, one a record.

    python -m tests.faults.line_probe STATE_DIR BOOT SETTINGS

The real runner, windows and ladder; SETTINGS is the table [reach] as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from pathlib import Path

from balise_agent.clock import SystemClock
from balise_agent.codec import check_record
from balise_agent.config import AgentConfig, from_tables
from balise_agent.contract import Record
from balise_agent.probes import PROBES
from balise_agent.probes.context import Context
from balise_agent.probes.line import open_line
from balise_agent.runner import LineLock, Runner


class Changes(logging.Handler):
    """Prints each change of the line."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "line":
            _say({name: vars(record)[name] for name in ("state", "place", "evidence")})


def main(state_dir: Path, boot: str, reach: str) -> None:
    """Runs until killed."""
    log = logging.getLogger("balise_agent")
    log.setLevel(logging.INFO)
    log.addHandler(Changes())
    config = from_tables({"broker": {"host": "none"}, "probe": {"id": "probe001"}, "reach": json.loads(reach)})
    assert isinstance(config, AgentConfig), config
    clock = SystemClock(trust=True)
    line = open_line(
        state_dir=state_dir, boot=boot, now_bt_ms=clock.bt_ms, wall_ms=clock.wall_ms, clock_ok=clock.synchronised
    )
    context = Context(
        now_bt_ms=clock.bt_ms,
        monotonic=time.monotonic,
        rng=random.Random(),
        rows_waiting=lambda: 0,
        clock_ok=clock.synchronised,
        state_dir=state_dir,
        line=line,
    )

    async def emit(record: Record) -> None:
        assert check_record(record) is None, (check_record(record), record)
        values = {"measurement": record.measurement, "target": record.target, "reason": record.outcome.reason}
        _say(values | {"fields": dict(record.fields)})

    runner = Runner({"reach": PROBES["reach"]}, config, context, emit, LineLock())
    asyncio.run(runner.run())


def _say(values: dict[str, object]) -> None:
    print(json.dumps({"at_ms": SystemClock().bt_ms()} | values), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
