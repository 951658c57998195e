"""Which programs make up the demo, and with which configuration does each start?

Broker, target, collector and one agent that measures them: the programs that an operator runs, each a process of its
own, nothing simulated. The agent's batches are sealed each second and its windows are short, so that one sees
something soon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from balise_collector import broker
from balise_collector.demo import agent_config, exchange, town
from balise_collector.demo.agent_config import ZONE
from balise_collector.directory import Consent, Directory, Home, Inventory, Line, Offer, Pon, sqlite_url
from balise_collector.headend import sending as headend
from balise_collector.target import Ports
from balise_collector.town.script import ScriptError

READY_S = 60.0  # a machine that is busy with other things; one that ended is told at once
END_S = 5.0
WITNESS = "BALISE_WITNESS"
SERVICES: dict[str, tuple[str, str]] = {
    "tv": ("headend", "balise_collector.headend"),
    "voice": ("telephone", exchange.__name__),
}
"""What an operator offers beside the internet: the program's name in the demo, and its module. Each takes `--fault`."""

FAULTS: dict[str, Callable[[list[str]], object]] = {"tv": headend.read_faults, "voice": exchange.read_faults}
"""Who reads what is wrong with it, and raises ValueError of what is nothing."""

BASE_OFFER_BPS = 10_000_000  # what the base offer was announced at


class DemoError(Exception):
    """The demo cannot be shown here, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFiles:
    """One agent: its probe, the home that it is in, and where its files are."""

    name: str
    probe: str
    password: str
    folder: Path

    @property
    def config(self) -> Path:
        """Its TOML."""
        return self.folder / "agent.toml"

    @property
    def outbox(self) -> Path:
        """In its STATE."""
        return self.folder / "state" / "outbox.db"

    @property
    def witness(self) -> Path:
        """A line for each record, written by the agent once it is on disk."""
        return self.folder / "witness.jsonl"


@dataclass(slots=True)
class Programs:
    """The running programs and where their files are; they start in one order and end in the other.

    ``serve_options``: what `balise serve` is told beside. ``town``: how many simulated homes stand around the agent,
    ``faults`` what happens to them; None: what `town/scripts/demo.toml` says. ``wrong``: service to what is wrong with
    it (`FAULTS`).
    """

    folder: Path
    agents: list[AgentFiles] = field(default_factory=list)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    serve_options: tuple[str, ...] = ()
    town: int = 0
    faults: Path | None = None
    wrong: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked_to_end: threading.Event = field(default_factory=threading.Event)

    @property
    def data(self) -> Path:
        """DATA of the collector."""
        return self.folder / "data"

    def start(self, agents: int = 1) -> None:
        """Everything, each once the one before it answers. DemoError: one of them does not."""
        files = prepare_broker(self.data)
        self.agents = prepare_agents(self.folder, self.data, files, agents)
        settings = self.prepare_town(files)
        self.start_broker()
        ports = self.start_target()
        telephone, television = self.start_service("voice")["sip"], self.start_service("tv")
        self.start_collector()
        for agent in self.agents:
            self.go_on()
            write_agent_config(agent, files, ports, telephone, television)
            self.start_agent(agent)
        if settings is not None:
            self.run("town", town.command(self.data, settings, os.getpid()))

    def prepare_town(self, files: broker.BrokerFiles) -> Path | None:
        """What its program needs; None: there is no town."""
        if not self.town:
            return None
        try:
            return town.prepare(self.folder, self.data, files, self.town, self.faults, time.time_ns() // 1_000_000)
        except ScriptError as exc:
            raise DemoError(str(exc)) from exc

    def start_broker(self) -> None:
        """mosquitto, as Debian ships it."""
        files = broker.load(self.data / "broker")
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise DemoError("mosquitto is not installed: sudo deploy/setup-debian.sh demo")
        self.run("broker", [program, "-c", str(files.conf)])
        self.wait("broker", lambda: _answers(files.host, files.port))

    def start_target(self) -> Ports:
        """`balise target`, and where it listens."""
        options = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0", "--dns-port", "0", "--dns-zone", ZONE]
        options += ["--telephone", "--sip-port", "0", "--voice-port", "0"]
        return Ports(**self.run_and_hear("target", [*_balise(), "target", *options, "--json"]))

    def start_service(self, service: str) -> dict[str, int]:
        """A program that plays an operator's service, with what is wrong with it, and where it is."""
        name, module = SERVICES[service]
        options = [word for fault in self.wrong.get(service, ()) for word in ("--fault", fault)]
        return self.run_and_hear(name, [sys.executable, "-m", module, *options])

    def run_and_hear(self, name: str, command: list[str]) -> dict[str, int]:
        """Starts a program that says its ports as a line of JSON."""
        self.run(name, command)
        log = self.log(name)
        self.wait(name, lambda: log.read_text().startswith("{") and log.read_text().endswith("\n"))
        return dict(json.loads(log.read_text().splitlines()[0]))

    def start_collector(self) -> None:
        """`balise serve`."""
        with suppress(FileNotFoundError):
            (self.data / "serve.json").unlink()
        options = ["--data", str(self.data), "--http-port", "0", *self.serve_options]
        self.run("collector", [*_balise(), "serve", *options])
        self.wait("collector", (self.data / "serve.json").exists)

    def start_agent(self, agent: AgentFiles, module: str = "balise_agent.cli") -> None:
        """`balise-agent run`; ``module``: another program that is run in its place (a control of the fault tests)."""
        command = [sys.executable, "-m", module, "run", "--config", str(agent.config)]
        self.run(agent.name, command, {WITNESS: str(agent.witness)})

    def run(self, name: str, command: list[str], environ: Mapping[str, str] | None = None) -> None:
        """Starts one program, with its output in a file; Ctrl-C is ours to pass on, so it has a session of its own."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )

    def wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        """Until it answers. DemoError: it ended, or it takes too long."""
        until_s = time.monotonic() + READY_S
        while not is_ready():
            self.go_on()
            if self.running[name].poll() is not None or time.monotonic() > until_s:
                last = self.log(name).read_text(errors="replace").strip().splitlines()[-3:]
                raise DemoError(f"{name} does not start: {' / '.join(last)}")
            time.sleep(0.05)

    def go_on(self) -> None:
        """KeyboardInterrupt: it was asked to end."""
        if self.asked_to_end.is_set():
            raise KeyboardInterrupt

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.log"
        path.touch()
        return path

    def ended(self) -> list[str]:
        """Names of programs that are not running any more."""
        return [name for name, process in self.running.items() if process.poll() is not None]

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """Ends one program, whether it likes to or not."""
        process = self.running.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self) -> None:
        """Agents first, so that what it says last is still heard."""
        services = (name for name, _ in SERVICES.values())
        for name in ("town", *(agent.name for agent in self.agents), "collector", *services, "target", "broker"):
            self.end(name)


def prepare_broker(data: Path) -> broker.BrokerFiles:
    """A broker's files on a free port of loopback, without persistence: nothing rests on it."""
    try:
        return broker.init(data / "broker", port=free_port(), persistence=False)
    except broker.BrokerError as exc:
        raise DemoError(str(exc)) from exc


