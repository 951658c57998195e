"""How do a town's homes speak to a real broker, in real time?

One thread serves the sockets of all homes. A home whose way is broken, or whose probe is dead, has its socket left
alone: it is neither read nor written nor closed, for that is what a cut is. The broker finds out by its keep-alive.

Rule 1: what a home says is the model's, minute by minute; when it is heard is MQTT's.
"""

from __future__ import annotations

import json
import logging
import random
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from balise_agent import codec, contract
from balise_agent.contract import Ack, topic
from balise_agent.logs import set_up
from balise_collector import broker, consumers
from balise_collector.town import calendar, script
from balise_collector.town.messages import Outbox
from balise_collector.town.spans import Span
from balise_collector.town.stream import SEALED_MS, Delivery, Stream, Writer
from balise_collector.town.timeline import Run
from balise_collector.town.topology import Town, build

log = logging.getLogger(__name__)

KEEPALIVE_S = 40
WINDOW = 10  # messages of a home that are not acknowledged
AGAIN_S = (1.0, 10.0)  # before a lost session is tried anew
RESEND_MS = 30_000
LOOK_S = 0.1
LASTS_MS = calendar.DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `balise demo` leaves for this program, in one file. ``passwords`` by probe."""

    homes: int
    seed: str
    start_ms: int
    script: str
    passwords: Mapping[str, str]

    def town(self) -> Town:
        """The same for whoever reads the file."""
        return build(homes=self.homes, seed=self.seed)

    def stream(self) -> Stream:
        """A day of it from its start."""
        bounds: Span = (self.start_ms, self.start_ms + LASTS_MS)
        town = self.town()
        faults = script.faults(script.read(Path(self.script)), town, bounds) if self.script else []
        return Stream(town=town, faults=faults, bounds=bounds)


def read(path: Path) -> Settings:
    """From the file that `write` made."""
    return Settings(**json.loads(path.read_text()))


def write(path: Path, settings: Settings) -> None:
    """Its passwords are for nobody else."""
    path.touch(mode=0o600)
    raw = {name: getattr(settings, name) for name in ("homes", "seed", "start_ms", "script")}
    path.write_text(json.dumps(raw | {"passwords": dict(settings.passwords)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where the broker is, and for how long a session may be silent."""

    host: str
    port: int
    keepalive_s: int = KEEPALIVE_S


