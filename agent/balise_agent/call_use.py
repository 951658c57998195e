"""Is somebody on the telephone, or using the line, before the probe takes a sample of television or makes a test call?

The gate of heavy tests looks for 0.5 Mbit/s; a call moves 31 to 87 kbit/s each way. So where the box's counters tell,
it is looked again: what moves both ways at once is taken for one.

Rule 1: what cannot be told is unknown; that a call is under way is said to nobody, the test call is left out.
Rule 2: while a sample is taken, the box may count the channel or not (television often has a network of its own): the
first second says which, and a counter that does not see it is no liar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from balise_agent.budget import Contract
from balise_agent.gate import EVERY_S, LOOK_S, By, Reading, Use, Watch, moved
from balise_agent.line_use import LineUse
from balise_agent.probes.box import Box, BoxSettings, own_bytes
from balise_agent.probes.context import Context

CALL_BPS = 25_000
"""Below a call in G.729: 20 bytes each 20 ms, 78 on the wire, 31 kbit/s; in G.711 it is 87."""
RISE_US = 50_000
"""Above the round trips of before: whoever uses the line notices; a channel alone on a line that carries it does not
do that."""

_COUNTED = 0.5  # of the probe's own bytes, at least so much is in the box's counter where it sees the channel
_ENOUGH_BYTES, _ENOUGH_S = 30_000, 1.0  # before that is asked: 240 kbit/s, less than any channel


class CallUse:
    """Of one home."""

    def __init__(self, context: Context, settings: Callable[[], BoxSettings], contract: Callable[[], Contract]) -> None:
        self._box = context.box or Box()
        self._context = context
        self._settings, self._contract = settings, contract
        self._use = LineUse(context, settings, contract)

    async def look(self) -> tuple[Use, By | None]:
        """Whether others use the line now, and what tells so; takes 4 s."""
        verdict = await self._use.look()
        if verdict.use != "idle" or verdict.by not in ("box", "wan"):
            return verdict.use, verdict.by
        first = await self._reading(during=False)
        await asyncio.sleep(LOOK_S)
        last = await self._reading(during=False)
        if first is None or last is None:
            return "unknown", None
        return "busy" if is_call(first, last) else "idle", verdict.by

    async def until_busy(self) -> None:
        """While a sample is taken: returns when others begin to use the line, or round trips to suffer from it."""
        readings, before_us, begun_ms = list[Reading](), self._round_trip_us(0), self._context.now_bt_ms()
        while True:
            reading = await self._reading(during=True) if self._settings().enabled else None
            if reading is not None:
                readings.append(reading)
                if is_begun(readings, self._contract()):
                    return
            after_us = self._round_trip_us(begun_ms)
            if before_us is not None and after_us is not None and after_us - before_us > RISE_US:
                return
            await asyncio.sleep(EVERY_S)

    def _round_trip_us(self, since_ms: int) -> int | None:
        """The least of the last two echoes that were sent since: one alone may be late by chance."""
        line = self._context.line
        latest = [] if line is None else line.hint.latest(self._context.now_bt_ms())
        answered = [rtt_us for sent_ms, rtt_us in latest if sent_ms >= since_ms and rtt_us is not None]
        return min(answered[-2:]) if len(answered) >= 2 else None

    async def _reading(self, *, during: bool) -> Reading | None:
        settings, is_box = self._settings(), self._settings().placement == "box"
        wan = await (self._box.of_others(settings) if during else self._box.bytes(settings))
        own = (0, 0) if is_box else own_bytes()
        return None if wan is None or own is None else Reading(at_s=self._context.monotonic(), wan=wan, own=own)


def is_call(first: Reading, last: Reading) -> bool:
    """Whether others move a call or more, both ways at once."""
    span_s = max(1e-3, last.at_s - first.at_s)
    both = zip(first.wan, last.wan, first.own, last.own, strict=True)
    return all((moved(a, b) - moved(c, d)) * 8 / span_s > CALL_BPS for a, b, c, d in both)


def is_begun(readings: Sequence[Reading], contract: Contract) -> bool:
    """Whether others use the line, by readings from the sample's start on."""
    seen = _is_counted(readings)
    if seen is None:
        return False
    watch = Watch(contract=contract)
    for reading in readings:
        watch.add(reading if seen else replace(reading, own=(0, reading.own[1])))
    return watch.during() == "busy"


def _is_counted(readings: Sequence[Reading]) -> bool | None:
    """Rule 2; None: it is too early to tell."""
    first = readings[0]
    for last in readings[1:]:
        own = moved(first.own[0], last.own[0])
        if last.at_s - first.at_s >= _ENOUGH_S and own >= _ENOUGH_BYTES:
            return moved(first.wan[0], last.wan[0]) >= _COUNTED * own
    return True if readings[-1].at_s - first.at_s >= LOOK_S else None
