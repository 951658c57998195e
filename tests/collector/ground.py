"""Is an attack felt by anybody, and did anything of it get in? A real broker and intake, and an honest probe."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_agent import codec
from balise_agent.contract import Ack, topic
from balise_collector import broker
from balise_collector.broker import BrokerFiles
from balise_collector.ingest import Incoming, Ingest
from balise_collector.intake import Intake
from balise_collector.journal import Journal
from balise_collector.placement import Place, Placement, UnknownProbe
from balise_collector.serve import broker_of
from tests.collector.attacker import PUBLISH, Attacker
from tests.collector.running import Mosquitto
from tests.collector.sender import NOW, Sender
from tests.waiting import free_port, until

A, B, HONEST = "a" * 16, "b" * 16, "h" * 16
SECRETS = {A: "secret of a", B: "secret of b", HONEST: "secret of h"}


class Probe:
    """An honest one, with its own stream: what it sends is waited for until the collector has acknowledged it."""

    def __init__(self, line: Attacker, sender: Sender) -> None:
        self.line, self.sender = line, sender
        self.acked: set[int] = set()
        self.rejected: dict[int, str] = {}

    def delivers(self, *messages: Incoming) -> None:
        """These, or one more of its own."""
        for message in messages or (self.sender.sends(),):
            self.line.send(message.topic, message.payload)
        while not {*range(1, self.sender.seq + 1)} <= self.acked | self.rejected.keys():
            self.hears()

    def hears(self) -> None:
        """The next packet."""
        packet = self.line.read()
        if packet.kind != PUBLISH:
            return
        ack = codec.decode_ack(packet.body[packet.body.index(b"{") :])
        assert isinstance(ack, Ack)
        self.acked |= {n for low, high in ack.ranges for n in range(low, high + 1)}
        self.rejected |= dict(ack.rejected)


@dataclass
class Ground:
    """What is attacked. ``ingest``: the collector's, which tells what got in."""

    files: BrokerFiles
    ingest: Ingest
    honest: Probe
    lines: list[Attacker] = field(default_factory=list)
    _before: Counter[str] = field(default_factory=Counter)

    def got_in(self) -> dict[str, int]:
        """What became of messages since the last call, by outcome, that of the honest probe of this call apart.

        The broker hands over in order: the acknowledged one came behind all that it had taken before.
        """
        self.honest.delivers()
        now = Counter(self.ingest.counts)
        found, self._before = now - self._before - Counter(new=1), now
        return dict(found)

    def line(self, version: int = 5, **options: Any) -> Attacker:
        """A connection that nobody has spoken on."""
        self.lines.append(Attacker((self.files.host, self.files.port), version=version, **options))
        return self.lines[-1]

    def session(self, probe: str = A, version: int = 5, **options: Any) -> Attacker:
        """A session of a probe with its own password."""
        line = self.line(version)
        assert line.connect(probe, SECRETS[probe], **options) == 0
        return line

    def close(self, first: int = 0) -> None:
        """All lines, or all but the first ones."""
        for line in self.lines[first:]:
            line.close()
        del self.lines[first:]

    def probe(self, probe: str) -> Probe:
        """A probe that behaves."""
        line = self.session(probe)
        line.subscribe(topic(probe, "ack"))
        return Probe(line, Sender(probe))


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Broker, intake over a journal, three probes with a password, of which one is honest and online."""
    files = broker.init(folder / "broker", port=free_port(), persistence=False)
    broker.add_probes(files.dynsec, SECRETS)
    mosquitto = Mosquitto(files)
    mosquitto.start()
    with closing(Journal(folder / "journal.db")) as journal:
        ingest = Ingest(journal, resolve, lambda: NOW)
        intake = Intake(broker_of(folder), ingest)
        thread = threading.Thread(target=intake.run)
        thread.start()
        try:
            until(lambda: intake.is_open)
            line = Attacker((files.host, files.port))
            line.connect(HONEST, SECRETS[HONEST])
            line.subscribe(topic(HONEST, "ack"))
            found = Ground(files, ingest, Probe(line, Sender(HONEST)), [line])
            yield found
            found.close()
        finally:
            intake.stop()
            thread.join(30)
            mosquitto.kill()


def resolve(probe: str, _ts_ms: int) -> Placement:
    """All three stand in a home."""
    return Place(home=f"home{probe[:4]}") if probe in SECRETS else UnknownProbe()
