"""Does `balise-agent run` do what the operator sets and asks, and lose nothing however it ends?

The whole server where the store is asked; where the test must be the collector, a broker and a `Listener`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from balise_agent import codec, contract
from balise_agent.clock import SystemClock
from balise_agent.contract import Ack, Batch, Command, CommandKind, Config, Record
from balise_agent.outbox import Outbox
from balise_agent.probes import PROBES
from balise_agent.settings import as_table
from balise_agent.uplink import WINDOW
from balise_collector import wire
from balise_collector.commands.demo import finish
from balise_collector.demo import programs as demo
from balise_collector.demo.programs import AgentFiles, Programs
from balise_collector.directory import Directory, sqlite_url
from balise_collector.fleet import Fleet, new_command_id
from balise_collector.store import Point
from balise_collector.store.chunks import open_reader
from balise_collector.target.tokens import read_key, read_token
from tests.brokers import Listener, Mosquitto
from tests.waiting import PATIENCE_S, until

ID = "k3v9q2xa7m"
WATCHED = {"alive", "avail", "outage", "path", "link"}  # what the ladder says, beside the windows of reach
MEASURED = set(PROBES) | WATCHED
FAR_MS = 2**43
TOKEN_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def let_pass(seconds: float) -> None:
    """Where it is shown that something does not happen: there is nothing to poll."""
    time.sleep(seconds)


# the whole server


class World:
    """Broker, target and collector, and homes with a probe each, whose agents the tests start."""

    def __init__(self, folder: Path, homes: int) -> None:
        self.programs = Programs(folder)
        self.files = demo.prepare_broker(self.programs.data)
        self.programs.agents = demo.prepare_agents(folder, self.programs.data, self.files, homes)
        self._fresh = iter(self.programs.agents)
        (self.programs.data / "target.key").write_text(TOKEN_KEY)
        self.programs.start_broker()
        self._ports = self.programs.start_target()
        self.programs.start_collector()

    def agent(self) -> AgentFiles:
        """One that no test had, running and delivering."""
        agent = next(self._fresh)
        demo.write_agent_config(agent, self.files, self._ports)
        self.programs.start_agent(agent)
        until(lambda: self.stored(agent, "host") or self.programs.ended(), "a first record in the store")
        assert self.programs.ended() == [], self.programs.log(agent.name).read_text()
        return agent

    def end(self, agent: AgentFiles, number: int = signal.SIGTERM) -> int:
        """Its exit status; `Programs.end` would kill one that does not end."""
        process = self.programs.running.pop(agent.name)
        process.send_signal(number)
        return process.wait(30)

    def balise(self, *words: str) -> str:
        """What an operator types."""
        done = self.typed(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def typed(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same, however it ends."""
        command = [sys.executable, "-m", "balise_collector.entry", *words, "--data", str(self.programs.data)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    def command(self, agent: AgentFiles, kind: CommandKind, **args: Any) -> str:
        """As `balise command` does, without starting Python for it."""
        asked = Command(id=new_command_id(), kind=kind, expires_ms=now_ms() + 600_000, args=args)
        self.ask(agent, asked)
        return asked.id

    def ask(self, agent: AgentFiles, command: Command) -> None:
        with closing(Fleet(self.programs.data / "fleet.db")) as fleet:
            fleet.ask(agent.probe, command)

    def stored(self, agent: AgentFiles, *measurements: str) -> list[Point]:
        """What the store has of a probe, in order of time."""
        with closing(open_reader(self.programs.data / "store")) as reader:
            found = [
                point
                for series in reader.series()
                if series.probe == agent.probe and series.measurement in measurements
                for point in reader.read(series.home, series.measurement, series.target, 0, FAR_MS)
            ]
        return sorted(found, key=lambda point: point.ts_ms)

    def states(self, agent: AgentFiles, id_: str) -> list[Any]:
        """How a command went on."""
        return [point.fields["state"] for point in self.stored(agent, "command") if point.fields["id"] == id_]

    def details(self, agent: AgentFiles, id_: str) -> list[Any]:
        return [
            point.fields["detail"]
            for point in self.stored(agent, "command")
            if point.fields["id"] == id_ and "detail" in point.fields
        ]

    def events(self, agent: AgentFiles, what: str) -> list[Point]:
        return [point for point in self.stored(agent, "agent_event") if point.target == what]

    def set_fleet(self, toml: str) -> None:
        """Writes the fleet's settings, and something in the directory: then the collector looks."""
        (self.programs.data / "fleet.toml").write_text(toml)
        with Directory(sqlite_url(self.programs.data)) as directory:
            directory.add_probes(directory.draw_ids(1), now_ms=now_ms())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), homes=8)
    yield made
    made.programs.end_all()


