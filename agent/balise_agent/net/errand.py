"""What is a child process of the agent asked for, what does it answer, and when does it end?

One JSON object on stdin, one on stdout: ``{"kind", "reason", "fields"}`` (`child` is the agent's side).

Rule 1: it ends with its agent, however that ended (SIGTERM): nobody waits for it, and it fills somebody's line.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from balise_agent.contract import Outcome

_PR_SET_PDEATHSIG = 1  # prctl(2)


def asked() -> dict[str, Any]:
    """What the agent wants; one asked by hand names no ``parent``, and has nobody to end with."""
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    parent = told.pop("parent", None)
    if parent is not None:
        _end_with(parent)
    return told


def answer(outcome: Outcome, fields: Mapping[str, Any]) -> None:
    """To the agent."""
    print(json.dumps({"kind": outcome.kind, "reason": outcome.reason, "fields": fields}), flush=True)


def _end_with(parent: int) -> None:
    """The kernel tells it when the thread that started it is gone: the agent's event loop, so the agent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it went before we asked
        os.kill(os.getpid(), signal.SIGTERM)
