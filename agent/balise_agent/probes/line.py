"""What state is the line in between and within the windows of `reach`, and which records say so?

The shell around `ladder` and `outage`: the echoes of each window report here (`Watch`), the rungs that are no echoes
(carrier, neighbour, name, page) are asked here. Beside it: `line_watch`, one echo; `line_hop`, the first router beyond
the gateway; `line_file`, what outlives the agent.

Rule 1: one `Line` an agent; windows come and go, and time between them is unknown.
Rule 2: what is to be told is on disk until the window after it was handed over; told twice it has the same id or hour.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from balise_agent import outage
from balise_agent.contract import OK, Record, Value, failed
from balise_agent.ladder import Ladder, Reading
from balise_agent.net import gateway, neighbour
from balise_agent.net import link as links
from balise_agent.net.resolve import Address, literal, resolve
from balise_agent.probes.hint import Hint
from balise_agent.probes.line_file import FILE, LineFile, from_raw, sealed, to_raw
from balise_agent.probes.line_hop import Learned, trace
from balise_agent.probes.line_watch import Pace, Watch

log = logging.getLogger(__name__)

ALIVE_MS = 60_000  # settled: a mark each 60 s; without one the line's state is unknown
SAVE_MS = 60_000  # so that a kill loses a minute of watched time at most,
SAVE_DOWN_MS = 10_000  # and ten seconds of an outage
LINK_MS = 3_600_000
LOOK_S = 10.0  # rung 0, and the longest that no reading is made: below `outage.UNWATCHED_MS`
PAGE_DOUBT_S = 5.0  # a page costs ten packets: it is asked less often than an echo while there is doubt

ISP = "isp1"

_TOLD_TWICE = ("outage", "avail")
"""Their id or hour says that they are the same; a kill right after they were handed over must not lose them."""

Ask = Callable[[], Awaitable[bool]]


class Line:
    """The line of one home, for as long as the agent runs; `open_line` makes it."""

    def __init__(
        self,
        *,
        file: Path,
        boot: str,
        now_bt_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        clock_ok: Callable[[], bool | None],
        rng: random.Random,
    ) -> None:
        self._file, self._boot, self._rng = LineFile(file), boot, rng
        self.now_ms, self._wall_ms, self._clock_ok = now_bt_ms, wall_ms, clock_ok
        self.wakes: set[asyncio.Event] = set()
        self.hint = Hint()
        self._attending = asyncio.Lock()
        self._start(self._file.read())

    def _start(self, kept: Mapping[str, Any]) -> None:
        now_ms = self.now_ms()
        self._ladder = Ladder(answered_ever=kept.get("answered", ()))
        book = outage.load(kept.get("book"))
        fresh = outage.begin(self._boot, now_ms)
        self._book = fresh if book is None else outage.resume(book, self._boot, now_ms, self._offset_ms())
        self._learned = Learned(host=kept.get("hop"), gateway=kept.get("hop_gateway"))
        self._addresses: dict[str, Address] = {}
        for host, known in kept.get("peers", {}).items():
            if (address := literal(str(known))) is not None:
                self._addresses[host] = address
        self._unsaid = [from_raw(raw, self._boot, now_ms) for raw in kept.get("unsaid", ())]
        self._handed: list[Record] = []  # a window ago: by now the outbox has them on disk
        self._reading = Reading(at_ms=now_ms, state="unsure", since_ms=now_ms)
        self._seen_ms = self._saved_ms = now_ms
        self._alive_ms = self._link_ms = -LINK_MS
        self._link = links.Link(carrier=None)
        self._interface = ""
        self._gateways: set[str] = set()
        self._dirty = asyncio.Event()

    # what `reach` asks

    @property
    def hop(self) -> str | None:
        """Address of the first router beyond the gateway, as it was learned."""
        return self._learned.host

    def known(self, host: str) -> Address | None:
        """Where that peer was last: a name does not resolve in an outage, and an echo must not wait for it."""
        return self._addresses.get(host)

    def found(self, host: str, address: Address) -> None:
        """Where that peer is now."""
        if literal(host) is None and host != gateway.GATEWAY:
            self._addresses[host] = address

    def spacing_s(self, label: str, every_s: float, fast_s: float) -> float:
        """How far apart the echoes of that rung are now."""
        return min(every_s, fast_s) if self._ladder.is_fast(label, self.now_ms()) else every_s

    def watch(self, label: str, pace: Pace) -> Watch:
        """An echo is sent now."""
        return Watch(self, label, pace)

    @property
    def is_down(self) -> bool:
        """The home is without its line now."""
        return self._reading.state == "down"

    def records(self) -> list[Record]:
        """What is to be told since the last time, the mark of life among it."""
        now_ms = self.now_ms()
        if now_ms - self._alive_ms >= ALIVE_MS - 1_000:  # windows of 60 s end some ms apart
            self._alive_ms = now_ms
            self._say("alive", self._mark())
        said, self._unsaid = self._unsaid, []
        self._handed = [record for record in said if record.measurement in _TOLD_TWICE]
        if said:
            self._dirty.set()
        return said

    def forget(self) -> None:
        """The home no longer agrees to being measured: nothing seen stays."""
        self._file.forget()
        self._start({})

    def save(self) -> None:
        """Writes what must outlive the agent, now."""
        self._handed = []
        self._file.write(self._kept(), self._file.life)

    # what `Watch` tells

    def answered(self, label: str, sent_ms: int) -> None:
        self._mind_the_gap()
        self._ladder.answered(label, sent_ms)
        self._look()

    def late(self, label: str, sent_ms: int) -> None:
        now_ms = self._mind_the_gap()
        self._ladder.late(label, sent_ms, now_ms)
        self._look()
        for wake in self.wakes:
            wake.set()

    def lost(self, label: str, sent_ms: int) -> None:
        self._mind_the_gap()
        self._ladder.lost(label, sent_ms)
        self._look()

    def refused(
        self,
        label: str,
        sent_ms: int,
        reason: str,
        router: str | None = None,
        took_ms: int | None = None,
        *,
        was_late: bool,
    ) -> None:
        """``took_ms``: from its sending to that router's word; None: no router's."""
        now_ms = self._mind_the_gap()
        if not was_late:
            self._ladder.late(label, sent_ms, now_ms)
        self._ladder.lost(label, sent_ms, no_route=reason == "no_route" and router is None)
        of_gateway = router is not None and router in self._gateways
        if of_gateway and took_ms is not None and reason in ("unreachable_net", "unreachable_host"):
            self._ladder.refused_by_gateway(label, took_ms, no_network=reason == "unreachable_net")
        self._look()
        for wake in self.wakes:
            wake.set()

    # the rungs that are no echoes

    async def attend(self, asks: Mapping[str, tuple[float, Ask]], peer: str | None, fast_s: float) -> None:
        """Until cancelled: looks at the link, asks each of ``asks`` (label: seconds apart, what to do), writes to disk.

        ``peer``: host towards which the first hop is learned, None: it is not.
        """
        async with self._attending:  # the next window begins while the last one waits for its stragglers
            works = [self._keep_looking(fast_s), self._keep_saving()]
            works += [self._keep_asking(label, every_s, ask, fast_s) for label, (every_s, ask) in asks.items()]
            if peer is not None:
                works.append(self._keep_learning(peer))
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(work)

    async def _keep_looking(self, fast_s: float) -> None:
        while True:
            await self._look_at_link()
            self._look()
            await self._doubt_or(LOOK_S, fast_s)

    async def _look_at_link(self) -> None:
        now_ms = self._mind_the_gap()
        way = gateway.way_out()
        if way is not None:
            self._interface = way[1]
            self._gateways = {way[0], *([self._learned.gateway] if self._learned.gateway else [])}
        carrier = links.has_carrier(self._interface) if self._interface else None
        self._ladder.link(carrier, now_ms)
        if self._ladder.is_hasty(now_ms) and way is not None:
            began_ms = self._ladder.reading(now_ms).since_ms
            self._ladder.neighbour(neighbour.is_alive(way[0], max(0, now_ms - began_ms) / 1_000))
        if carrier != self._link.carrier or now_ms - self._link_ms >= LINK_MS:
            self._tell_link(now_ms)

    def _tell_link(self, now_ms: int) -> None:
        link = links.look(self._interface) if self._interface else links.Link(carrier=None)
        if link.carrier is None and self._link.carrier is None:
            return
        self._link, self._link_ms = link, now_ms
        fields: dict[str, Value | None] = {"carrier": link.carrier, "speed_bps": link.speed_bps}
        self._say("link", fields | {"duplex": link.duplex, "errors": link.errors})

    async def _keep_asking(self, label: str, every_s: float, ask: Ask, fast_s: float) -> None:
        fast_s = PAGE_DOUBT_S * fast_s if label == "web" else fast_s
        while True:
            began_ms = self.now_ms()
            if await ask():
                self.answered(label, began_ms)
            else:
                self.refused(label, began_ms, "", was_late=False)
            await self._doubt_or(every_s, fast_s, began_ms, label)

    async def _doubt_or(self, every_s: float, fast_s: float, began_ms: int | None = None, label: str = "") -> None:
        """Waits for the next turn; while there is doubt that is soon."""
        began_ms = self.now_ms() if began_ms is None else began_ms
        wake = asyncio.Event()
        self.wakes.add(wake)
        try:
            while True:
                now_ms = self.now_ms()
                doubt = self._ladder.is_fast("dns", now_ms) if label == "dns" else self._ladder.is_hasty(now_ms)
                left_s = (min(every_s, fast_s) if doubt else every_s) - (now_ms - began_ms) / 1_000
                if left_s <= 0:
                    return
                wake.clear()
                try:
                    async with asyncio.timeout(left_s):
                        await wake.wait()
                except TimeoutError:
                    continue
        finally:
            self.wakes.discard(wake)

    # the first hop

    async def _keep_learning(self, peer: str) -> None:
        while True:
            now_ms = self.now_ms()
            if self._reading.state == "up" and self._learned.is_due(now_ms, self._ladder.share(ISP)):
                before_ms, self._learned.tried_ms = self._learned.tried_ms, now_ms
                try:
                    await self._learn(peer)
                except asyncio.CancelledError:  # its window ended: the next one begins it anew
                    self._learned.tried_ms = before_ms
                    raise
            await asyncio.sleep(LOOK_S if self._reading.state == "up" else 1.0)

    async def _learn(self, host: str) -> None:
        address = self.known(host) or next(iter(await resolve(host)), None)
        traced = None if address is None else await trace(address, self._rng)
        if address is None or traced is None:
            return
        way, first = traced
        before = self._learned.host
        fields: dict[str, Value | None] = {"af": address.af} | self._learned.take(way, first)
        if self._learned.host != before:
            self._ladder.drop(ISP)
        self._say("path", fields, failed_for=None if any(way.routers) or way.length else "no_answer")
        self._dirty.set()

    # readings, records, disk

    def _mind_the_gap(self) -> int:
        now_ms = self.now_ms()
        if now_ms - self._seen_ms > outage.UNWATCHED_MS:
            self._ladder.reset(now_ms)
        self._seen_ms = now_ms
        return now_ms

    def _look(self) -> None:
        before, self._reading = self._reading, self._ladder.reading(self._seen_ms)
        if (before.state, before.place) != (self._reading.state, self._reading.place):
            extra = {"state": self._reading.state, "place": self._reading.place, "evidence": self._reading.evidence}
            log.info("line", extra=extra)
        was_open = self._book.open is not None
        self._book, facts = outage.read(self._book, self._reading, self._offset_ms())
        for fact in facts:
            self._tell(fact)
        every_ms = SAVE_MS if self._book.open is None else SAVE_DOWN_MS
        if facts or was_open != (self._book.open is not None) or self._seen_ms - self._saved_ms >= every_ms:
            self._dirty.set()

    def _tell(self, fact: outage.Fact) -> None:
        match fact:
            case outage.Hour():
                fields: dict[str, Value | None] = {"hour": fact.number if fact.dated else None}
                lengths = {"observed_s": fact.observed_ms, "down_s": fact.down_ms, "microcut_s": fact.microcut_ms}
                self._say("avail", fields | {name: ms / 1_000 for name, ms in lengths.items()})
            case outage.Ongoing():
                self._say("outage", {"state": "open", "kind": "outage"} | _of(fact.outage), fact.at_ms)
            case outage.Ended():
                fields = {"state": "ended", "kind": fact.kind, "end_ms": fact.end_ms}
                self._say("outage", fields | _of(fact.outage), fact.at_ms)

    def _mark(self) -> dict[str, Value | None]:
        return {"boot": self._boot, "state": self._reading.state, "class": self._reading.place}

    def _say(
        self,
        measurement: str,
        fields: Mapping[str, Value | None],
        at_ms: int | None = None,
        *,
        failed_for: str | None = None,
    ) -> None:
        record = Record(
            measurement=measurement,
            bt_ms=self.now_ms() if at_ms is None else at_ms,
            outcome=OK if failed_for is None else failed(failed_for),
            fields={name: value for name, value in fields.items() if value is not None},
        )
        self._unsaid.append(record)

    def _offset_ms(self) -> int | None:
        return self._wall_ms() - self.now_ms() if self._clock_ok() is True else None

    async def _keep_saving(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            self._saved_ms = self.now_ms()
            await asyncio.to_thread(self._file.write, self._kept(), self._file.life)

    def _kept(self) -> bytes:
        kept = {
            "book": outage.dump(self._book),
            "answered": self._ladder.answered_ever,
            "hop": self._learned.host,
            "hop_gateway": self._learned.gateway,
            "peers": {host: address.host for host, address in self._addresses.items()},
            "unsaid": [to_raw(record, self._boot) for record in (*self._handed, *self._unsaid)],
        }
        return sealed(kept)


def open_line(
    *,
    state_dir: Path,
    boot: str,
    now_bt_ms: Callable[[], int],
    wall_ms: Callable[[], int],
    clock_ok: Callable[[], bool | None],
) -> Line:
    """The line of this agent, which goes on with what the last one on this machine left. ``boot``: as in messages."""
    rng = random.Random()
    return Line(file=state_dir / FILE, boot=boot, now_bt_ms=now_bt_ms, wall_ms=wall_ms, clock_ok=clock_ok, rng=rng)


def _of(found: outage.Open) -> dict[str, Value | None]:
    length_ms = None if found.unknown_ms is None else found.down_ms + found.unknown_ms
    return {
        "id": found.id,
        "class": found.places[0],
        "course": ">".join(found.places),
        "evidence": found.evidence,
        "dur_s": None if length_ms is None else length_ms / 1_000,
        "down_s": found.down_ms / 1_000,
        "unknown_s": None if found.unknown_ms is None else found.unknown_ms / 1_000,
        "restarts": found.restarts,
        "start_ms": found.start_ms,
    }
