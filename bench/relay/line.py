"""How are two hosts of one machine put at the ends of a line of known rate, delay, queue and loss?

Two network namespaces, home and far, joined by `relay.c` alone. Needs root, /dev/net/tun and a C compiler.

Rule 1: the truth is arithmetic: rate x payload / 1,500 of each IP packet, at whatever loss before the queue.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOME, FAR = "10.99.0.1", "10.99.0.2"
HOME6, FAR6 = "fd99::1", "fd99::2"
MTU = 1_500
PAYLOAD = {4: 1_448, 6: 1_428}  # of a packet of 1,500: IP and TCP headers with timestamps

_COUNT = itertools.count()  # several lines stand side by side
_SOURCE = Path(__file__).with_name("relay.c")
_IP = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") or "ip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One direction. ``queue_ms``: at its rate; ``loss``: drawn for each packet before the queue."""

    rate_bps: int
    delay_ms: float
    queue_ms: float
    loss: float = 0.0

    def goodput_bps(self, af: int = 4) -> float:
        """TCP payload that it carries."""
        return self.rate_bps * PAYLOAD[af] / MTU

    def words(self) -> list[str]:
        """As `relay` takes it."""
        queue_bytes = max(2 * MTU, self.rate_bps / 8 * self.queue_ms / 1_000)
        numbers = (self.rate_bps, self.delay_ms * 1_000, queue_bytes, self.loss * 1e6)
        return [str(round(number)) for number in numbers]


@dataclass(slots=True, kw_only=True)
class Line:
    """A line that stands. ``counters``, ``waits``: the relay's, when it no longer does.

    ``waits``: each 5 ms, by direction, when (s, monotonic), how long a packet would wait (ms), bytes carried by then.
    """

    home: str
    far: str
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    waits: dict[str, list[tuple[float, float, int]]] = field(default_factory=dict)

    def at(self, where: str, *command: str) -> list[str]:
        """A command as it is started at ``home`` or ``far``."""
        return [_IP, "netns", "exec", self.home if where == "home" else self.far, *command]


def why_not() -> str | None:
    """What this machine lacks for a line; None: nothing."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    if shutil.which("cc") is None:
        return "no C compiler"
    probe = f"balise-try-{os.getpid()}"
    made = subprocess.run([_IP, "netns", "add", probe], capture_output=True, check=False)
    if made.returncode != 0:
        return "no network namespaces"
    subprocess.run([_IP, "netns", "delete", probe], check=True)
    return None


def build(folder: Path) -> Path:
    """The relay as a program."""
    program = folder / "relay"
    subprocess.run(["cc", "-O2", "-pthread", "-Wall", "-Wextra", "-Werror", "-o", program, _SOURCE], check=True)
    return program


@contextmanager
def line(down: Way, up: Way, seed: int = 1) -> Iterator[Line]:
    """A line that stands while the block runs; ``down`` is from far to home."""
    name = f"{os.getpid()}-{next(_COUNT)}"
    built = Line(home=f"balise-home-{name}", far=f"balise-far-{name}")
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="balise-relay-")))
        for name in (built.home, built.far):
            subprocess.run([_IP, "netns", "add", name], check=True)
            closing.callback(subprocess.run, [_IP, "netns", "delete", name], check=False)
        log = folder / "log"
        words = [str(build(folder)), built.far, built.home, str(seed), *down.words(), *up.words(), str(log)]
        relay = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            if relay.stdout is None or relay.stdout.readline() != "ready\n":
                raise RuntimeError("the relay did not start")
            for name, address, address6 in ((built.home, HOME, HOME6), (built.far, FAR, FAR6)):
                _address(name, address, address6)
            yield built
        finally:
            relay.terminate()
            said, _ = relay.communicate()
            if said.strip():
                counted = json.loads(said)
                built.counters = {"down": counted["a_to_b"], "up": counted["b_to_a"]}
                built.waits = _waits(log)


def _waits(log: Path) -> dict[str, list[tuple[float, float, int]]]:
    waits: dict[str, list[tuple[float, float, int]]] = {"down": [], "up": []}
    for way, at_us, wait_us, carried in map(str.split, log.read_text("ascii").splitlines()):
        waits[way].append((int(at_us) / 1e6, int(wait_us) / 1e3, int(carried)))
    return waits


def _address(name: str, address: str, address6: str) -> None:
    inside = [_IP, "-n", name]
    subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
    # The relay reads at once; a queue of the device's own would be a second line in front of it.
    subprocess.run([*inside, "link", "set", "line", "mtu", str(MTU), "txqueuelen", "5000", "up"], check=True)
    subprocess.run([*inside, "address", "add", f"{address}/24", "dev", "line"], check=True)
    subprocess.run([*inside, "address", "add", f"{address6}/64", "dev", "line", "nodad"], check=False)
    sets = "echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save; echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range"
    subprocess.run([_IP, "netns", "exec", name, "sh", "-c", sets], check=True)
