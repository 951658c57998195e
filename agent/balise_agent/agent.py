"""What does the whole agent start, in which order, and how does it stop?

One asyncio loop runs the probes and decides; one thread owns the outbox, whose syncs may take long on a card; one
drives MQTT.

Rule 1: a record is on its way to the disk as soon as it exists; what a full disk refuses is held in memory and tried
again.
Rule 2: SIGTERM and Ctrl-C end it within 3 s; what was measured is on disk by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from balise_agent import codec, commands, remote_config, service
from balise_agent.clock import SystemClock
from balise_agent.config import AgentConfig
from balise_agent.contract import Ack, Command, Config, Presence, Record
from balise_agent.delivery import Delivery
from balise_agent.identity import Identity, identify
from balise_agent.outbox import Outbox
from balise_agent.probes import PROBES
from balise_agent.probes.context import Context
from balise_agent.runner import LineLock, Runner
from balise_agent.uplink import (
    WINDOW,
    Broker,
    Connected,
    Disconnected,
    Event,
    NotUnderstood,
    Published,
    Uplink,
    tls_context,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_HELD = 10_000  # records held in memory while the disk is full: a week of four probes
RETRY_S = 5.0  # a full disk is tried again
FAREWELL_S = 0.8  # for the acks of the last messages; the whole end has 3 s
TICK_S = 30.0  # trials of a configuration, silence of a session, the last known time
WITNESS = "BALISE_WITNESS"
"""Environment: a file that gets one line for each record once it is on disk (demo and fault tests)."""


def run(config: AgentConfig) -> int:
    """Runs the agent until SIGTERM or Ctrl-C. ConfigError: credentials that cannot be used."""
    return asyncio.run(Agent(config, identify(config)).run())


class Agent:
    """The parts of one agent and what passes between them."""

    def __init__(self, config: AgentConfig, identity: Identity) -> None:
        self._base, self._config, self._identity = config, config, identity
        self._clock = SystemClock(trust=config.agent.clock == "trust")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._queue: asyncio.Queue[Record] = asyncio.Queue()
        self._held: list[Record] = []
        self._acked: list[int] = []
        self._delivery = Delivery(window=WINDOW, rng=random.Random())
        self._waiting = 0
        self._sealed_s = -1e9
        self._proof_from_id = 0
        self._pump_due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._version = metadata.version("balise")

    async def run(self) -> int:
        """Everything, from the first file to the last; 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._config.state_dir.mkdir(parents=True, exist_ok=True)
        self._outbox = await self._on_disk(self._open_outbox)
        self._state, problems = remote_config.load(self._config.state_dir)
        self._runner = Runner(PROBES, self._config, self._context(), self._emit, LineLock())
        self._say("started", self._version, "; ".join(problems))
        self._decide(remote_config.Started())
        self._uplink = self._new_uplink()
        self._uplink.start()
        tasks = [asyncio.create_task(work()) for work in (self._runner.run, self._write, self._send, self._tick)]
        tasks.append(asyncio.create_task(service.feed_watchdog(self.is_alive)))
        service.notify(service.READY)
        ended = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        return await self._end(tasks)

    def is_alive(self) -> bool:
        """What the service manager's watchdog asks: the loop answers, and the uplink's thread lives."""
        return self._uplink.alive()

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> int:
        service.notify(service.STOPPING)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception() is not None]
        self._runner.stop()
        await asyncio.wait([tasks[0]], timeout=1.2)
        for task in tasks:
            task.cancel()
        self._say("stopped", self._version)
        await self._keep(seal=True)
        await self._last_words()
        await asyncio.to_thread(self._uplink.stop, 1.0)
        await self._on_disk(self._outbox.close)
        self._disk.shutdown()
        for task in failed:
            log.error("part_failed", exc_info=task.exception())
        return 1 if failed else 0

    async def _last_words(self) -> None:
        """Gives what was just sealed the time of a round trip; what is not acknowledged by then is sent at the next
        start."""
        if not self._uplink.is_open:
            return
        await self._pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                while not self._delivery.is_idle():
                    self._pump_due.clear()
                    await self._pump_due.wait()
        await self._keep(seal=False)

    # records to disk

    async def _emit(self, record: Record) -> None:
        self._queue.put_nowait(record)

    def _say(self, what: str, version: str = "", detail: str = "") -> None:
        fields = {name: value for name, value in (("version", version), ("detail", detail[:256])) if value}
        self._queue.put_nowait(Record(measurement="agent_event", target=what, bt_ms=self._clock.bt_ms(), fields=fields))

    async def _write(self) -> None:
        """Commits what is measured at once, and seals when it is due: with a commit where one comes near, so in one
        sync."""
        while True:
            due_s = self._sealed_s + self._config.batch_s - time.monotonic()
            wait_s = RETRY_S if self._held else max(0.0, due_s)
            with contextlib.suppress(TimeoutError):
                self._held.append(await asyncio.wait_for(self._queue.get(), wait_s))
            await self._keep(seal=time.monotonic() - self._sealed_s >= 0.9 * self._config.batch_s)

    async def _keep(self, *, seal: bool) -> None:
        while not self._queue.empty():
            self._held.append(self._queue.get_nowait())
        del self._held[:-MAX_HELD]
        records, acked = tuple(self._held), tuple(self._acked)
        fine = [record for record in records if codec.check_record(record) is None]
        if len(fine) < len(records):
            log.error("record_refused", extra={"records": len(records) - len(fine)})
        try:
            self._waiting = await self._on_disk(partial(self._commit, fine, seal, acked))
        except sqlite3.OperationalError as exc:
            log.error("disk_refuses", extra={"why": str(exc), "held": len(records)})
            await asyncio.sleep(RETRY_S if not self._stopping.is_set() else 0)
            return
        del self._held[: len(records)]
        del self._acked[: len(acked)]
        self._delivery.kept(acked)
        if seal:
            self._sealed_s = time.monotonic()
            self._pump_due.set()

    def _commit(self, records: Sequence[Record], seal: bool, acked: Sequence[int]) -> int:
        self._outbox.commit(records, seal=seal, acked=acked)
        return self._outbox.rows_waiting()

    # messages to the broker

    async def _send(self) -> None:
        while True:
            await self._pump_due.wait()
            self._pump_due.clear()
            if self._uplink.is_open:
                await self._pump()

    async def _pump(self) -> None:
        now_s = time.monotonic()
        for message in await self._on_disk(partial(self._delivery.next, now_s, self._outbox.waiting)):
            envelope = replace(message.envelope, sent_ms=max(self._clock.wall_ms(), 0))
            if not self._uplink.publish(message.id, codec.encode_batch(envelope, message.body)):
                return  # the session ended: its end is an event, and the next one sends all again
        due_s = self._delivery.seconds_to_resend(now_s)
        if due_s is not None:
            asyncio.get_running_loop().call_later(due_s, self._pump_due.set)

    def _on_event(self, event: Event) -> None:
        match event:
            case Connected():
                log.info("connected", extra={"address": event.address})
                self._delivery.reset(time.monotonic())
                self._disk.submit(self._outbox.put, "broker_address", event.address)
                self._pump_due.set()
            case Disconnected():
                log.warning("disconnected", extra={"why": event.reason})
            case Ack():
                self._on_ack(event)
            case Published():
                self._on_published(event)
            case Config():
                self._decide(remote_config.Received(config=event))
            case Command():
                asyncio.ensure_future(self._obey(event))  # noqa: RUF006 - its outcome is in its records
            case NotUnderstood():
                log.warning("not_understood", extra={"why": str(event.refusal)})

    def _on_published(self, event: Published) -> None:
        if event.reason is not None:
            log.debug("not_passed_on", extra={"why": event.reason})

    def _on_ack(self, ack: Ack) -> None:
        for seq, why in ack.rejected:
            log.error("rejected", extra={"seq": seq, "why": why})
        ids = self._delivery.acked(ack, time.monotonic())
        self._acked += ids
        self._waiting = max(0, self._waiting - len(ids))
        if ids and max(ids) >= self._proof_from_id:
            self._decide(remote_config.Acknowledged(sealed_s=self._bt_s()))
        self._pump_due.set()

    # what the operator asks

    def _decide(self, event: remote_config.Event) -> None:
        self._state, actions = remote_config.decide(self._base, self._state, event, self._bt_s())
        for action in actions:
            self._act(action)

    def _act(self, action: remote_config.Action) -> None:
        match action:
            case remote_config.Keep():
                self._keep_config()
            case remote_config.Apply():
                self._config = action.config
                self._proof_from_id = self._outbox.next_id
                self._runner.reconfigure(action.config)
                self._runner.resume()
                self._announce()
            case remote_config.StopMeasuring():
                self._runner.pause(None)
            case remote_config.EraseBuffer():
                self._held.clear()
                self._disk.submit(self._outbox.erase)
            case remote_config.Say():
                log.info(action.what, extra={"version": action.version, "detail": action.detail})
                self._queue.put_nowait(action.record(self._clock.bt_ms()))

    def _keep_config(self) -> None:
        try:
            remote_config.keep(self._config.state_dir, self._state)
        except OSError as exc:
            log.error("config_not_kept", extra={"why": exc.strerror})

    def _announce(self) -> None:
        if hasattr(self, "_uplink"):
            self._uplink.announce(self._presence())

    async def _obey(self, command: Command) -> None:
        known = await self._on_disk(partial(self._outbox.get, "commands"))
        done = tuple(json.loads(known or "[]"))
        now_ms = self._clock.wall_ms() if self._clock.synchronised() else None
        key = self._config.agent.command_key
        decision = commands.accept(
            command, now_ms, done, probes=tuple(PROBES), probe=self._identity.probe, command_key=key
        )
        if isinstance(decision, commands.Refused):
            await self._emit(commands.refusal(command, decision, self._clock.bt_ms()))
        elif isinstance(decision, commands.Accepted):
            ids = json.dumps(commands.remember(done, command))
            await self._on_disk(partial(self._outbox.put, "commands", ids))
            await self._emit(commands.progress(command, "accepted", self._clock.bt_ms()))
            detail = await self._do(command)
            await self._emit(commands.progress(command, "done", self._clock.bt_ms(), detail))

    async def _do(self, command: Command) -> str:
        args: Any = command.args
        match command.kind:
            case "test":
                return f"{len(await self._runner.measure(args['probe']))} records"
            case "replay":
                count = await self._on_disk(partial(self._outbox.replay, args["stream"], args["from_seq"]))
                self._delivery.replayed()
                self._pump_due.set()
                return f"{count} messages"
            case "pause":
                self._runner.pause(args["seconds"])
                return f"{args['seconds']} s"
            case "resume":
                self._runner.resume()
                return ""

    # the rest

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._decide(remote_config.Tick())
            if self._delivery.is_silent(time.monotonic()):
                log.warning("silent_session")
                self._uplink.reconnect()

    def _bt_s(self) -> float:
        return self._clock.bt_ms() / 1000

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def _open_outbox(self) -> Outbox:
        witness = os.environ.get(WITNESS)
        on_commit = None if witness is None else partial(_append_lines, Path(witness))
        path = self._config.state_dir / "outbox.db"
        return Outbox(path, boot=self._identity.boot, clock=self._clock, on_commit=on_commit)

    def _context(self) -> Context:
        return Context(
            now_bt_ms=self._clock.bt_ms,
            monotonic=time.monotonic,
            rng=random.Random(),
            rows_waiting=lambda: self._waiting + len(self._held) + self._queue.qsize(),
            clock_ok=self._clock.synchronised,
            state_dir=self._config.state_dir,
        )

    def _presence(self) -> Presence:
        return Presence(
            online=True,
            agent=self._version,
            boot=self._identity.boot,
            stream=self._outbox.stream,
            config=self._state.version,
        )

    def _new_uplink(self) -> Uplink:
        settings, identity = self._config.broker, self._identity
        files = (settings.ca_file, settings.cert_file, settings.key_file)
        broker = Broker(
            host=settings.host,
            port=settings.port,
            probe=identity.probe,
            username=identity.username,
            password=None if identity.password is None else identity.password.reveal(),
            tls=tls_context(settings.host, *files) if settings.tls else None,
            keepalive_s=settings.keepalive_s,
        )
        loop = asyncio.get_running_loop()
        return Uplink(
            broker,
            self._presence(),
            lambda event: _hand_over(loop, self._on_event, event),
            last_good=self._outbox.get("broker_address"),
        )


def _hand_over(loop: asyncio.AbstractEventLoop, handle: Callable[[Event], None], event: Event) -> None:
    """From the uplink's thread to the loop; at the very end there is no loop any more, and nothing to be told."""
    try:
        loop.call_soon_threadsafe(handle, event)
    except RuntimeError:
        log.debug("event_after_end")


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