def witnessed(agent: AgentFiles) -> list[tuple[str, int]]:
    """Measurement and boot time of each record that was on its disk, in that order."""
    lines = agent.witness.read_text().splitlines() if agent.witness.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [(row["measurement"], row["bt_ms"]) for row in rows]


def good_config(agent: AgentFiles) -> Config | None:
    path = agent.outbox.parent / "config.good"
    decoded = codec.decode_cmd(path.read_bytes()) if path.exists() else None
    return decoded if isinstance(decoded, Config) else None


def on_trial(agent: AgentFiles) -> bool:
    return json.loads((agent.outbox.parent / "config.json").read_bytes())["trial"] is not None


def test_a_command_s_progress_is_in_the_store_and_the_same_id_again_does_nothing(world: World) -> None:
    agent = world.agent()
    told = world.typed("command", agent.probe, "test", "--args", '{"probe": "host"}', "--wait", "60")
    assert (told.returncode, told.stderr.splitlines()) == (0, ["accepted", "done: 1 records"])
    done = told.stdout.strip()
    until(lambda: world.states(agent, done) == ["accepted", "done"], "the test")
    assert world.details(agent, done) == ["1 records"]

    not_taken = world.command(agent, "test", probe="tv")  # without a channel; the gate's refusal looks alike
    after_it = world.command(agent, "test", probe="host")
    until(lambda: world.states(agent, after_it) == ["accepted", "done"], "the test after it")
    assert world.states(agent, not_taken) == []  # with its time it would say when the line was in use

    twice = Command(id="twice", kind="test", expires_ms=now_ms() + 600_000, args={"probe": "host"})
    world.ask(agent, twice)
    world.ask(agent, twice)
    until(lambda: world.states(agent, "twice") == ["accepted", "done"], "the test asked twice")
    world.end(agent)
    world.programs.start_agent(agent)
    until(lambda: len(world.events(agent, "started")) == 2, "the second start")
    world.ask(agent, twice)
    nonsense = world.typed("command", agent.probe, "test", "--args", '{"probe": "nothing"}', "--wait", "60")
    assert (nonsense.returncode, nonsense.stderr.strip()) == (1, "refused: unknown_probe")
    id_ = nonsense.stdout.strip()
    until(lambda: world.states(agent, id_) == ["refused"], "the refusal, which came after it")
    assert world.states(agent, "twice") == ["accepted", "done"]


def test_a_pause_ends_measuring_and_resume_begins_it_again(world: World) -> None:
    agent = world.agent()
    paused = world.command(agent, "pause", seconds=3600)
    until(lambda: "done" in world.states(agent, paused), "the pause")
    before = Counter(name for name, _ in witnessed(agent) if name in MEASURED)
    let_pass(2.5)  # more than one of its windows
    assert Counter(name for name, _ in witnessed(agent) if name in MEASURED) == before
    resumed = world.command(agent, "resume")
    until(lambda: "done" in world.states(agent, resumed), "the resumption")
    until(lambda: Counter(name for name, _ in witnessed(agent))["host"] > before["host"], "a record after it")


def test_a_replay_sends_acknowledged_messages_again_and_doubles_nothing(world: World) -> None:
    agent = world.agent()
    until(lambda: _acked(agent.outbox) >= 2, "acks on the agent's disk")
    (stream,) = _column(agent.outbox, "SELECT DISTINCT stream FROM outbox")
    replay = world.command(agent, "replay", stream=stream, from_seq=1)
    until(lambda: "done" in world.states(agent, replay), "the replay")
    (detail,) = world.details(agent, replay)
    count = int(detail.removesuffix(" messages"))
    assert count >= 2
    until(lambda: _acked(agent.outbox) > count, "acks of what was sent again")
    hosts = world.stored(agent, "host")
    assert len({point.ts_ms for point in hosts}) == len(hosts)


