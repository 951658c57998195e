"""How near to the truth are our rates and delays, on lines whose truth is arithmetic, beside iperf3?

    python -m bench.throughput [--cases truth,loss,loaded,ipv6,cpu,cost,loopback,indicative,udp] [--runs N] [--json]

`python -m bench throughput` makes its table of them.
A line is `bench/relay`: rate on IP packets of 1,500 bytes, tail-drop, FIFO. Truth is rate x 1448 / 1500 (IPv6: 1428).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from balise_agent.net.throughput.shape import SHAPES, streams_for
from bench.relay.call import AT_ONCE, EVERY_S
from bench.relay.line import HOME, Line, Way, line, why_not
from bench.relay.peers import engine, iperf3, spec_of, target

RATES_MBPS = (10, 50, 300, 800)
QUEUES_MS = (20, 200)
LOADED_QUEUES_MS = (20, 100, 200)
SIDE_BY_SIDE, SIDE_BY_SIDE_MBPS = 3, 150  # lines side by side: two threads of each relay never sleep long
GOAL = 0.005
MORE_AT_10 = 2
GOAL_SHORT_QUEUE = 0.02  # where the queue is shorter than the bandwidth-delay product
WELL_MS = 10  # a call is as before while its delay rises by no more

Row = dict[str, Any]


def ways(mbps: int, rtt_ms: float, queue_ms: float, loss: float = 0.0) -> tuple[Way, Way]:
    """The same line both ways; loss on both."""
    way = Way(rate_bps=mbps * 1_000_000, delay_ms=rtt_ms / 2, queue_ms=queue_ms, loss=loss)
    return way, way


def truth(runs: int, rates_mbps: Sequence[int] = RATES_MBPS, queues_ms: Sequence[int] = QUEUES_MS) -> Iterator[Row]:
    """Rates, loss 0; slow lines side by side."""
    lines = list(product((1, 10, 40), queues_ms))
    for mbps in rates_mbps:
        count = runs + MORE_AT_10 if mbps == 10 and runs > 1 else runs
        at_once = min(SIDE_BY_SIDE, max(1, SIDE_BY_SIDE_MBPS // mbps))

        def rows(of: tuple[int, int], mbps: int = mbps, count: int = count) -> list[Row]:
            return list(_rates(mbps, *of, runs=count))

        with ThreadPoolExecutor(at_once) as pool:
            for found in pool.map(rows, lines):
                yield from ({**row, "at_once": at_once} for row in found)


def loss(runs: int) -> Iterator[Row]:
    """1 % lost at random; in a queue that BBR does not overflow, nothing else is lost."""
    for queue_ms in (20, 200):
        yield from _rates(300, 10, queue_ms, lost=0.01, runs=runs)


def ipv6(runs: int) -> Iterator[Row]:
    """IPv6, whose headers are larger."""
    yield from _rates(50, 10, 200, af=6, runs=runs)


def cpu(runs: int) -> Iterator[Row]:
    """The client held to a share of a core."""
    for percent in (10, 5, 2):
        yield from _rates(300, 10, 20, runs=runs, percent=percent)


def loaded(runs: int, queues_ms: Sequence[int] = LOADED_QUEUES_MS) -> Iterator[Row]:
    """Delay under load: the queue that is there, the rise of the 95th percentile, and what the relay says of both."""
    for mbps, queue_ms in product((10, 50, 300), queues_ms):
        for run in range(runs):
            row, relay = _loaded_once(mbps, queue_ms, run)
            theirs = _loaded_by_iperf3(mbps, queue_ms) if run == 0 else {}
            yield {"case": "loaded", "mbps": mbps, "rtt_ms": 10, "queue_ms": queue_ms} | row | relay | theirs


def _loaded_once(mbps: int, queue_ms: int, run: int) -> tuple[Row, Row]:
    down, up = ways(mbps, 10, queue_ms)
    with (
        tempfile.TemporaryDirectory() as folder,
        line(down, up, seed=run + 1) as there,
        target(there, Path(folder)) as port,
    ):
        told = engine(there, port, kind="loaded")
    row = dict(told)
    for way in ("down", "up"):
        rise_ms = (told[f"{way}_loaded_p95_us"] - told["idle_p50_us"]) / 1_000
        row[f"{way}_rise_ms"], row[f"{way}_ratio"] = round(rise_ms, 1), round(rise_ms / queue_ms, 3)
    shape = SHAPES["loaded"]
    relay = {
        f"{way}_relay_ratio": _relay_p95(there, way, mbps, shape.discard_s, shape.duration_s) / queue_ms
        for way in ("down", "up")
    }
    return row, {name: round(ratio, 3) for name, ratio in relay.items()}


def _loaded_by_iperf3(mbps: int, queue_ms: int) -> Row:
    """The same queue under another's load: what the relay says while four streams of iperf3 run under cubic."""
    row: Row = {}
    for way in ("down", "up"):
        with line(*ways(mbps, 10, queue_ms)) as there:
            iperf3(there, down=way == "down", cc="cubic", seconds=4, discard=1)
        row[f"{way}_iperf3_ratio"] = round(_relay_p95(there, way, mbps, 2.0, 2.5) / queue_ms, 3)
    return row


