"""How much memory do programs hold while something runs? Resident, each ten seconds, children with their parent."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Mapping
from types import TracebackType

import psutil

EVERY_S = 10.0
_MB = 1_000_000


class Memory:
    """Watches programs by their pid, until the block ends."""

    def __init__(self, pids: Mapping[str, int], every_s: float = EVERY_S) -> None:
        self.mb: dict[str, list[float]] = {name: [] for name in pids}
        self._pids, self._every_s = pids, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def growth(self, name: str) -> float:
        """What it held in the last sixth of the time, by what it held in the second: in the first it warms up."""
        held = self.mb[name]
        sixth = max(1, len(held) // 6)
        return statistics.median(held[-sixth:]) / statistics.median(held[sixth : 2 * sixth] or held)

    def _watch(self) -> None:
        while True:
            for name, pid in self._pids.items():
                self.mb[name].append(_resident_mb(pid))
            if self._end.wait(self._every_s):
                return


def _resident_mb(pid: int) -> float:
    """Of a program and of what it started. psutil.NoSuchProcess: it ended."""
    whole = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (whole, *whole.children(recursive=True))) / _MB
