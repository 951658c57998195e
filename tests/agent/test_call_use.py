"""Is the tenant's telephone call seen before the probe makes one of its own?"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from balise_agent.budget import Contract
from balise_agent.call_use import CallUse, is_call
from balise_agent.gate import Reading
from balise_agent.probes.box import Box, BoxSettings, Bytes
from balise_agent.probes.context import Context

KBIT = 1_000 / 8


class CountingBox(Box):
    """One whose counters grow by the clock, in kbit/s each way; beside, as the probe itself does not."""

    def __init__(self, down_kbit: float, up_kbit: float) -> None:
        super().__init__()
        self._rates = down_kbit * KBIT, up_kbit * KBIT

    async def bytes(self, settings: BoxSettings) -> Bytes | None:
        since_s = time.monotonic()
        return round(since_s * self._rates[0]), round(since_s * self._rates[1])


def looked(box: Box) -> tuple[str, str | None]:
    context = Context(
        now_bt_ms=lambda: 0,
        monotonic=time.monotonic,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=Path("/"),
        box=box,
    )
    settings = BoxSettings(placement="box")
    use = CallUse(context, lambda: settings, lambda: Contract(down_bps=10e6, up_bps=10e6))
    return asyncio.run(use.look())


@pytest.mark.parametrize(
    ("down_kbit", "up_kbit", "use"),
    [
        (31, 31, "busy"),  # G.729
        (100, 5, "idle"),  # a page being read: it is no call, and less than the gate looks for
    ],
)
def test_a_call_is_seen_by_what_moves_both_ways(down_kbit: float, up_kbit: float, use: str) -> None:
    assert looked(CountingBox(down_kbit, up_kbit)) == (use, "wan")


def test_what_the_probe_itself_moves_is_no_call() -> None:
    first = Reading(at_s=0, wan=(0, 0), own=(0, 0))
    assert not is_call(first, Reading(at_s=2, wan=(30_000, 30_000), own=(28_000, 28_000)))
    assert is_call(first, Reading(at_s=2, wan=(30_000, 30_000), own=(8_000, 8_000)))