def prepare_agents(folder: Path, data: Path, files: broker.BrokerFiles, count: int) -> list[AgentFiles]:
    """As many homes on the base offer that agree to be measured, and a probe in each."""
    now_ms = time.time_ns() // 1_000_000
    agents = []
    with Directory(sqlite_url(data)) as directory:
        for number in range(1, count + 1):
            probe, home = directory.draw_ids(2)
            name = "agent" if count == 1 else f"agent{number}"
            directory.import_homes(_inventory(home, now_ms))
            directory.add_probes([probe], now_ms=now_ms)
            directory.assign(probe, from_ms=now_ms - 60_000, home=home)
            agents.append(AgentFiles(name=name, probe=probe, password=broker.new_password(), folder=folder / name))
    broker.add_probes(files.dynsec, {agent.probe: agent.password for agent in agents})
    return agents


def _inventory(home: str, now_ms: int) -> Inventory:
    since_ms = now_ms - 60_000
    line = Line(from_ms=since_ms, pon="pon-demo", offer="base")
    consent = Consent(purpose="mesure", given_ms=since_ms, text="demo")
    return Inventory(
        homes={home: Home(id=home, building="demo", lines=(line,), consents=(consent,))},
        buildings={"demo": ""},
        pons={"pon-demo": Pon()},
        offers={"base": Offer(operator="demo", down_bps=BASE_OFFER_BPS, up_bps=BASE_OFFER_BPS)},
    )


def write_agent_config(
    agent: AgentFiles,
    files: broker.BrokerFiles,
    ports: Ports,
    telephone: int | None = None,
    television: Mapping[str, int] | None = None,
) -> None:
    """As `agent_config.text` says it; it holds a password."""
    agent.folder.mkdir(parents=True, exist_ok=True)
    account = agent_config.Account(probe=agent.probe, password=agent.password, host=files.host, port=files.port)
    agent.config.touch(0o600)  # before the password is in it
    agent.config.write_text(agent_config.text(account, agent.outbox.parent, ports, telephone, television))


def free_port() -> int:
    """A TCP port of loopback that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


def _balise() -> list[str]:
    return [sys.executable, "-m", "balise_collector.entry"]