class LiveHome:
    """One home's probe: its messages and its session."""

    def __init__(self, writer: Writer, password: str, link: Link, seed: str, now_ms: int) -> None:
        self.writer, self.home = writer, writer.home
        self._password, self._link = password, link
        self._outbox = Outbox(self.home.probe, seed)
        self._rng = random.Random(f"{seed}/live/{self.home.number}")
        self._pending: deque[tuple[int, bytes]] = deque()
        self._sent_ms: dict[int, int] = {}
        self._next_ms = now_ms - now_ms % calendar.MINUTE_MS + self.home.phase_ms
        self._again_ms = now_ms + self._rng.randrange(1_000)
        self._run: Run | None = None
        self._client: mqtt.Client | None = None
        self._ghosts: list[mqtt.Client] = []  # of a probe that died: held open, for nobody closed them
        self._is_open = False
        self.acked = 0

    def turn(self, now_ms: int) -> mqtt.Client | None:
        """What is due; the client whose socket is to be served, None: it is cut off or dead."""
        condition = self.writer.line.stretches[self.writer.line.index(now_ms)].condition
        run = self.writer.line.run_at(now_ms)
        self._measure(now_ms)
        if run is not self._run:
            self._change_of_run(run)
        if run is None or not condition.reports:
            return None
        if self._client is not None and self._client.socket() is None:
            self._drop()  # paho found out by itself, while it wrote
        if self._client is None:
            if now_ms >= self._again_ms:
                self._connect(run, now_ms)
            return self._client
        if self._is_open:
            self._send(now_ms)
        return self._client

    def serve(self, readable: bool) -> None:
        """Reads, writes and pings; a session that ended is tried again after a while."""
        client = self._client
        if client is None:
            return
        code = client.loop_read() if readable else mqtt.MQTT_ERR_SUCCESS
        if code == mqtt.MQTT_ERR_SUCCESS and client.want_write():
            code = client.loop_write()
        if code == mqtt.MQTT_ERR_SUCCESS:
            code = client.loop_misc()
        if code != mqtt.MQTT_ERR_SUCCESS:
            self._drop()

    def close(self) -> None:
        """The end of the program: sockets are closed without a goodbye."""
        for client in (*self._ghosts, self._client):
            sock = None if client is None else client.socket()
            if sock is not None:
                sock.close()

    # what it measures

    def _measure(self, now_ms: int) -> None:
        """Each minute that is over, as far as an agent watched."""
        while self._next_ms + SEALED_MS <= now_ms:
            end_ms, self._next_ms = self._next_ms, self._next_ms + calendar.MINUTE_MS
            delivery = self.writer.delivery(end_ms, now_ms)
            if delivery.points:
                self._seal(delivery)

    def _seal(self, delivery: Delivery) -> None:
        for _, payload in self._outbox.messages(delivery):
            self._pending.append((self._outbox.seq, payload))

    def _send(self, now_ms: int) -> None:
        client = self._client
        if client is None:
            return
        for seq, payload in list(self._pending)[:WINDOW]:
            if now_ms - self._sent_ms.get(seq, 0) > RESEND_MS:
                self._sent_ms[seq] = now_ms
                properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE)
                properties.UserProperty = contract.ENCODING
                client.publish(topic(self.home.probe, "records"), payload, qos=1, properties=properties)

    # its session

    def _change_of_run(self, run: Run | None) -> None:
        """The agent ended or began: cleanly with a goodbye, else its socket stays as it is."""
        before, self._run = self._run, run
        if before is None or self._client is None:
            return
        if before.clean and self._is_open:
            self._say(self._client, before, online=False)
            while self._client.want_write():
                self._client.loop_write()
            self._client.disconnect()
        else:
            self._ghosts.append(self._client)
        self._client, self._is_open = None, False
        self._sent_ms.clear()

    def _connect(self, run: Run, now_ms: int) -> None:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.home.probe,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.username_pw_set(self.home.probe, self._password)
        will = _properties(PacketTypes.WILLMESSAGE, contract.CONTENT_TYPE_CONTROL)
        client.will_set(topic(self.home.probe, "state"), self._presence(run, online=False), 1, True, will)
        client.on_connect = self._connected
        client.on_message = self._heard
        self._again_ms = now_ms + int(self._rng.uniform(*AGAIN_S) * 1_000)
        try:
            client.connect(self._link.host, self._link.port, self._link.keepalive_s)
        except OSError as exc:
            log.debug("not_connected", extra={"probe": self.home.probe, "why": str(exc)})
            return
        self._client = client

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        if code.is_failure or self._run is None:
            log.warning("refused", extra={"probe": self.home.probe, "why": code.getName()})
            return
        client.subscribe([(topic(self.home.probe, "ack"), 1)])
        self._say(client, self._run, online=True)
        self._is_open = True
        for ghost in self._ghosts:
            sock = ghost.socket()
            if sock is not None:
                sock.close()
        self._ghosts.clear()

    def _say(self, client: mqtt.Client, run: Run, *, online: bool) -> None:
        properties = _properties(PacketTypes.PUBLISH, contract.CONTENT_TYPE_CONTROL)
        client.publish(topic(self.home.probe, "state"), self._presence(run, online=online), 1, True, properties)

    def _presence(self, run: Run, *, online: bool) -> bytes:
        return self._outbox.presence(self.writer.presence(0, online, run).points[0])

    def _heard(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        ack = codec.decode_ack(bytes(message.payload))
        if isinstance(ack, Ack) and ack.stream == self._outbox.stream:
            done = {seq for first, last in ack.ranges for seq in range(first, last + 1)} | {s for s, _ in ack.rejected}
            before = len(self._pending)
            self._pending = deque(entry for entry in self._pending if entry[0] not in done)
            self.acked += before - len(self._pending)

    def _drop(self) -> None:
        sock = None if self._client is None else self._client.socket()
        if sock is not None:
            sock.close()
        self._client, self._is_open = None, False
        self._sent_ms.clear()


def _properties(packet: int, content_type: str) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    return properties


class Live:
    """All homes of a town. ``now_ms``: from when on they measure."""

    def __init__(self, stream: Stream, passwords: Mapping[str, str], link: Link, now_ms: int) -> None:
        seed = stream.town.seed
        self.homes = [
            LiveHome(Writer(stream, line), passwords[line.home.probe], link, seed, now_ms)
            for line in stream.lines
            if line.home.probe in passwords
        ]
        self.is_stopped = False

    def run(self, until_ms: int) -> None:
        """Until then, or until `is_stopped`."""
        while not self.is_stopped and (now_ms := _now_ms()) < until_ms:
            self._turn([(home, client) for home in self.homes if (client := home.turn(now_ms)) is not None])
        for home in self.homes:
            home.close()

    def _turn(self, served: Sequence[tuple[LiveHome, mqtt.Client]]) -> None:
        sockets = {sock: home for home, client in served if (sock := client.socket()) is not None}
        if not sockets:
            time.sleep(LOOK_S)
            return
        ready = {id(sock) for sock in select.select(list(sockets), [], [], LOOK_S)[0]}
        for sock, home in sockets.items():
            home.serve(id(sock) in ready)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main(argv: Sequence[str] = sys.argv) -> int:
    """``python -m balise_collector.trial.live DATA TOWN.json PARENT``: what `balise demo --town` starts."""
    consumers.end_with(int(argv[3]))
    set_up("info", sys.stdout)
    files, settings = broker.load(Path(argv[1]) / "broker"), read(Path(argv[2]))
    stream = settings.stream()
    live = Live(stream, settings.passwords, Link(host=files.host, port=files.port), _now_ms())

    def stop(*_: object) -> None:
        live.is_stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log.info("town", extra={"homes": len(live.homes), "faults": len(stream.faults)})
    live.run(stream.bounds[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
