"""How does what was measured get to the disk, and what if the disk refuses?

Rule 1: a record is on its way to the disk as soon as it exists; what a full disk refuses is held in memory and tried
again, and what memory cannot hold becomes a gap.
Rule 2: one commit at a time, and one that has begun is waited for: given up half-way, its records would be committed
a second time under other dates.
Rule 3: acks ride on the commits of records: one that a crash loses costs one resend. Only a catch-up, which brings
hundreds, has commits of its own.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial

from balise_agent import codec
from balise_agent.contract import Record, Value
from balise_agent.outbox import Outbox
from balise_agent.outbox_thread import RETRY_S, OutboxThread
from balise_agent.runner import until

log = logging.getLogger(__name__)

MAX_HELD = 10_000  # records in memory while the disk refuses: a day of four probes
MAX_ACKED = 500  # acks in memory: a second of catch-up, sent again after a crash
COMPANY_S = 0.5  # a commit waits this long for what other probes measure: each costs the card some 12 kB
EARLY = 0.9  # of a batch's time: sealing comes with a record's commit that is near, so in one sync
_OF_THE_AGENT = {"agent_event", "command", "gap"}


class Writer:
    """What is on its way to the outbox, in the loop's thread.

    ``on_sealed`` is called when there may be new messages, ``on_kept`` with the ids whose acks are on disk.
    """

    def __init__(
        self,
        outbox: Outbox,
        on_disk: OutboxThread,
        *,
        batch_s: Callable[[], float],
        now_bt_ms: Callable[[], int],
        on_sealed: Callable[[], None],
        on_kept: Callable[[Sequence[int]], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self._outbox, self._on_disk, self._batch_s, self._now_bt_ms = outbox, on_disk, batch_s, now_bt_ms
        self._on_sealed, self._on_kept, self._retry_s = on_sealed, on_kept, retry_s
        self._held: list[Record] = []
        self._acked: list[int] = []
        self._dropped = 0
        self._refused = False  # by the disk, at the last commit
        self._stored = outbox.rows_waiting()
        self._sealed_s = -1e9
        self._urgent = False  # something that is held is waited for
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self._alone = asyncio.Lock()

    @property
    def rows_waiting(self) -> int:
        """Records held and records and messages on disk that the collector is not known to have."""
        return len(self._held) + max(0, self._stored - len(self._acked))

    def put(self, record: Record, *, urgent: bool = False) -> None:
        """Takes one record to the disk; ``urgent``: somebody waits for it, so it is sealed at once."""
        refusal = codec.check_record(record)
        if refusal is not None:
            log.error("record_refused", extra={"measurement": record.measurement, "why": str(refusal)})
            return
        self._held.append(record)
        if len(self._held) > MAX_HELD:
            del self._held[0]
            self._dropped += 1
        self._urgent = self._urgent or urgent
        self._came.set()

    def acked(self, ids: Sequence[int]) -> None:
        """The collector has these messages; it is marked with the next commit."""
        self._acked += ids
        if len(self._acked) >= MAX_ACKED:
            self._came.set()

    async def run(self) -> None:
        """Commits what comes at once and seals when it is due, until `close`."""
        while not self._closing.is_set():
            await until(self._came, self._seconds_to_sealing())
            await until(self._closing, min(COMPANY_S, self._batch_s() / 100))
            if not self._closing.is_set() and not await self._commit(seal=self._is_sealing_due()):
                await until(self._closing, self._retry_s)

    async def close(self) -> None:
        """Ends `run` and seals what is left; a disk that refuses is asked once."""
        self._closing.set()
        self._came.set()
        await self._commit(seal=True)

    async def flush(self) -> None:
        """What is held is on disk, acks too; where the disk refuses, it is still held."""
        await self._commit(seal=False)

    async def erase(self) -> None:
        """Nothing measured stays, in memory or on disk; goes on until the disk takes it, or until `close`."""
        while True:
            try:
                async with self._alone:
                    self._held = [record for record in self._held if record.measurement in _OF_THE_AGENT]
                    self._acked.clear()
                    await self._on_disk(self._outbox.erase)
                    return
            except sqlite3.OperationalError as exc:
                log.error("disk_refuses", extra={"why": str(exc), "held": len(self._held)})
            if self._closing.is_set():
                return  # the next start erases: the withdrawal is kept before
            await until(self._closing, self._retry_s)

    def _is_sealing_due(self) -> bool:
        return self._urgent or time.monotonic() - self._sealed_s >= EARLY * self._batch_s()

    def _seconds_to_sealing(self) -> float:
        return max(0.0, self._sealed_s + self._batch_s() - time.monotonic())

    async def _commit(self, *, seal: bool) -> bool:
        async with self._alone:
            self._came.clear()
            held, acked, dropped = self._held, tuple(self._acked), self._dropped
            records = [*held, *self._gap(dropped)]
            self._held, urgent, self._urgent = [], self._urgent, self._urgent and not seal
            try:
                self._stored = await self._on_disk(partial(self._write, records, seal, acked))
            except sqlite3.DatabaseError as exc:
                self._held, self._urgent = held + self._held, urgent or self._urgent
                if not isinstance(exc, sqlite3.OperationalError):
                    raise  # damaged: the next start sets the file aside
                log.error("disk_refuses", extra={"why": str(exc), "held": len(held)})
                self._tell(str(exc))
                return False
            self._refused = False
            del self._acked[: len(acked)]
            self._dropped -= dropped
        self._on_kept(acked)
        if seal:
            self._sealed_s = time.monotonic()
            self._on_sealed()
        return True

    def _write(self, records: Sequence[Record], seal: bool, acked: Sequence[int]) -> int:
        self._outbox.commit(records, seal=seal, acked=acked)
        return self._outbox.rows_waiting()

    def _tell(self, why: str) -> None:
        """Once a streak: the event waits with the records, and says afterwards that the disk had refused."""
        if not self._refused:
            self._refused = True
            event = Record(
                measurement="agent_event", target="disk_refused", bt_ms=self._now_bt_ms(), fields={"detail": why[:256]}
            )
            self._held.append(event)

    def _gap(self, dropped: int) -> list[Record]:
        fields: dict[str, Value] = {"records": dropped, "why": "memory_bound"}
        return [Record(measurement="gap", bt_ms=self._now_bt_ms(), fields=fields)] if dropped else []
