"""What does an agent at rest take of its probe, and of its line?

    python -m bench.home [--seconds S]

The agent as it is installed, four probes at the real cadence: STAMP each 1.5 s and four rungs of ICMP each 10 s in
windows of 60 s, host each 60 s, two resolvers and two pages (HTTPS) each 300 s; batches of 60 s over TLS to a real
broker, acknowledged by `balise serve`, keep-alive 40 s. Memory is what the kernel says at the end; processor time is
of the whole process over the time. Line: every IP packet of the agent's session with the broker, both ways, headers
and bare ACKs included, as seen on `lo` (which needs root); the probes' own traffic and the opening of the session are
not in it.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from balise_collector import broker
from bench import certs, ground

GOALS = {"rss_mb": 40.0, "cpu_pct": 0.3, "line_mb_a_day": 1.5}
WARM_S = 75.0  # the first window, the first batch, the first ack
DAY_S = 86_400
_ETH_P_ALL = 0x0003
_PACKET_OUTGOING = 4  # linux/if_packet.h; on lo each packet is seen going out and coming in


def measure(seconds: float) -> dict[str, float]:
    """All figures of one agent over so many seconds, a multiple of 300 for every probe to have run as often."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balise-home-")))
        folder.chmod(0o755)
        tls = certs.make(folder / "tls")
        where = ground.prepare(folder / "data", 1, tls)
        stack.enter_context(ground.mosquitto(where.files))
        ports = stack.enter_context(_target(folder, tls))
        stack.enter_context(ground.serve(where, folder / "serve.log"))
        agent = stack.enter_context(_agent(folder, where, tls, ports))
        time.sleep(WARM_S)
        return _watch(agent.pid, where.files, seconds)


def _watch(pid: int, files: broker.BrokerFiles, seconds: float) -> dict[str, float]:
    process = psutil.Process(pid)
    with _line(files.port) as bytes_by_port:
        sessions = _sessions(process, files.port)
        cpu_s, began_s, switches = _cpu_s(pid), time.monotonic(), _switches(process)
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        used_s = _cpu_s(pid) - cpu_s
        sessions |= _sessions(process, files.port)
    memory = process.memory_full_info()
    sent = sum(bytes_by_port[port] for port in sessions)
    return {
        "seconds": round(took_s, 1),
        "rss_mb": round(memory.rss / 1e6, 1),
        "pss_mb": round(memory.pss / 1e6, 1),
        "uss_mb": round(memory.uss / 1e6, 1),
        "threads": process.num_threads(),
        "cpu_pct": round(100 * used_s / took_s, 3),
        "wakeups_a_s": round((_switches(process) - switches) / took_s, 2),
        "sessions": len(sessions),
        "line_bytes_a_minute": round(sent / took_s * 60),
        "line_mb_a_day": round(sent / took_s * DAY_S / 1e6, 3),
    }


def _cpu_s(pid: int) -> float:
    """Its processor time, to the nanosecond, ended threads included (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def _switches(process: psutil.Process) -> int:
    """How often a thread of it began to wait."""
    found = 0
    for thread in process.threads():
        with suppress(FileNotFoundError):
            lines = Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text().splitlines()
            found += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return found


def _sessions(process: psutil.Process, port: int) -> set[int]:
    """The agent's own ports of its connections with the broker."""
    return {c.laddr.port for c in process.net_connections("tcp") if c.raddr and c.raddr.port == port}


@contextmanager
def _line(port: int) -> Iterator[Counter[int]]:
    """Bytes of IP packets with the broker while the block runs, by the client's port."""
    found: Counter[int] = Counter()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as sock:
        sock.bind(("lo", _ETH_P_ALL))
        sock.settimeout(0.2)
        ended = threading.Event()
        reader = threading.Thread(target=_read, args=(sock, port, found, ended))
        reader.start()
        try:
            yield found
        finally:
            ended.set()
            reader.join()


def _read(sock: socket.socket, port: int, found: Counter[int], ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            packet, source = sock.recvfrom(128)
        except TimeoutError:
            continue
        if source[2] != _PACKET_OUTGOING or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
            continue
        start = (packet[0] & 15) * 4
        ends = int.from_bytes(packet[start : start + 2]), int.from_bytes(packet[start + 2 : start + 4])
        if port in ends:
            found[ends[0] if ends[1] == port else ends[1]] += int.from_bytes(packet[2:4])


@contextmanager
def _target(folder: Path, tls: broker.Tls) -> Iterator[dict[str, int]]:
    options = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0", "--dns-port", "0", "--dns-zone", "bench.test"]
    options += ["--tls-cert", str(tls.certfile), "--tls-key", str(tls.keyfile), "--json"]
    log = folder / "target.log"
    with ground.running([*ground.BALISE, "target", *options], log) as process:
        ground.until(lambda: log.read_text().startswith("{") and log.read_text().endswith("\n"), process)
        yield json.loads(log.read_text().splitlines()[0])


@contextmanager
def _agent(folder: Path, where: ground.Ground, tls: broker.Tls, ports: dict[str, int]) -> Iterator[ground.Process]:
    path = folder / "agent.toml"
    path.write_text(_toml(folder / "agent", where, tls, ports))
    path.chmod(0o600)
    command = [sys.executable, "-m", "balise_agent.cli", "run", "--config", str(path)]
    with ground.running(command, folder / "agent.log") as process:
        yield process


def _toml(state: Path, where: ground.Ground, tls: broker.Tls, ports: dict[str, int]) -> str:
    ((probe, password),) = where.passwords.items()
    rungs = "".join(
        f'  {{ label = "rung{n}", host = "127.0.0.{n}", method = "icmp", every_s = 10 }},\n' for n in (1, 2, 3, 4)
    )
    resolvers = "".join(
        f'  {{ label = "r{n}", host = "127.0.0.1", port = {ports["dns"]}, name = "www.bench.test" }},\n' for n in (1, 2)
    )
    page = f'url = "https://127.0.0.1:{ports["http"]}/small", ca_file = "{tls.certfile}"'
    pages = "".join(f'  {{ label = "page{n}", {page} }},\n' for n in (1, 2))
    return f"""\
[agent]
state_dir = "{state}"
clock = "trust"
[broker]
host = "127.0.0.1"
port = {where.files.port}
ca_file = "{tls.certfile}"
username = "{probe}"
password = "{password}"
[probe]
id = "{probe}"
[reach]
targets = [
  {{ label = "op", host = "127.0.0.1", method = "stamp", port = {ports["udp"]}, every_s = 1.5 }},
{rungs}]
[dns]
resolvers = [
{resolvers}]
[web]
objects = [
{pages}]
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.home", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    for name, value in measure(parser.parse_args().seconds).items():
        goal = f"   goal <= {GOALS[name]}" if name in GOALS else ""
        print(f"{name:20} {value:>10}{goal}")


if __name__ == "__main__":
    main()
