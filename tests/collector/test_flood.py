"""Is a probe that floods cut off at the broker, and does everybody else go on? With the real broker and collector."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from balise_agent.contract import topic
from balise_agent.uplink import WINDOW
from balise_collector.broker import BrokerFiles
from balise_collector.demo.programs import AgentFiles, prepare_agents, prepare_broker
from balise_collector.fleet import CutOffs
from balise_collector.journal import Journal
from tests.collector.attacker import NOT_AUTHORIZED, Attacker
from tests.collector.ground import Probe
from tests.collector.running import Mosquitto, balise, process
from tests.collector.sender import Sender
from tests.waiting import until

A_DAY = 1_440  # messages of a probe that was offline that long
FLOOD_PER_S = 10_000
QUIET_S = 3.0  # the broker's queue is known to be taken after two looks of a second


@dataclass
class Town:
    """A served folder: broker, collector, and probes in their homes."""

    folder: Path
    files: BrokerFiles
    agents: list[AgentFiles]
    mosquitto: Mosquitto
    lines: list[Attacker] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def served(self) -> Iterator[None]:
        (self.data / "serve.json").unlink(missing_ok=True)
        with process(balise("serve", "--data", self.data, "--http-port", 0), self.folder / "serve.log"):
            until((self.data / "serve.json").exists)
            yield

    def line(self) -> Attacker:
        self.lines.append(Attacker((self.files.host, self.files.port)))
        return self.lines[-1]

    def probe(self, number: int) -> Probe:
        agent, line = self.agents[number], self.line()
        assert line.connect(agent.probe, agent.password) == 0
        line.subscribe(topic(agent.probe, "ack"))
        return Probe(line, Sender(agent.probe))

    def enters(self, number: int) -> int:
        """What the broker answers to its password."""
        agent = self.agents[number]
        return self.line().connect(agent.probe, agent.password)

    def status(self) -> tuple[int, dict[str, Any]]:
        run = subprocess.run(balise("status", "--json", "--data", self.data), capture_output=True, check=False)
        return run.returncode, json.loads(run.stdout)

    def metrics(self) -> str:
        port = json.loads((self.data / "serve.json").read_text())["http_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    def kept(self, sender: Sender) -> list[int]:
        """The numbers of its messages in the journal, in order."""
        with closing(Journal(self.data / "journal.db")) as journal:
            entries, _ = journal.entries(0, 100_000)
        return sorted(entry.seq for entry in entries if entry.stream == sender.stream)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    files = prepare_broker(tmp_path / "data")
    agents = prepare_agents(tmp_path, tmp_path / "data", files, 2)
    mosquitto = Mosquitto(files)
    mosquitto.start()
    found = Town(tmp_path, files, agents, mosquitto)
    try:
        yield found
    finally:
        for line in found.lines:
            line.close()
        mosquitto.kill()


class Steady:
    """An honest probe that sends one message after the other, in a thread, until it is told to stop."""

    def __init__(self, probe: Probe) -> None:
        self.probe, self.slowest_s = probe, 0.0
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            begin_s = time.monotonic()
            self.probe.delivers(self.probe.sender.sends(ts_ms=now_ms()))
            self.slowest_s = max(self.slowest_s, time.monotonic() - begin_s)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def floods(line: Attacker, packets: list[bytes]) -> tuple[int, float]:
    """The same packets over and over until the broker hangs up: how many went, and for how long."""
    block, sent, begin_s = b"".join(packets), 0, time.monotonic()
    threading.Thread(target=lambda: swallow(line), daemon=True).start()
    while time.monotonic() < begin_s + 60:
        try:
            line.sock.sendall(block)
        except OSError:
            break
        sent += len(packets)
        time.sleep(max(0.0, sent / FLOOD_PER_S - (time.monotonic() - begin_s)))
    return sent, time.monotonic() - begin_s


def swallow(line: Attacker) -> None:
    try:
        line.is_cut()
    except OSError:
        return


def test_a_flood_is_cut_off_and_named_and_let_back_and_no_other_record_is_lost(town: Town) -> None:
    flooder = town.agents[1].probe
    with town.served(), Steady(town.probe(0)) as honest:
        time.sleep(QUIET_S)
        attacker = town.probe(1)
        message = attacker.sender.sends(ts_ms=now_ms())
        packets = [attacker.line.packet(message.topic, message.payload) for _ in range(100)]
        sent, seconds = floods(attacker.line, packets)
        print(f"{sent} messages in {seconds:.1f} s before it was cut off")
        assert town.enters(1) == NOT_AUTHORIZED
        returncode, found = town.status()
        assert returncode == 1
        (cut_off,) = found["cut_off"]
        assert cut_off["probe"] == flooder
        assert cut_off["why"].endswith((" beyond its window in 10 s, 1,000 are allowed", " 10 s, 10,000 are allowed"))
        shown = subprocess.run(balise("status", "--data", town.data), capture_output=True, text=True, check=False)
        assert f"\ncut off {flooder}\tsince {cut_off['since']}: {cut_off['why']}\n" in shown.stdout
        assert "balise_probes_cut_off 1.0" in town.metrics()
        assert flooder not in town.metrics()
        assert "probe_cut_off" in (town.folder / "serve.log").read_text()
    print(f"the honest probe's slowest answer took {honest.slowest_s:.2f} s")
    sender = honest.probe.sender
    assert town.kept(sender) == list(range(1, sender.seq + 1))
    town.mosquitto.kill()
    town.mosquitto.start()
    assert town.enters(1) == NOT_AUTHORIZED
    with town.served():
        until(lambda: "balise_broker_up 1.0" in town.metrics())
        assert town.enters(1) == NOT_AUTHORIZED
        readmit = [*balise("probes", "readmit", flooder), "--data", str(town.data)]
        said = [subprocess.run(readmit, capture_output=True, text=True, check=True).stdout for _ in range(2)]
        assert said == [f"{flooder} may speak again\n", f"{flooder} may speak; it was not cut off\n"]
        town.probe(1).delivers()
        until(lambda: "balise_probes_cut_off 0.0" in town.metrics())
        assert town.status()[1]["cut_off"] == []


def test_a_flood_in_the_moment_of_a_start_is_cut_off_too(town: Town) -> None:
    with town.served(), Steady(town.probe(0)) as honest:
        until(lambda: "balise_broker_up 1.0" in town.metrics())
        attacker = town.probe(1)
        message = attacker.sender.sends(ts_ms=now_ms())
        packets = [attacker.line.packet(message.topic, message.payload) for _ in range(100)]
        sent, seconds = floods(attacker.line, packets)
        print(f"{sent} messages in {seconds:.1f} s before it was cut off")
        assert town.enters(1) == NOT_AUTHORIZED
    assert town.kept(honest.probe.sender) == list(range(1, honest.probe.sender.seq + 1))


def test_a_day_offline_is_sent_as_fast_as_the_window_allows_and_is_no_flood(town: Town) -> None:
    with town.served(), Steady(town.probe(0)):
        time.sleep(QUIET_S)
        probe, sender = town.probe(1), Sender(town.agents[1].probe)
        begin_ms = now_ms() - A_DAY * 10
        messages = [sender.sends(ts_ms=begin_ms + n * 10) for n in range(A_DAY)]
        probe.sender = sender
        begin_s, sent = time.monotonic(), 0
        while len(probe.acked) < A_DAY:
            room = WINDOW - (sent - len(probe.acked))
            for message in messages[sent : sent + room]:
                probe.line.send(message.topic, message.payload)
            sent = min(sent + room, A_DAY)
            probe.hears()
        print(f"{A_DAY / (time.monotonic() - begin_s):.0f} messages a second")
        probe.line.ping()  # still there
        assert town.status()[1]["cut_off"] == []
    assert town.kept(sender) == list(range(1, A_DAY + 1))


def test_readmitting_whom_the_broker_does_not_know_says_so(town: Town) -> None:
    run = subprocess.run(
        [*balise("probes", "readmit", "z" * 16), "--data", str(town.data)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (2, f"balise: {'z' * 16}: the broker does not know it; was it revoked?\n")


def test_a_revoked_probe_is_not_named_as_cut_off_any_more(town: Town) -> None:
    probe = town.agents[1].probe
    with closing(CutOffs(town.data / "fleet.db")) as cutoffs:
        cutoffs.add(probe, "too much", 1)
        subprocess.run([*balise("probes", "revoke", probe), "--data", str(town.data)], check=True, capture_output=True)
        assert cutoffs.standing() == []
