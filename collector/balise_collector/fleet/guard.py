"""Who is cut off from the broker now, and was the broker told?

A thread of its own: the broker's answer may take its time while it is flooded, and nothing else waits for it.

Rule 1: recorded, then told; what the broker did not confirm is told again at each look, and all that stands at each
start.
Rule 2: one that was let back by a command begins with empty levels.
Rule 3: the broker hands over in the order in which it got: once a mark that the collector sends to itself is back, all
that was kept before it has been taken.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from balise_agent.contract import parse_topic
from balise_collector.fleet.cutoffs import CutOffs
from balise_collector.fleet.desired import FleetError
from balise_collector.fleet.quota import Meter, Quotas, Sent

log = logging.getLogger(__name__)

LOOK_S = 1.0  # a flood of 10,000 messages a second is over its bound after one second, and cut off within three


class Guard:
    """``sent``: what each probe has sent so far; ``quotas``: read anew at each look, and where they
    cannot be (FleetError) the last ones hold; ``is_taking``: the collector takes messages now; ``cut``: tells the
    broker; says why it cannot, nothing where it did; ``mark`` sends a mark, ``marked``: the last that is back."""

    def __init__(
        self,
        *,
        cutoffs: CutOffs,
        sent: Callable[[], Mapping[str, Sent]],
        quotas: Callable[[], Quotas],
        is_taking: Callable[[], bool],
        cut: Callable[[str], str],
        mark: Callable[[bytes], None],
        marked: Callable[[], bytes],
        monotonic: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._cutoffs, self._sent, self._quotas, self._is_taking, self._cut = cutoffs, sent, quotas, is_taking, cut
        self._mark, self._marked, self._mark_of = mark, marked, b""
        self._monotonic, self._now_ms = monotonic, now_ms
        self._meter, self._last_quotas, self._fault = Meter(), Quotas(), ""
        self._stood: set[str] = set()
        self._told: set[str] = set()
        self._resumed = threading.Event()
        self._was_taking = False
        self.standing = 0  # probes that are cut off now
        self.fault = ""  # why the broker could not be told of one
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; a broker that does not answer is not waited for."""
        self._stop.set()
        self._thread.join(2)
        if not self._thread.is_alive():
            self._cutoffs.close()

    def resumed(self) -> None:
        """A new session began: what the broker kept comes now. From any thread."""
        self._resumed.set()

    def look(self) -> None:
        """One turn."""
        is_taking, now_s = self._is_taking(), self._monotonic()
        if self._resumed.is_set() or (is_taking and not self._was_taking):
            self._resumed.clear()
            self._meter.resumed(now_s)
            self._mark_of = secrets.token_hex(8).encode()
        self._was_taking = is_taking
        if is_taking and self._meter.is_catching_up:
            self._look_for_mark()
        standing = {cut_off.probe for cut_off in self._cutoffs.standing()}
        for probe in self._stood - standing:
            self._meter.forget(probe)
            log.info("probe_readmitted", extra={"probe": probe})
        if is_taking:
            standing |= self._add_those_over(standing, now_s)
        self._stood, self._told, self.standing = standing, self._told & standing, len(standing)
        self._tell(sorted(standing - self._told))

    def _look_for_mark(self) -> None:
        """Sends it again until one is back: a broker whose queue is full drops it."""
        if self._marked() == self._mark_of:
            self._meter.caught_up()
        else:
            self._mark(self._mark_of)

    def _add_those_over(self, standing: set[str], now_s: float) -> set[str]:
        over = self._meter.over(self._sent(), self._read_quotas(), now_s)
        for probe, why in over.items():
            if probe not in standing:
                self._cutoffs.add(probe, why, self._now_ms())
                log.error("probe_cut_off", extra={"probe": probe, "why": why})
        return set(over)

    def _read_quotas(self) -> Quotas:
        fault = ""
        try:
            self._last_quotas = self._quotas()
        except FleetError as exc:
            fault = str(exc)
        if fault not in ("", self._fault):
            log.warning("quotas_not_read", extra={"why": fault})
        self._fault = fault
        return self._last_quotas

    def _tell(self, probes: Sequence[str]) -> None:
        fault = ""
        for probe in probes:
            if why := self._cut(probe):
                fault = why
            else:
                self._told.add(probe)
        if fault not in ("", self.fault):
            log.error("cut_off_not_told", extra={"why": fault})
        self.fault = fault

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as exc:  # a full disk must not end the watch
                log.exception("guard_failed", extra={"why": str(exc)})


def by_probe(used: Mapping[str, list[int]], refused: Mapping[str, int]) -> dict[str, Sent]:
    """What each probe has sent, from what was counted by topic. The two may grow meanwhile: they are copied first.
    Marks are nobody's: no probe may send an ack."""
    found: dict[str, Sent] = {}
    for topic, (messages, size, ahead) in dict(used).items():
        parsed = parse_topic(topic)
        if parsed is not None and parsed[1] != "ack":
            probe = parsed[0]
            before = found.get(probe, Sent(0, 0, 0))
            found[probe] = Sent(
                before.messages + messages, before.bytes + size, refused.get(probe, 0), before.ahead + ahead
            )
    return found
