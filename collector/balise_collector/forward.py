"""How do the journal's rows come into InfluxDB, and what becomes of those that it refuses?

A consumer like any other, in a process of its own: while InfluxDB is slow, the store beside it is not.

Rule 1: the cursor moves when InfluxDB has answered 204 for all before it. InfluxDB down for a week is a cursor that
waits for a week.
Rule 2: a line that InfluxDB refuses for what it is becomes a dead letter with InfluxDB's words, before the cursor moves
over it. Whatever else it answers, or does not, is not the line's fault: it is sent again for ever.
Rule 3: memory is bounded by one reading of the journal and three batches of lines.
Rule 4: of the journal two batches are under way at once, for no two of its rows say the same point otherwise; of what
was derived, one: a conclusion that was worked out again must come after the one that it replaces.
"""

from __future__ import annotations

import hashlib
import logging
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from balise_agent.catalogue import CATALOGUE, Retention
from balise_agent.logs import set_up
from balise_collector import wire
from balise_collector.consumers import Loop, derived_point, end_with
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter, DerivedEntry, Entry
from balise_collector.store import Unavailable, points
from balise_collector.store.influx import server as influx
from balise_collector.store.influx.lines import MAX_MS, Encoder
from balise_collector.store.influx.posting import Post, open_post
from balise_collector.store.influx.sending import Refused, Sent, joined, send
from balise_collector.store.influx.state import State, state_path

log = logging.getLogger(__name__)

NAME = "influx"
FEEDS = ("journal", "derived")
REFUSED = "influx_refused"
ROWS = 4_000  # read at once, some 2 MB, while what was read before is sent
LINES = 5_000  # in a request, about 1 MB; InfluxDB 1.6.7 takes 43,000 points a second so, 28,000 by 1,000
ABREAST = 2  # requests under way: InfluxDB works at one on one core, and is idle from its answer to the next request
# How long a thread that sends waits for the one that makes lines: by default ten times that, and it does so several
# times an answer, while InfluxDB has nothing to do.
SWITCH_S = 0.0005
RETRY_S = (1.0, 8.0)  # with the 15 s that an answer is waited for, what is wrong now is known within 30 s
_DETAIL = 400
_PROBE = re.compile(r",probe=([^, ]+)")
_HOME = re.compile(r",home=([^, ]+)")


