"""What does the child process that plays one channel over HTTP read and print?

One JSON object on stdin (`player.Asked`), one on stdout: ``{"kind", "reason", "fields"}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from balise_agent.contract import Outcome, Value, failed
from balise_agent.net import link
from balise_agent.net.hls.player import Asked, play

_LOOK_S = 0.5


def main() -> None:
    """Plays it."""
    told = json.loads(sys.stdin.readline())
    parent = told.pop("parent", os.getppid())
    outcome, fields = asyncio.run(_played(Asked(**told), parent))
    print(json.dumps({"kind": outcome.kind, "reason": outcome.reason, "fields": fields}), flush=True)


async def _played(asked: Asked, parent: int) -> tuple[Outcome, dict[str, Value]]:
    _end_with(parent)
    before = link.carrier_changes()
    outcome, fields = await play(asked)
    if link.was_cut(before, link.carrier_changes()):  # of the server nothing can be said
        return failed("link_down"), {}
    return outcome, fields


def _end_with(parent: int) -> None:
    """Nobody waits for it once the agent was killed, and it takes a channel's rate from somebody's line."""
    if os.getppid() != parent:
        os._exit(1)
    asyncio.get_running_loop().call_later(_LOOK_S, _end_with, parent)


if __name__ == "__main__":
    main()
