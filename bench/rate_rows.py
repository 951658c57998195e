"""How near to the truth are the engine's figures, beside iperf3 and speedtest-cli, and what do they cost?

Rows of `bench.throughput`'s runs. The truth of a rate is arithmetic: the relay's rate x 1448 / 1500.

Rule 1: a run that says itself that the probe or the target was the limit is no figure; it is counted beside.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

from bench import throughput
from bench.table import Row

Runs = int | None
RUNS = 3
Part = Callable[[Runs], Iterator[Row]]
Run = dict[str, Any]

OVERLOADED = ("probe_cpu", "server")
_RELAY = "bench/relay: rate on IP packets of 1,500 bytes, tail-drop, FIFO; oracle: its rate x 1448 / 1500"
_BOTH = "4 streams (at 800 Mbit/s 8), light shape, BBR both ways"


def throughput_rows(runs: Runs) -> Iterator[Row]:
    """All of it: half an hour with three runs."""
    for rows in PARTS.values():
        yield from rows(runs)


def _part(rows: Callable[[Sequence[Run]], Iterator[Row]], runs_of: Callable[[int], Iterator[Run]]) -> Part:
    return lambda runs: rows(list(runs_of(runs or RUNS)))


def _loopback(found: Sequence[Run]) -> Iterator[Row]:
    def of(tool: str, way: str, key: str) -> tuple[float, ...]:
        return tuple(run[key] for run in found if run["tool"] == tool and run["way"] == way)

    for way, times in (("down", 1.3), ("up", 1.0)):
        for key, work, unit in (("gbps", "rate", "Gbit/s"), ("cpu_s_per_gb", "client's CPU", "s/GB")):
            ours, theirs = of("balise", way, key), of("iperf3", way, key)
            figure, peer = statistics.median(ours), statistics.median(theirs)
            yield Row(
                work=f"loopback {way}, {work}",
                unit=unit,
                figure=figure,
                goal=f">= {times} x iperf3" if key == "gbps" else "<= iperf3's",
                holds=figure >= times * peer if key == "gbps" else figure <= peer,
                runs=ours,
                peer="iperf3 3.12 -P4 -C bbr",
                peer_figure=peer,
                conditions="4 streams, BBR, loopback without a queue of its own, both ends on the same cores, in turn;"
                " oracle: iperf3's receiver; the interpreter's start, which no GB pays for, is not in its CPU",
                beside="" if key == "gbps" else f"its start takes {of('balise', way, 'start_cpu_s')[0]} s of CPU",
            )


def _truth(found: Sequence[Run]) -> Iterator[Row]:
    for mbps, queue_ms, short in product(throughput.RATES_MBPS, throughput.QUEUES_MS, (False, True)):
        of = (mbps, queue_ms, short)
        mine = [run for run in found if (run["mbps"], run["queue_ms"], run["goal"] > throughput.GOAL) == of]
        if mine:
            yield _rate_row(f"{mbps} Mbit/s, queue {queue_ms} ms", mine, mine[0]["goal"])


def _rate_row(name: str, found: Sequence[Run], goal: float) -> Row:
    """Worst and median error of all figures of some lines, and which of them are above the goal."""
    sound = [run for run in found if run["limited_by"] not in OVERLOADED]
    figures = [
        (
            abs(run[f"{way}_ratio"] - 1) * 100,
            f"{way} RTT {run['rtt_ms']} queue {run['queue_ms']}: {run[f'{way}_ratio']}",
        )
        for run in sound
        for way in ("down", "up")
        if f"{way}_ratio" in run
    ]
    theirs = [
        abs(run[f"{way}_iperf3_ratio"] - 1) * 100
        for run in found
        for way in ("down", "up")
        if f"{way}_iperf3_ratio" in run
    ]
    errors = tuple(error for error, _ in figures) or (float("nan"),)
    above = [said for error, said in figures if error > goal * 100]
    lines = sorted({(run["rtt_ms"], run["queue_ms"]) for run in found})
    at_once = found[0]["at_once"]
    beside_each_other = f" {at_once} lines side by side;" if at_once > 1 else ""
    return Row(
        work=f"truth at {name}, worst error{' (queue below RTT)' if goal > throughput.GOAL else ''}",
        unit="%",
        figure=round(max(errors), 3),
        goal=f"<= {goal * 100:g} %",
        holds=None if not figures else not above,
        runs=tuple(sorted(errors)),
        peer="iperf3 3.12 as many streams, BBR, worst",
        peer_figure=round(max(theirs), 3) if theirs else None,
        conditions=f"{_BOTH}; RTT x queue in ms: {', '.join(f'{rtt}x{queue}' for rtt, queue in lines)};"
        f"{beside_each_other} {_RELAY}",
        beside=f"{len(figures) - len(above)} of {len(figures)} figures within the goal"
        f"{'; not: ' + ', '.join(above) if above else ''}; {len(found) - len(sound)} of {len(found)} runs said"
        " themselves that a processor was the limit",
    )


def _indicative(found: Sequence[Run]) -> Iterator[Row]:
    for mbps in sorted({run["mbps"] for run in found}):
        mine = [run for run in found if run["mbps"] == mbps]
        for way in ("down", "up"):
            ours = tuple(run[f"{way}_ratio"] * 100 for run in mine)
            yield Row(
                work=f"{mbps} Mbit/s {way}, of the truth",
                unit="%",
                figure=statistics.median(ours),
                goal="",
                holds=None,
                runs=ours,
                peer="speedtest-cli 2.1.3 (indicative)",
                peer_figure=statistics.median(run[f"{way}_speedtest_ratio"] * 100 for run in mine),
                conditions=f"{_BOTH}; speedtest-cli against the same target, BBR down, its host's default up; RTT"
                f" {mine[0]['rtt_ms']} ms, queue {mine[0]['queue_ms']} ms; {_RELAY}",
                beside=f"iperf3 {statistics.median(run[f'{way}_iperf3_ratio'] * 100 for run in mine):.2f} %; limited_by"
                f" {', '.join(str(run['limited_by']) for run in mine)}",
            )


def _loss(found: Sequence[Run]) -> Iterator[Row]:
    for queue_ms in (20, 200):
        mine = [run for run in found if run["queue_ms"] == queue_ms]
        worst = tuple(min(run["down_ratio"], run["up_ratio"]) for run in mine)
        off = max(abs(run["down_retrans_ratio"] - run["relay_lost_ratio"]) * 100 for run in mine)
        yield Row(
            work=f"300 Mbit/s, 1 % loss, queue {queue_ms} ms, the worse way",
            unit="of goodput",
            figure=statistics.median(worst),
            goal=">= 0.99",
            holds=statistics.median(worst) >= 0.99,
            runs=worst,
            peer="iperf3 3.12 -P4 -C bbr, down",
            peer_figure=mine[0].get("down_iperf3_ratio"),
            conditions=f"{_BOTH}; RTT 10 ms, loss drawn before the queue, both ways; {_RELAY}",
            beside=f"sent again less what the relay lost: {off:.2f} points at most"
            f"{'' if queue_ms > 20 else '; in a queue so short BBR itself makes packets be lost'}; limited_by"
            f" {', '.join(str(run['limited_by']) for run in mine)}",
        )


def _held(found: Sequence[Run]) -> Iterator[Row]:
    for percent in (10, 5, 2):
        mine = [run for run in found if run["cpu_percent"] == percent]
        off = tuple(max(abs(run[f"{way}_ratio"] - 1) * 100 for way in ("down", "up")) for run in mine)
        honest = all(error <= 1 or run["limited_by"] == "probe_cpu" for error, run in zip(off, mine, strict=True))
        yield Row(
            work=f"300 Mbit/s, the probe held to {percent} % of a core, worst error",
            unit="%",
            figure=statistics.median(off),
            goal="<= 1 %" if percent == 10 else "<= 1 % or probe_cpu",
            holds=statistics.median(off) <= 1 if percent == 10 else honest,
            runs=off,
            conditions=f"{_BOTH}; cgroup, quota of each 100 ms; RTT 10 ms, queue 20 ms; {_RELAY}",
            beside=f"limited_by {', '.join(str(run['limited_by']) for run in mine)}",
        )


def _loaded(found: Sequence[Run]) -> Iterator[Row]:
    for queue_ms in sorted({run["queue_ms"] for run in found}):
        mine = [run for run in found if run["queue_ms"] == queue_ms]
        off = tuple(abs(run[f"{way}_ratio"] - 1) * 100 for run in mine for way in ("down", "up"))
        seen = [
            (run[f"{way}_ratio"] - run[f"{way}_relay_ratio"]) * 100
            for run in mine
            for way in ("down", "up")
            if f"{way}_relay_ratio" in run
        ]
        theirs = [run[f"{way}_iperf3_ratio"] for run in mine for way in ("down", "up") if f"{way}_iperf3_ratio" in run]
        within = sum(error <= 5 for error in off)
        said = (f"{run['mbps']} Mbit/s {run['down_rise_ms']} and {run['up_rise_ms']} ms" for run in mine)
        yield Row(
            work=f"loaded, queue {queue_ms} ms, rise of p95, worst error",
            unit="%",
            figure=max(off),
            goal="<= 5 %",
            holds=max(off) <= 5,
            runs=off,
            conditions="cubic over its window of 2 s, behind reno's slow start; 8 streams, RTT 10 ms; 10, 50, 300"
            " Mbit/s down and up; oracles: the relay's queue as configured, and its own log of what a packet waited",
            beside=f"{within} of {len(off)} within; {'; '.join(said)}; off what the relay logged of the same window:"
            f" {max(map(abs, seen), default=float('nan')):.1f} points of the queue at most; under iperf3 -P4 -C cubic"
            f" it logged {_percent(min(theirs, default=None))} to {_percent(max(theirs, default=None))} of it",
        )


def _percent(ratio: float | None) -> str:
    return "?" if ratio is None else f"{ratio * 100:.0f} %"


def _udp(found: Sequence[Run]) -> Iterator[Row]:
    sound = [run for run in found if run["limited_by"] not in OVERLOADED and run["outcome"] == "ok"]
    for way in ("down", "up"):
        off = tuple(abs(run[f"{way}_ratio"] - 1) * 100 for run in sound) or (float("nan"),)
        points = [abs(run[f"{way}_loss_ratio"] - run[f"{way}_relay_lost_ratio"]) * 100 for run in sound]
        yield Row(
            work=f"UDP burst {way}, 10, 50, 300 Mbit/s, 1 % loss: rate, worst error",
            unit="%",
            figure=max(off),
            goal="",
            holds=None,
            runs=off,
            conditions="no congestion control; packets of 1,250 bytes; RTT x queue in ms: 40x200, 10x100, 10x20;"
            " oracle: the relay's rate and what it says it lost",
            beside=f"loss: {max(points, default=float('nan')):.2f} points off at most; {len(found) - len(sound)} of"
            f" {len(found)} runs said themselves that a processor was the limit, or failed",
        )


PARTS: dict[str, Part] = {
    "throughput-loopback": _part(_loopback, throughput.loopback),
    **{f"throughput-{mbps}": _part(_truth, partial(throughput.truth, rates_mbps=(mbps,))) for mbps in (10, 50)},
    **{
        f"throughput-{mbps}-{queue}": _part(_truth, partial(throughput.truth, rates_mbps=(mbps,), queues_ms=(queue,)))
        for mbps, queue in product((300, 800), throughput.QUEUES_MS)
    },
    **{
        f"throughput-speedtest-{mbps}": _part(_indicative, partial(throughput.indicative, rates_mbps=(mbps,)))
        for mbps in throughput.RATES_MBPS
    },
    "throughput-loss": _part(_loss, throughput.loss),
    "throughput-cpu": _part(_held, throughput.cpu),
    **{
        f"throughput-loaded-{queue}": _part(_loaded, partial(throughput.loaded, queues_ms=(queue,)))
        for queue in throughput.LOADED_QUEUES_MS
    },
    "throughput-udp": _part(_udp, throughput.udp),
}
"""Of `throughput`, one to two minutes each: what is measured on a machine that is not free for half an hour."""
