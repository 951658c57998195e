"""What does systemd want to hear? (sd_notify(3), in plain datagrams)

Rule 1: without NOTIFY_SOCKET nothing is said and nothing fails: the agent runs from a shell as well.
Rule 2: the watchdog is fed only while the agent is alive in the sense that the caller states.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tells the service manager; False where there is none or it does not listen."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # Linux's abstract sockets, unix(7)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.setblocking(False)  # a full queue must not stop the agent
            sock.sendto(state.encode(), address)
        except OSError as exc:
            log.warning("notify_failed", extra={"state": state, "why": exc.strerror})
            return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Seconds between two signs of life, half of what systemd waits (sd_watchdog_enabled(3)); None: no watchdog."""
    asked_pid = environ.get("WATCHDOG_PID", "")
    if asked_pid and asked_pid != str(os.getpid() if pid is None else pid):
        return None
    with contextlib.suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        return microseconds / 2e6 if microseconds > 0 else None
    return None


async def feed_watchdog(
    is_alive: Callable[[], bool],
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Gives a sign of life for as long as ``is_alive`` says so, until cancelled, also where there is no watchdog."""
    every_s = watchdog_s(environ)
    if every_s is None:
        await asyncio.Event().wait()
        return
    while True:
        if is_alive():
            notify(WATCHDOG, environ)
        else:
            log.error("not_alive", extra={"then": "systemd restarts the agent"})
        await sleep(every_s)
