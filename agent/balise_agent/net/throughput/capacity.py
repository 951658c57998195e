"""How many IP bits a second does the line carry when more is sent, and what does it lose when it is not full?

TCP makes one figure of both; a burst of UDP tells "slow" from "lossy". Down the target sends, up the probe: at a rate
that is doubled until more comes no more, then held 15 % above what came, then 10 % below.

Rule 1: what the probe itself could not take or send, or the target, is nobody's loss: `limited_by` says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from balise_agent.contract import failed
from balise_agent.net.throughput import driven
from balise_agent.net.throughput.burst import Seen
from balise_agent.net.throughput.dialogue import TroubleError
from balise_agent.net.throughput.driven import Driven
from balise_agent.net.throughput.limits import VALIDITY, Evidence, limited_by, worst
from balise_agent.net.throughput.machine import machine_share, moment, process_share
from balise_agent.net.throughput.session import Session

START_BPS = 2e6  # where the contract is not known
START_SHARE, MOST_SHARE = 0.5, 1.5  # of the contract: the search's first and last rate
UNKNOWN_MOST_BPS = 1.5e9
STEP_S, NOTHING_S, SEARCH_S = 0.1, 1.5, 3.0
KEPT_UP = 0.85  # of what was sent: with less, more was sent than the line carries, if no more came than before
DRIVE, HELD_S, WINDOW_S = 1.15, 0.4, 0.8  # of what came; until the queue is full; what is measured
DRIVES, MORE = 4, 1.5  # where the line was not full yet: so often more, by so much
EMPTY, EMPTY_S = 0.5, 0.4  # lets 200 ms of queue run out
PROBE, PROBE_SKIP_S, PROBE_S = 0.9, 0.1, 1.0  # of what the line carries: a line that is not full
LOST_HERE = 0.001  # of the packets: dropped by a socket
SAID_EVERY_S = 0.05

Fields = dict[str, int | float | str]

_WAYS: dict[str, Callable[[Session], AbstractContextManager[Driven]]] = {"down": driven.down, "up": driven.up}
_PREFIX = {"down": "", "up": "up_"}


@dataclass(slots=True, kw_only=True)
class Search:
    """One burst, one way. Rates are of IP packets."""

    burst: Driven
    most_bps: float
    said: Callable[[float, int], None]
    step: int = 0
    rate_bps: float = 0.0
    _begun_s: float = field(default_factory=time.monotonic)
    _said_s: float = 0.0

    def at(self, rate_bps: float) -> None:
        """From now on so much."""
        self.step, self.rate_bps = self.step + 1, min(rate_bps, self.most_bps)
        self.burst.at(self.step, self.rate_bps)

    def for_s(self, seconds: float) -> float:
        """Goes on for so long; bits a second that came, of whatever step."""
        before = self.burst.seen()
        self._until(lambda: False, seconds)
        return self._bps(before, self.burst.seen())

    def stepped(self) -> Seen:
        """Goes on until the step that was asked for has come; what had come of it."""
        self._until(lambda: self.burst.seen().step >= self.step, NOTHING_S)
        seen = self.burst.seen()
        if seen.step < self.step:
            raise TroubleError(failed("no_answer"))
        return seen

    def search(self, start_bps: float) -> float:
        """Bits a second that came when more made no more come, or at the most that may be asked for."""
        end_s, before = time.monotonic() + SEARCH_S, None
        self.at(start_bps)
        while True:
            seen = self.stepped()
            self._until(lambda: False, STEP_S)
            got = self._bps(seen, self.burst.seen(), of_step=True)
            if is_full(self.rate_bps, got, before) or self.rate_bps >= self.most_bps or time.monotonic() > end_s:
                return got
            before = (self.rate_bps, got)
            self.at(2 * self.rate_bps)

    def _bps(self, before: Seen, after: Seen, *, of_step: bool = False) -> float:
        came = after.packets - before.packets if of_step else after.all - before.all
        span_s = after.at_s - before.at_s
        if span_s <= 0:  # nobody says any more what comes
            raise TroubleError(failed("no_answer"))
        return came * self.burst.packet_bits / span_s

    def _until(self, over: Callable[[], bool], most_s: float) -> None:
        end_s = time.monotonic() + most_s
        while not over() and (now_s := time.monotonic()) < end_s:
            self.burst.turn()
            if now_s - self._said_s >= SAID_EVERY_S:
                self._said_s = now_s
                self.said(now_s - self._begun_s, self.burst.seen().all * self.burst.packet_bits // 8)
            time.sleep(driven.TURN_S)


def is_full(rate: float, got: float, before: tuple[float, float] | None) -> bool:
    """Whether more was sent than the line carries: less came, and not in proportion more than ``before`` (rate, got).

    A line that loses a fifth of everything brings less too, and goes on bringing more.
    """
    if before is None or got >= KEPT_UP * rate:
        return False
    return got / max(1.0, before[1]) < (1 + rate / before[0]) / 2


def capacity(session: Session, contract: tuple[float | None, float | None], only: str) -> Fields:
    """Fields of a `udp_capacity` record; ``contract``: down and up."""
    fields: Fields = {}
    words = []
    for direction, contract_bps in zip(_WAYS, contract, strict=True):
        if only in ("both", direction):
            found, word = _one_way(session, direction, contract_bps)
            fields |= {f"{_PREFIX[direction]}{name}": value for name, value in found.items() if name != "bps"}
            fields |= {f"{direction}_bps": value for name, value in found.items() if name == "bps"}
            words.append(word)
    return fields | {"limited_by": worst(words), "validity": VALIDITY[worst(words)]}


def _one_way(session: Session, direction: str, contract_bps: float | None) -> tuple[Fields, str]:
    """What was measured, and what held it back."""
    most_bps = UNKNOWN_MOST_BPS if contract_bps is None else MOST_SHARE * contract_bps
    start_bps = START_BPS if contract_bps is None else START_SHARE * contract_bps
    with _WAYS[direction](session) as burst:
        search = Search(
            burst=burst, most_bps=most_bps, said=lambda since_s, moved: session.say(f"udp {direction}", since_s, moved)
        )
        before = moment(session.link)
        fields = measured(search, start_bps)
        after = moment(session.link)
        here, there = _held_back(burst)
    seen = Evidence(
        bps=0,
        contract_bps=contract_bps,
        wifi=None if session.link is None else session.link.wifi,
        link_bps=None if session.link is None else session.link.bps,
        process_cpu=process_share(before, after),
        machine_cpu=machine_share(before, after),
        ran_dry=here,
        server_late=there,
    )
    return fields, limited_by(seen)


def _held_back(burst: Driven) -> tuple[float, float]:
    """Here and there. A receiver that drops one packet in a thousand is late; a sender only with one in ten."""
    shares = [burst.late_here, burst.late_there]
    receiver = 0 if burst.direction == "down" else 1
    shares[receiver] = 1.0 if shares[receiver] > LOST_HERE else 0.0
    return shares[0], shares[1]


def measured(search: Search, start_bps: float) -> Fields:
    """What the line carries, and what it loses."""
    fields: Fields = {}
    carried_bps, was_full = _filled(search, DRIVE * search.search(start_bps))
    fields["driven_bps"] = round(search.rate_bps)
    if was_full:
        fields["bps"] = round(carried_bps)
    search.at(EMPTY * carried_bps)
    search.for_s(EMPTY_S)
    search.at(PROBE * carried_bps)
    search.stepped()
    search.for_s(PROBE_SKIP_S)
    before = search.burst.seen()
    search.for_s(PROBE_S)
    after = search.burst.seen()
    sent, came = after.highest - before.highest, after.packets - before.packets
    if came == 0:
        raise TroubleError(failed("stalled"))
    fields |= {"probed_bps": round(search.rate_bps), "loss_ratio": round(max(0, sent - came) / max(1, sent), 6)}
    return fields | {"packets": sent, "reordered": after.late - before.late}


def _filled(search: Search, rate_bps: float) -> tuple[float, bool]:
    """Bits a second that came, and whether the line was full: a search that a late process misled is made up for."""
    for _ in range(DRIVES):
        search.at(rate_bps)
        search.stepped()
        search.for_s(HELD_S)
        carried_bps = search.for_s(WINDOW_S)
        was_full = carried_bps < (1 + 1 / DRIVE) / 2 * search.rate_bps
        if was_full or search.rate_bps >= search.most_bps:
            break
        rate_bps = MORE * search.rate_bps
    return carried_bps, was_full
