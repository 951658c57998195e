"""Is every record on disk once, whatever the disk does, and what does memory hold meanwhile?"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from balise_agent import codec
from balise_agent.contract import Batch, Record
from balise_agent.outbox import Outbox
from balise_agent.outbox_thread import OutboxThread
from balise_agent.writer import MAX_ACKED, MAX_HELD, Writer
from tests.waiting import PATIENCE_S, soon

BOOT = "boot1"


class HandClock:
    """Known, and it stands still."""

    def bt_ms(self) -> int:
        return 1_000_000

    def wall_ms(self) -> int:
        return 1_800_000_000_000

    def synchronised(self) -> bool | None:
        return True


def host(n: int) -> Record:
    return Record(measurement="host", bt_ms=1_000_000 + 8 * n, fields={"uptime_s": n})


class Bench:
    """A writer over a real outbox, whose disk can be full."""

    def __init__(self, folder: Path, *, batch_s: float = 3600.0) -> None:
        self.path = folder / "outbox.db"
        self.outbox = Outbox(self.path, boot=BOOT, clock=HandClock())
        self.thread = OutboxThread(self.path, boot=BOOT, clock=HandClock())
        self.kept: list[int] = []
        self.sealings = 0
        self.writer = Writer(
            self.outbox,
            self.thread,
            batch_s=lambda: batch_s,
            now_bt_ms=HandClock().bt_ms,
            on_sealed=self._sealed,
            on_kept=self.kept.extend,
            retry_s=0.02,
        )

    def _sealed(self) -> None:
        self.sealings += 1

    async def fill_disk(self) -> None:
        """SQLite says what it says of a full one."""
        pages = self._pragma("page_count")
        await self.thread(lambda: self.outbox._db.execute(f"PRAGMA max_page_count = {pages}"))

    async def make_room(self) -> None:
        await self.thread(lambda: self.outbox._db.execute("PRAGMA max_page_count = 1000000"))

    def _pragma(self, name: str) -> int:
        return int(self.outbox._db.execute(f"PRAGMA {name}").fetchone()[0])

    def pending(self) -> list[int]:
        return self._column("SELECT count(*) FROM pending")

    def records(self, measurement: str = "host") -> list[Record]:
        """All that is in messages, in order."""
        batches = [codec.decode_batch(codec.encode_batch(m.envelope, m.body)) for m in self.outbox.waiting(0, 10_000)]
        found = [record for batch in batches if isinstance(batch, Batch) for record in batch.body.records]
        return [record for record in found if record.measurement == measurement]

    def _column(self, sql: str) -> list[int]:
        """Read by another connection: what is there is committed."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as db:
            found = [row[0] for row in db.execute(sql)]
        db.close()
        return found


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.writer.run())
    try:
        yield bench
    finally:
        await bench.writer.close()
        await asyncio.wait_for(task, PATIENCE_S)
        await bench.thread.close(bench.outbox)


def numbers(records: Sequence[Record]) -> list[Any]:
    return [record.fields["uptime_s"] for record in records]


