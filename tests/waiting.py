"""How does a test wait for what comes about, and where does nobody listen?"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""What never comes ends the test; nothing is measured by it."""


def until(condition: Callable[[], Any], what: str = "it", patience_s: float = PATIENCE_S) -> Any:
    """What the condition gives once it holds; AssertionError where it never does."""
    end_s = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end_s, f"not within {patience_s:g} s: {what}"
        time.sleep(0.01)
    return found


async def soon(condition: Callable[[], Any], what: str = "it") -> Any:
    """The same, while the loop goes on."""
    end_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end_s, f"not within {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(0.01)
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """One that nobody has now, for a program that cannot be told to take any."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