def _relay_p95(there: Line, way: str, mbps: int, after_s: float, for_s: float) -> float:
    """Of the relay's queue in ms, so long after the line first carried a third of its rate."""
    waits = there.waits[way]
    busy = mbps * 1e6 / 8 / 3
    begun_s = next(b[0] for a, b in pairwise(waits) if b[2] - a[2] > busy * (b[0] - a[0])) + after_s
    inside = sorted(wait_ms for at_s, wait_ms, _ in waits if begun_s <= at_s < begun_s + for_s)
    return inside[len(inside) * 95 // 100]


def indicative(runs: int, rates_mbps: Sequence[int] = RATES_MBPS) -> Iterator[Row]:
    """speedtest-cli in turn with the engine and iperf3, on four lines."""
    for mbps in rates_mbps:
        rtt_ms, queue_ms = {10: (10, 200), 50: (10, 100), 300: (10, 20), 800: (20, 50)}[mbps]
        down, up = ways(mbps, rtt_ms, queue_ms)
        for run in range(runs):
            with tempfile.TemporaryDirectory() as folder, line(down, up, seed=run + 1) as there:
                row: Row = {"case": "indicative", "mbps": mbps, "rtt_ms": rtt_ms, "queue_ms": queue_ms}
                with target(there, Path(folder)) as port:
                    theirs, ours = engine(there, port, kind="speedtest"), engine(there, port)
                for way in ("down", "up"):
                    truth_bps = down.goodput_bps()
                    row[f"{way}_ratio"] = round(ours.get(f"{way}_bps", 0) / truth_bps, 4)
                    row[f"{way}_speedtest_ratio"] = round(theirs.get(f"{way}_bps", 0) / truth_bps, 4)
                    row[f"{way}_iperf3_ratio"] = round(iperf3(there, down=way == "down") / truth_bps, 4)
                yield row | {"limited_by": ours.get("limited_by"), "outcome": theirs["outcome"]}


def udp(runs: int) -> Iterator[Row]:
    """A burst of UDP on lines that lose 1 %: what came, and what was lost, beside what the relay says it lost."""
    for mbps, rtt_ms, queue_ms in ((10, 40, 200), (50, 10, 100), (300, 10, 20)):
        down, up = ways(mbps, rtt_ms, queue_ms, 0.01)
        for run in range(runs):
            with (
                tempfile.TemporaryDirectory() as folder,
                line(down, up, seed=run + 1) as there,
                target(there, Path(folder)) as port,
            ):
                told = engine(
                    there, port, kind="udp_capacity", contract_down_bps=mbps * 1e6, contract_up_bps=mbps * 1e6
                )
            row: Row = {"case": "udp", "mbps": mbps, "rtt_ms": rtt_ms, "queue_ms": queue_ms}
            row |= {"outcome": told["outcome"], "limited_by": told.get("limited_by")}
            for way, counted in there.counters.items():
                row[f"{way}_ratio"] = round(told.get(f"{way}_bps", 0) / (mbps * 1e6), 4)
                row[f"{way}_loss_ratio"] = told.get("loss_ratio" if way == "down" else "up_loss_ratio")
                row[f"{way}_relay_lost_ratio"] = round(counted["lost"] / max(1, counted["in"]), 5)
            yield row


def cost(runs: int) -> Iterator[Row]:
    """A light test at 10 Mbit/s across a call: what the call suffers, and how soon it does not after an abort."""
    for queue_ms, ends in product((20, 200), ("by itself", "killed")):
        down, up = ways(10, 10, queue_ms)
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder, line(down, up) as there, target(there, Path(folder)) as port:
                yield {"case": "cost", "queue_ms": queue_ms, "ends": ends} | _across_a_call(there, port, ends)


def _across_a_call(there: Line, port: int, ends: str) -> Row:
    module = [sys.executable, "-m", "bench.relay.call"]
    pipe = subprocess.PIPE
    with subprocess.Popen(there.at("home", *module, "receive", "6000", "13"), stdout=pipe, text=True) as hears:
        assert hears.stdout is not None
        hears.stdout.readline()
        with subprocess.Popen(there.at("far", *module, "send", HOME, "6000", "12"), stdout=pipe, text=True) as says:
            time.sleep(1.5)
            asked = spec_of(port, only="down")
            command = there.at("home", sys.executable, "-m", "balise_agent.net.throughput")
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as test:
                begun_s = time.monotonic()
                assert test.stdin is not None
                test.stdin.write(asked)
                test.stdin.close()
                if ends == "killed":
                    time.sleep(2.5)
                    test.kill()
                else:
                    test.wait()
                ended_s = time.monotonic()
            sent = int(says.communicate()[0])
        came = json.loads(hears.stdout.readline())
    return _suffered([(sent_s, delay_s) for sent_s, delay_s in came], sent, begun_s, ended_s)


def _suffered(came: list[tuple[float, float]], sent: int, begun_s: float, ended_s: float) -> Row:
    """Delays before, during and after; the call is well again when 200 ms of it are as before."""

    def p95_ms(start_s: float, end_s: float) -> float:
        delays = sorted(delay_s for sent_s, delay_s in came if start_s <= sent_s < end_s)
        return round(delays[len(delays) * 95 // 100] * 1_000, 1) if delays else float("inf")

    before_ms, window_s = p95_ms(0, begun_s), 0.2
    full = round(window_s / EVERY_S) * AT_ONCE

    def well(start_s: float) -> bool:
        arrived = sum(start_s <= sent_s < start_s + window_s for sent_s, _ in came)
        return arrived >= full - AT_ONCE and p95_ms(start_s, start_s + window_s) <= before_ms + WELL_MS

    steps = [n / 100 for n in range(300)]
    return {
        "before_p95_ms": before_ms,
        "during_p95_ms": p95_ms(begun_s + 1, ended_s),
        "lost_ratio": round(1 - len(came) / sent, 4),
        "sick_s": round(sum(not well(begun_s + step_s) for step_s in steps if begun_s + step_s < ended_s) / 100, 2),
        "well_after_end_s": next((step_s for step_s in steps if well(ended_s + step_s)), None),
    }


def loopback(runs: int) -> Iterator[Row]:
    """As fast as two cores can, and CPU a GB of the client."""
    code = "from balise_collector.commands.target import app; app()"
    options = ["--listen", "127.0.0.1", "--port", "0", "--udp-port", "0", "--open", "--json"]
    with subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            port = json.loads(program.stdout.readline())["http"]
            for _, way in product(range(runs), ("down", "up")):
                yield _loopback_engine(port, way)
                yield _loopback_iperf3(way)
        finally:
            program.terminate()


def _loopback_engine(port: int, way: str) -> Row:
    peer = {"family": int(socket.AF_INET), "address": ["127.0.0.1", port], "name": "127.0.0.1"}
    asked = json.dumps({"kind": "throughput", "peer": peer, "only": way}) + "\n"
    nobody = asked.replace(str(port), "9")
    start_s, _, _ = _child(nobody)  # the interpreter and its imports, which no GB pays for
    cpu_s, rss_kb, told = _child(asked)
    cpu_s -= start_s
    moved_gb = told[f"{way}_bps"] / 8e9 * (4 if way == "down" else 4.5)  # about: the discarded second is in it
    figures = {"gbps": round(told[f"{way}_bps"] / 1e9, 2), "cpu_s_per_gb": round(cpu_s / moved_gb, 3)}
    figures |= {"start_cpu_s": round(start_s, 3), "rss_mb": round(rss_kb / 1024, 1)}
    return {"case": "loopback", "tool": "balise", "way": way, "cc": told[f"{way}_cc"], **figures}


def _child(asked: str) -> tuple[float, int, Mapping[str, Any]]:
    """CPU in s, the largest resident set of any child so far in kB, and the fields of one test."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "balise_agent.net.throughput"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, after.ru_maxrss, json.loads(done.stdout)["fields"]


def _loopback_iperf3(way: str) -> Row:
    server = subprocess.Popen(["iperf3", "-s", "-1", "-p", "5299"], stdout=subprocess.DEVNULL)
    try:
        while subprocess.run(["ss", "-Hltn", "sport = 5299"], capture_output=True, check=True).stdout == b"":
            pass
        words = [
            "iperf3",
            "-c",
            "127.0.0.1",
            "-p",
            "5299",
            "-J",
            "-P",
            "4",
            "-C",
            "bbr",
            "-t",
            "4",
            *(["-R"] if way == "down" else []),
        ]
        told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["end"]
    finally:
        server.kill()  # its one client is served
        server.wait()
    rate = told["sum_received"]["bits_per_second"]
    cpu_s_per_gb = told["cpu_utilization_percent"]["host_total"] / 100 / (rate / 8e9)
    return {
        "case": "loopback",
        "tool": "iperf3",
        "way": way,
        "cc": "bbr",
        "gbps": round(rate / 1e9, 2),
        "cpu_s_per_gb": round(cpu_s_per_gb, 3),
    }


def _rates(
    mbps: int, rtt_ms: float, queue_ms: float, *, runs: int, lost: float = 0.0, af: int = 4, percent: int | None = None
) -> Iterator[Row]:
    down, up = ways(mbps, rtt_ms, queue_ms, lost)
    short = queue_ms < rtt_ms
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder, line(down, up, seed=run + 1) as there:
            with target(there, Path(folder)) as port, _Held(percent) as before:
                told = engine(there, port, af=af, before=before, streams=streams_for(mbps * 1e6, None))
            row: Row = {"case": "rate", "mbps": mbps, "rtt_ms": rtt_ms, "queue_ms": queue_ms, "loss": lost, "af": af}
            row |= {"cpu_percent": percent, "outcome": told["outcome"], "limited_by": told.get("limited_by")}
            for way, truth_bps in (("down", down.goodput_bps(af)), ("up", up.goodput_bps(af))):
                if f"{way}_bps" in told:
                    row[f"{way}_ratio"] = round(told[f"{way}_bps"] / truth_bps, 5)
                    row |= {f"{way}_{n}": told.get(f"{way}_{n}") for n in ("cc", "retrans_ratio", "counter_gap_ratio")}
                if run == 0 and af == 4 and percent is None:
                    theirs = iperf3(there, down=way == "down", streams=streams_for(mbps * 1e6, None))
                    row[f"{way}_iperf3_ratio"] = round(theirs / truth_bps, 5)
        down_counted = there.counters["down"]
        gone = down_counted["lost"] + down_counted["dropped"]
        row["relay_lost_ratio"] = round(down_counted["lost"] / max(1, down_counted["in"]), 5)
        row["relay_gone_ratio"] = round(gone / max(1, down_counted["in"]), 5)  # by whoever sent, iperf3 too
        row["relay_latest_ms"] = max(c["latest_us"] for c in there.counters.values()) / 1_000
        row["goal"] = GOAL_SHORT_QUEUE if short else GOAL
        yield row


class _Held:
    """A cgroup that gives so many % of a core, as words in front of a command; nothing is held without a share."""

    def __init__(self, percent: int | None) -> None:
        self._percent = percent
        self._folder: Path | None = None

    def __enter__(self) -> list[str]:
        if self._percent is None:
            return []
        v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        root = Path("/sys/fs/cgroup") if v2 else Path("/sys/fs/cgroup/cpu")
        self._folder = root / f"balise-bench-{os.getpid()}"
        if v2:
            (root / "cgroup.subtree_control").write_text("+cpu")
        self._folder.mkdir()
        quota_us = self._percent * 1_000
        if v2:
            (self._folder / "cpu.max").write_text(f"{quota_us} 100000")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota_us))
        # `ip netns exec` has mounted another /sys by then: the group's file is handed over open.
        self._file = os.open(self._folder / "cgroup.procs", os.O_WRONLY)
        os.set_inheritable(self._file, True)
        return ["sh", "-c", f'echo $$ >/proc/{os.getpid()}/fd/{self._file}; exec "$@"', "sh"]

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._file)
            self._folder.rmdir()


CASES: dict[str, Callable[[int], Iterator[Row]]] = {
    "truth": truth,
    "loss": loss,
    "loaded": loaded,
    "ipv6": ipv6,
    "cpu": cpu,
    "cost": cost,
    "loopback": loopback,
    "indicative": indicative,
    "udp": udp,
}


def main() -> None:
    """Print a row a run."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES))
    parser.add_argument("--runs", type=int, default=3, help="of each case")
    parser.add_argument("--json", action="store_true", help="a JSON object a row")
    arguments = parser.parse_args()
    missing = why_not()
    for name in arguments.cases.split(","):
        if missing is not None and name != "loopback":
            print(f"{name}: not run: {missing}", file=sys.stderr)
            continue
        for row in CASES[name](arguments.runs):
            shown = {k: v for k, v in row.items() if v is not None}
            print(json.dumps(row) if arguments.json else " ".join(f"{k}={v}" for k, v in shown.items()), flush=True)


if __name__ == "__main__":
    main()
