"""What do the agent's heavy tests do behind a box? A line of JSON for each thing that happens.

    python -m bench.relay.gate_probe FOLDER PORT [--contract BPS] [--hint]

The agent's own gate, ledger and engine against the target at the line's far end. A word on stdin (throughput, loaded)
asks for a test: ``running`` with when it began, then ``refused`` with its reason or ``done`` with its records.
The steady echo is on; ``--hint``: what it says at first counts for the hour before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from functools import partial
from pathlib import Path

from balise_agent.clock import SystemClock
from balise_agent.config import AgentConfig, from_tables
from balise_agent.contract import Record
from balise_agent.heavy import Heavy, RefusedError
from balise_agent.outbox_thread import OutboxThread
from balise_agent.probes import PROBES
from balise_agent.probes.box import Box
from balise_agent.probes.context import Context
from balise_agent.probes.hint import HOUR_MS
from balise_agent.probes.line import Line, open_line
from balise_agent.runner import LineLock, Runner
from bench.relay.line import FAR
from bench.relay.peers import TOKEN

STEADY_S = 1.5
LEARN_S = 15.0


def main() -> None:
    """Until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--contract", type=float, default=10e6)
    parser.add_argument("--hint", action="store_true")
    asked = parser.parse_args()
    asyncio.run(_run(asked))


async def _run(asked: argparse.Namespace) -> None:
    state = asked.folder / "state"
    state.mkdir(exist_ok=True)
    clock = SystemClock(trust=True)
    on_disk = OutboxThread(state / "outbox.db", boot="boot", clock=clock)
    outbox = await on_disk.open(asyncio.Event())
    assert outbox is not None
    config = _config(asked)
    line = open_line(
        state_dir=state, boot="boot", now_bt_ms=clock.bt_ms, wall_ms=clock.wall_ms, clock_ok=clock.synchronised
    )
    context = Context(
        now_bt_ms=clock.bt_ms,
        monotonic=time.monotonic,
        rng=random.Random(),
        rows_waiting=lambda: 0,
        clock_ok=clock.synchronised,
        state_dir=state,
        line=line if asked.hint else None,
        box=Box(),
    )
    lock = LineLock()
    runner = Runner({"reach": PROBES["reach"]}, config, context, _emit, lock)
    heavy = Heavy(
        config=lambda: config,
        context=context,
        clock=clock,
        outbox=outbox,
        on_disk=on_disk,
        runner=runner,
        line=lock,
        emit=_emit,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(heavy.run())
        group.create_task(runner.run())
        if asked.hint:
            await _learn(line, clock)
        _say("ready")
        loop = asyncio.get_running_loop()
        while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            await _demand(heavy, word)


async def _demand(heavy: Heavy, word: str) -> None:
    try:
        records = await heavy.demand(word, None, partial(_say, "running"))
    except RefusedError as refused:
        _say("refused", reason=str(refused))
        return
    _say("done", records=[{"measurement": r.measurement, "outcome": r.outcome.kind, **r.fields} for r in records])


async def _learn(line: Line, clock: SystemClock) -> None:
    """What an idle line's echoes are, told as if it had been an hour ago and since."""
    await asyncio.sleep(LEARN_S)
    now_ms = clock.bt_ms()
    latest = [rtt for _, rtt in line.hint.latest(now_ms) if rtt is not None]
    for number in range(HOUR_MS // 1_500 + 2):
        line.hint.answered(now_ms - HOUR_MS - 3_000 + number * 1_500, latest[number % len(latest)])


def _config(asked: argparse.Namespace) -> AgentConfig:
    config = from_tables(
        {
            "broker": {"host": "127.0.0.1"},
            "probe": {"id": "k3v9q2xa7m"},
            "heavy": {"enabled": False},
            "reach": {
                "interval_s": 1.5,  # windows begin at once, not within a minute
                "targets": [{"label": "op", "host": FAR, "every_s": STEADY_S}],
                "learn_hop": False,
            },
            "throughput": {
                "token": TOKEN,
                "contract_down_bps": asked.contract,
                "contract_up_bps": asked.contract,
                "targets": [{"label": "op", "url": f"http://{FAR}:{asked.port}"}],
            },
            "loaded": {"token": TOKEN},
        }
    )
    assert isinstance(config, AgentConfig), config
    return config


async def _emit(_record: Record) -> None:
    return None


def _say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, "at_s": time.monotonic()} | more), flush=True)


if __name__ == "__main__":
    main()
