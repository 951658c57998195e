"""How do messages come from the broker, and how do acks go back?

One thread, one MQTT session, one loop: read what is there, commit it, then PUBACK and acknowledge.

The session speaks MQTT 3.1.1 although the probes speak 5: the broker then leaves out the properties, whose parsing in
paho costs 41 us a message, nearly as much as all the rest; a batch says all that is needed in its envelope.

Rule 1: a PUBACK is sent only after the commit, and only on the session that brought the message: a message id is
reused.
Rule 2: acks are sent with QoS 0: one is lost only with its session, after which the probe sends again all that is in
flight.
Rule 3: while the disk refuses, nothing is read and nothing acknowledged; the probes hold months.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from balise_agent import codec, contract
from balise_collector.acks import Acks
from balise_collector.fast_lane import LaneClient, LaneSocket
from balise_collector.ingest import Incoming, Ingest, Reply

log = logging.getLogger(__name__)

BATCH_MESSAGES = 1_000
CROWD_MESSAGES = 50  # a smaller batch, 2,500 messages/s, is nobody catching up: every ack goes at once
LINGER_S = 0.02  # a commit waits this long for company; the sync that it saves costs about as much
BACKOFF_S = (0.5, 15.0)
RETRY_S = 2.0  # a full disk is tried again
KEEPALIVE_S = 30
PROBES = ("balise/v1/+/records", "balise/v1/+/state")
MARK = contract.topic("collector", "ack")
"""What the collector says to itself: it hears it behind all that the broker had for it then (`fleet.guard`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is, and the collector's identity on it. ``tls``: None is plain, for a loopback."""

    host: str
    port: int
    client_id: str = "collector"
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


def backoff_after_s(backoff_s: float, *, was_open: bool) -> float:
    """The longest wait after a session, from the one before it."""
    return BACKOFF_S[0] if was_open else min(backoff_s * 2, BACKOFF_S[1])


class Intake:
    """Runs until `stop`. ``on_connected`` is called in its thread at each new session (configurations are published
    again)."""

    def __init__(self, broker: Broker, ingest: Ingest, *, on_connected: Callable[[], None] = lambda: None) -> None:
        self._broker, self._ingest, self._on_connected = broker, ingest, on_connected
        self._stop = threading.Event()
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_w.setblocking(False)  # while there is no session nobody reads, and 278 bytes fill it
        self._outgoing: list[tuple[str, bytes, bool]] = []
        self._came: list[Incoming] = []
        self._lock = threading.Lock()
        self._acks = Acks()
        self.why = ""  # the last session ended, or could not begin
        self.is_open = False
        self.disk_ok = True
        self.damaged = False  # SQLite called the journal malformed: nothing more can be kept in it
        self.oldest_unacked_s: float | None = None  # monotonic time at which the oldest uncommitted message came

    def run(self) -> None:
        """The loop; returns after `stop`."""
        backoff_s = BACKOFF_S[0]
        while not self._stop.is_set():
            was_open = self._session()
            backoff_s = backoff_after_s(backoff_s, was_open=was_open)
            if not self._stop.is_set():
                log.warning("broker_lost", extra={"why": self.why or "closed", "again_s": round(backoff_s, 1)})
                self._stop.wait(random.uniform(backoff_s / 2, backoff_s))
        self._wake_r.close()
        self._wake_w.close()

    def stop(self) -> None:
        """Ends `run` soon; what was read is committed first."""
        self._stop.set()
        self._wake()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a configuration or a command (QoS 1), from any thread; while no session is open it waits for one."""
        with self._lock:
            self._outgoing.append((topic, payload, retain))
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # it is full of wakes already, or `run` has ended
            self._wake_w.send(b"\0")

    # one session

    def _session(self) -> bool:
        self._came, self._acks, self.why = [], Acks(), ""
        client = self._client()
        try:
            client.connect(self._broker.host, self._broker.port, KEEPALIVE_S)
            self._loop(client)
        except (OSError, ValueError) as exc:
            self.why = self.why or f"{type(exc).__name__}: {exc}"
        was_open, self.is_open, self.oldest_unacked_s = self.is_open, False, None
        if (lane := client.lane()) is not None:
            client.disconnect()
            with suppress(OSError):
                lane.flush()
            lane.close()
        return was_open

    def _client(self) -> LaneClient:
        broker = self._broker
        client = LaneClient(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=False,
            protocol=mqtt.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = 10
        client.max_inflight_messages_set(0)
        client.max_queued_messages_set(0)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.on_connect = self._connected
        client.on_subscribe = self._granted
        return client

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        if code.is_failure:
            self.why = f"refused: {code.getName()}"
            client.disconnect()
            return
        client.subscribe([(topic, 1) for topic in (*PROBES, MARK)])

    def _granted(self, client: mqtt.Client, _data: Any, _mid: int, codes: list[Any], _props: Any) -> None:
        *probes, mark = codes
        if mark.is_failure:  # a broker whose files an older version made
            log.info("no_mark", extra={"host": self._broker.host})
        if any(code.is_failure for code in probes):
            self.why = "refused: the broker does not let this identity read the probes' topics"
            client.disconnect()
            return
        self.is_open, self.why = True, ""
        log.info("broker_joined", extra={"host": self._broker.host, "port": self._broker.port})
        self._on_connected()
        self._send_outgoing(client)

    def _loop(self, client: LaneClient) -> None:
        next_misc_s = time.monotonic() + 1
        while not self._stop.is_set() and (lane := client.lane()) is not None:
            if not self._serve(client, lane, self._wait_s(next_misc_s)):
                break
            if self._is_due():
                self._commit(client)
            elif not self._came:  # nobody sends just now
                self._send_acks(client, self._acks.all())
            if time.monotonic() >= next_misc_s:
                next_misc_s = time.monotonic() + 1
                if client.loop_misc() != mqtt.MQTT_ERR_SUCCESS:
                    break
        self._commit(client)
        self._send_acks(client, self._acks.all())

    def _wait_s(self, next_misc_s: float) -> float:
        if self.oldest_unacked_s is None:
            return LINGER_S if self._acks else max(0.0, next_misc_s - time.monotonic())
        return max(0.0, self.oldest_unacked_s + LINGER_S - time.monotonic())

    def _serve(self, client: LaneClient, lane: LaneSocket, wait_s: float) -> bool:
        """Waits for what the sockets have, and does it; False where the session ended."""
        if client.want_write():
            client.loop_write()
        broker, wake = lane.fileno(), self._wake_r.fileno()
        readable, _, _ = select.select([broker, wake], [] if lane.flush() else [broker], [], wait_s)
        if wake in readable:
            self._wake_r.recv(4096)
            self._send_outgoing(client)
        return self._read(client, lane) if broker in readable else True

    def _is_due(self) -> bool:
        if not self._came or self.oldest_unacked_s is None:
            return False
        return len(self._came) >= BATCH_MESSAGES or time.monotonic() >= self.oldest_unacked_s + LINGER_S

    def _read(self, client: LaneClient, lane: LaneSocket) -> bool:
        """Reads until nothing more is there or the batch is full; False where the session ended."""
        code = mqtt.MQTT_ERR_SUCCESS
        try:
            while len(self._came) < BATCH_MESSAGES and (came := lane.read()) is not None:
                self._came += came
                while lane.has_for_paho and code == mqtt.MQTT_ERR_SUCCESS:
                    code = client.loop_read()
        except (ConnectionError, ValueError) as exc:
            self.why = self.why or f"{type(exc).__name__}: {exc}"
            return False
        finally:
            if self._came and self.oldest_unacked_s is None:
                self.oldest_unacked_s = time.monotonic()
        if code != mqtt.MQTT_ERR_SUCCESS:
            self.why = mqtt.error_string(code)
        return code == mqtt.MQTT_ERR_SUCCESS

    def _commit(self, client: LaneClient) -> None:
        came, self._came = self._came, []
        if not came:
            return
        while True:
            try:
                replies = self._ingest.take(came)
                break
            except sqlite3.OperationalError as exc:
                self.disk_ok = False
                log.error("journal_refuses", extra={"why": str(exc), "messages": len(came)})
                if self._stop.wait(RETRY_S):
                    return
            except sqlite3.DatabaseError as exc:
                self.damaged = True
                log.error("journal_malformed", extra={"why": str(exc)})
                self._stop.set()
                return
        self.disk_ok, self.oldest_unacked_s = True, None
        if (lane := client.lane()) is not None:
            lane.puback([message.mid for message in came if message.mid])
        now_s = time.monotonic()
        self._acks.add(replies, now_s)
        self._send_acks(client, self._acks.due(now_s) if len(came) >= CROWD_MESSAGES else self._acks.all())

    def _send_acks(self, client: LaneClient, replies: Sequence[Reply]) -> None:
        if (lane := client.lane()) is not None:
            for reply in replies:
                lane.publish(contract.topic(reply.probe, "ack"), codec.encode_ack(reply.ack))

    def _send_outgoing(self, client: mqtt.Client) -> None:
        with self._lock:
            outgoing, self._outgoing = self._outgoing, []
        for topic, payload, retain in outgoing:
            client.publish(topic, payload, 1, retain)
