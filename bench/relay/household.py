"""How do a probe and a tenant stand behind one box, at the end of a line of known rate?

    probe --+
            +-- box == relay.c == far (balise target, and what the tenant fetches)
    tenant -+

The box is a namespace that forwards, with miniupnpd 2.3.1 in it: its counters are those of its own end of the line. The
probe is `bench.relay.gate_probe`: the agent's own gate, plan and engine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from bench.relay.line import _IP, FAR, Line, Way, line
from bench.relay.peers import KEY, target

ROOT = Path(__file__).parents[2]
BOX = "10.1.0.1"
_HOSTS = {"probe": "10.1.0.2", "tenant": "10.1.0.3"}
_CONF = """\
ext_ifname=line
ext_ip=11.0.0.1
listening_ip=lan0
enable_natpmp=no
enable_upnp=yes
port=0
system_uptime=no
uuid=00000000-0000-0000-0000-000000000001
"""
"""`ext_ip` is never used: miniupnpd only wants one that looks public."""

STREAM_PORT = 7001
PATIENCE_S = 120.0


@dataclass(slots=True, kw_only=True)
class Household:
    """It stands while the block runs. ``port``: of the target."""

    line: Line
    folder: Path
    port: int
    names: Mapping[str, str]

    def at(self, where: str, *command: str) -> list[str]:
        """A command as it is started there: probe, tenant, box or far."""
        return [_IP, "netns", "exec", self.names[where], *command]

    @contextmanager
    def tenant(self, bps: int) -> Iterator[float]:
        """Somebody downloads at that rate; when the first byte of it came, on the monotonic clock."""
        words = [sys.executable, "-m", "bench.relay.stream"]
        serve = self.at("far", *words, "serve", str(STREAM_PORT), str(bps))
        fetch = self.at("tenant", *words, "fetch", FAR, str(STREAM_PORT))
        with ExitStack() as closing:
            for command in (serve, fetch):
                program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
                closing.callback(_end, program)
                assert program.stdout is not None
                said = program.stdout.readline()
            yield float(said)

    @contextmanager
    def probe(self, *options: str) -> Iterator[Probe]:
        """The agent's heavy tests, on demand."""
        words = [sys.executable, "-m", "bench.relay.gate_probe", str(self.folder), str(self.port), *options]
        with subprocess.Popen(
            self.at("probe", *words), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program:
            try:
                yield Probe(program)
            finally:
                program.kill()


class Probe:
    """What it says, as it comes."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program
        self._said: Queue[Mapping[str, Any]] = Queue()
        Thread(target=self._listen, daemon=True).start()

    def ask(self, probe: str) -> None:
        """A test of that kind, now."""
        assert self._program.stdin is not None
        self._program.stdin.write(probe + "\n")
        self._program.stdin.flush()

    def next(self) -> Mapping[str, Any]:
        """The next event."""
        try:
            return self._said.get(timeout=PATIENCE_S)
        except Empty:
            raise RuntimeError("the probe says nothing") from None

    def _listen(self) -> None:
        assert self._program.stdout is not None
        for text in self._program.stdout:
            self._said.put(json.loads(text))


@contextmanager
def household(folder: Path, way: Way, *, speaks: bool = True, seed: int = 1) -> Iterator[Household]:
    """A line with two hosts behind a box; ``speaks``: the box speaks UPnP."""
    with ExitStack() as closing:
        there = closing.enter_context(line(way, way, seed=seed))
        names = {"box": there.home, "far": there.far}
        for host, address in _HOSTS.items():
            names[host] = f"{there.home}-{host}"
            _ip("netns", "add", names[host])
            closing.callback(subprocess.run, [_IP, "netns", "delete", names[host]], check=False)
            _ip("-n", names[host], "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", there.home)
            for words in (f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up"):
                _ip("-n", names[host], *words.split())
            _ip("netns", "exec", names[host], "sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        _box(there.home)
        for host in _HOSTS:
            _ip("-n", names[host], "route", "add", "default", "via", BOX)
        _ip("-n", there.far, "route", "add", "10.1.0.0/24", "via", "10.99.0.1")
        if speaks:
            _speak(closing, there, folder)
        port = closing.enter_context(target(there, folder))
        yield Household(line=there, folder=folder, port=port, names=names)


def _box(name: str) -> None:
    lines = ["link add lan0 type bridge", *(f"link set {host} master lan0" for host in _HOSTS)]
    lines += [f"addr add {BOX}/24 dev lan0", *(f"link set {port} up" for port in ("lan0", *_HOSTS))]
    for words in lines:
        _ip("-n", name, *words.split())
    _ip("netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _speak(closing: ExitStack, there: Line, folder: Path) -> None:
    conf, log = folder / "miniupnpd.conf", folder / "miniupnpd.log"
    conf.write_text(_CONF)
    with log.open("wb") as said:
        words = ["miniupnpd", "-d", "-f", str(conf), "-P", str(folder / "miniupnpd.pid")]
        program = subprocess.Popen(there.at("home", *words), stdout=said, stderr=said)
    closing.callback(_end, program)
    until_s = time.monotonic() + PATIENCE_S
    while b"HTTP listening" not in log.read_bytes():
        if program.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"miniupnpd does not start: {log.read_text()[-300:]}")
        time.sleep(0.05)


def _ip(*words: str) -> None:
    subprocess.run([_IP, *words], check=True)


def _end(program: subprocess.Popen[Any]) -> None:
    program.kill()
    program.wait()
    if program.stdout is not None:
        program.stdout.close()


__all__ = ["KEY", "Household", "Probe", "household"]
