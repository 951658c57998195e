"""What do the tests of the uplink stand on? A broker, a peer that misbehaves, and who hears what the uplink says."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from balise_agent import codec
from balise_agent.contract import Envelope, Presence
from balise_agent.uplink import (
    Broker,
    Event,
    Uplink,
)
from tests.brokers import Session
from tests.waiting import PATIENCE_S

ID, OTHER = "k3v9q2xa7m", "otherprobe"
STREAM = "A" * 22
NOWHERE = "no-such-name.invalid"  # RFC 6761: it never resolves
PRESENCE = Presence(online=True, agent="1", boot="b", stream=STREAM)

E = TypeVar("E")


class Told:
    """What an uplink says, in order; ``think`` may do something about it in the uplink's own thread."""

    def __init__(self, think: Callable[[Event], None] = lambda _: None) -> None:
        self._think = think
        self.events: queue.Queue[Event] = queue.Queue()

    def __call__(self, event: Event) -> None:
        self.events.put(event)
        self._think(event)

    def next(self, kind: type[E]) -> E:
        """The next such event; others are passed over."""
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if isinstance(event, kind):
                return event

    def so_far(self) -> list[Event]:
        found = []
        while not self.events.empty():
            found.append(self.events.get())
        return found


def plain(port: int, **changes: Any) -> Broker:
    return replace(Broker(host="127.0.0.1", port=port, probe=ID, username=ID, password="right"), **changes)


class AtOnce(random.Random):
    """Draws the least, so that no test waits for a pause."""

    def uniform(self, a: float, b: float) -> float:
        return a


@contextmanager
def uplink(broker: Broker, told: Told, **more: Any) -> Iterator[Uplink]:
    made = Uplink(broker, PRESENCE, told, **({"rng": AtOnce()} | more))
    made.start()
    try:
        yield made
    finally:
        made.stop(0.3)


def batch(seq: int) -> bytes:
    envelope = Envelope(
        stream=STREAM, seq=seq, boot="b", ts_ms=1, sent_ms=0, chain="C" * 22, retention="raw_90d", previous=None
    )
    return codec.encode_batch(envelope, b"body")


def records(session: Session, count: int) -> list[int]:
    """Message ids of the next so many batches; presences are passed over and taken."""
    found: list[int] = []
    while len(found) < count:
        (packet,) = session.publishes(1)
        if packet.topic.endswith("/records"):
            found.append(packet.mid)
        else:
            session.puback(packet.mid)
    return found


def online(heard: bytes) -> bool:
    presence = codec.decode_presence(heard)
    assert isinstance(presence, Presence)
    return presence.online
