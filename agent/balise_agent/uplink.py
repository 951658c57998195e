"""How does a message reach the broker, and what comes back?

One thread of ours owns paho's MQTT v5 client: nobody else calls it. Others leave what they want to send and wake the
thread; all that happens is handed over as an event. Nothing here is a promise: the outbox keeps a message until the
collector's ack, whatever PUBACK said (with default limits and no collector, 5,000 were PUBACKed and 1,000 delivered).

paho's traps and their cures:
- its queue sends everything at once after a reconnect, whatever Receive Maximum says: each session has a client of its
own, whose queue is dropped in on_connect, and is never handed more than `WINDOW` messages or what the broker allows;
- an exception in a callback kills its loop thread while `is_connected()` stays true: the loop is ours, each callback
is guarded, whatever else ends a session ends only that, and `alive` asks for a turn of the loop, not for a thread;
- a message id is reused after a reconnect: the table of ids is the session's too;
- PUBACK 0x10 (nobody listens) and 0x87 (not allowed) look like success unless the reason code is read, and so does a
subscription that was not granted;
- it calls back with a lock of its own held, which deadlocks with any lock of ours around its calls: there is none;
- it pings each keep-alive whatever it sent meanwhile: it is let to only when nothing was sent for as long (a third of
the pings at a message a minute, 0.15 MB a day).
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from balise_agent import codec, contract
from balise_agent.contract import Ack, Answer, Command, Config, Presence, Refusal

log = logging.getLogger(__name__)

# unacknowledged messages; at one a minute never reached, at a catch-up it bounds what the broker holds of us
WINDOW = 10
BACKOFF_S = (1.0, 60.0)  # the ceiling of the first pause and of the longest
CONNECT_TIMEOUT_S = 10.0  # for TCP, and again for TLS
STUCK_S = 180.0  # a resolver that does not answer takes 40 s, an address that does not 20 s; nothing takes that long
SETTLED_S = 10.0  # a session that lived that long and brought an ack was a good one
FLAPPING = 3  # what shorter ones with acks count as at most: two probes of one identity throw each other out for ever
_ALIAS = 1  # the number of the topic of batches
_LOOP_S = 5.0  # the longest sleep of the thread; a message to send wakes it at once
_HURRY_S = 0.1  # and at the end
_SLEEPS_A_KEEPALIVE = 4  # so that a ping is a quarter late at most: the broker waits for half as much again


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The session is open. ``address``: where; kept, and tried when the name does not resolve any more."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The session ended or could not be opened, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The broker has message ``id`` of the outbox. ``reason``: None, or its name for not passing it on."""

    id: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """A message to this probe that is none of the contract's."""

    refusal: Refusal


Event = Connected | Disconnected | Published | Ack | Config | Command | NotUnderstood


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and who we are to it. ``tls``: None is plain, for a loopback or a demo."""

    host: str
    port: int
    probe: str
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    keepalive_s: int = 40


class NamedContext(ssl.SSLContext):
    """A client context that checks one name, whatever address the connection goes to (a name that does not resolve any
    more)."""

    name: str

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`, with our name for the server's. The handshake is made here: where it fails,
        paho would leave the socket open."""
        ours = {"server_hostname": self.name, "do_handshake_on_connect": False}
        wrapped = super().wrap_socket(sock, *args, **(kwargs | ours))
        try:
            wrapped.do_handshake()
        except OSError:
            wrapped.close()
            raise
        return wrapped


def tls_context(name: str, ca_file: str | None, cert_file: str | None, key_file: str | None) -> NamedContext:
    """TLS 1.2+, the server's certificate checked against ``name``. OSError, ssl.SSLError: a file is of no use."""
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.name = name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def pause_s(failures: int, draw: Callable[[float, float], float]) -> float:
    """How long to wait after that many sessions in a row that came to nothing: anything below a ceiling that doubles
    (full jitter), since a thousand probes lose one broker at the same moment. ``draw``: `random.Random.uniform`."""
    first_s, longest_s = BACKOFF_S
    return draw(0.0, min(longest_s, first_s * 2.0 ** min(failures, 10)))


def failures_after(before: int, *, was_heard: bool, lived_s: float) -> int:
    """How many sessions in a row came to nothing, after one more. mosquitto 2.0.11 hangs up on a copied identity."""
    if not was_heard:
        return before + 1
    return 0 if lived_s >= SETTLED_S else min(before + 1, FLAPPING)


def addresses(host: str, port: int, last_good: str | None) -> list[str]:
    """The addresses to try, in the resolver's order; where the name does not resolve, the last that worked."""
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):  # UnicodeError: a label too long for IDNA
        found = [] if last_good is None else [last_good]
    return list(dict.fromkeys(found))