def test_what_the_operator_sets_is_proven_kept_and_in_force_at_the_next_start(world: World) -> None:
    agent = world.agent()
    until(lambda: good_config(agent) is not None, "the first configuration's proof")
    planned = [name for name, probe in PROBES.items() if "enabled" in as_table(probe.settings())]
    others_off = "".join(f"[plan.{name}]\nenabled = false\n" for name in planned if name != "host")
    world.set_fleet(f"[plan.host]\ninterval_s = 1\n{others_off}")
    good = until(lambda: (found := good_config(agent)) and found.plan and found, "the new configuration's proof")
    assert good.plan["host"] == {"interval_s": 1}
    until(lambda: not on_trial(agent), "the end of the trial")

    world.set_fleet("[plan.host]\ninterval_s = 0\ncolour = 1\n")
    (refused,) = until(lambda: world.events(agent, "config_refused"), "the refusal")
    assert "plan.host.interval_s" in str(refused.fields["detail"])
    assert "plan.host.colour" in str(refused.fields["detail"])
    assert good_config(agent) == good

    world.end(agent)
    before = len(witnessed(agent))
    world.programs.end("broker")  # nobody can tell it anything now
    world.programs.start_agent(agent)
    until(lambda: sum(name == "host" for name, _ in witnessed(agent)[before:]) >= 3, "three records")
    assert {name for name, _ in witnessed(agent)[before:]} & MEASURED == {"host"}
    world.set_fleet("")
    world.programs.start_broker()
    world.end(agent)


def test_a_withdrawn_consent_ends_measuring_and_erases_what_waits(world: World) -> None:
    agent = world.agent()
    with Directory(sqlite_url(world.programs.data)) as directory:
        (home,) = (at.home for at in directory.assignments() if at.probe == agent.probe)
    world.balise("homes", "withdraw", home)
    log = world.programs.log(agent.name)
    until(lambda: "info erased" in log.read_text(), "the erasure")
    withdrawn_ms = now_ms()
    assert not (agent.outbox.parent / "line.json").exists()
    measured = Counter(name for name, _ in witnessed(agent) if name in MEASURED)
    assert not MEASURED & set(_held(agent.outbox))
    world.end(agent)
    world.programs.start_agent(agent)  # nor after the next start
    until(lambda: log.read_text().count("info erased") == 2, "the erasure at the start")
    let_pass(2.5)  # more than one of its windows
    assert Counter(name for name, _ in witnessed(agent) if name in MEASURED) == measured
    assert [point for point in world.stored(agent, *MEASURED) if point.ts_ms > withdrawn_ms] == []


def test_the_line_is_watched_and_a_killed_agent_goes_on_with_what_it_knew(world: World) -> None:
    agent = world.agent()
    until(lambda: world.stored(agent, "path"), "the way was traced")
    (mark, *_), (way, *_) = world.stored(agent, "alive"), world.stored(agent, "path")
    assert mark.fields["state"] in ("up", "unsure")
    assert way.fields["hops"] == 1
    kept = agent.outbox.parent / "line.json"
    until(kept.exists, "its book is on disk")
    world.end(agent, signal.SIGKILL)
    world.programs.start_agent(agent)
    until(lambda: len(world.stored(agent, "alive")) == 2, "it watches again")
    world.end(agent)
    assert '"answered":["' in kept.read_text()


def test_a_test_that_the_gate_refuses_is_told_to_who_asked_and_stored_nowhere(world: World) -> None:
    agent = world.agent()
    world.set_fleet('[[targets.throughput]]\nlabel = "op"\nurl = "http://127.0.0.1:1"\n')
    told = until(lambda: (found := good_config(agent)) and found.targets and found, "the target's proof")
    grant = read_token(read_key(TOKEN_KEY), told.token, now_ms() / 1000)
    assert grant is not None
    assert (grant.segment, grant.shape) == (told.segment, "light")
    words = ["command", agent.probe, "test", "--args", '{"probe": "throughput"}', "--wait", "60"]
    asked = world.typed(*words)
    assert (asked.returncode, asked.stderr.strip()) == (3, "refused: gate_unknown")  # nothing says how the line is used
    before = len(world.stored(agent, "host"))
    until(lambda: len(world.stored(agent, "host")) > before + 1, "what was said after it")
    assert world.states(agent, asked.stdout.strip()) == []
    with closing(sqlite3.connect(f"file:{agent.outbox}?mode=ro", uri=True)) as db:
        assert "gate_unknown" in " ".join(text for (text,) in db.execute("SELECT v FROM budget"))
    world.set_fleet("")
    world.end(agent)


def test_sigterm_and_kills_lose_nothing_and_the_next_start_goes_on(world: World) -> None:
    agent = world.agent()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        before = len(witnessed(agent))
        until(lambda: len(witnessed(agent)) > before + 3, "a few records more")  # noqa: B023 - asked at once
        assert world.end(agent, number) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        world.programs.start_agent(agent)
    until(lambda: len(world.events(agent, "started")) == 5, "the last start in the store")
    others = [one for one in world.programs.agents if one is not agent]
    world.programs.agents = [agent]
    found = finish(world.programs)
    world.programs.agents = others
    assert (found.lost, found.duplicated, found.waiting) == (0, 0, 0)
    assert found.measured > 20


