"""``python -m balise_collector.judging DATA PARENT DIRECTORY_URL``: what `balise serve` starts beside ingest."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from balise_agent.logs import set_up
from balise_collector.consumers import ERASE_S, Job, Loop, end_with
from balise_collector.directory import Directory
from balise_collector.erasures import Erasures
from balise_collector.journal import Journal
from balise_collector.judging import hook, plant
from balise_collector.judging.consumer import JudgeConsumer, Tell
from balise_collector.judging.door import Door
from balise_collector.judging.erasing import erase_all, held
from balise_collector.judging.state import State

log = logging.getLogger("balise_collector.judging")

TICK_S = 1.0
LOOK_S = 10.0  # how soon a changed directory is taken
HOOK_S = 1.0


def main(argv: Sequence[str] = sys.argv) -> int:
    """Judges until it is told to stop."""
    end_with(int(argv[2]))
    set_up("info", sys.stdout)
    data = Path(argv[1])
    with (
        held(data, wait=True),
        closing(Erasures(data / "erasures.db")) as erasures,
        Directory(argv[3]) as directory,
        closing(Journal(data / "journal.db")) as journal,
        closing(State(data / "judge.db")) as state,
    ):
        consumer = JudgeConsumer(journal, state, plant.topology(directory, now_ms()), tell=_teller(state))
        loop = Loop(
            journal, [consumer], [_forgotten(erasures, consumer, state), *_jobs(data, directory, consumer, state)]
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        door = _door(data)
        loop.run()
        if door is not None:
            door.stop()
        consumer.save()
    return 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _teller(state: State) -> Tell:
    """Puts what somebody is to be told of into the queue, in the transaction that keeps the incident."""
    before: dict[str, dict[str, Any]] = {one["id"]: one for one in state.incidents()}

    def tell(fields: dict[str, Any], told_ms: int) -> None:
        id_ = str(fields["id"])
        what = hook.event(fields, before.get(id_))
        if what is not None:
            before[id_] = fields
            state.post(id_, json.dumps({"event": what, "told_ms": told_ms, "incident": fields}).encode(), told_ms)

    return tell


def _forgotten(erasures: Erasures, consumer: JudgeConsumer, state: State) -> Job:
    """Homes that somebody asked to be forgotten, here too."""

    def forget() -> dict[str, object] | None:
        if not erasures.waiting_for("judge"):
            return None
        consumer.save()
        return {"homes": erase_all(state, erasures, now_ms(), consumer.reload)}

    return Job("forgotten", ERASE_S, forget)


def _jobs(data: Path, directory: Directory, consumer: JudgeConsumer, state: State) -> list[Job]:
    generation = [directory.generation()]

    def look() -> None:
        now = directory.generation()
        if now != generation[0]:
            generation[0] = now
            consumer.replant(plant.topology(directory, now_ms()))

    def deliver() -> None:
        target = hook.load(data / "webhook.json")
        if target is not None:
            hook.deliver(state, target, now_ms(), hook.post)

    return [
        Job("judged", TICK_S, lambda: consumer.tick(now_ms())),
        Job("plant_looked_at", LOOK_S, look),
        Job("webhooks", HOOK_S, deliver),
    ]


def _door(data: Path) -> Door | None:
    """DATA/evidence.token and, where it is not 9465 of loopback, DATA/evidence.json say whether and where."""
    token = data / "evidence.token"
    if not token.exists():
        return None
    where = data / "evidence.json"
    said = json.loads(where.read_text()) if where.exists() else {}
    door = Door((str(said.get("host", "127.0.0.1")), int(said.get("port", 9465))), data / "judge.db", _text(token))
    door.start()
    log.info("evidence_door", extra={"host": door.address[0], "port": door.address[1]})
    return door


def _text(path: Path) -> str:
    return path.read_text().strip()


if __name__ == "__main__":
    sys.exit(main())
