"""How does a journal row come to the judge, and a conclusion back into the journal?

Rule 1: conclusions are appended in the transaction that moves the judge's cursor, so each is there once.
Rule 2: while rows wait, the judge's clock is when they came; only with nothing left to read is it the machine's. So a
backlog is judged as it would have been.
Rule 3: its memory is saved every so often; after a start the rows since are taken again, without telling anybody twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from balise_collector.consumers import derived_point, points_of
from balise_collector.erased import Erased
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry, Entry
from balise_collector.judge.judge import Judge
from balise_collector.judge.rows import Derived, Row
from balise_collector.judge.topology import Topology
from balise_collector.judging import memory
from balise_collector.judging.erasing import OVER
from balise_collector.judging.state import State
from balise_collector.store import Point

log = logging.getLogger(__name__)

NAME = "judge"
FEEDS = ("journal", "derived")
SAVE_MS = 600_000  # a start takes at most so much again, at 50,000 records a second
REWRITE_MS = 300_000  # every expected home's facts, changed or not
_PLATFORM = "platform"

Tell = Callable[[dict[str, Any], int], None]


class JudgeConsumer:
    """A `consumers.Consumer`. ``tell``: what becomes of each incident's row beside the journal (webhooks)."""

    name = NAME
    feeds: Sequence[str] = FEEDS

    def __init__(
        self,
        journal: Journal,
        state: State,
        topology: Topology,
        *,
        tell: Tell = lambda _fields, _now_ms: None,
        rewrite_ms: int = REWRITE_MS,
    ) -> None:
        self._journal, self._state, self._tell, self._rewrite_ms = journal, state, tell, rewrite_ms
        self.judge = Judge(topology)
        self._heard = 0
        self._position = dict.fromkeys(FEEDS, 0)
        self._saved_ms = self._rewritten_ms = 0
        self._restore()

    def cursor(self, feed: str) -> int:
        """Where it reads on: what its memory holds, which may be before what the journal knows."""
        return self._position[feed]

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        """Takes them and says what changed."""
        came_ms = 0
        for row in rows:
            if isinstance(row, Entry):
                self.judge.take(_rows(row))
                came_ms = max(came_ms, row.received_ms)
            elif row.measurement == _PLATFORM:
                self.judge.take(_platform(row))
                came_ms = max(came_ms, row.ts_ms)
        self._position[feed] = last_id
        self._conclude(max(came_ms, self.judge.now_ms), {feed: last_id})

    def tick(self, now_ms: int) -> None:
        """With nothing left to read: time alone makes facts old, and opens what was held."""
        if any(self._journal.last_id(feed) > self._position[feed] for feed in FEEDS):
            return
        self._conclude(now_ms, {})

    def replant(self, topology: Topology) -> None:
        """The directory changed."""
        self.judge = self.judge.replanted(topology)

    def reload(self) -> None:
        """What its saved memory holds, and no more: something was taken out of it."""
        self.judge = Judge(self.judge.topology)
        self._restore()
        known = {self.judge.number(one) for one in self.judge.incidents()}
        left = [one for one in self._state.incidents() if one["state"] not in OVER and one["id"] not in known]
        with self._state.transaction():
            for one in left:  # what it was told of has gone: nobody else would ever close it
                now_ms = max(self.judge.now_ms, one.pop("told_ms"))
                fields = one | {"state": "closed", "until_ms": now_ms}
                self._state.tell(fields, now_ms)
                self._tell(fields, now_ms)

    def save(self) -> None:
        """Its memory, with the cursors that it is of."""
        with self._state.transaction():
            self._state.remember(memory.parts(self.judge))
            self._state.keep_only(self.judge.parts_known())
            self._state.note("name", self._journal.name)
            self._state.note("version", memory.VERSION)
            self._state.note("heard", self._heard)
            self._state.note("now_ms", self.judge.now_ms)
            for feed in FEEDS:
                self._state.note(feed, self._position[feed])
        self._saved_ms = self.judge.now_ms

    def _restore(self) -> None:
        state = self._state
        if (state.meta("name"), state.meta("version")) != (self._journal.name, str(memory.VERSION)):
            state.forget()
            return
        memory.restore(self.judge, state.memory())
        self._position = {feed: int(state.meta(feed) or 0) for feed in FEEDS}
        self._heard = int(state.meta("heard") or 0)
        self.judge.hear(one for n, one in state.evidence(0) if n <= self._heard)
        self.judge.advance(int(state.meta("now_ms") or 0))  # what it comes to was said before
        self._saved_ms = self._rewritten_ms = self.judge.now_ms

    def _conclude(self, now_ms: int, moved: dict[str, int]) -> None:
        said = self._state.evidence(self._heard)
        self.judge.hear(one for _, one in said)
        self._heard = said[-1][0] if said else self._heard
        derived = self.judge.advance(now_ms)
        if now_ms - self._rewritten_ms >= self._rewrite_ms:
            self._rewritten_ms = now_ms - now_ms % self._rewrite_ms
            derived += list(self.judge.rewrite(self._rewritten_ms))
        self._say(derived, now_ms, moved)
        if now_ms - self._saved_ms >= SAVE_MS:
            self.judge.forget(now_ms - memory.KEPT_DAYS * 86_400_000)
            self.save()

    def _say(self, derived: Iterable[Derived], now_ms: int, moved: dict[str, int]) -> None:
        """Into the journal, unless these rows were judged before: then it stands there already."""
        known = {feed: self._journal.cursor(f"{NAME}:{feed}") for feed in moved}
        fresh = not moved or any(id_ > known[feed] for feed, id_ in moved.items())
        rows = list(derived) if fresh else []
        if not rows and not any(id_ > known[feed] for feed, id_ in moved.items()):
            return
        with self._journal.transaction():
            erased = self._journal.erased()
            for row in (one for one in rows if self._may_say(one, erased)):
                self._journal.derive(row.measurement, row.tags, row.ts_ms, row.fields)
            for feed, id_ in moved.items():
                self._journal.move(f"{NAME}:{feed}", max(id_, known[feed]))
        incidents = [row for row in rows if row.measurement == "incident"]
        if incidents:
            with self._state.transaction():
                for row in incidents:
                    fields = row.fields | {"kind": row.tags["kind"], "scope": row.tags["scope"]}
                    fields["hit_homes"] = self.judge.hit(str(row.fields["id"]))
                    self._state.tell(fields, now_ms)
                    self._tell(fields, now_ms)

    def _may_say(self, row: Derived, erased: Erased) -> bool:
        """Of a home that does not agree to be measured nothing, not even that it is unknown; nor of one that was
        erased, until something new comes of it."""
        home = row.tags.get("home", "")
        if row.measurement != "home_state" or home not in self.judge.topology.homes:
            return True
        if not self.judge.topology.homes[home].agrees:
            return False
        return self.judge.was_heard(home) or not erased.names(home)


def _rows(entry: Entry) -> list[Row]:
    return [_row(point, entry.received_ms) for point in points_of(entry)]


def _platform(entry: DerivedEntry) -> list[Row]:
    return [_row(point, point.ts_ms) for point in derived_point(entry)]


def _row(point: Point, received_ms: int) -> Row:
    return Row(
        home=point.home,
        building=point.building,
        pon=point.pon,
        probe=point.probe,
        measurement=point.measurement,
        target=point.target,
        ts_ms=point.ts_ms,
        received_ms=received_ms,
        kind=point.kind,
        reason=point.reason,
        fields=point.fields,
    )
