"""Which thread uses the outbox? One of its own: a sync may take a card a second, and the loop measures meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from balise_agent import sqlite_file
from balise_agent.clock import Clock
from balise_agent.outbox import Outbox
from balise_agent.runner import until

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 5.0  # a full disk is tried again
WITNESS = "BALISE_WITNESS"
"""Environment: a file that gets one line for each record once it is on disk (demo and fault tests)."""


class OutboxThread:
    """Called with some work, runs it in the thread: what comes first is done first."""

    def __init__(self, path: Path, *, boot: str, clock: Clock, alone: bool = False) -> None:
        """``alone``: as `Outbox` takes it."""
        self._path, self._boot, self._clock, self._alone = path, boot, clock, alone
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    async def __call__(self, work: Callable[[], T]) -> T:
        """What it returns or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def open(self, stopping: asyncio.Event, retry_s: float = RETRY_S) -> Outbox | None:
        """The outbox, as soon as the disk lets it be opened; None where the end comes before."""
        while not stopping.is_set():
            try:
                return await self(self._open)
            except sqlite3.OperationalError as exc:
                log.error("disk_refuses", extra={"why": str(exc)})
                await until(stopping, retry_s)
        return None

    async def close(self, outbox: Outbox) -> None:
        """Closes it and ends the thread; the time until now is kept as known."""
        with contextlib.suppress(sqlite3.OperationalError):
            await self(outbox.remember_time)
        await self(outbox.close)
        self._thread.shutdown(wait=False)

    def report(self, exc: BaseException) -> None:
        """Where it was the file's damage that ended a part, the next start is to set the file aside."""
        if isinstance(exc, sqlite3.Error) and sqlite_file.is_damage(exc):
            sqlite_file.mark_damaged(self._path)

    def _open(self) -> Outbox:
        witness = os.environ.get(WITNESS)
        on_commit = None if witness is None else partial(_append_lines, Path(witness))
        return Outbox(self._path, boot=self._boot, clock=self._clock, on_commit=on_commit, alone=self._alone)


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
