"""How is a test or a sample run in a short-lived process of its own? (`errand` is the child's side)

So its memory goes back, and neither the event loop nor the pings are disturbed.

Rule 1: whatever becomes of the child, the test has an outcome; its answer is one line, bounded and in time.
Rule 2: a run that is cancelled stops the child (SIGTERM): a test resets its streams, so the line is free within its
queue's length, and gives its turn back. One that does not end by that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from balise_agent.contract import OK, Outcome, Value, failed, skipped

MOST_BYTES = 65_536
KILL_S = 1.5  # a test has given its turn back and ended itself by then

Result = tuple[Outcome, dict[str, Value]]


async def run(spec: Mapping[str, Any], timeout_s: float, command: Sequence[str]) -> Result:
    """Outcome and fields of one test."""
    pipe = asyncio.subprocess.PIPE
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, limit=MOST_BYTES, start_new_session=True
        )
    except OSError:
        return failed("child_not_started"), {}
    try:
        async with asyncio.timeout(timeout_s):
            line = await _exchange(child, json.dumps({**spec, "parent": os.getpid()}).encode() + b"\n")
            status = await _ended(child)
    except TimeoutError:
        return failed("child_timeout"), {}
    finally:
        if child.returncode is None:
            await _stop(child)
        await _ended(child)
    if status != 0:
        return failed("child_killed" if status < 0 else "child_failed"), {}
    return decode(line)


def decode(line: bytes) -> Result:
    """The child's line; any bytes are a result."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return failed("child_failed"), {}
    match told:
        case {"kind": "ok", "fields": dict(fields)}:
            return OK, _plain(fields)
        case {"kind": "failed", "reason": str(why), "fields": dict(fields)}:
            return failed(why), _plain(fields)
        case {"kind": "skipped", "reason": str(why), "fields": dict(fields)}:
            return skipped(why), _plain(fields)
        case _:
            return failed("child_failed"), {}


async def _exchange(child: asyncio.subprocess.Process, spec: bytes) -> bytes:
    """The child's first line; empty where it ended without one, or wrote more than a line may have."""
    stdin, stdout = child.stdin, child.stdout
    if stdin is None or stdout is None:
        return b""
    try:
        with contextlib.suppress(OSError):  # it may have answered and gone before it read all of this
            stdin.write(spec)
            await stdin.drain()
        return await stdout.readuntil(b"\n")
    except (OSError, asyncio.IncompleteReadError):
        return b""
    except asyncio.LimitOverrunError:
        child.kill()
        return b""


async def _stop(child: asyncio.subprocess.Process) -> None:
    """Told to end; killed where it does not, or where nobody waits for that."""
    try:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        async with asyncio.timeout(KILL_S):
            await _ended(child)
    except TimeoutError:
        pass
    finally:
        if child.returncode is None:
            child.kill()


async def _ended(child: asyncio.subprocess.Process) -> int:
    """Its status when it has ended. Until its pipes are read empty, asyncio does not tell that it has."""
    if child.stdin is not None:
        child.stdin.close()
    while child.stdout is not None and await child.stdout.read(MOST_BYTES):
        pass
    return await child.wait()


def _plain(fields: Mapping[str, Any]) -> dict[str, Value]:
    return {str(name): value for name, value in fields.items() if isinstance(value, bool | int | float | str)}
