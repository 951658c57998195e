"""How much longer than on the wire is a round trip by our engine, and by fping and ping?

    python -m bench.ping_bias [--rounds N] [--json]

Truth for all: the stamps that the kernel gives a capture on `lo`, from the request going out to its reply coming in.
Bias is what the tool says less that. Idle, and with each core kept busy. The capture needs root (CAP_NET_RAW).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from balise_agent.net.datagram import SO_TIMESTAMPNS, stamp_ns
from balise_agent.probes import reach
from balise_agent.probes.context import Context

TARGET = "127.0.0.1"
EVERY_S = 0.02  # the cores fall idle between two echoes, as at home; seconds apart it would take an hour
_ETH_P_ALL = 0x0003  # taps of one protocol do not see what goes out
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; socket(7): beyond rmem_max, for root
_PACKET_OUTGOING = 4  # linux/if_packet.h
_IP_HEADER_BYTES = 20
_ECHO = struct.Struct("!BBHHH")


Tool = Callable[[int], list[float]]
Wire = dict[int, dict[int, float]]  # identifier -> sequence -> round trip in us
Figures = dict[str, dict[str, dict[str, float]]]


def measure(rounds: int) -> Figures:
    """Tool -> state -> bias in us at p50 and p95; a tool that is not installed is absent."""
    figures: Figures = {}
    for state in ("idle", "busy"):
        with _busy_cores(os.cpu_count() or 1 if state == "busy" else 0):
            for tool, ping in _tools().items():
                figures.setdefault(tool, {})[state] = _bias(ping, rounds)
    return figures


def _tools() -> dict[str, Tool]:
    found: dict[str, Tool] = {"balise": _balise}
    if shutil.which("fping"):
        found["fping"] = _fping
    if shutil.which("ping"):
        found["iputils"] = _iputils
    return found


def _bias(ping: Tool, rounds: int) -> dict[str, float]:
    with _capture() as wire:
        told_us = ping(rounds)
    runs = [
        run for run in wire.values() if len(run) == len(told_us)
    ]  # another program's echoes have their own identifier
    if len(runs) != 1:
        raise RuntimeError(f"{len(told_us)} echoes were told of; seen on lo: {[len(run) for run in wire.values()]}")
    bias = [told - runs[0][sequence] for told, sequence in zip(told_us, sorted(runs[0]), strict=True)]
    return {
        "p50_us": _rank(bias, 50),
        "p95_us": _rank(bias, 95),
        "max_us": _rank(bias, 100),
        "told_p50_us": _rank(told_us, 50),
    }


def _rank(values: list[float], percent: int) -> float:
    return round(sorted(values)[math.ceil(len(values) * percent / 100) - 1], 1)


def _balise(rounds: int) -> list[float]:
    """The probe itself, in its event loop; each round trip before it is summed up."""
    target = reach.ReachTarget(label="lo", host=TARGET, every_s=EVERY_S)
    settings = reach.ReachSettings(interval_s=rounds * EVERY_S, targets=(target,))
    context = Context(
        now_bt_ms=lambda: 0,
        monotonic=time.monotonic,
        rng=random.Random(),
        rows_waiting=lambda: 0,
        clock_ok=lambda: None,
        state_dir=Path("/"),
    )
    return asyncio.run(_window(reach.Window(settings, context)))


async def _window(window: reach.Window) -> list[float]:
    try:
        await window.measure()
        return [echo.rtt_ns / 1_000 for echo in window.rungs[0].echoes if echo.rtt_ns is not None]
    finally:
        window.close()


def _fping(rounds: int) -> list[float]:
    command = ["fping", "-q", "-C", str(rounds), "-p", str(int(EVERY_S * 1_000)), TARGET]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return [float(ms) * 1_000 for ms in said.partition(":")[2].split()]


def _iputils(rounds: int) -> list[float]:
    command = ["ping", "-n", "-c", str(rounds), "-i", str(EVERY_S), TARGET]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(ms) * 1_000 for ms in re.findall(r"time=([0-9.]+) ms", said)]


@contextmanager
def _capture() -> Iterator[Wire]:
    """Round trips on `lo` while the block runs; whole when it has ended."""
    wire: Wire = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)  # the 200 kB of others overflow on a busy core
        sock.bind(("lo", _ETH_P_ALL))
        sock.settimeout(0.2)
        ended = threading.Event()
        reader = threading.Thread(target=_read, args=(sock, wire, ended))
        reader.start()
        try:
            yield wire
        finally:
            ended.set()
            reader.join()


def _read(sock: socket.socket, wire: Wire, ended: threading.Event) -> None:
    left: dict[tuple[int, int], int] = {}
    while True:
        try:
            packet, ancillary, _flags, source = sock.recvmsg(256, 256)
        except TimeoutError:
            if ended.is_set():  # nothing has come for a while, and nothing more is asked
                return
            continue
        at_ns = stamp_ns(ancillary)
        if at_ns is None or len(packet) < _IP_HEADER_BYTES + _ECHO.size or packet[9] != socket.IPPROTO_ICMP:
            continue
        kind, _code, _checksum, identifier, sequence = _ECHO.unpack_from(packet, (packet[0] & 0xF) * 4)
        outgoing = source[2] == _PACKET_OUTGOING  # each packet is seen twice on lo
        if kind == 8 and outgoing:
            left[identifier, sequence] = at_ns
        elif kind == 0 and not outgoing and (identifier, sequence) in left:
            wire.setdefault(identifier, {})[sequence] = (at_ns - left[identifier, sequence]) / 1_000


@contextmanager
def _busy_cores(count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.ping_bias", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500, help="echoes by each tool in each state")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{'us, told less wire':<20}{'state':<8}{'p50':>8}{'p95':>8}{'max':>10}{'told p50':>10}")
    for tool, states in figures.items():
        for state, row in states.items():
            values = (row["p50_us"], row["p95_us"], row["max_us"], row["told_p50_us"])
            print(f"{tool:<20}{state:<8}{values[0]:>8}{values[1]:>8}{values[2]:>10}{values[3]:>10}")


if __name__ == "__main__":
    main()