def test_a_record_is_committed_before_the_next_sealing(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            await soon(lambda: bench.sealings == 1)  # the first start seals what the last one left
            bench.writer.put(host(1))
            await soon(lambda: bench.pending() == [1])
            assert bench.records() == []

    asyncio.run(work())


def test_what_somebody_waits_for_is_sealed_at_once_with_what_is_pending(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            await soon(lambda: bench.sealings == 1)
            bench.writer.put(host(1))
            await soon(lambda: bench.pending() == [1])
            bench.writer.put(host(2), urgent=True)
            await soon(lambda: numbers(bench.records()) == [1, 2])
            bench.writer.put(host(3))
            await soon(lambda: bench.pending() == [1])
            assert bench.sealings == 2

    asyncio.run(work())


def test_what_is_pending_is_sealed_when_its_time_comes_and_at_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path, batch_s=0.05)
        async with running(bench):
            bench.writer.put(host(1))
            await soon(lambda: numbers(bench.records()) == [1])
        reopened = Bench(tmp_path)
        assert numbers(reopened.records()) == [1]
        reopened.writer.put(host(2))
        await reopened.writer.close()
        assert numbers(reopened.records()) == [1, 2]
        await reopened.thread.close(reopened.outbox)

    asyncio.run(work())


def test_what_a_full_disk_refuses_is_written_once_when_there_is_room(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            await soon(lambda: bench.sealings == 1)
            await bench.fill_disk()
            for n in range(200):
                bench.writer.put(host(n))
                await asyncio.sleep(0)
            await soon(lambda: bench.writer.rows_waiting >= 200)
            before = bench.pending()[0]
            assert before < 200
            await bench.make_room()
            await soon(lambda: bench.pending() == [200])
            await bench.writer.close()
            assert sorted(numbers(bench.records())) == list(range(200))

    asyncio.run(work())


def test_what_memory_cannot_hold_is_a_gap_that_is_counted(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        await bench.fill_disk()
        for n in range(MAX_HELD + 7):
            bench.writer.put(host(n))
        await bench.make_room()
        await bench.writer.close()
        (gap,) = bench.records("gap")
        assert gap.fields == {"records": 7, "why": "memory_bound"}
        assert numbers(bench.records())[0] == 7
        bench.writer.put(host(1))
        await bench.writer.close()
        assert len(bench.records("gap")) == 1  # said once
        await bench.thread.close(bench.outbox)

    asyncio.run(work())


def test_an_end_in_the_middle_of_a_commit_writes_nothing_twice(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        held = threading.Event()
        async with running(bench):
            await soon(lambda: bench.sealings == 1)
            blocker = asyncio.create_task(bench.thread(held.wait))  # a sync that takes long
            bench.writer.put(host(1))
            await asyncio.sleep(0.05)  # the commit stands behind it
            ending = asyncio.create_task(bench.writer.close())
            await asyncio.sleep(0.05)
            held.set()
            await ending
            await blocker
            assert numbers(bench.records()) == [1]

    asyncio.run(work())


def test_acks_ride_on_the_commits_of_records_unless_there_are_many(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            await soon(lambda: bench.sealings == 1)
            bench.writer.acked([1])
            bench.writer.acked([2])
            await asyncio.sleep(0.05)
            assert bench.kept == []
            bench.writer.put(host(1))
            await soon(lambda: bench.kept == [1, 2])
            bench.writer.acked(range(3, 3 + MAX_ACKED))
            await soon(lambda: len(bench.kept) == 2 + MAX_ACKED)

    asyncio.run(work())


def test_an_acknowledged_message_waits_no_more(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            bench.writer.put(host(1))
            await bench.writer.close()
            assert bench.writer.rows_waiting == 2  # the record's message and the clock's
            bench.writer.acked([message.id for message in bench.outbox.waiting(0, 9)])
            assert bench.writer.rows_waiting == 0
            await bench.writer.flush()
            assert bench.outbox.waiting(0, 9) == []
            assert bench.writer.rows_waiting == 0

    asyncio.run(work())


def test_an_erasure_leaves_nothing_measured_in_memory_or_on_disk(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            await soon(lambda: bench.sealings == 1)
            bench.writer.put(host(1))
            await bench.writer.flush()
            bench.writer.put(host(2))
            bench.writer.put(Record(measurement="agent_event", target="config_applied", bt_ms=1_000_000))
            await bench.writer.erase()
            await bench.writer.close()
            assert bench.records("host") == []
            assert "config_applied" in [record.target for record in bench.records("agent_event")]

    asyncio.run(work())


def test_an_erasure_that_the_disk_refuses_is_tried_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            bench.writer.put(host(1))
            await bench.writer.flush()
            other = sqlite3.connect(bench.path, isolation_level=None)
            await bench.thread(lambda: bench.outbox._db.execute("PRAGMA busy_timeout = 10"))
            other.execute("BEGIN IMMEDIATE")  # whoever holds the file: the disk refuses
            erasing = asyncio.create_task(bench.writer.erase())
            await asyncio.sleep(0.1)
            assert not erasing.done()
            other.execute("ROLLBACK")
            other.close()
            async with asyncio.timeout(PATIENCE_S):
                await erasing
            await bench.writer.close()
            assert bench.records("host") == []

    asyncio.run(work())


def test_a_record_that_is_none_of_the_contract_s_is_refused_and_the_others_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(Bench(tmp_path)) as bench:
            bench.writer.put(Record(measurement="nonsense", bt_ms=1))
            bench.writer.put(host(1))
            await bench.writer.close()
            assert numbers(bench.records()) == [1]

    asyncio.run(work())


def test_an_outbox_that_cannot_be_opened_yet_is_tried_again(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "state" / "outbox.db"
        thread = OutboxThread(path, boot=BOOT, clock=HandClock())
        opening = asyncio.create_task(thread.open(asyncio.Event(), retry_s=0.02))
        await asyncio.sleep(0.1)
        assert not opening.done()
        path.parent.mkdir()
        async with asyncio.timeout(PATIENCE_S):
            outbox = await opening
        assert outbox is not None
        await thread.close(outbox)

    asyncio.run(work())


def test_an_end_that_comes_before_the_outbox_opened_is_an_end(tmp_path: Path) -> None:
    async def work() -> None:
        stopping = asyncio.Event()
        thread = OutboxThread(tmp_path / "state" / "outbox.db", boot=BOOT, clock=HandClock())
        opening = asyncio.create_task(thread.open(stopping))
        await asyncio.sleep(0.1)
        stopping.set()
        async with asyncio.timeout(PATIENCE_S):
            assert await opening is None

    asyncio.run(work())
