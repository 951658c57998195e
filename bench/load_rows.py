"""Which figures of the path at full load are measured, against which goal?

Beside `rows`: each takes minutes, `hour` an hour; they are measured where they are named, or with `--long`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from bench import back, directory, grafana, influx, latency, trouble
from bench.live_cuts import live_rows
from bench.rate_rows import throughput_rows
from bench.rows import Runs, scratch
from bench.table import Row
from tests.faults import chaos

HOUR_S = 3_600.0
KILLS = 200
TROUBLE_MB = 100.0


def influx_rows(runs: Runs) -> Iterator[Row]:
    """A backlog beside a bare loop, and measurements while they come, on each InfluxDB there is."""
    with scratch() as where:
        found = influx.run(where, runs=runs or 7)
    for version, one in found.items():
        share = statistics.median(one.shares)
        yield Row(
            work=f"a backlog to InfluxDB {version}",
            unit="points/s",
            figure=statistics.median(one.backlog),
            goal=f">= {influx.GOAL_SHARE:g} x the bare loop",
            holds=share >= influx.GOAL_SHARE,
            runs=one.backlog,
            peer="bare HTTP loop, the same lines ready made",
            peer_figure=statistics.median(one.bare),
            conditions="140,000 points of 5 fields in the journal, requests of 5,000 lines, on the same cores; each"
            " is counted there",
            beside=f"median of {len(one.shares)} turns {share:.2f} of the loop, {min(one.shares):.2f} to"
            f" {max(one.shares):.2f}; {one.bytes_a_point} bytes a line, {one.encode_us_a_point} us to make it",
        )
        live = statistics.median(one.live)
        yield Row(
            work=f"ingest and forwarding together, InfluxDB {version}",
            unit="points/s stored",
            figure=live,
            goal=f">= {influx.GOAL_LIVE:,.0f}",
            holds=live >= influx.GOAL_LIVE,
            runs=one.live,
            peer="Telegraf 1.39, not durable",
            peer_figure=influx.TELEGRAF,
            conditions="1,000 probes, 60 messages each, broker, collector, forwarder, InfluxDB and loader on the same"
            " cores; until the last point is in InfluxDB; every message acknowledged and journaled, each point counted",
            beside=f"us a point: {', '.join(f'{name} {us}' for name, us in one.cpu_us.items())}; that is"
            f" {sum(one.cpu_us.values()):.0f} in all",
        )


def hour_rows(runs: Runs) -> Iterator[Row]:
    """An hour of 1,000 probes at their cadence over TLS."""
    for _ in range(runs or 1):
        with scratch() as where:
            found = latency.measure(where, seconds=HOUR_S, tls=True)
    what = f"{latency.PROBES:,} probes, a message a minute each, keep-alive 40 s, TLS, {HOUR_S / 60:.0f} min"
    what += "; balise serve whole"
    yield Row(
        work="an hour over TLS, sealing to committed, p95",
        unit="ms",
        figure=found.p95_ms,
        goal=f"<= {latency.GOAL_P95_MS:.0f} ms",
        holds=found.p95_ms <= latency.GOAL_P95_MS,
        runs=(found.p95_ms,),
        conditions=f"{what}; until the ack is back at the probe: an upper bound",
        beside=f"{found.messages} messages, each in the journal once; p50 {found.p50_ms}, p99 {found.p99_ms},"
        f" most {found.max_ms} ms",
    )
    worst = max(found.growth.values())
    yield Row(
        work="an hour over TLS, memory by its end",
        unit="x",
        figure=worst,
        goal=f"<= {latency.GOAL_GROWTH:g} x",
        holds=worst <= latency.GOAL_GROWTH,
        runs=(worst,),
        conditions=f"{what}; resident in the last ten minutes by the second ten, the worse of collector and broker",
        beside=", ".join(f"{name} {found.mb[name]} MB, {grew:.3f}" for name, grew in found.growth.items()),
    )


def back_rows(runs: Runs) -> Iterator[Row]:
    """1,000 probes back at once with a day in their outboxes."""
    for _ in range(runs or 1):
        with scratch() as where:
            found = back.measure(where)
    what = (
        f"1,000 probes over TLS with {back.A_DAY} messages each come when their jitter says;"
        f" {back.LIVE_PROBES} others send each {back.LIVE_EVERY_S:.0f} s"
    )
    yield Row(
        work="a day's outboxes of 1,000 probes, drained over TLS",
        unit="points/s",
        figure=found.points_a_s,
        goal=f">= {back.GOAL_SHARE:g} x without TLS",
        holds=found.share >= back.GOAL_SHARE,
        runs=(found.points_a_s,),
        peer="ingest without TLS, same run",
        peer_figure=found.plain_points_a_s,
        conditions=f"{what}; from the first that comes to the last ack; each of {found.messages:,} messages found once",
        beside=f"at most {found.fullest_s} sessions begun in a second, the slowest opened in {found.slowest_s} s",
    )
    yield Row(
        work="others' live records meanwhile, sealing to committed, the latest",
        unit="s",
        figure=found.late_s,
        goal=f"<= {back.GOAL_LATE_S:g} s",
        holds=found.late_s <= back.GOAL_LATE_S,
        runs=(found.late_s,),
        conditions=what,
        beside=f"{found.live} records, p95 {found.late_p95_s} s; its probe knew after {found.acked_s} s at most",
    )


def directory_rows(runs: Runs) -> Iterator[Row]:
    """Ingest beside a directory of 10,000 homes."""
    with scratch() as where:
        found = directory.measure(where, runs=runs or 5)
    yield Row(
        work="ingest, a directory of 10,000 homes in PostgreSQL",
        unit="points/s",
        figure=statistics.median(found.postgresql),
        goal=f">= {directory.GOAL_SHARE:g} x in SQLite",
        holds=found.share >= directory.GOAL_SHARE,
        runs=found.postgresql,
        peer="in SQLite, same run",
        peer_figure=statistics.median(found.sqlite),
        conditions=f"balise serve whole, {directory.PROBES:,} probes, {directory.EACH} messages each; the"
        " directory changes once in each run",
        beside=f"median of {len(found.shares)} turns {found.share:.3f}, {min(found.shares):.2f} to"
        f" {max(found.shares):.2f}",
    )


def chaos_rows(runs: Runs) -> Iterator[Row]:
    """Agents, broker, collector and InfluxDB killed at random."""
    for seed in range(1, (runs or 1) + 1):
        found = chaos.run(KILLS, seed, influx=True)
        said = found.influx
        wrong = found.tally.lost + found.tally.duplicated + said["influx_lost"] + said["influx_duplicated"]
        yield Row(
            work=f"records lost or doubled in {KILLS} kills, InfluxDB's too",
            unit="",
            figure=wrong,
            goal="0",
            holds=wrong == 0,
            runs=(wrong,),
            conditions=f"SIGKILL: {', '.join(f'{name} {n}' for name, n in found.killed.items())}; seed {seed}",
            beside=f"{found.tally.measured} measured, {found.tally.stored} in the store, {said['influx_points']} points"
            " in InfluxDB with what the platform says of itself",
        )


def trouble_rows(runs: Runs) -> Iterator[Row]:
    """An InfluxDB that answers in every way but the right one."""
    for _ in range(runs or 1):
        with scratch() as where:
            found = trouble.measure(where)
    worst = max(found.named_s.values())
    yield Row(
        work="a fault of InfluxDB, until `balise status` names it",
        unit="s",
        figure=worst,
        goal=f"<= {trouble.GOAL_S:.0f} s",
        holds=worst <= trouble.GOAL_S and found.missing == 0,
        runs=tuple(found.named_s.values()),
        conditions="one fault after the other, from its beginning; probes send each second",
        beside=f"{', '.join(f'{name} {s}' for name, s in found.named_s.items())}; in the end {found.missing} of"
        f" {found.points:,} points missing",
    )
    yield Row(
        work="the forwarder's memory meanwhile, at most",
        unit="MB",
        figure=found.mb_most,
        goal=f"<= {TROUBLE_MB:.0f}",
        holds=found.mb_most <= TROUBLE_MB,
        runs=(found.mb_most,),
        conditions="20,000 messages waiting for it in the journal, and 20 a second more",
        beside=f"{found.mb_first:.0f} MB when it began",
    )


def grafana_rows(runs: Runs) -> Iterator[Row]:
    """What a panel of the fleet and of the buildings costs InfluxDB, over a day and over a month."""
    found, points = grafana.measure(runs or 5)
    for span, goal_ms in grafana.GOAL_MS.items():
        panels = [one for one in found if one.span == span]
        slowest = panels[0]
        yield Row(
            work=f"the slowest panel of fleet and buildings, {span}",
            unit="ms",
            figure=slowest.took_ms,
            goal=f"<= {goal_ms:.0f}",
            holds=slowest.took_ms <= goal_ms,
            runs=tuple(one.took_ms for one in panels),
            conditions=f"InfluxDB 1.6.7 on the same cores, {points:,} points of {grafana.HOMES:,} homes, all queries of"
            " a panel; runs: each of its panels",
            beside=f"{slowest.panel}; the median panel takes {statistics.median(one.took_ms for one in panels):.0f} ms",
        )


LONG: dict[str, Callable[[Runs], Iterator[Row]]] = {
    "influx": influx_rows,
    "trouble": trouble_rows,
    "directory": directory_rows,
    "grafana": grafana_rows,
    "chaos": chaos_rows,
    "back": back_rows,
    "live": live_rows,
    "throughput": throughput_rows,
    "hour": hour_rows,
}
