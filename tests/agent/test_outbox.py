"""Does the outbox keep what it promised, date it once, and say what it had to drop?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from balise_agent import codec, contract
from balise_agent.contract import Batch, Record
from balise_agent.outbox import GRAIN_MS, Message, Outbox


@dataclass(slots=True)
class HandClock:
    """A clock that the test moves."""

    bt: int = 1_000_000
    wall: int = 1_800_000_000_000
    known: bool | None = True

    def bt_ms(self) -> int:
        return self.bt

    def wall_ms(self) -> int:
        return self.wall

    def synchronised(self) -> bool | None:
        return self.known

    def pass_ms(self, ms: int) -> None:
        self.bt += ms
        self.wall += ms


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def _open(tmp_path: Path, clock: HandClock, boot: str = "boot1", max_bytes: int = 2**28) -> Outbox:
    return Outbox(tmp_path / "outbox.db", boot=boot, clock=clock, max_bytes=max_bytes)


def _host(clock: HandClock, **fields: contract.Value) -> Record:
    return Record(measurement="host", bt_ms=clock.bt_ms(), fields=fields or {"uptime_s": 1})


def _batches(outbox: Outbox) -> list[Batch]:
    return [_decoded(message) for message in outbox.waiting(0, 10_000)]


def _decoded(message: Message) -> Batch:
    batch = codec.decode_batch(codec.encode_batch(message.envelope, message.body))
    assert isinstance(batch, Batch), batch
    return batch


def _said(outbox: Outbox, measurement: str) -> list[Record]:
    return [r for batch in _batches(outbox) for r in batch.body.records if r.measurement == measurement]


def test_a_record_is_sealed_dated_chained_and_leaves_only_on_an_ack(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)])
    outbox.seal()
    messages = outbox.waiting(0, 10)
    chain = contract.chain_start(outbox.stream, None)
    for message in messages:
        batch = _decoded(message)
        chain = contract.chain_next(chain, message.envelope.seq, message.envelope.ts_ms, batch.body_hash)
        assert message.envelope.chain == chain
        for record in batch.body.records:
            assert abs(batch.ts_ms(record) - clock.wall) <= 2 * GRAIN_MS
    assert len(_said(outbox, "host")) == 1
    outbox.commit((), acked=[m.id for m in messages])
    assert outbox.waiting(0, 10) == []
    assert outbox.rows_waiting() == 0


def test_what_was_committed_and_what_was_sealed_survive_a_restart_under_their_own_stream(
    tmp_path: Path, clock: HandClock
) -> None:
    first = _open(tmp_path, clock)
    first.commit([_host(clock, uptime_s=1)], seal=True)
    before = first.waiting(0, 10)
    first.commit([_host(clock, uptime_s=2)])
    first.close()
    second = _open(tmp_path, clock)
    assert second.waiting(0, 10)[: len(before)] == before
    assert [r.fields["uptime_s"] for r in _said(second, "host")] == [1, 2]
    last = _batches(second)[-1].envelope
    assert (last.stream, last.seq, last.previous) == (second.stream, 1, first.stream)


def test_each_opening_writes_a_stream_of_its_own(tmp_path: Path, clock: HandClock) -> None:
    streams = {_open(tmp_path, clock).stream for _ in range(3)}
    assert len(streams) == 3


def test_a_record_measured_before_the_clock_is_known_is_kept_and_dated_at_synchronisation(
    tmp_path: Path, clock: HandClock
) -> None:
    clock.known, clock.wall = False, 12_000
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)], seal=True)
    assert outbox.waiting(0, 10) == []
    clock.pass_ms(60_000)
    clock.known, clock.wall = True, 1_800_000_060_000
    outbox.seal()
    (batch,) = [b for b in _batches(outbox) if b.body.records[0].measurement == "host"]
    assert abs(batch.ts_ms(batch.body.records[0]) - 1_800_000_000_000) <= 2 * GRAIN_MS


def test_a_record_of_a_boot_that_never_knew_the_time_has_a_window_and_no_date(tmp_path: Path, clock: HandClock) -> None:
    known = _open(tmp_path, clock)
    known.remember_time()
    known.close()
    low = clock.wall
    clock.known, clock.bt, clock.wall = False, 5_000, 100
    blind = _open(tmp_path, clock, boot="boot2")
    blind.commit([_host(clock, uptime_s=7)], seal=True)
    blind.close()
    clock.known, clock.bt, clock.wall = True, 10_000, low + 3_600_000
    outbox = _open(tmp_path, clock, boot="boot3")
    (batch,) = [b for b in _batches(outbox) if b.envelope.ts_ms == 0]
    assert batch.body.records[0].fields == {"uptime_s": 7}
    assert batch.envelope.window is not None
    earliest, latest = batch.envelope.window
    assert abs(earliest - low) <= GRAIN_MS
    assert abs(latest - (low + 3_590_000)) <= GRAIN_MS


def test_the_date_does_not_move_with_the_clocks_small_corrections(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)])
    clock.wall += 200
    outbox.commit([_host(clock)], seal=True)
    host = [b for b in _batches(outbox) for r in b.body.records if r.measurement == "host"]
    assert len({id(b) for b in host}) == 1


def test_a_step_of_the_clock_is_said_and_no_two_records_of_a_series_get_one_date(
    tmp_path: Path, clock: HandClock
) -> None:
    outbox = _open(tmp_path, clock)
    start = clock.wall
    for _step in range(4):
        for _ in range(200):
            outbox.commit([_host(clock)])
            clock.pass_ms(GRAIN_MS)
        clock.wall = start
        outbox.seal()
    dates = [b.ts_ms(r) for b in _batches(outbox) for r in b.body.records if r.measurement == "host"]
    assert len(dates) == len(set(dates)) == 800
    steps = [r.fields["step_ms"] for r in _said(outbox, "agent_event") if r.target == "clock_stepped"]
    assert len(steps) == 4
    assert all(abs(int(s) + 1600) <= GRAIN_MS for s in steps)


def test_records_of_one_series_in_one_instant_get_dates_of_their_own(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock) for _ in range(5)], seal=True)
    times = [r.bt_ms for r in _said(outbox, "host")]
    assert len(set(times)) == 5


def test_the_size_bound_drops_the_oldest_acked_first_and_what_was_not_acked_becomes_a_gap(
    tmp_path: Path, clock: HandClock
) -> None:
    outbox = _open(tmp_path, clock, max_bytes=100_000)
    acked: list[int] = []
    for n in range(600):
        clock.pass_ms(60_000)
        outbox.commit([_host(clock, uptime_s=n, cpu_pct=n / 7)], seal=True, acked=acked if n == 100 else ())
        if n == 99:
            acked = [m.id for m in outbox.waiting(0, 1_000)]
    outbox.seal()
    gaps = _said(outbox, "gap")
    assert gaps
    assert {g.fields["why"] for g in gaps} == {"size_bound"}
    kept = {int(r.fields["uptime_s"]) for r in _said(outbox, "host")}
    lost = sum(int(g.fields["messages"]) for g in gaps)
    assert lost + len(kept) >= 480
    assert max(kept) == 599
    assert all(g.fields["stream"] == outbox.stream and "last_c" in g.fields for g in gaps)


def test_what_is_older_than_90_days_becomes_a_gap(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)], seal=True)
    clock.pass_ms(91 * 86_400_000)
    outbox.seal()
    outbox.seal()
    assert _said(outbox, "host") == []
    assert [g.fields["why"] for g in _said(outbox, "gap")] == ["age_bound"]


def test_a_damaged_row_is_never_delivered_and_its_loss_is_said(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    for n in range(3):
        outbox.commit([_host(clock, uptime_s=n)], seal=True)
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("UPDATE outbox SET ts_ms = ts_ms + 3600000 WHERE seq = 2")
    other.close()
    assert [r.fields["uptime_s"] for r in _said(outbox, "host")][-1:] == [2]
    outbox.seal()
    (gap,) = _said(outbox, "gap")
    assert (gap.fields["why"], gap.fields["messages"]) == ("damaged_row", 1)


def test_a_damaged_pending_record_is_counted_as_lost(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)])
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("UPDATE pending SET bt_ms = bt_ms + 1")
    other.close()
    outbox.seal()
    outbox.seal()
    (gap,) = _said(outbox, "gap")
    assert gap.fields == {"records": 1, "why": "damaged_row"}


def test_a_file_that_is_no_database_is_set_aside_and_reported(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "outbox.db").write_bytes(b"not a database" * 500)
    outbox = _open(tmp_path, clock)
    outbox.commit([_host(clock)], seal=True)
    assert [g.fields["why"] for g in _said(outbox, "gap")] == ["damaged_file"]
    assert len(_said(outbox, "host")) == 1
    assert list(tmp_path.glob("outbox.db.damaged-*"))


def test_an_acked_message_can_be_replayed(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    for n in range(3):
        outbox.commit([_host(clock, uptime_s=n)], seal=True)
    outbox.commit((), acked=[m.id for m in outbox.waiting(0, 10)])
    assert outbox.replay(outbox.stream, 3) == 2
    assert len(outbox.waiting(0, 10)) == 2


def test_withdrawn_consent_leaves_nothing_of_what_was_measured_in_the_file(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    outbox.commit(
        [Record(measurement="agent_event", bt_ms=clock.bt_ms(), target="started", fields={"detail": "MARKER42"})]
    )
    assert b"MARKER42" in b"".join(p.read_bytes() for p in tmp_path.iterdir())
    outbox.erase()
    outbox.close()
    assert b"MARKER42" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


def test_the_witness_hears_of_a_record_with_the_date_that_it_will_have(tmp_path: Path, clock: HandClock) -> None:
    heard: list[str] = []
    outbox = Outbox(tmp_path / "outbox.db", boot="b", clock=clock, on_commit=heard.extend)
    outbox.commit([_host(clock)], seal=True)
    (batch,) = [b for b in _batches(outbox) if any(r.measurement == "host" for r in b.body.records)]
    (record,) = [r for r in batch.body.records if r.measurement == "host"]
    assert json.loads(heard[0])["ts_ms"] == batch.ts_ms(record)


def test_more_records_than_a_message_may_hold_become_several(tmp_path: Path, clock: HandClock) -> None:
    outbox = _open(tmp_path, clock)
    records = [replace(_host(clock), bt_ms=clock.bt_ms() + 8 * n) for n in range(contract.MAX_RECORDS + 2)]
    outbox.commit(records, seal=True)
    counts = [sum(r.measurement == "host" for r in batch.body.records) for batch in _batches(outbox)]
    assert sum(counts) == len(records)
    assert max(counts) <= contract.MAX_RECORDS


def test_an_outbox_that_is_alone_keeps_no_mapped_index_and_nobody_reads_it_meanwhile(
    tmp_path: Path, clock: HandClock
) -> None:
    path = tmp_path / "outbox.db"
    with closing(Outbox(path, boot="a", clock=clock, alone=True)) as outbox:
        outbox.commit([_host(clock)], seal=True)
        assert not path.with_name("outbox.db-shm").exists()
        with closing(sqlite3.connect(path, timeout=0)) as db, pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("SELECT count(*) FROM outbox").fetchone()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone()[0] >= 1
