"""Does each consumer get every row once it is there, whatever happens to it, to the others and to who started them?"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from balise_collector import consumers
from balise_collector.consumers import Job, Loop, StoreConsumer, jobs
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.journal_rows import DerivedEntry, Entry
from balise_collector.placement import Place, Placement
from balise_collector.store import Point, Store
from balise_collector.store.chunks import open_reader, open_store
from tests.collector.running import is_running, process
from tests.collector.sender import NOW, Sender, row
from tests.waiting import until

HOME = Place(home="home0001", building="b1", pon="p1")


def home(_probe: str, _ts_ms: int) -> Placement:
    return HOME


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as opened:
        yield opened


@pytest.fixture
def beside(tmp_path: Path, journal: Journal) -> Iterator[Journal]:
    """The same file as another program has it: consumers never share ingest's connection."""
    with closing(Journal(tmp_path / "journal.db")) as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path / "store")) as opened:
        yield opened


def take(journal: Journal, *messages: Incoming) -> None:
    Ingest(journal, home, lambda: NOW).take(messages)


class Listener:
    """A consumer of its own making: it remembers what it took, and may be told to fail."""

    def __init__(self, name: str = "listener", feeds: Sequence[str] = ("journal",)) -> None:
        self.name, self.feeds = name, feeds
        self.ids = dict.fromkeys(feeds, 0)
        self.seen: list[int] = []
        self.tries = 0
        self.fails = 0

    def cursor(self, feed: str) -> int:
        return self.ids[feed]

    def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
        self.tries += 1
        if self.tries <= self.fails:
            raise ValueError("not now")
        self.seen += [row.id for row in rows]
        self.ids[feed] = last_id


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield
    finally:
        loop.stop()
        thread.join(30)
        assert not thread.is_alive()


def test_what_is_in_the_journal_comes_into_the_store_with_its_place(journal: Journal, store: Store) -> None:
    take(journal, Sender().sends(row(-5, "dns", k="box", rcode=0), {"m": "dns", "at": 0, "failed": "timeout"}))
    Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()
    points = list(store.read("home0001", "dns", None, 0, NOW + 1))
    where = {"home": "home0001", "building": "b1", "pon": "p1", "probe": "probe001", "measurement": "dns"}
    assert sorted(points, key=lambda point: point.ts_ms) == [
        Point(ts_ms=NOW - 5, target="box", fields={"rcode": 0}, **where),  # type: ignore[arg-type]
        Point(ts_ms=NOW, kind="failed", reason="timeout", **where),  # type: ignore[arg-type]
    ]


def test_what_is_derived_comes_into_the_store_as_well(journal: Journal, store: Store) -> None:
    with journal.transaction():
        journal.derive("platform", {"part": "ingest", "home": "home0001", "zone": "z"}, NOW, {"rows": 3})
    Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()
    (point,) = store.read("home0001", "platform", None, 0, NOW + 1)
    assert (point.target, point.probe, point.fields) == ("ingest:z", "collector.home0001", {"rows": 3})


def test_a_cursor_is_of_one_journal_and_another_file_is_read_from_its_start(tmp_path: Path, store: Store) -> None:
    messages = [Sender().sends(), Sender("probe002").sends()]
    for name in ("a", "b"):
        with closing(Journal(tmp_path / name / "journal.db")) as journal:
            take(journal, *messages)
            consumer = StoreConsumer(store=store, journal=journal.name)
            assert consumer.cursor("journal") == 0
            Loop(journal, [consumer]).drain()
            assert consumer.cursor("journal") == 2
    assert store.count(0, NOW + 1) == 2


def test_a_crash_between_points_and_cursor_writes_the_same_points_again(journal: Journal, store: Store) -> None:
    class Crashing(StoreConsumer):
        def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
            StoreConsumer.take(self, feed, rows, self.cursor(feed))  # points are there, the cursor is not

    take(journal, *(Sender(f"probe{n:03}").sends(row(-1), row(0)) for n in range(20)))
    entries, last = journal.entries(0, 100)
    crashing = Crashing(store=store, journal=journal.name)
    crashing.take("journal", entries, last)
    assert (store.count(0, NOW + 1), crashing.cursor("journal")) == (40, 0)
    consumer = StoreConsumer(store=store, journal=journal.name)
    Loop(journal, [consumer]).drain()
    assert (store.count(0, NOW + 1), consumer.cursor("journal")) == (40, 20)


