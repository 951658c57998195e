"""Does another agent use this state?

Two agents on one outbox would each send it, and end each other's session. The kernel drops the lock with its process,
however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_NAME = "lock"


def take(state_dir: Path) -> int | None:
    """Takes the state for this process until its end; None where another has it. The number is the open lock's."""
    fd = os.open(state_dir / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def is_taken(state_dir: Path) -> bool:
    """Whether an agent runs on this state now; only looks."""
    try:
        fd = os.open(state_dir / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
