"""What does the whole agent start, in which order, and how does it stop?

One asyncio loop runs the probes and decides; one thread owns the outbox, whose syncs may take long on a card; one
drives MQTT.

Rule 1: SIGTERM and Ctrl-C end it within 3 s; what was measured is on disk by then.
Rule 2: without consent nothing is measured, whoever asks, and nothing measured before stays or leaves.
Rule 3: a part that fails is never missing in silence: the agent ends, and the service manager starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any

from balise_agent import codec, remote_config, service
from balise_agent.budget import Contract
from balise_agent.call_use import CallUse
from balise_agent.clock import Clock, SystemClock
from balise_agent.config import AgentConfig
from balise_agent.contract import Ack, Command, Config, Presence, Record
from balise_agent.delivery import Delivery
from balise_agent.durable_file import make_folder
from balise_agent.heavy import Heavy
from balise_agent.identity import Identity, identify
from balise_agent.orders import Orders
from balise_agent.outbox import Message, Outbox
from balise_agent.outbox_thread import RETRY_S, OutboxThread
from balise_agent.probes import PROBES
from balise_agent.probes.box import Box
from balise_agent.probes.context import Context
from balise_agent.probes.line import open_line
from balise_agent.runner import LineLock, Runner, until
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
from balise_agent.writer import Writer

log = logging.getLogger(__name__)

PROBES_END_S = 1.2  # the whole end has 3 s: the probes,
FAREWELL_S = 0.6  # the acks of the last messages,
GOODBYE_S = 0.5  # and the broker's of the last word; the disk has the rest
TICK_S = 30.0  # trials of a configuration, silence of a session
ALONE_FROM_S = 60.0  # batches this long are a real probe's, whose card counts; of a demo others read the outbox too
REMEMBER_S = 1800.0  # the last known time; oftener would be a sync each time


def run(config: AgentConfig) -> int:
    """Runs the agent until SIGTERM or Ctrl-C. ConfigError: credentials that cannot be used."""
    return asyncio.run(Agent(config, identify(config)).run())


class Agent:
    """The parts of one agent and what passes between them."""

    def __init__(self, config: AgentConfig, identity: Identity, clock: Clock | None = None) -> None:
        """``clock``: None is the kernel's."""
        self._base, self._config, self._identity = config, config, identity
        self._clock = clock or SystemClock(trust=config.agent.clock == "trust")
        path, alone = config.state_dir / "outbox.db", config.batch_s >= ALONE_FROM_S
        self._on_disk = OutboxThread(path, boot=identity.boot, clock=self._clock, alone=alone)
        self._delivery = Delivery(window=WINDOW, rng=random.Random())
        self._line = LineLock()
        self._proof_from_id: float = 0
        self._pump_due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._asides: set[asyncio.Task[None]] = set()
        self._online: bool | None = None  # as far as the uplink's events say; None: nothing yet
        self._version = metadata.version("balise")

    async def run(self) -> int:
        """Everything, from the first file to the last; 0, or 1 where a part failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        make_folder(self._config.state_dir)
        outbox = await self._on_disk.open(self._stopping)
        if outbox is None:
            return 0
        self._start_parts(outbox)
        works = (self._runner.run, self._writer.run, self._heavy.run, self._send, self._tick, self._feed_watchdog)
        tasks = [asyncio.create_task(work()) for work in works]
        service.notify(service.READY)
        ended = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        return await self._end(tasks)

    def is_alive(self) -> bool:
        """What the service manager's watchdog asks, in the loop: so it turns, and the uplink's thread does too."""
        return self._uplink.alive()

    async def _feed_watchdog(self) -> None:
        await service.feed_watchdog(self.is_alive)

    # start and end

    def _start_parts(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._watched = open_line(
            state_dir=self._config.state_dir,
            boot=self._identity.boot,
            now_bt_ms=self._clock.bt_ms,
            wall_ms=self._clock.wall_ms,
            clock_ok=self._clock.synchronised,
        )
        self._state, problems = remote_config.load(self._config.state_dir)
        self._writer = Writer(
            self._outbox,
            self._on_disk,
            batch_s=lambda: self._config.batch_s,
            now_bt_ms=self._clock.bt_ms,
            on_sealed=self._pump_due.set,
            on_kept=self._delivery.kept,
        )
        context = self._context()
        calls = CallUse(context, lambda: self._config.probes["box"], self._contract)
        context = replace(context, line_use=calls.look, until_busy=calls.until_busy)
        self._runner = Runner(PROBES, self._config, context, self._emit, self._line)
        self._heavy = Heavy(
            config=lambda: self._config,
            context=context,
            clock=self._clock,
            outbox=self._outbox,
            on_disk=self._on_disk,
            runner=self._runner,
            line=self._line,
            emit=self._emit,
        )
        self._orders = Orders(
            probe=self._identity.probe,
            key=self._config.agent.command_key,
            clock=self._clock,
            outbox=self._outbox,
            on_disk=self._on_disk,
            writer=self._writer,
            runner=self._runner,
            heavy=self._heavy,
            on_replayed=self._walk_again,
            answer=lambda answer: self._uplink.answer(answer),  # noqa: PLW0108 - it is made later
        )
        self._uplink = self._new_uplink()
        self._say("started", self._version, "; ".join(problems))
        self._decide(remote_config.Started())
        self._uplink.start()

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> int:
        """In order, whatever one step meets."""
        service.notify(service.STOPPING)
        failed = [found for task in tasks if task.done() and (found := task.exception()) is not None]
        runner, writer, *others = tasks
        for task in others:
            task.cancel()
        self._runner.stop()
        await asyncio.wait([runner], timeout=PROBES_END_S)
        await self._orders.end()
        self._say("stopped", self._version)
        steps = (self._writer.close, self._keep_line, self._last_words, self._writer.flush, self._hang_up, self._shut)
        for step in steps:
            try:
                await step()
            except Exception as exc:  # noqa: BLE001 - the steps after it are to be done too
                failed.append(exc)
        await asyncio.wait([writer], timeout=PROBES_END_S)
        for fault in failed:
            log.error("part_failed", exc_info=fault)
            self._on_disk.report(fault)
        return 1 if failed else 0

    async def _last_words(self) -> None:
        """Gives what was just sealed the time of a round trip; what is not acknowledged by then is sent at the next
        start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await self._pump()
                while self._online and not self._delivery.is_idle():
                    self._pump_due.clear()
                    await self._pump_due.wait()

    async def _keep_line(self) -> None:
        """What it watched goes on at the next start; without consent there is nothing to go on with."""
        if self._state.consent:
            await asyncio.to_thread(self._watched.save)

    async def _hang_up(self) -> None:
        await asyncio.to_thread(self._uplink.stop, GOODBYE_S)

    async def _shut(self) -> None:
        await self._on_disk.close(self._outbox)

    # records

    async def _emit(self, record: Record) -> None:
        if self._state.consent:
            self._writer.put(record)

    def _say(self, what: str, version: str = "", detail: str = "") -> None:
        fields = {name: value for name, value in (("version", version), ("detail", detail[:256])) if value}
        self._writer.put(Record(measurement="agent_event", target=what, bt_ms=self._clock.bt_ms(), fields=fields))

    # messages to the broker

    async def _send(self) -> None:
        while True:
            resend_s = self._delivery.seconds_to_resend(time.monotonic()) if self._online else None
            await until(self._pump_due, resend_s)
            self._pump_due.clear()
            try:
                await self._pump()
            except sqlite3.OperationalError as exc:
                log.error("disk_refuses", extra={"why": str(exc)})
                await asyncio.sleep(RETRY_S)
                self._pump_due.set()

    async def _pump(self) -> None:
        """Sends what is due, as far as the window allows."""
        if not self._online:
            return
        self._publish(self._delivery.overdue(time.monotonic()))
        while (wanted := self._delivery.wanted()) is not None:
            found = await self._on_disk(partial(self._outbox.waiting, wanted.after_id, wanted.limit))
            self._publish(self._delivery.take(wanted, found, time.monotonic()))
            if len(found) < wanted.limit:
                return

    def _publish(self, messages: Sequence[Message]) -> None:
        for message in messages:
            envelope = replace(message.envelope, sent_ms=max(self._clock.wall_ms(), 0))
            self._uplink.publish(message.id, codec.encode_batch(envelope, message.body))

    def _on_event(self, event: Event) -> None:
        match event:
            case Connected():
                self._on_connected(event)
            case Disconnected():
                self._on_disconnected(event)
            case Ack():
                self._on_ack(event)
            case Published():
                self._on_published(event)
            case Config():
                self._decide(remote_config.Received(config=event))
            case Command():
                self._orders.take(event, consent=self._state.consent)
            case NotUnderstood():
                log.warning("not_understood", extra={"why": str(event.refusal)})

    def _on_connected(self, event: Connected) -> None:
        log.info("connected", extra={"address": event.address})
        self._online = True
        self._delivery.reset(time.monotonic())
        self._aside(self._on_disk(partial(self._outbox.put, "broker_address", event.address)))
        self._pump_due.set()

    def _on_disconnected(self, event: Disconnected) -> None:
        """The first failure of a streak is worth a reader's time, the others only his asking."""
        level = logging.DEBUG if self._online is False else logging.WARNING
        log.log(level, "disconnected", extra={"why": event.reason})
        self._online = False
        self._delivery.reset(time.monotonic())
        self._pump_due.set()

    def _on_published(self, event: Published) -> None:
        if event.reason is not None:
            log.debug("not_passed_on", extra={"why": event.reason})

    def _on_ack(self, ack: Ack) -> None:
        for seq, why in ack.rejected:
            log.error("rejected", extra={"seq": seq, "why": why})
        ids = self._delivery.acked(ack, time.monotonic())
        self._writer.acked(ids)
        if ids and max(ids) >= self._proof_from_id:
            self._decide(remote_config.Acknowledged(sealed_s=self._bt_s()))
        self._pump_due.set()

    # what the operator sets

    def _decide(self, event: remote_config.Event) -> None:
        before = self._state
        self._state, actions = remote_config.decide(self._base, before, event, self._bt_s())
        for action in actions:
            self._act(action)
        if self._state.consent and not before.consent:
            self._runner.resume()
        if self._state.version != before.version:
            self._uplink.announce(self._presence())

    def _act(self, action: remote_config.Action) -> None:
        match action:
            case remote_config.Keep():
                self._keep_config()
            case remote_config.Apply():
                self._config = action.config
                self._proof_from_id = float("inf")
                self._aside(self._await_proof())
                self._runner.reconfigure(action.config)
                self._heavy.reconsider()
            case remote_config.StopMeasuring():
                self._runner.pause(None)
                self._heavy.interrupt()
            case remote_config.EraseBuffer():
                self._aside(self._erase())
            case remote_config.Say():
                log.info(action.what, extra={"version": action.version, "detail": action.detail})
                self._writer.put(action.record(self._clock.bt_ms()))

    def _keep_config(self) -> None:
        try:
            remote_config.keep(self._config.state_dir, self._state)
        except OSError as exc:
            log.error("config_not_kept", extra={"why": exc.strerror})

    def _walk_again(self) -> None:
        self._delivery.replayed()
        self._pump_due.set()

    async def _await_proof(self) -> None:
        """Messages sealed from now on prove the configuration, once acknowledged."""
        self._proof_from_id = await self._on_disk(lambda: self._outbox.next_id)

    async def _erase(self) -> None:
        await self._orders.end()
        await self._runner.settled()
        await self._heavy.forget()
        self._watched.forget()
        await self._writer.erase()
        self._delivery.reset(time.monotonic())
        log.info("erased")

    # the rest

    async def _tick(self) -> None:
        remembered_s = -REMEMBER_S
        while True:
            await asyncio.sleep(TICK_S)
            self._decide(remote_config.Tick())
            now_s = time.monotonic()
            if self._delivery.is_silent(now_s):
                log.warning("silent_session")
                self._uplink.reconnect()
            if now_s - remembered_s >= REMEMBER_S:
                remembered_s = now_s
                self._aside(self._on_disk(self._outbox.remember_time))

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets something be done meanwhile; what it raises is logged."""
        task = asyncio.create_task(work)
        self._asides.add(task)
        task.add_done_callback(partial(_finished, self._asides))

    def _bt_s(self) -> float:
        return self._clock.bt_ms() / 1000

    def _context(self) -> Context:
        return Context(
            now_bt_ms=self._clock.bt_ms,
            monotonic=time.monotonic,
            rng=random.Random(),
            rows_waiting=lambda: self._writer.rows_waiting,
            clock_ok=self._clock.synchronised,
            state_dir=self._config.state_dir,
            identity=self._config.probe.id,
            line=self._watched,
            box=Box(),
            in_box=lambda: self._config.probes["box"].placement == "box",
            line_taken=self._line.locked,
            own_load=lambda: self._heavy.is_filling,
        )

    def _contract(self) -> Contract:
        settings = self._config.probes["throughput"]
        return Contract(down_bps=settings.contract_down_bps, up_bps=settings.contract_up_bps)

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


def _finished(tasks: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    tasks.discard(task)
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("aside_failed", exc_info=exc)
