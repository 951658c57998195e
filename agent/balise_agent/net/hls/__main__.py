"""What does the child process that plays one channel over HTTP read and print?

As any `errand`: a `player.Asked`, an outcome and fields.
"""

from __future__ import annotations

import asyncio

from balise_agent.contract import Outcome, Value, failed
from balise_agent.net import errand, link
from balise_agent.net.hls.player import Asked, play


def main() -> None:
    """Plays it."""
    errand.answer(*asyncio.run(_played(Asked(**errand.asked()))))


async def _played(asked: Asked) -> tuple[Outcome, dict[str, Value]]:
    before = link.carrier_changes()
    outcome, fields = await play(asked)
    if link.was_cut(before, link.carrier_changes()):  # of the server nothing can be said
        return failed("link_down"), {}
    return outcome, fields


if __name__ == "__main__":
    main()
