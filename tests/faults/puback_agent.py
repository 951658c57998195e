"""The control of the fault tests: an agent that forgets a message when the broker, not the collector, has it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from balise_agent.agent import Agent
from balise_agent.config import load
from balise_agent.contract import Ack
from balise_agent.identity import identify
from balise_agent.uplink import Published


class PubackAgent(Agent):
    """Takes a PUBACK for a receipt."""

    def _on_published(self, event: Published) -> None:
        for (stream, seq), sent in list(self._delivery._in_flight.items()):
            if sent.message.id == event.id:
                self._on_ack(Ack(stream=stream, ranges=((seq, seq),)))


def main(config: Path) -> int:
    """Runs it as `balise-agent run` would."""
    loaded = load(config)
    return asyncio.run(PubackAgent(loaded, identify(loaded)).run())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[sys.argv.index("--config") + 1])))