# a broker, an agent, and the test in the collector's place


class Held:
    """An agent's files and process."""

    def __init__(self, folder: Path, port: int, host: str = "127.0.0.1") -> None:
        self.folder, self.log = folder, folder / "agent.log"
        self.state = folder / "state"
        self.outbox = self.state / "outbox.db"
        self.config = folder / "agent.toml"
        self.config.touch(mode=0o600)
        self.config.write_text(
            f"""\
[agent]
state_dir = "{self.state}"
batch_s = 1
clock = "trust"
[broker]
host = "{host}"
port = {port}
tls = false
username = "{ID}"
password = "right"
[probe]
id = "{ID}"
[box]
enabled = false
[host]
interval_s = 1
"""
        )

    @contextmanager
    def running(self, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """Its log goes through another process, so that it may write no file and still complain."""
        command = [sys.executable, "-m", "balise_agent.cli", "run", "--config", str(self.config)]
        with self.log.open("ab") as log, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log) as cat:
            process = subprocess.Popen(command, stdout=cat.stdin, stderr=cat.stdin, env=os.environ | environ)
            assert cat.stdin is not None
            cat.stdin.close()
            try:
                yield process
            finally:
                process.terminate()
                process.wait(30)

    def fill(self, messages: int) -> None:
        """A backlog, one record a message."""
        self.state.mkdir(mode=0o700)
        clock = SystemClock(trust=True)
        outbox = Outbox(self.outbox, boot="earlier", clock=clock, synchronous="OFF")
        for n in range(messages):
            outbox.commit([Record(measurement="host", bt_ms=clock.bt_ms(), fields={"uptime_s": n})], seal=True)
        outbox.close()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, {ID: "right"}) as server:
        yield server


@pytest.fixture
def collector(mosquitto: Mosquitto) -> Iterator[Listener]:
    made = Listener(mosquitto.files)
    yield made
    made.close()


@pytest.fixture
def agent(tmp_path: Path, mosquitto: Mosquitto) -> Held:
    return Held(tmp_path, mosquitto.port)


def next_batch(collector: Listener) -> Batch:
    batch = codec.decode_batch(collector.next("records").payload)
    assert isinstance(batch, Batch), batch
    return batch


def take(collector: Listener) -> list[Record]:
    """The next message's records, acknowledged."""
    batch = next_batch(collector)
    seq = batch.envelope.seq
    collector.tell(contract.topic(ID, "ack"), codec.encode_ack(Ack(stream=batch.envelope.stream, ranges=((seq, seq),))))
    return list(batch.body.records)


def next_record(collector: Listener, measurement: str, **fields: Any) -> Record:
    """The next such record, with such fields; what comes before it, or with it, is acknowledged and passed over."""
    while True:
        for record in take(collector):
            if (
                record.measurement == measurement
                and fields.items() <= {"target": record.target, **record.fields}.items()
            ):
                return record


def tell(collector: Listener, message: Command | Config) -> None:
    if isinstance(message, Config):
        collector.tell(contract.topic(ID, "cmd"), codec.encode_config(message), retain=True)
    else:
        collector.tell(contract.topic(ID, "cmd"), codec.encode_command(message))


def test_a_command_that_comes_late_is_refused_as_expired(agent: Held, collector: Listener) -> None:
    with agent.running():
        take(collector)
        tell(collector, Command(id="late", kind="resume", expires_ms=now_ms() - 1))
        assert next_record(collector, "command").fields["state"] == "expired"


def test_without_consent_no_command_makes_it_measure(agent: Held, collector: Listener) -> None:
    tell(collector, Config(version=7, consent=False))
    with agent.running():
        until(lambda: "info erased" in agent.log.read_text(), "the erasure")
        for kind, args in (("resume", {}), ("pause", {"seconds": 1}), ("test", {"probe": "host"})):
            command: Any = Command(id=kind, kind=kind, expires_ms=now_ms() + 600_000, args=args)  # type: ignore[arg-type]
            tell(collector, command)
            fields = next_record(collector, "command", id=kind).fields
            assert (fields["state"], fields["detail"]) == ("refused", "no_consent")
        assert not MEASURED & set(_held(agent.outbox))
        tell(collector, Config(version=8))  # given again
        next_record(collector, "host")