@dataclass(slots=True, kw_only=True)
class Batch:
    """Lines of whole rows, up to one of them. ``refused``: those that cannot even be said."""

    last_id: int
    lines: dict[Retention, list[str]] = field(default_factory=dict)
    refused: list[tuple[str, Refused]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnderWay:
    """A batch that the sender has. ``before``: where the cursor stands when everything before it is kept."""

    key: str
    before: int
    batch: Batch
    sent: Future[Sent]


class Forwarder:
    """A `consumers.Ahead` over the InfluxDB ``whose`` cursors these are. ``connect`` is asked again after each
    trouble, so that a new token is taken; ``letters`` is a connection of its own to the journal."""

    name = NAME
    feeds: Sequence[str] = FEEDS

    def __init__(
        self,
        *,
        letters: Journal,
        state: State,
        whose: str,
        connect: Callable[[], Post],
        now_ms: Callable[[], int],
        lines: int = LINES,
    ) -> None:
        self._letters, self._state, self._whose, self._now_ms = letters, state, whose, now_ms
        self._connect, self._lines = connect, lines
        self._posts: deque[Post | None] = deque([None] * ABREAST)
        self._going: deque[_UnderWay] = deque()  # the oldest first
        self._encoder = Encoder()
        self._sender = ThreadPoolExecutor(ABREAST, thread_name_prefix="influx")

    def cursor(self, feed: str) -> int:
        """As the file beside the journal keeps it."""
        return self._state.cursor(self._key(feed))

    def position(self, feed: str) -> int:
        """After what is under way."""
        key = self._key(feed)
        return next((one.batch.last_id for one in reversed(self._going) if one.key == key), self.cursor(feed))

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        """Sends batches while the next is made; the last are under way when it returns. Unavailable: the cursor stands
        after the last that was kept with all before it, and nothing is under way."""
        key, at = self._key(feed), self.position(feed)
        for batch in self._batches(rows, last_id):
            bodies = {retention: joined(lines) for retention, lines in batch.lines.items()}
            if not self._settle(ABREAST - 1 if feed == "journal" else 0):
                return  # in vain: it is sent again with the rest
            sent = self._sender.submit(_deliver, self._next_post(), batch, bodies)
            self._going.append(_UnderWay(key=key, before=at, batch=batch, sent=sent))
            at = batch.last_id

    def settle(self) -> None:
        """What is under way is waited for and written down. Unavailable: it is not kept, and not under way any more."""
        self._settle(0)

    def _settle(self, left: int) -> bool:
        """Waits, the oldest first, until no more than ``left`` are under way. False: somebody moved a cursor meanwhile,
        and there it stays; nothing is under way then."""
        while len(self._going) > left:
            done = self._going.popleft()
            try:
                sent = done.sent.result()
            except Unavailable as exc:
                self._trouble(exc)
                raise
            if not self._write_down(done, sent):
                self._drop()
                return False
        return True

    def _drop(self) -> None:
        """What is still under way is sent again, kept or not: something before it was not."""
        wait([one.sent for one in self._going])
        self._going.clear()

    def _write_down(self, done: _UnderWay, sent: Sent) -> bool:
        """False: somebody moved the cursor meanwhile, and there it stays."""
        refused = done.batch.refused + [(_found(_PROBE, one.line), one) for one in sent.refused]
        if refused:
            self._keep(refused)
        self._state.count("too_old", sent.too_old)
        self._state.count("refused", len(refused))
        self._state.clear()
        return self._state.move(done.key, done.batch.last_id, before=done.before)

    def close(self) -> None:
        """Lets go of everything but the journal; what was under way and kept is sent again."""
        self._sender.shutdown()
        self._disconnect()
        self._state.close()

    def _key(self, feed: str) -> str:
        return feed_key(self._letters.name, self._whose, feed)

    def _next_post(self) -> Post:
        """Each in turn; none is under way with it, for it is the oldest that is waited for."""
        self._posts.rotate(-1)
        post = self._posts[0]
        if post is None:
            try:
                post = self._posts[0] = self._connect()
            except Unavailable as exc:
                self._trouble(exc)
                raise
        return post

    def _trouble(self, exc: Unavailable) -> None:
        self._state.note(str(exc), self._now_ms())
        self._drop()
        self._disconnect()

    def _disconnect(self) -> None:
        for at, post in enumerate(self._posts):
            if post is not None:
                post.close()
                self._posts[at] = None

    def _keep(self, refused: Sequence[tuple[str, Refused]]) -> None:
        now_ms = self._now_ms()
        with self._letters.transaction():
            erased = self._letters.erased()
            for probe, one in refused:
                if erased.names(_found(_HOME, one.line)):  # it was under way when its home was erased
                    continue
                payload = one.line.encode()
                key = hashlib.sha256(payload).digest()[:16]
                letter = DeadLetter(probe=probe, key=key, reason=REFUSED, detail=one.why[:_DETAIL], payload=payload)
                self._letters.add_dead_letter(letter, now_ms)
        log.warning(REFUSED, extra={"lines": len(refused), "why": refused[0][1].why})

    def _batches(self, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> Iterator[Batch]:
        """All rows, the last batch up to ``last_id``: rows that were erased or damaged are behind it too."""
        batch, count = Batch(last_id=last_id), 0
        for row in rows:
            say = partial(self._say_row, row) if isinstance(row, Entry) else partial(self._say_derived, row)
            count += say(batch)
            if count >= self._lines:
                batch.last_id = row.id
                yield batch
                batch, count = Batch(last_id=last_id), 0
        yield batch

    def _say_row(self, row: Entry, batch: Batch) -> int:
        """Adds a journal row's lines; how many. Its values were checked when it came."""
        place, encoder, base_ms = row.place, self._encoder, row.ts_ms
        whose = (place.building, place.home, place.pon, row.probe)
        heads, lines = encoder.heads(whose), batch.lines.setdefault(row.retention, [])
        records = wire.records(row.body)
        for record in records:
            measurement, target, ts_ms = record.measurement, record.target, base_ms + record.at
            try:
                head = heads.get((measurement, target)) or encoder.head(whose, measurement, target)
                if record.failed is None and record.skipped is None:
                    values = encoder.ok_values(measurement, record.fields)
                else:
                    values = encoder.values(measurement, record.kind, record.reason, record.fields)
                if not 0 <= ts_ms <= MAX_MS:
                    raise ValueError(f"its date {ts_ms} is beyond what InfluxDB counts")
            except ValueError as exc:
                batch.refused.append((row.probe, Refused(line=repr(record), why=str(exc))))
            else:
                lines.append(f"{head}{values}{ts_ms}")
        return len(records)

    def _say_derived(self, row: DerivedEntry, batch: Batch) -> int:
        for point in derived_point(row):
            try:
                why = points.refusal(point)
                if why is not None:
                    raise ValueError(why)
                line = self._encoder.line(point)
            except ValueError as exc:
                batch.refused.append((point.probe, Refused(line=repr(row), why=str(exc))))
            else:
                batch.lines.setdefault(CATALOGUE[point.measurement].retention, []).append(line)
        return 1


def feed_key(journal: str, whose: str, feed: str) -> str:
    """What a cursor is called: it is of one journal and one InfluxDB, so that another of either is begun anew."""
    return f"{journal}:{whose}:{feed}"


def _deliver(post: Post, batch: Batch, bodies: Mapping[Retention, bytes]) -> Sent:
    """In the sender's thread. Unavailable: some of it may be kept."""
    all_sent = Sent()
    for retention, lines in batch.lines.items():
        sent = send(post, retention, lines, bodies[retention])
        all_sent.refused += sent.refused
        all_sent.too_old += sent.too_old
        all_sent.requests += sent.requests
    return all_sent


def _found(tag: re.Pattern[str], line: str) -> str:
    found = tag.search(line)
    return found[1] if found else ""


def register(data: Path) -> None:
    """From now on the journal keeps what InfluxDB has not got yet. Called before anything is pruned."""
    with closing(Journal(data / "journal.db")) as journal, journal.transaction():
        known = journal.cursors()
        for feed in FEEDS:
            if f"{NAME}:{feed}" not in known:
                journal.move(f"{NAME}:{feed}", 0)


def main(argv: Sequence[str] = sys.argv) -> int:
    """``python -m balise_collector.forward DATA PARENT``: what `balise serve --influx` starts, with its own pid."""
    end_with(int(argv[2]))
    set_up("info", sys.stdout)
    sys.setswitchinterval(SWITCH_S)
    data = Path(argv[1])
    try:
        settings = influx.load(data)
    except influx.ServerError as exc:
        log.error("influx_settings", extra={"why": str(exc)})
        return 1
    if settings is None:
        log.error("influx_settings", extra={"why": "no InfluxDB is known here"})
        return 1
    with closing(Journal(data / "journal.db")) as journal, closing(Journal(data / "journal.db")) as letters:
        forwarder = Forwarder(
            letters=letters,
            state=State(state_path(influx.folder(data))),
            whose=settings.identity,
            connect=partial(_connect, settings),
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        loop = Loop(journal, [forwarder], rows=ROWS, retry_s=RETRY_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.run()
        forwarder.close()
    return 0


def _connect(settings: influx.Settings) -> Post:
    """With what its file holds now. Unavailable: it cannot be read."""
    try:
        return open_post(settings.writer())
    except influx.ServerError as exc:
        raise Unavailable(str(exc)) from exc


if __name__ == "__main__":
    sys.exit(main())
