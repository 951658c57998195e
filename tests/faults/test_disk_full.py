"""What happens when the probe's card, or the collector's disk, is full: on real programs and a small file system?"""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from balise_agent import codec
from balise_agent.contract import Batch, Record
from balise_agent.outbox import Outbox
from balise_collector.cli import app
from balise_collector.commands.demo import finish, look
from balise_collector.demo.programs import Programs
from balise_collector.demo.tally import keys_of
from balise_collector.ingest import Ingest
from balise_collector.journal_salvage import open_journal
from balise_collector.store.chunks import open_reader
from tests.faults.clocks import HandClock
from tests.faults.messages import home_of, messages, values
from tests.faults.small_disk import fill, is_full, make_room, small_disk
from tests.faults.waiting import status
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: run it as root, as CI does")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.end_all()


def test_a_probe_whose_card_is_full_measures_on_and_delivers_all_of_it_afterwards(programs: Programs) -> None:
    with small_disk(programs.folder / "agent" / "state", 2_048) as card:
        programs.start()
        until(lambda: look(programs).acknowledged > 10, "the path runs")
        fill(card)
        until(lambda: programs.log("agent").read_text().count("disk_refuses") >= 2, "the disk refuses, twice")
        assert is_full(card)
        from_ms, measured = time.time_ns() // 1_000_000 - 5_000, look(programs).measured
        assert "agent" not in programs.ended()
        make_room(card)
        to_ms = time.time_ns() // 1_000_000
        until(lambda: look(programs).measured > measured, "what was held is on disk")
        until(lambda: "disk_refused" in status(programs)["said"], "status says what the probe met")
        found = finish(programs)
        with closing(open_reader(programs.data / "store")) as reader:
            kept = [key for key in keys_of(reader, programs.agents[0].probe) if key[0] == "host"]
        assert (found.lost, found.waiting, found.duplicated) == (0, 0, 0)
        assert [ts_ms for _, _, ts_ms in kept if from_ms < ts_ms < to_ms], "nothing of the time when the card was full"
        ages = sorted(ts_ms for _, _, ts_ms in kept)
        assert max(b - a for a, b in itertools.pairwise(ages)) < 5_000, "a hole in what is measured each 2 s"


def test_a_collector_whose_disk_is_full_acknowledges_nothing_says_so_and_goes_on_when_there_is_room(
    programs: Programs,
) -> None:
    with small_disk(programs.data, 16_384) as disk:
        programs.start()
        until(lambda: look(programs).acknowledged > 5, "the path runs")
        fill(disk)
        until(lambda: "journal: the disk refuses" in (status(programs)["problems"] or ()), "status says it")
        acknowledged = look(programs).acknowledged
        waiting = look(programs).waiting
        until(lambda: look(programs).waiting > waiting + 5, "the probe holds what it measures")
        assert look(programs).acknowledged == acknowledged
        assert {"agent", "collector"}.isdisjoint(programs.ended())
        make_room(disk)
        until(lambda: status(programs)["problems"] == [], "all is well again")
        until(lambda: look(programs).waiting < 10, "it is all acknowledged")
        found = finish(programs)
        assert (found.lost, found.waiting, found.duplicated, found.dead_letters) == (0, 0, 0, 0)


def test_a_date_does_not_move_however_often_the_disk_refused(tmp_path: Path) -> None:
    clock = HandClock()
    with small_disk(tmp_path / "card", 1_024) as card:
        outbox = Outbox(card / "outbox.db", boot="b", clock=clock)
        fill(card)
        held = [Record(measurement="host", bt_ms=clock.bt + n * 2_000, fields=values(n)) for n in range(600)]
        for tried in (200, 400, 600):
            with pytest.raises(sqlite3.OperationalError):
                outbox.commit(held[:tried], seal=True)
        make_room(card)
        outbox.commit(held, seal=True)
        (batch,) = [b for b in _batches(outbox) if b.body.records[-1].measurement == "host"]
        assert [record.bt_ms for record in batch.body.records if record.measurement == "host"] == [
            r.bt_ms for r in held
        ]
        outbox.close()


def _batches(outbox: Outbox) -> list[Batch]:
    found = [codec.decode_batch(codec.encode_batch(m.envelope, m.body)) for m in outbox.waiting(0, 1_000)]
    return [batch for batch in found if isinstance(batch, Batch)]


def test_an_outbox_that_a_full_disk_does_not_let_open_is_left_where_it_is(tmp_path: Path) -> None:
    clock = HandClock()
    with small_disk(tmp_path / "card", 1_024) as card:
        outbox = Outbox(card / "outbox.db", boot="b", clock=clock)
        for n in range(100):
            clock.pass_ms(60_000)
            outbox.commit([Record(measurement="host", bt_ms=clock.bt, fields=values(n))], seal=True)
        before = outbox.rows_waiting()
        outbox.close()
        fill(card)
        with pytest.raises(sqlite3.OperationalError):
            Outbox(card / "outbox.db", boot="b", clock=clock)
        assert not list(card.glob("*.damaged-*"))
        make_room(card)
        with closing(Outbox(card / "outbox.db", boot="b", clock=clock)) as again:
            assert again.rows_waiting() >= before
            assert not list(card.glob("*.damaged-*"))


def test_a_journal_that_a_full_disk_does_not_let_open_is_left_where_it_is(tmp_path: Path) -> None:
    sent = messages(1, 60)
    with small_disk(tmp_path / "disk", 1_024) as disk:
        with closing(open_journal(disk / "journal.db")) as journal:
            Ingest(journal, home_of, lambda: sent[-1].ts_ms).take([message.incoming for message in sent])
        fill(disk)
        with pytest.raises(sqlite3.OperationalError), closing(open_journal(disk / "journal.db")) as journal:
            Ingest(journal, home_of, lambda: sent[-1].ts_ms).take([messages(2, 1)[0].incoming])
        make_room(disk)
        with closing(open_journal(disk / "journal.db")) as journal:
            assert len(journal.entries(0, 1_000)[0]) == 60
        assert not list(disk.glob("*.damaged-*"))


def test_a_command_on_a_full_disk_says_that_it_is_full(tmp_path: Path) -> None:
    homes = tmp_path / "homes.csv"
    homes.write_text("home,building,mesure\nk3v9q0c2m7x1b8za,b12,v1 2026-01-01\n")
    with small_disk(tmp_path / "data", 1_024) as data:
        assert _asked("homes", "import", str(homes), "--data", str(data)) == (0, "")
        fill(data)
        for command in (["homes", "list"], ["evidence", "import", os.devnull], ["broker", "init"]):
            status, said = _asked(*command, "--data", str(data))
            assert (status, len(said.splitlines())) == (2, 1)
            assert said.startswith(f"balise: {data}") or f"{data}/directory.db" in said
            assert "the disk is full" in said or "No space left on device" in said
        make_room(data)
        assert _asked("homes", "list", "--data", str(data)) == (0, "")


def _asked(*command: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(command))
    return found.exit_code, found.stderr