def test_a_consumer_that_fails_is_tried_again_while_the_others_go_on(
    journal: Journal, beside: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Listener("bad"), Listener("good")
    bad.fails = 2
    with running(Loop(beside, [bad, good])):
        take(journal, *(Sender(f"probe{n:03}").sends() for n in range(10)))
        until(lambda: len(good.seen) == 10)
        assert bad.seen == []
        until(lambda: len(bad.seen) == 10)
    waits = [record.again_s for record in caplog.records if record.getMessage() == "consumer_failed"]  # type: ignore[attr-defined]
    assert waits == [1.0, 2.0]


def test_rows_are_handed_over_in_order_and_once(journal: Journal, beside: Journal) -> None:
    listener = Listener()
    count = 2 * consumers.ROWS + 7
    probe = Sender()
    with running(Loop(beside, [listener])):
        for _ in range(count // 500 + 1):
            take(journal, *(probe.sends() for _ in range(500)))
        until(lambda: len(listener.seen) == 500 * (count // 500 + 1))
    assert listener.seen == [*range(1, len(listener.seen) + 1)]


def test_cursors_are_told_to_the_journal_and_pruning_waits_for_them(journal: Journal, beside: Journal) -> None:
    slow, fast = Listener("slow"), Listener("fast")
    slow.fails = 10**9
    take(journal, Sender().sends(), Sender("probe002").sends())
    week = NOW + 8 * 86_400_000
    with running(Loop(beside, [slow, fast])):
        until(lambda: journal.cursors().get("fast:journal") == 2)
        assert journal.cursors()["slow:journal"] == 0
        assert journal.prune(week) == 0
    slow.fails = 0
    with running(Loop(beside, [slow, fast])):
        until(lambda: journal.cursors()["slow:journal"] == 2)
    assert journal.prune(week) == 2


def test_cursors_are_told_also_while_there_is_always_more_to_read(journal: Journal, beside: Journal) -> None:
    class Endless(Listener):
        def take(self, feed: str, rows: Sequence[Entry] | Sequence[DerivedEntry], last_id: int) -> None:
            super().take(feed, rows, last_id)
            with journal.transaction():
                journal.derive("platform", {"part": "x"}, NOW, {"rows": 1})

    with journal.transaction():
        journal.derive("platform", {"part": "x"}, NOW, {"rows": 1})
    with running(Loop(beside, [Endless(feeds=("derived",))])):
        until(lambda: journal.cursors().get("listener:derived", 0) > 1)


def test_a_journal_that_refuses_a_cursor_does_not_stop_the_consumers(tmp_path: Path) -> None:
    class Refusing(Journal):
        refusals = 2

        def move(self, consumer: str, id_: int) -> None:
            if self.refusals:
                self.refusals -= 1
                raise sqlite3.OperationalError("database or disk is full")
            super().move(consumer, id_)

    listener = Listener()
    path = tmp_path / "journal.db"
    with closing(Journal(path)) as journal, closing(Refusing(path)) as beside, running(Loop(beside, [listener])):
        take(journal, Sender().sends())
        until(lambda: journal.cursors() == {"listener:journal": 1})
    assert listener.seen == [1]


def test_a_job_runs_at_its_time_and_its_failure_is_said_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[float] = []

    def work() -> dict[str, object]:
        runs.append(1)
        if len(runs) == 1:
            raise OSError("no")
        return {"rows": 3}

    job = Job("pruned", 60, work)
    with caplog.at_level("INFO"):
        for now_s in (0, 59.9, 60, 61, 120):
            job.run_if_due(now_s)
    assert len(runs) == 3
    assert [record.getMessage() for record in caplog.records] == ["job_failed", "pruned", "pruned"]


def test_every_job_works_on_what_is_there(journal: Journal, store: Store, tmp_path: Path) -> None:
    take(journal, Sender().sends())
    Loop(journal, [StoreConsumer(store=store, journal=journal.name)]).drain()
    for job in jobs(journal, store):
        job.work()
    assert {job.name for job in jobs(journal, store)} == {"sealed", "retained", "pruned"}


# the process


def _command(data: Path, parent: int | str) -> list[str]:
    return [sys.executable, "-m", "balise_collector.consumers", str(data), str(parent)]


PARENT = """\
import os, subprocess, sys
child = subprocess.Popen([*sys.argv[1:], str(os.getpid())])
print(child.pid, flush=True)
sys.exit(child.wait())
"""


def test_it_ends_when_the_one_that_started_it_is_killed(tmp_path: Path, journal: Journal) -> None:
    take(journal, Sender().sends())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *_command(tmp_path, "")[:-1]], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: journal.cursors().get("store:journal") == 1)
        assert is_running(child)
    finally:
        parent.kill()
        parent.communicate()
    until(lambda: not is_running(child))
    with closing(open_reader(tmp_path / "store")) as reader:
        assert reader.count(0, NOW + 1) == 1


def test_it_does_not_begin_where_its_parent_has_already_gone(tmp_path: Path) -> None:
    assert subprocess.run(_command(tmp_path, 1), check=False, timeout=60).returncode == 1
    assert not (tmp_path / "store").exists()


def test_it_stops_on_request_with_all_that_was_there(tmp_path: Path, journal: Journal) -> None:
    take(journal, *(Sender(f"probe{n:03}").sends() for n in range(50)))
    with process([sys.executable, "-c", PARENT, *_command(tmp_path, "")[:-1]], tmp_path / "log") as parent:
        until(lambda: journal.cursors().get("store:journal") == 50)
        child = int((tmp_path / "log").read_text().split()[0])
        subprocess.run(["kill", str(child)], check=True)
        assert parent.wait(30) == 0
        assert not is_running(child)


def test_a_store_that_another_process_writes_is_said_in_one_line(tmp_path: Path, store: Store) -> None:
    with process([sys.executable, "-c", PARENT, *_command(tmp_path, "")[:-1]], tmp_path / "log") as parent:
        parent.wait(60)
    assert [line for line in (tmp_path / "log").read_text().splitlines() if "store_busy" in line]
    assert "Traceback" not in (tmp_path / "log").read_text()