class Uplink:
    """The session with the broker. ``on_event`` is called from its thread and must only hand over."""

    def __init__(
        self,
        broker: Broker,
        presence: Presence,
        on_event: Callable[[Event], None],
        *,
        last_good: str | None = None,
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker, self._presence, self._on_event, self._last_good = broker, presence, on_event, last_good
        self._rng, self._monotonic = rng or random.Random(), monotonic
        self._stop, self._drop = threading.Event(), threading.Event()
        self._outgoing: deque[tuple[int, bytes] | Presence | Answer] = deque()
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_w.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._sleep_s = min(_LOOP_S, broker.keepalive_s / _SLEEPS_A_KEEPALIVE)
        self._turn_s = self._opened_s = monotonic()
        self._open = False

    def start(self) -> None:
        """Begins to connect, and goes on for ever."""
        self._turn_s = self._monotonic()
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Sends what was handed over, says goodbye (the will is for those who cannot) and ends the thread, whether the
        broker answers in that time or not."""
        self._stop_by_s = self._monotonic() + timeout_s
        self._stop.set()
        self._wake()
        self._thread.join(timeout_s + 2 * _HURRY_S)

    def alive(self) -> bool:
        """The thread runs and is not stuck: paho's own would say connected after it died."""
        return self._thread.is_alive() and self._monotonic() - self._turn_s < STUCK_S

    def reconnect(self) -> None:
        """Closes the session as dead; the thread opens another."""
        self._drop.set()
        self._wake()

    def publish(self, id_: int, payload: bytes) -> bool:
        """Hands one batch to the session; False where none is open. One that ends before it was sent drops it."""
        if not self._open:
            return False
        self._outgoing.append((id_, payload))
        self._wake()
        return True

    def announce(self, presence: Presence) -> None:
        """Publishes what the probe says of itself, now and at each new session."""
        self._presence = presence
        if self._open:
            self._outgoing.append(presence)
            self._wake()

    def answer(self, answer: Answer) -> None:
        """Tells who asked, if the session is open; nobody keeps it for later."""
        if self._open:
            self._outgoing.append(answer)
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: it has ended
            self._wake_w.send(b"\0")

    # the thread

    def _run(self) -> None:
        failures = 0
        with self._wake_r, self._wake_w:
            while not self._stop.is_set():
                why = self._session()
                self._on_event(Disconnected(reason=why))
                lived_s = self._monotonic() - self._opened_s
                failures = failures_after(failures, was_heard=self._was_heard, lived_s=lived_s)
                self._stop.wait(pause_s(failures, self._rng.uniform))

    def _session(self) -> str:
        """One connection from its start to its end; says why it ended."""
        self._was_open = self._was_heard = False
        why = "name does not resolve"
        for address in addresses(self._broker.host, self._broker.port, self._last_good):
            why = self._one(address)
            if self._was_open or self._stop.is_set():
                break
        return why

    def _one(self, address: str) -> str:
        self._address, self._why, self._turn_s = address, "closed", self._monotonic()
        self._sent: dict[int, int | None] = {}  # mid -> outbox id, None: presence; what has no PUBACK yet
        self._window = WINDOW
        self._aliases, self._has_alias = 0, False  # how many the broker keeps, and whether it knows ours
        self._spoke_s = -math.inf  # the last message; until the first, paho alone keeps the session
        self._goodbye: int | None = None  # mid of the last word
        self._drop.clear()
        client: mqtt.Client | None = None
        try:
            client = self._new_client()
            client.connect(address, self._broker.port, self._broker.keepalive_s, clean_start=True)
            while (sock := client.socket()) is not None and not self._drop.is_set():
                self._turn_s = self._monotonic()
                self._turn(client, sock)
        except Exception as exc:  # a cut, or what paho makes of a peer's nonsense: ends the session, not the thread
            log.debug("session_failed", exc_info=exc)
            self._why = f"{type(exc).__name__}: {exc}"
        finally:
            self._open = False
            if client is not None and (sock := client.socket()) is not None:
                sock.close()
        return self._why

    def _turn(self, client: mqtt.Client, sock: Any) -> None:
        """Waits for something to do, and does it."""
        self._send(client)
        if self._stop.is_set():
            self._say_goodbye(client)
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        writers = [sock] if client.want_write() else []
        sleep_s = 0.0 if buffered else _HURRY_S if self._stop.is_set() else self._sleep_s
        readable, _, _ = select.select([sock, self._wake_r], writers, [], sleep_s)
        if self._wake_r in readable:
            self._wake_r.recv(4096)
        if sock in readable or buffered:
            client.loop_read()
        if client.want_write():
            client.loop_write()
        if self._monotonic() - self._spoke_s >= self._broker.keepalive_s:
            client.loop_misc()  # pings, and ends the session where the last ping was not answered

    def _send(self, client: mqtt.Client) -> None:
        while self._open and self._outgoing and len(self._sent) < self._window:
            match self._outgoing.popleft():
                case Presence() as presence:
                    self._say(client, codec.encode_presence(presence), retain=True)
                case Answer() as answer:
                    self._say(client, codec.encode_answer(answer), retain=False)
                case (id_, payload):
                    _await_company(client.socket())
                    self._sent[self._publish(client, payload)] = id_
                    self._spoke_s = self._monotonic()

    def _publish(self, client: mqtt.Client, payload: bytes) -> int:
        """One batch; says its mid. After the first of a session its topic is a number, where the broker keeps one: 32
        bytes less."""
        properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE)
        properties.UserProperty = contract.ENCODING
        topic = "" if self._has_alias else contract.topic(self._broker.probe, "records")
        if self._aliases:
            properties.TopicAlias, self._has_alias = _ALIAS, True
        return client.publish(topic, payload, qos=1, properties=properties).mid

    def _say(self, client: mqtt.Client, payload: bytes, *, retain: bool) -> int:
        properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE_CONTROL)
        topic = contract.topic(self._broker.probe, "state")
        mid = client.publish(topic, payload, 1, retain, properties).mid
        self._sent[mid] = None
        return mid

    def _say_goodbye(self, client: mqtt.Client) -> None:
        """The session ends once the broker has the last word, or has had its time; without one open, at once."""
        if not self._open or self._monotonic() >= self._stop_by_s:
            self._drop.set()
        elif self._goodbye is None:
            last = codec.encode_presence(replace(self._presence, online=False))
            self._goodbye = self._say(client, last, retain=True)

    def _new_client(self) -> mqtt.Client:
        broker = self._broker
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=broker.probe, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(WINDOW)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        will = _properties(PacketTypes.WILLMESSAGE, contract.CONTENT_TYPE_CONTROL)
        topic = contract.topic(broker.probe, "state")
        client.will_set(topic, codec.encode_presence(replace(self._presence, online=False)), 1, True, will)
        client.on_connect = self._guard(self._on_connect)
        client.on_subscribe = self._guard(self._on_subscribe)
        client.on_disconnect = self._guard(self._on_disconnect)
        client.on_publish = self._guard(self._on_publish)
        client.on_message = self._guard(self._on_message)
        return client

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as exc:
                log.exception("callback_failed")
                self._end(f"{type(exc).__name__} in a callback")

        return guarded

    def _end(self, why: str) -> None:
        self._why = why
        self._drop.set()

    # callbacks, in the thread

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, props: Any) -> None:
        client.drop_out_messages()
        if code.is_failure:
            self._end(f"refused: {code.getName()}")
            return
        client.subscribe([(contract.topic(self._broker.probe, kind), 1) for kind in ("ack", "cmd")])
        self._outgoing.clear()
        self._window = min(WINDOW, getattr(props, "ReceiveMaximum", WINDOW))
        self._aliases = getattr(props, "TopicAliasMaximum", 0)
        self._open = self._was_open = True
        self._opened_s = self._monotonic()
        self._last_good = self._address
        self._say(client, codec.encode_presence(self._presence), retain=True)
        self._on_event(Connected(address=self._address))

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, codes: list[ReasonCode], _props: Any) -> None:
        if any(code.is_failure for code in codes):  # without acks nothing would ever be delivered
            self._end("refused: the broker does not let this probe hear its acks and commands")

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _props: Any) -> None:
        self._why = code.getName() if self._why == "closed" else self._why

    def _on_publish(self, client: mqtt.Client, _data: Any, mid: int, code: ReasonCode, _props: Any) -> None:
        id_ = self._sent.pop(mid, None)
        if id_ is not None:
            self._on_event(Published(id=id_, reason=code.getName() if code.value else None))
        if mid == self._goodbye:
            client.disconnect()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        parsed = contract.parse_topic(message.topic)
        kind = None if parsed is None else parsed[1]
        payload = bytes(message.payload)
        decoded = codec.decode_ack(payload) if kind == "ack" else codec.decode_cmd(payload)
        self._was_heard |= isinstance(decoded, Ack)
        self._on_event(NotUnderstood(refusal=decoded) if isinstance(decoded, Refusal) else decoded)


def _await_company(sock: Any) -> None:
    """Lets the kernel's ACK wait its 40 ms: the broker's PUBACK and the collector's ack, 20 ms later, then share one.
    Without it a connection that was idle acknowledges each at once, 52 bytes; the kernel forgets it after each ACK."""
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def _properties(packet: int, content_type: str) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    return properties
