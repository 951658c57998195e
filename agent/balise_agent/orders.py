"""What is done about a command of the operator, and what is the operator told?

`commands` says whether it may be done.

Rule 1: a command is remembered before it is begun, and decided on in one step: a second copy may be right behind.
Rule 2: whatever becomes of a command that was begun, a record says so; of a test that the gate refused, an answer that
nobody keeps.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from balise_agent import commands
from balise_agent.clock import Clock
from balise_agent.contract import Answer, Command
from balise_agent.heavy import KINDS, Heavy, RefusedError
from balise_agent.outbox import Outbox
from balise_agent.outbox_thread import OutboxThread
from balise_agent.probes import PROBES
from balise_agent.runner import Runner
from balise_agent.writer import Writer

log = logging.getLogger(__name__)


NOT_TAKEN = "not_taken"
OF_THE_MOMENT = ("line_busy", "gate_unknown", NOT_TAKEN)
"""Refusals that say how the line was used just then: who asked is told, and no record."""

_BY_THE_GATE = (*KINDS, "tv", "hls")
"""Tests that say so by not being there."""


class Orders:
    """The commands of one agent. ``on_replayed``: acked messages wait again."""

    def __init__(
        self,
        *,
        probe: str,
        key: str | None,
        clock: Clock,
        outbox: Outbox,
        on_disk: OutboxThread,
        writer: Writer,
        runner: Runner,
        heavy: Heavy,
        on_replayed: Callable[[], None],
        answer: Callable[[Answer], None],
    ) -> None:
        self._probe, self._key, self._clock, self._outbox, self._on_disk = probe, key, clock, outbox, on_disk
        self._writer, self._runner, self._on_replayed = writer, runner, on_replayed
        self._heavy, self._answer = heavy, answer
        self._done_ids = tuple(json.loads(outbox.get("commands") or "[]"))
        self._under_way: set[asyncio.Task[None]] = set()

    def take(self, command: Command, *, consent: bool) -> None:
        """Does it, if it may be done. ``consent``: the home agrees to being measured."""
        now_ms = self._clock.wall_ms() if self._clock.synchronised() else None
        decision = commands.accept(
            command,
            now_ms,
            self._done_ids,
            probes=tuple(PROBES),
            probe=self._probe,
            command_key=self._key,
            consent=consent,
        )
        match decision:
            case commands.Refused():
                self._writer.put(commands.refusal(command, decision, self._clock.bt_ms()), urgent=True)
            case commands.Accepted():
                self._done_ids = commands.remember(self._done_ids, command)
                task = asyncio.create_task(self._obey(command), name=f"command {command.kind}")
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    async def end(self) -> None:
        """Ends what is under way."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _obey(self, command: Command) -> None:
        state: commands.Progress = "refused"
        detail = "ended with the agent, or with the home's consent"
        try:
            await self._on_disk(partial(self._outbox.put, "commands", json.dumps(self._done_ids)))
            if not _goes_by_the_gate(command):  # its being refused would be seen from what does not follow
                self._tell(command, "accepted")
            detail = await self._do(command)
            state = "done"
        except RefusedError as refused:
            if str(refused) in OF_THE_MOMENT:
                self._answer(Answer(id=command.id, reason=str(refused)))
                return
            detail = str(refused)
        except Exception as exc:  # whatever it meets, the operator is told
            log.exception("command_failed", extra={"id": command.id, "kind": command.kind})
            detail = f"failed: {type(exc).__name__}"
        except asyncio.CancelledError:
            self._tell(command, state, detail)
            raise
        self._tell(command, state, detail)

    def _tell(self, command: Command, state: commands.Progress, detail: str = "") -> None:
        self._writer.put(commands.progress(command, state, self._clock.bt_ms(), detail), urgent=True)

    async def _do(self, command: Command) -> str:
        args: Any = command.args
        match command.kind:
            case "test" if _fills_the_line(command):
                running = partial(self._tell, command, "running")
                records = await self._heavy.demand(args["probe"], args.get("shape"), running)
                return f"{len(records)} records"
            case "test":
                records = await self._runner.measure(args["probe"], asked=True)
                if not records and _goes_by_the_gate(command):
                    raise RefusedError(NOT_TAKEN)
                return f"{len(records)} records"
            case "replay":
                return await self._replay(args["stream"], args["from_seq"])
            case "pause":
                self._runner.pause(args["seconds"])
                return f"{args['seconds']} s"
            case "resume":
                self._runner.resume()
                return ""

    async def _replay(self, stream: str, from_seq: int) -> str:
        await self._writer.flush()  # acks that are not marked yet would be marked after
        count = await self._on_disk(partial(self._outbox.replay, stream, from_seq))
        self._on_replayed()
        return f"{count} messages"


def _goes_by_the_gate(command: Command) -> bool:
    return command.kind == "test" and command.args.get("probe") in _BY_THE_GATE


def _fills_the_line(command: Command) -> bool:
    return command.kind == "test" and command.args.get("probe") in KINDS
