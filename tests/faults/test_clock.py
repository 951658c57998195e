"""What becomes of records when the clock steps, or is not known at all: on real programs under libfaketime?

libfaketime changes wall time alone (DONT_FAKE_MONOTONIC): CLOCK_BOOTTIME and CLOCK_MONOTONIC never step on a real
machine either. What it says is read from a file, so that it steps while the agent runs.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from balise_agent import codec
from balise_agent.contract import Record, topic
from balise_agent.outbox import Outbox
from balise_collector import wire
from balise_collector.commands.demo import finish, look
from balise_collector.demo.programs import Programs
from balise_collector.demo.tally import Key, keys_of
from balise_collector.ingest import Incoming, Ingest
from balise_collector.journal import Journal
from balise_collector.store.chunks import open_reader
from tests.faults.booted_agent import SYNCHRONISED
from tests.faults.clocks import HandClock
from tests.faults.messages import home_of, values
from tests.faults.waiting import status
from tests.waiting import until

PROBE = "probe001"


class FakeTime:
    """What wall time is for programs that start under it. ``says``: libfaketime's words, "+120" or "@1970-01-01 …"."""

    def __init__(self, path: Path, says: str) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self._path = path
        self.says(says)
        self.environ = {
            "LD_PRELOAD": str(library),
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_TIMESTAMP_FILE": str(path),
        }

    def says(self, text: str) -> None:
        """From now on; renamed into place, so that nobody reads half of it."""
        part = self._path.with_suffix(".part")
        part.write_text(f"{text}\n")
        part.rename(self._path)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.end_all()


def restart_agent(
    programs: Programs, fake: FakeTime, monkeypatch: pytest.MonkeyPatch, module: str, **environ: str
) -> None:
    (agent,) = programs.agents
    programs.end(agent.name)
    with monkeypatch.context() as patch:
        for name, value in (fake.environ | environ).items():
            patch.setenv(name, value)
        programs.start_agent(agent, module)


def lines(programs: Programs) -> list[dict[str, Any]]:
    return [json.loads(line) for line in programs.agents[0].witness.read_text().splitlines()]


def deliver(programs: Programs, restart: Callable[[], None]) -> None:
    """Until nothing waits. An agent that ends has 3 s, by when all is on its disk; on a busy machine the rest goes out
    at its next."""

    def has_delivered() -> bool:
        programs.end("agent")
        left = look(programs)
        if left.waiting:
            restart()
            until(lambda: look(programs).journal > left.journal, "it delivers")
        return left.waiting == 0

    until(has_delivered, "an agent ends with nothing that waits")


def steps(programs: Programs) -> int:
    return sum((line["measurement"], line["target"]) == ("agent_event", "clock_stepped") for line in lines(programs))


def kept_apart(data: Path) -> set[Key]:
    """Keys of records in the journal's orphans."""
    with closing(sqlite3.connect(data / "journal.db")) as db:
        found = db.execute("SELECT ts_ms, body FROM orphan").fetchall()
    return {(row.measurement, row.target, ts_ms + row.at) for ts_ms, body in found for row in wire.records(body)}


def in_store(programs: Programs) -> set[Key]:
    with closing(open_reader(programs.data / "store")) as reader:
        return keys_of(reader, programs.agents[0].probe)


