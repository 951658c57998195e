"""Is a refusal judged by when it came, and not by when the probe had the processor to read it?"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from balise_agent.ladder import Place
from balise_agent.net.datagram import Refusal, Sent
from balise_agent.probes.echoes import Echo
from balise_agent.probes.line import Line, open_line
from balise_agent.probes.reach import ReachSettings, _refuse

GATEWAY = "192.0.2.1"
MS = 1_000_000
NOON = 1_800_000_000_000 * MS


class Clock:
    """Of boot, turned by hand."""

    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


def line_of_one_home(folder: Path, clock: Clock) -> Line:
    line = open_line(
        state_dir=folder, boot="boot", now_bt_ms=clock, wall_ms=lambda: NOON // MS + clock.ms, clock_ok=lambda: True
    )
    line._gateways = {GATEWAY}
    return line


def echo(line: Line, clock: Clock, label: str) -> Echo:
    sent = Sent(wall_ns=NOON + clock.ms * MS, mono_ns=clock.ms * MS)
    return Echo(sequence=1, sent=sent, watch=line.watch(label, ReachSettings()))


def refusal(clock: Clock, *, code: int, came_ms: int | None) -> Refusal:
    """By the gateway: 0, no network, or 1, no such host; read now, stamped by the kernel then."""
    return Refusal(
        family=socket.AF_INET,
        type=3,
        code=code,
        router=GATEWAY,
        quoted=b"",
        destination=("", 0),
        stamp_ns=None if came_ms is None else NOON + came_ms * MS,
        wall_ns=NOON + clock.ms * MS,
        mono_ns=clock.ms * MS,
    )


async def classed(folder: Path, code: int, read_after_ms: int, came_after_ms: int | None) -> Place | None:
    """The class, when each echo is refused by the gateway that long after it was sent, and read then."""
    clock = Clock()
    line = line_of_one_home(folder, clock)
    for _ in range(3):
        for label in ("gw", "isp1", "op", "any1"):
            line.answered(label, clock.ms)
        clock.ms += 1_000
    for _ in range(3):
        asked = [echo(line, clock, label) for label in ("op", "any1", "isp1")]
        sent_ms = clock.ms
        clock.ms += read_after_ms
        for one in asked:
            came_ms = None if came_after_ms is None else sent_ms + came_after_ms
            _refuse(one, refusal(clock, code=code, came_ms=came_ms))
        clock.ms += 1_000
    return line._reading.place


@pytest.mark.parametrize(
    ("code", "read_after_ms", "came_after_ms", "found"),
    [
        (1, 3, 3, "access.wan"),
        (1, 900, 3, "access.wan"),  # the loop had no processor: the gateway refused at once all the same
        (1, 2_900, 2_900, "access.line"),
        (1, 900, None, "access.line"),  # a kernel that stamps nothing: the reading is all there is
        (0, 900, None, "access.wan"),  # a silent peer is never called a missing network
    ],
)
def test_a_refusal_counts_by_when_the_kernel_had_it(
    tmp_path: Path, code: int, read_after_ms: int, came_after_ms: int | None, found: Place
) -> None:
    assert asyncio.run(classed(tmp_path, code, read_after_ms, came_after_ms)) == found
