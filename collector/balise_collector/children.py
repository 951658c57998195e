"""Does a program that `balise serve` started still run, and is it started again where it does not?

Rule 1: all of this is done in one thread: the kernel ends a child whose starting thread is gone (`end_with`).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

AGAIN_S = 5.0  # a program that ends at once is not started faster than this
STOP_S = 5.0  # what it is given to end the step under way


class Child:
    """One program of ours, run as ``python -m MODULE DATA OUR_PID OPTIONS``."""

    def __init__(self, module: str, data: Path, options: Sequence[str] = ()) -> None:
        self.name = module.rpartition(".")[2]
        self._module, self._data, self._options = module, data, options
        self._process: subprocess.Popen[bytes] | None = None
        self._again_at_s = 0.0
        self.restarts = 0

    def is_running(self) -> bool:
        """Now."""
        return self._process is not None and self._process.poll() is None

    def watch(self, now_s: float) -> None:
        """Starts it where it does not run and has not just been started."""
        if self.is_running() or now_s < self._again_at_s:
            return
        if self._process is not None:
            self.restarts += 1
            log.error("program_ended", extra={"program": self.name, "status": self._process.returncode})
        self._again_at_s = now_s + AGAIN_S
        command = [sys.executable, "-m", self._module, str(self._data), str(os.getpid()), *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        """Whether it likes to or not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
