"""Is an erased home in no byte of the judge's file any more, and do its incidents stay?"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from balise_collector.consumers import Loop
from balise_collector.consumers import erase as erase_there
from balise_collector.erasing import erase_here
from balise_collector.erasures import Erasures, Taken
from balise_collector.journal import Journal
from balise_collector.judge.evidence import Evidence
from balise_collector.judge.rows import Row
from balise_collector.judging.consumer import JudgeConsumer
from balise_collector.judging.erasing import Judging, erase_all, held
from balise_collector.judging.state import Follow, State
from tests.collector.judge.saying import MINUTE, T0, cut, life
from tests.collector.judge.test_consumer import CUT, END, FIRST_PON, HOMES, PLANT, Feed, everything

GONE, STAYS = FIRST_PON[0], FIRST_PON[1]
ALL_MS = 2**43
NOW_MS = END + 12 * MINUTE


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", synchronous="OFF")
    yield made
    made.close()


def judged(journal: Journal, state: State) -> JudgeConsumer:
    """A judge that has saved what it knows of a cut of one PON, and of one home alone."""
    consumer = JudgeConsumer(journal, state, PLANT)
    Feed(journal).puts(everything())
    Loop(journal, [consumer]).drain()
    los = Evidence(source="olt", ts_ms=CUT, what="los", scope="home", code=GONE)
    state.add_evidence([los])
    with state.transaction():
        (shared,) = [one for one in state.incidents() if one["code"] == "P0"]
        alone = shared | {"id": "Ialone", "element": "home", "code": GONE, "state": "open", "hit_homes": [GONE]}
        alone.pop("until_ms", None)
        state.tell(alone, END)
        state.post("Ialone", json.dumps({"event": "opened", "told_ms": END, "incident": alone}).encode(), END)
        state.follow("Ialone", Follow(at_ms=END, what="note", text=f"{GONE} was called"))
    consumer.save()
    return consumer


def found(data: Path, home: str) -> list[str]:
    """Where the home's id stands: in raw bytes of the files, or in parts that are packed."""
    files = [path.name for path in data.glob("judge.db*") if home.encode() in path.read_bytes()]
    with closing(sqlite3.connect(data / "judge.db")) as db:
        parts = db.execute("SELECT part, body FROM memory").fetchall()
    return files + [part for part, body in parts if home.encode() in zlib.decompress(body)]


def ask(data: Path) -> Erasures:
    """A home that the journal has forgotten, and the judge has not."""
    erasures = Erasures(data / "erasures.db")
    erasures.done(erasures.ask(GONE, 0, ALL_MS, NOW_MS), Taken(rows=1, points=0))
    return erasures


def counts(state: State) -> dict[str, tuple[int, int]]:
    return {one["id"]: (one["hit"], one["homes"]) for one in state.incidents()}


