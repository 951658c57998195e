"""Is the store the same whatever the order of crashes, replays and late arrivals?"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from balise_collector.consumers import Loop, StoreConsumer, points_of
from balise_collector.ingest import Ingest
from balise_collector.intake import BACKOFF_S, backoff_after_s
from balise_collector.journal import Journal
from balise_collector.journal_salvage import open_journal
from balise_collector.placement import Placement
from balise_collector.store.chunks import ChunkStore, open_store
from tests.faults.messages import Sent, home_of, messages, text
from tests.faults.powercut import MEMORY

COUNT = 24
DAY_MS = 86_400_000
_FAR_MS = 2**43

Contents = tuple[frozenset[tuple[str, str, str, str, int, str]], tuple[tuple[str, str, int, str, int | None], ...]]
"""All points of the store; all links of the chain."""


class PowerGone(Exception):  # noqa: N818 - what happens, not an error of the program's
    """The program ends here."""


class Collector:
    """Journal, store and what passes between them, each of which may end at any moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent = messages(1, COUNT)
        self._now_ms = self._sent[-1].ts_ms
        self._journal, self._store = self._open()

    def take(self, numbers: Sequence[int]) -> None:
        """These messages come, in one batch; twice, some of them."""
        self._ingest().take([self._sent[number].incoming for number in numbers])

    def crash_in_batch(self, numbers: Sequence[int]) -> None:
        """Ingest ends before its commit."""
        left = [len(numbers)]

        def resolve(probe: str, ts_ms: int) -> Placement:
            left[0] -= 1
            if left[0] < 0:
                raise PowerGone
            return home_of(probe, ts_ms)

        try:
            Ingest(self._journal, resolve, lambda: self._now_ms).take([self._sent[n].incoming for n in numbers])
        except PowerGone:
            self.reopen()

    def drain(self) -> None:
        """The consumer catches up."""
        consumer = StoreConsumer(store=self._store, journal=self._journal.name)
        Loop(self._journal, [consumer], rows=5).drain()

    def crash_before_cursor(self) -> None:
        """The consumer ends between its points and its cursor."""
        feed = f"{self._journal.name}:journal"
        entries, _last = self._journal.entries(self._store.cursor(feed), 7)
        self._store.write([p for entry in entries for p in points_of(entry)], feed, self._store.cursor(feed))
        self.reopen()

    def reopen(self) -> None:
        """Both files are opened again."""
        self._journal.close()
        self._store.close()
        self._journal, self._store = self._open()

    def prune(self) -> None:
        """A week later: what consumers are done with leaves the journal."""
        self._journal.prune(self._now_ms + 8 * DAY_MS)

    def seal(self) -> None:
        """Hours that are over become chunks; what comes later is merged."""
        self._store.seal(self._now_ms + DAY_MS)

    def contents(self) -> Contents:
        """At the end."""
        points = frozenset(
            (p.home, p.probe, p.measurement, p.target, p.ts_ms, text(p.fields))
            for series in self._store.series()
            for p in self._store.read(series.home, series.measurement, series.target, 0, _FAR_MS)
        )
        with closing(sqlite3.connect(self._folder / "journal.db")) as db:
            sql = "SELECT probe, stream, seq, c, link FROM chain JOIN stream ON stream.id = stream_id ORDER BY 1, 2, 3"
            return points, tuple(db.execute(sql).fetchall())

    def close(self) -> None:
        """Lets go of the files."""
        self._journal.close()
        self._store.close()

    def _ingest(self) -> Ingest:
        return Ingest(self._journal, home_of, lambda: self._now_ms)

    def _open(self) -> tuple[Journal, ChunkStore]:
        return open_journal(self._folder / "journal.db"), open_store(self._folder / "store")


@cache
def in_order() -> Contents:
    """What is kept when all comes once, in order, and nothing fails."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, closing(Collector(Path(name))) as collector:
        collector.take(range(COUNT))
        collector.drain()
        return collector.contents()


numbers = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=8)
steps = st.one_of(
    st.tuples(st.sampled_from(["take", "crash_in_batch"]), numbers),
    st.tuples(st.sampled_from(["drain", "crash_before_cursor", "reopen", "prune", "seal"]), st.none()),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=20), st.permutations(range(COUNT)))
def test_any_order_of_crash_replay_and_late_arrival_leaves_the_same_store(
    happens: list[tuple[str, list[int] | None]], last: list[int]
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, closing(Collector(Path(name))) as collector:
        for what, of in happens:
            getattr(collector, what)(*([] if of is None else [of]))
        collector.take(last)  # what was not acknowledged is sent again, and the probes were asked to replay the rest
        collector.drain()
        assert collector.contents() == in_order()


def test_all_that_was_sent_is_what_is_kept_in_order() -> None:
    sent: list[Sent] = messages(1, COUNT)
    points, links = in_order()
    assert {point[2:] for point in points} == {point for message in sent for point in message.points}
    assert {(probe, stream, seq): link for probe, stream, seq, _c, link in links} == {m.key: 1 for m in sent}


@given(st.lists(st.booleans(), max_size=100))
def test_the_collectors_wait_for_its_broker_stays_in_bounds_and_begins_again_after_a_session(
    sessions: list[bool],
) -> None:
    wait_s = BACKOFF_S[0]
    for was_open in sessions:
        before_s, wait_s = wait_s, backoff_after_s(wait_s, was_open=was_open)
        assert BACKOFF_S[0] <= wait_s <= BACKOFF_S[1]
        assert wait_s == BACKOFF_S[0] if was_open else wait_s >= before_s
