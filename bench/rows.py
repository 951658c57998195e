"""Which work is measured, against which goal, beside whom?

One function a group of rows; `ROWS` names them. Each measures on real parts and gives the median of its runs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import card, ground, home, ingest, judging, latency, line_rows, ping_bias, skipped, store, tv, voice
from bench.table import Row

PROBES = 1_000
MESSAGES_EACH = 60
INGEST_GOAL = 60_000
LATENCY_S = 90.0
HOME_S = 300.0
CARD_HOURS = 4.0
PING_ROUNDS = 300
PING_GOAL_US = 10.0

Runs = int | None
"""How many; None: as many as the group takes by itself."""


def ingest_rows(runs: Runs) -> Iterator[Row]:
    """Points a second, alone and with the consumers; the bare loop in turn with it."""
    count = runs or 3
    balise, bare, served = [], [], []
    with scratch() as folder:
        where = ground.prepare(folder / "data", PROBES)
        load = ingest.make_load(list(where.passwords), MESSAGES_EACH)
        for n in range(count):
            balise.append(ingest.balise(where, load, folder / f"balise{n}"))
            bare.append(ingest.bare(where, load, folder / f"bare{n}"))
            served.append(ingest.served(where, load, folder / f"served{n}"))
    what = (
        f"{PROBES:,} probes, {MESSAGES_EACH} messages each of 7 points x 5 fields, as fast as a window of 10 lets them"
    )
    what += "; MQTT v5, keep-alive 40 s, plain; broker and loader on the same cores; each message found once after it"
    peer = "bare paho loop, undecoded, no acks"
    bare_rate = statistics.median(run.points_a_s for run in bare)
    for work, figures, goal in (("ingest", balise, INGEST_GOAL), ("ingest, consumers running", served, None)):
        rates = tuple(run.points_a_s for run in figures)
        figure = statistics.median(rates)
        yield Row(
            work=work,
            unit="points/s",
            figure=figure,
            goal=f">= {goal:,}" if goal else "",
            holds=figure >= goal if goal else None,
            runs=rates,
            peer=peer,
            peer_figure=bare_rate,
            conditions=what,
            beside=f"us a message: {_cpu(figures)}; peer: {_cpu(bare)}",
        )


def latency_rows(runs: Runs) -> Iterator[Row]:
    """Sealing to committed, plain and over TLS."""
    for tls in (False, True):
        figures = []
        for _ in range(runs or 1):
            with scratch() as folder:
                figures.append(latency.measure(folder, seconds=LATENCY_S, tls=tls))
        p95s = tuple(figure.p95_ms for figure in figures)
        middle = statistics.median(p95s)
        yield Row(
            work=f"sealing to committed, p95{', TLS' if tls else ''}",
            unit="ms",
            figure=middle,
            goal=f"<= {latency.GOAL_P95_MS:.0f} ms",
            holds=middle <= latency.GOAL_P95_MS,
            runs=p95s,
            conditions=f"{latency.PROBES:,} probes, a message a minute each, keep-alive 40 s, {LATENCY_S:.0f} s,"
            f" {'TLS' if tls else 'plain'}; balise serve whole; until the ack is back at the probe: an upper bound",
            beside=f"{figures[0].messages} messages, p50 {figures[0].p50_ms}, p99 {figures[0].p99_ms},"
            f" most {figures[0].max_ms} ms",
        )


def store_rows(runs: Runs) -> Iterator[Row]:
    """The embedded store."""
    found = store.measure(runs=runs or 5)
    for name, work, unit in (
        ("minute_bytes_a_record", "embedded store, sealed", "bytes/point"),
        ("read_new_process_ms", "one home's day of one series, read", "ms"),
    ):
        yield Row(
            work=work,
            unit=unit,
            figure=found[name],
            goal=f"<= {store.GOALS[name]:g}",
            holds=found[name] <= store.GOALS[name],
            runs=(found[name],),
            conditions="10 homes, a day, seven series a minute; a reader of its own process"
            if unit == "ms"
            else "10 homes, a day, seven series a minute, all files once it is over, free pages too",
        )


def home_rows(runs: Runs) -> Iterator[Row]:
    """One agent at rest: memory, processor, line."""
    found = [home.measure(HOME_S) for _ in range(runs or 1)]
    what = f"four probes at the real cadence (60 s, 300 s), batches of 60 s, TLS, keep-alive 40 s, {HOME_S:.0f} s"
    telegraf = "Telegraf 1.39, fewer measurements"
    line = f"{what}; IP packets of the agent's session, both ways, ACKs and pings in it"
    beside = f"PSS {found[0]['pss_mb']} MB, USS {found[0]['uss_mb']} MB"
    wakes = f"{found[0]['wakeups_a_s']} wake-ups/s, {found[0]['threads']:.0f} threads"
    bytes_a_minute = f"{found[0]['line_bytes_a_minute']:.0f} bytes a minute"
    rows: tuple[tuple[str, str, str, str, float | None, str, str], ...] = (
        ("rss_mb", "agent at rest, resident", "MB", telegraf, 31.0, what, beside),
        ("cpu_pct", "agent at rest, processor", "% of a core", telegraf, 0.28, what, wakes),
        ("line_mb_a_day", "on the line, a home a day", "MB", "", None, line, bytes_a_minute),
    )
    for key, work, unit, peer, peer_figure, conditions, more in rows:
        values = tuple(run[key] for run in found)
        figure = statistics.median(values)
        yield Row(
            work=work,
            unit=unit,
            figure=figure,
            goal=f"<= {home.GOALS[key]:g}",
            holds=figure <= home.GOALS[key],
            runs=values,
            peer=peer,
            peer_figure=peer_figure,
            conditions=conditions,
            beside=more,
        )


def card_rows(runs: Runs) -> Iterator[Row]:
    """Written to the card."""
    for mount in card.MOUNTS_S:
        found = [card.measure(CARD_HOURS, mount=mount) for _ in range(runs or 3)]
        values = tuple(run["mb_a_day"] for run in found)
        figure = statistics.median(values)
        yield Row(
            work=f"written to the card a day, ext4 {mount}",
            unit="MB",
            figure=figure,
            goal=f"<= {card.GOAL_MB:.0f}",
            holds=figure <= card.GOAL_MB,
            runs=values,
            conditions=f"bytes at the block device, ext4's own journal too; {CARD_HOURS:.0f} h of the real schedule by"
            " the real outbox",
            beside=f"{found[0]['commits_a_day']:.0f} commits a day",
        )


def ping_rows(runs: Runs) -> Iterator[Row]:
    """A ping's bias."""
    found = [ping_bias.measure(PING_ROUNDS) for _ in range(runs or 3)]
    for state in ("idle", "busy"):
        ours = tuple(run["balise"][state]["p50_us"] for run in found)
        theirs = [run["fping"][state]["p50_us"] for run in found if "fping" in run]
        figure = statistics.median(ours)
        peer = statistics.median(theirs) if theirs else None
        yield Row(
            work=f"ping bias, p50, {state}",
            unit="us",
            figure=figure,
            goal=f"<= fping + {PING_GOAL_US:.0f}",
            holds=None if peer is None else figure <= peer + PING_GOAL_US,
            runs=ours,
            peer="fping",
            peer_figure=peer,
            conditions=f"{PING_ROUNDS} echoes each 20 ms on lo, told less what a capture on lo saw;"
            f" {'both cores busy' if state == 'busy' else 'cores idle'}",
        )


def voice_rows(runs: Runs) -> Iterator[Row]:
    """The telephone's times and ratings."""
    with scratch() as folder:
        yield from voice.voice_rows(runs, folder)


ROWS: dict[str, Callable[[Runs], Iterator[Row]]] = {
    "ingest": ingest_rows,
    "latency": latency_rows,
    "store": store_rows,
    "home": home_rows,
    "ping": ping_rows,
    "card": card_rows,
    "ladder-cost": line_rows.cost_rows,
    "ladder-place": line_rows.place_rows,
    "tenant": line_rows.tenant_rows,
    "voice": voice_rows,
    "tv": tv.tv_rows,
    "judge": judging.judging_rows,
    "skipped": skipped.skipped_rows,
}


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that the broker's user can reach."""
    with tempfile.TemporaryDirectory(prefix="balise-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _cpu(figures: Sequence[ingest.Figure]) -> str:
    names = figures[0].cpu_us
    return ", ".join(f"{name} {statistics.median(f.cpu_us[name] for f in figures):.0f}" for name in names)


def load_average() -> tuple[float, ...]:
    """Of the last minute, 5 and 15."""
    return os.getloadavg()
