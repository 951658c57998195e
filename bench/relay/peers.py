"""What do our engine and iperf3 say of a line that stands?

The engine runs as the probe runs it, its child alone, against `balise target` with a token; iperf3 3.12 beside it with
as many streams and the same congestion control.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balise_collector.target.tokens import Grant, make_token
from bench.relay.line import FAR, FAR6, Line

KEY = bytes(range(32))
TOKEN = make_token(KEY, Grant(segment="bench", shape="full", expires_s=4_000_000_000))

_TARGET = "from balise_collector.commands.target import app; app()"


@contextmanager
def target(line: Line, folder: Path) -> Iterator[int]:
    """`balise target` at the far end; its port."""
    key = folder / "key"
    key.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
    options = ["--listen", "::", "--port", "0", "--udp-port", "0", "--token-key", str(key), "--json"]
    with subprocess.Popen(
        line.at("far", sys.executable, "-c", _TARGET, *options), stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            if program.stdout is None:
                raise RuntimeError("the target has no output")
            yield int(json.loads(program.stdout.readline())["http"])
        finally:
            program.terminate()


def engine(
    line: Line, port: int, *, kind: str = "throughput", af: int = 4, before: Sequence[str] = (), **spec: Any
) -> Mapping[str, Any]:
    """The test's fields with ``outcome``; ``before``: words in front of the command."""
    command = line.at("home", *before, sys.executable, "-m", "balise_agent.net.throughput")
    done = subprocess.run(
        command, input=spec_of(port, kind=kind, af=af, **spec), capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    return {"outcome": told["reason"] or told["kind"], **told["fields"]}


def spec_of(port: int, *, kind: str = "throughput", af: int = 4, **spec: Any) -> str:
    """What the engine's process is asked for."""
    where = [FAR6, port, 0, 0] if af == 6 else [FAR, port]
    family = socket.AF_INET6 if af == 6 else socket.AF_INET
    peer = {"family": int(family), "address": where, "name": "target"}
    return json.dumps({"kind": kind, "peer": peer, "token": TOKEN, **spec}) + "\n"


def iperf3(line: Line, *, down: bool, cc: str = "bbr", seconds: int = 3, discard: int = 1, streams: int = 4) -> float:
    """Bits a second at its receiver."""
    server = subprocess.Popen(
        line.at("far", "iperf3", "-s", "-1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _listening(line)
        words = ["iperf3", "-c", FAR, "-J", "-C", cc, "-P", str(streams), "-t", str(seconds), "-O", str(discard)]
        done = subprocess.run(
            line.at("home", *words, *(["-R"] if down else [])), capture_output=True, text=True, check=True
        )
        return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"])
    finally:
        server.kill()  # its one client is served
        server.wait()


def _listening(line: Line) -> None:
    """Waits for iperf3's port, which is 5201 unless told."""
    while True:
        read = line.at("far", "cat", "/proc/net/tcp6", "/proc/net/tcp")
        table = subprocess.run(read, capture_output=True, text=True, check=True)
        if any(row.split()[1].endswith(":1451") and row.split()[3] == "0A" for row in table.stdout.splitlines()):
            return