def test_steps_of_the_clock_both_ways_lose_nothing_double_nothing_and_are_said(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTime(tmp_path / "faketime", "+0")
    programs.start()
    restart_agent(programs, fake, monkeypatch, "balise_agent.cli")
    for step, says in enumerate(("+120", "-30", "+7200", "-3600", "+0"), 1):
        seen = look(programs).measured
        until(lambda seen=seen: look(programs).measured > seen + 8, "the agent measures")  # type: ignore[misc]
        fake.says(says)
        until(lambda step=step: steps(programs) >= step, f"step {step} is noticed")  # type: ignore[misc]
    said = {"clock_stepped", "clock_set"}
    until(lambda: said <= status(programs)["said"].keys(), "status says it")
    orphans = status(programs)["orphans"]
    deliver(programs, lambda: restart_agent(programs, fake, monkeypatch, "balise_agent.cli"))
    found = finish(programs)
    keys = [(d["measurement"], d["target"], d["ts_ms"]) for d in lines(programs)]
    assert [key for key, n in Counter(keys).items() if n > 1] == []
    store, apart = in_store(programs), kept_apart(programs.data)
    assert (set(keys) - store - apart, found.waiting, found.dead_letters) == (set(), 0, 0)
    assert store & apart == set()
    assert store - set(keys) == set()
    assert orphans.keys() == {"clock_suspect", "unassigned"}  # two hours ahead; an hour ago, before the probe was there


def test_what_is_measured_after_a_boot_in_1970_is_dated_when_the_clock_is_set(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, synchronised = FakeTime(tmp_path / "faketime", "@1970-01-01 00:00:20"), tmp_path / "synchronised"
    programs.start()
    programs.end("agent")
    shutil.rmtree(programs.agents[0].outbox.parent, ignore_errors=True)  # it knows this boot's time already
    programs.agents[0].witness.unlink(missing_ok=True)
    from_ms = time.time_ns() // 1_000_000

    def boot() -> None:
        restart_agent(programs, fake, monkeypatch, "tests.faults.booted_agent", **{SYNCHRONISED: str(synchronised)})

    boot()
    until(lambda: programs.agents[0].witness.exists() and len(lines(programs)) > 20, "it measures")
    blind = lines(programs)
    assert {line["ts_ms"] for line in blind} == {None}
    until(lambda: look(programs).waiting > 3, "its messages wait")
    fake.says("+0")
    synchronised.touch()
    until(lambda: lines(programs)[-1]["ts_ms"] is not None, "the clock is known")
    until(lambda: "clock_set" in status(programs)["said"], "status says it")
    to_ms = time.time_ns() // 1_000_000
    deliver(programs, boot)
    found = finish(programs)
    later = lines(programs)[-1]
    offset_ms = later["ts_ms"] - later["bt_ms"]
    expected = {(d["measurement"], d["target"], d["bt_ms"] + offset_ms) for d in blind}
    assert expected <= in_store(programs)
    assert all(from_ms - 1_000 <= ts_ms <= to_ms for _, _, ts_ms in expected)
    assert (found.lost, found.waiting, found.dead_letters, kept_apart(programs.data)) == (0, 0, 0, set())


def test_what_a_boot_without_a_clock_left_behind_is_kept_apart_with_the_span_it_must_be_of(tmp_path: Path) -> None:
    clock = HandClock()
    low_ms = clock.wall
    with closing(Outbox(tmp_path / "outbox.db", boot="one", clock=clock)) as outbox:
        outbox.remember_time()
    clock.bt, clock.wall, clock.known = 20_000, 20_000, False
    with closing(Outbox(tmp_path / "outbox.db", boot="two", clock=clock)) as outbox:
        for n in range(5):
            clock.pass_ms(60_000)
            outbox.commit([Record(measurement="host", bt_ms=clock.bt, fields=values(n))], seal=True)
    clock.bt, clock.wall, clock.known = 30_000, low_ms + 86_400_000, True
    high_ms = clock.wall - clock.bt
    with (
        closing(Outbox(tmp_path / "outbox.db", boot="three", clock=clock)) as outbox,
        closing(Journal(tmp_path / "journal.db")) as journal,
    ):
        sent = [codec.encode_batch(m.envelope, m.body) for m in outbox.waiting(0, 100)]
        ingest = Ingest(journal, home_of, lambda: clock.wall)
        ingest.take([Incoming(topic=topic(PROBE, "records"), payload=payload) for payload in sent])
        assert journal.orphans() == {"unsynced": 5}
        assert "dead_letters" not in ingest.counts
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        spans = db.execute("SELECT DISTINCT low_ms, high_ms FROM orphan").fetchall()
    assert [(abs(low - low_ms) < 10, abs(high - high_ms) < 10) for low, high in spans] == [(True, True)]