def test_a_configuration_does_not_end_the_operator_s_pause(agent: Held, collector: Listener) -> None:
    with agent.running():
        next_record(collector, "host")
        tell(collector, Command(id="p", kind="pause", expires_ms=now_ms() + 600_000, args={"seconds": 3600}))
        paused_ms = next_record(collector, "command", state="done").bt_ms
        tell(collector, Config(version=9))
        next_record(collector, "agent_event", target="config_applied")
        let_pass(2.5)  # two of its windows
        resumed_ms = SystemClock().bt_ms()
        tell(collector, Command(id="r", kind="resume", expires_ms=now_ms() + 600_000))
        found: list[int] = []
        while not any(bt_ms > resumed_ms for bt_ms in found):
            found += [record.bt_ms for record in take(collector) if record.measurement == "host"]
        assert [bt_ms for bt_ms in found if paused_ms < bt_ms < resumed_ms] == []


def test_a_backlog_is_sent_a_window_at_a_time_and_anew_after_a_reconnect(agent: Held, mosquitto: Mosquitto) -> None:
    agent.fill(60)
    first = Listener(mosquitto.files)
    with agent.running():
        sent = [next_batch(first).envelope.seq for _ in range(WINDOW)]
        assert len(set(sent)) == WINDOW
        quiet(first)
        first.close()
        mosquitto.kill()
        mosquitto.start()
        second = Listener(mosquitto.files)
        again = [next_batch(second).envelope.seq for _ in range(WINDOW)]
        assert again == sent
        quiet(second)
        second.close()


def quiet(collector: Listener) -> None:
    """Nothing more of a backlog comes for a while: within it the agent measures and seals, so it is awake."""
    let_pass(2)
    assert [one for one in list(collector.came.queue) if one.topic.endswith("/records")] == []


def test_a_backlog_goes_out_whole_once_it_is_acknowledged(agent: Held, collector: Listener) -> None:
    agent.fill(60)
    with agent.running():
        seen: set[Any] = set()
        while not set(range(60)) <= seen:
            seen |= {record.fields["uptime_s"] for record in take(collector) if record.measurement == "host"}
        until(lambda: _acked(agent.outbox) >= 60, "the marks")


def test_an_end_without_a_collector_is_an_end_all_the_same(agent: Held, collector: Listener) -> None:
    with agent.running() as process:
        next_batch(collector)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert _held(agent.outbox)["agent_event"] >= 2  # started and stopped wait for the next start


def test_the_service_manager_hears_ready_signs_of_life_and_the_end(agent: Held) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(agent.folder / "notify"))
        manager.settimeout(PATIENCE_S)
        said: list[bytes] = []
        with agent.running(NOTIFY_SOCKET=str(agent.folder / "notify"), WATCHDOG_USEC="100000"):
            while said.count(b"WATCHDOG=1") < 3:
                said.append(manager.recv(64))
        while said[-1] != b"STOPPING=1":
            said.append(manager.recv(64))
    assert sorted(set(said)) == [b"READY=1", b"STOPPING=1", b"WATCHDOG=1"]


def test_an_end_without_a_broker_is_an_end_all_the_same(agent: Held, mosquitto: Mosquitto) -> None:
    mosquitto.kill()
    with agent.running() as process:
        until(lambda: "disconnected" in agent.log.read_text(), "the first failure")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_what_is_measured_while_the_disk_refuses_is_delivered_later(agent: Held, collector: Listener) -> None:
    clock, hard = SystemClock(), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with agent.running() as process:
        next_record(collector, "host")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))  # no file may be written to any more
        until(lambda: "disk_refuses" in agent.log.read_text(), "the complaint")
        refused_ms = clock.bt_ms()
        let_pass(2.5)
        written_ms = clock.bt_ms()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        found: set[int] = set()
        while not any(bt_ms > written_ms for bt_ms in found):
            found |= {record.bt_ms for record in take(collector) if record.measurement == "host"}
        assert sum(refused_ms < bt_ms < written_ms for bt_ms in found) >= 2


def _held(outbox: Path) -> Counter[str]:
    """Measurements in an outbox, sealed or not, acknowledged or not."""
    found = Counter(
        row.measurement for body in _column(outbox, "SELECT body FROM outbox") for row in wire.records(body)
    )
    return found + Counter(json.loads(text)["m"] for text in _column(outbox, "SELECT record FROM pending"))


def _acked(outbox: Path) -> int:
    return int(_column(outbox, "SELECT count(*) FROM outbox WHERE acked IS NOT NULL")[0])


def _column(path: Path, sql: str) -> Sequence[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        return [row[0] for row in db.execute(sql)]