def test_the_command_alone_takes_it_out_of_every_byte_and_incidents_stay(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        judged(journal, state)
        before = counts(state)
        assert len(found(tmp_path, GONE)) > 2
    erase_here(tmp_path, GONE, (0, ALL_MS), NOW_MS)
    assert found(tmp_path, GONE) == []
    assert found(tmp_path, STAYS) != []
    with closing(State(tmp_path / "judge.db")) as state:
        assert counts(state) == before
        alone = state.incident("Ialone")
        assert alone
        assert (alone["state"], alone["code"], alone["hit_homes"]) == ("closed", "erased", [])
        JudgeConsumer(journal, state, PLANT).save()
    assert found(tmp_path, GONE) == []
    erase_here(tmp_path, GONE, (0, ALL_MS), NOW_MS)
    assert found(tmp_path, STAYS) != []
    assert GONE.encode() not in (tmp_path / "erasures.db").read_bytes()


def test_a_judge_that_runs_forgets_it_and_does_not_write_it_again(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state, closing(ask(tmp_path)) as erasures:
        consumer = judged(journal, state)
        journal.erase(GONE, 0, ALL_MS)
        before = counts(state)
        assert erase_all(state, erasures, NOW_MS, consumer.reload) == 1
        assert found(tmp_path, GONE) == []
        consumer.tick(NOW_MS + MINUTE)
        consumer.save()
        assert found(tmp_path, GONE) == []
        assert before.items() <= counts(state).items()
        assert consumer.judge.outages(GONE) == []
        assert consumer.judge.outages(STAYS) != []
        assert erase_all(state, erasures, NOW_MS, consumer.reload) == 0


def test_other_dates_are_left_alone(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        judged(journal, state)
    before = found(tmp_path, GONE)
    erase_here(tmp_path, GONE, (0, CUT - 90 * 86_400_000), NOW_MS)
    assert set(found(tmp_path, GONE)) >= set(before) - {"judge.db-wal"}


def test_what_was_killed_between_is_done_again(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        judged(journal, state)
    ask(tmp_path).close()
    killed = (
        "import os, signal, sys; from pathlib import Path; from balise_collector.erasures import Erasures\n"
        "from balise_collector.judging.erasing import erase_all; from balise_collector.judging.state import State\n"
        "data = Path(sys.argv[1]); state = State(data / 'judge.db')\n"
        "erasures = Erasures(data / 'erasures.db')\n"
        "erase_all(state, erasures, int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))"
    )
    run = subprocess.run([sys.executable, "-c", killed, str(tmp_path), str(NOW_MS)], env=os.environ, check=False)
    assert run.returncode == -signal.SIGKILL
    with closing(State(tmp_path / "judge.db")) as state, closing(Erasures(tmp_path / "erasures.db")) as erasures:
        assert [one.home for one in erasures.waiting_for("judge")] == [GONE]
        assert erase_all(state, erasures, NOW_MS) == 1
    assert found(tmp_path, GONE) == []


def test_while_somebody_judges_it_is_his(tmp_path: Path) -> None:
    with held(tmp_path, wait=True), pytest.raises(Judging), held(tmp_path, wait=False):
        pass
    with held(tmp_path, wait=False):
        pass


def told(journal: Journal, after: int) -> set[str]:
    """Homes of which something was concluded since."""
    return {row.tags["home"] for row in journal.derived(after, 100_000)[0] if "home" in row.tags}


def forget(journal: Journal, state: State, consumer: JudgeConsumer, erasures: Erasures) -> None:
    """What the programs of `balise serve` do one after the other."""
    for one in erasures.waiting_for("stats"):
        erasures.forgot(one.id, "stats")
    erase_all(state, erasures, NOW_MS, consumer.reload)
    erase_there(journal, None, erasures)


def test_of_an_erased_home_nothing_is_said_until_something_new_comes(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state, closing(Erasures(tmp_path / "erasures.db")) as erasures:
        consumer = judged(journal, state)
        erasures.ask(GONE, 0, ALL_MS, NOW_MS)
        erase_there(journal, None, erasures)
        last = journal.last_id("derived")
        consumer.tick(NOW_MS + 6 * MINUTE)  # the judge was not told yet
        assert told(journal, last) == set(HOMES) - {GONE}
        forget(journal, state, consumer, erasures)
        Loop(journal, [consumer]).drain()
        last = journal.last_id("derived")
        consumer.tick(NOW_MS + 12 * MINUTE)
        assert told(journal, last) == set(HOMES) - {GONE}
        new = life([GONE], NOW_MS + 20 * MINUTE, NOW_MS + 24 * MINUTE)
        Feed(journal).puts([msgspec.structs.replace(one, probe="another") for one in new])
        Loop(journal, [consumer]).drain()
        assert GONE in told(journal, last)


def test_of_a_home_that_does_not_agree_nothing_is_said(journal: Journal, tmp_path: Path) -> None:
    homes = {**PLANT.homes, GONE: replace(PLANT.homes[GONE], probe="", agrees=False)}
    with closing(State(tmp_path / "judge.db")) as state:
        consumer = JudgeConsumer(journal, state, replace(PLANT, homes=homes))
        Feed(journal).puts(everything())
        Loop(journal, [consumer]).drain()
        assert told(journal, 0) == set(HOMES) - {GONE}


def alone() -> list[Row]:
    """One home of all is cut."""
    others = [home for home in HOMES if home != GONE]
    before_and_after = life([GONE], T0, CUT) + life([GONE], END + 2 * MINUTE, END + 10 * MINUTE)
    return life(others, T0, END + 10 * MINUTE) + before_and_after + cut([GONE], CUT, END, "access.line")


def test_an_incident_of_a_home_alone_goes_with_it(journal: Journal, tmp_path: Path) -> None:
    with closing(State(tmp_path / "judge.db")) as state:
        consumer = JudgeConsumer(journal, state, PLANT)
        Feed(journal).puts(alone())
        Loop(journal, [consumer]).drain()
        mine = [row.tags for row in journal.derived(0, 100_000)[0] if row.measurement == "incident"]
        assert {tags["home"] for tags in mine} == {GONE}
        journal.erase(GONE, 0, ALL_MS)
        assert [row for row in journal.derived(0, 100_000)[0] if row.measurement == "incident"] == []
