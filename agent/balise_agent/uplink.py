"""How does a message reach the broker, and what comes back?

One thread of ours drives paho's MQTT v5 client; all that happens is handed over as an event. Nothing here is a
promise: the outbox keeps a message until the collector's ack, whatever PUBACK said (with default limits and no
collector, 5,000 were PUBACKed and 1,000 delivered).

paho's traps and their cures:
- its queue sends everything at once after a reconnect, whatever Receive Maximum says: `drop_out_messages` in
on_connect, and at most `WINDOW` messages are ever handed to it;
- an exception in a callback kills its loop thread while `is_connected()` stays true: the loop is ours, each callback
is guarded, and a connection on which nothing was acknowledged for `SILENCE_S` is closed;
- a message id is reused after a reconnect: each session has a client and a table of ids of its own;
- PUBACK 0x10 (nobody listens) and 0x87 (not allowed) look like success unless the reason code is read.
"""

from __future__ import annotations

import logging
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from balise_agent import codec, contract
from balise_agent.contract import Ack, Command, Config, Presence, Refusal

log = logging.getLogger(__name__)

# unacknowledged messages; at one a minute never reached, at a catch-up it bounds what the broker holds of us
WINDOW = 10
BACKOFF_S = (1.0, 60.0)  # full jitter below a ceiling that doubles: 1,000 probes must not come back in one second
CONNECT_TIMEOUT_S = 10.0
_LOOP_S = 5.0  # the longest sleep of the thread; a message to send wakes it at once


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
        """As `ssl.SSLContext.wrap_socket`, with our name for the server's."""
        return super().wrap_socket(sock, *args, **(kwargs | {"server_hostname": self.name}))


def tls_context(name: str, ca_file: str | None, cert_file: str | None, key_file: str | None) -> NamedContext:
    """TLS 1.2+, the server's certificate checked against ``name``. OSError, ssl.SSLError: a file that cannot be used.
    TLS 1.2+, the server's certificate checked against ``name``. OSError, ssl.SSLError: a file that cannot be used."""
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


def addresses(host: str, port: int, last_good: str | None) -> list[str]:
    """The addresses to try, in the resolver's order; where the name does not resolve, the last that worked."""
    try:
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        found = [] if last_good is None else [last_good]
    return list(dict.fromkeys(found))


class Uplink:
    """The session with the broker. ``on_event`` is called from its thread and must only hand over."""

    def __init__(
        self, broker: Broker, presence: Presence, on_event: Callable[[Event], None], *, last_good: str | None = None
    ) -> None:
        self._broker, self._on_event, self._last_good = broker, on_event, last_good
        self._presence = presence
        self._stop = threading.Event()
        self._drop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._sent: dict[int, int] = {}  # mid -> outbox id, of this session
        self._open = False
        self._client = self._new_client()
        self._rng = random.Random()

    def start(self) -> None:
        """Begins to connect, and goes on for ever."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Says goodbye (offline is published; the will is for those who cannot) and ends the thread."""
        if self._open:
            self._say(replace(self._presence, online=False))
            self._client.disconnect()
        self._stop.set()  # last: the thread ends once what is queued is written
        self._thread.join(timeout_s)

    def alive(self) -> bool:
        """The thread runs: paho's own would say connected after it died."""
        return self._thread.is_alive()

    @property
    def is_open(self) -> bool:
        """A session is open now."""
        return self._open

    def reconnect(self) -> None:
        """Closes the session as dead; the thread opens another."""
        self._drop.set()

    def publish(self, id_: int, payload: bytes) -> bool:
        """Hands one batch to the session; False where none is open."""
        properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE)
        properties.UserProperty = contract.ENCODING
        if not self._open:
            return False
        # No lock of ours is held around paho's calls: it calls us back while it holds its own, and both would wait.
        topic = contract.topic(self._broker.probe, "records")
        info = self._client.publish(topic, payload, qos=1, properties=properties)
        self._sent[info.mid] = id_
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    def announce(self, presence: Presence) -> None:
        """Publishes what the probe says of itself, now and after each reconnect."""
        self._presence = presence
        if self._open:
            self._say(presence)

    # the thread

    def _run(self) -> None:
        ceiling_s = BACKOFF_S[0]
        while not self._stop.is_set():
            why = self._session()
            self._on_event(Disconnected(reason=why))
            ceiling_s = BACKOFF_S[0] if self._was_open else min(ceiling_s * 2, BACKOFF_S[1])
            self._stop.wait(self._rng.uniform(0, ceiling_s))

    def _session(self) -> str:
        """One connection from its start to its end; says why it ended."""
        self._was_open = False
        why = "name does not resolve"
        for address in addresses(self._broker.host, self._broker.port, self._last_good):
            why = self._one(address)
            if self._was_open or self._stop.is_set():
                break
        return why

    def _one(self, address: str) -> str:
        self._client = self._new_client()
        self._address = address
        self._why = "closed"
        self._drop.clear()
        try:
            self._client.connect(address, self._broker.port, self._broker.keepalive_s, clean_start=True)
            code = mqtt.MQTT_ERR_SUCCESS
            while code == mqtt.MQTT_ERR_SUCCESS and not self._drop.is_set():
                code = self._client.loop(_LOOP_S)
                if self._stop.is_set() and not self._client.want_write():
                    break
        except (OSError, ValueError, mqtt.WebsocketConnectionError) as exc:
            self._why = f"{type(exc).__name__}: {exc}"
        finally:
            self._closed()
        return self._why

    def _closed(self) -> None:
        self._open = False
        sock = self._client.socket()
        if sock is not None:
            sock.close()

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
        # paho then leaves writing to the loop's thread: two threads in its write would mix their packets
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._guard(self._on_connect)
        client.on_disconnect = self._guard(self._on_disconnect)
        client.on_publish = self._guard(self._on_publish)
        client.on_message = self._guard(self._on_message)
        return client

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception:
                log.exception("callback_failed")
                self._drop.set()

        return guarded

    # callbacks, in the thread

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _props: Any) -> None:
        client.drop_out_messages()
        if code.is_failure:
            self._why = f"refused: {code.getName()}"
            return
        client.subscribe([(contract.topic(self._broker.probe, kind), 1) for kind in ("ack", "cmd")])
        self._sent = {}
        self._open = self._was_open = True
        self._last_good = self._address
        self._say(self._presence)
        self._on_event(Connected(address=self._address))

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, code: ReasonCode, _props: Any) -> None:
        self._why = code.getName() if self._why == "closed" else self._why

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, code: ReasonCode, _props: Any) -> None:
        id_ = self._sent.pop(mid, None)
        if id_ is not None:
            self._on_event(Published(id=id_, reason=None if code.value == 0 else code.getName()))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        parsed = contract.parse_topic(message.topic)
        kind = None if parsed is None else parsed[1]
        payload = bytes(message.payload)
        decoded = codec.decode_ack(payload) if kind == "ack" else codec.decode_cmd(payload)
        self._on_event(NotUnderstood(refusal=decoded) if isinstance(decoded, Refusal) else decoded)

    def _say(self, presence: Presence) -> None:
        properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE_CONTROL)
        topic = contract.topic(self._broker.probe, "state")
        self._client.publish(topic, codec.encode_presence(presence), 1, True, properties)


def _properties(packet: int, content_type: str) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    return properties
