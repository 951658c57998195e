"""How long after its sealing is a message committed, when 1,000 probes send at their real cadence?

Each sends one message a minute at a moment of its own, with a keep-alive of 40 s, to a real broker; `balise serve` runs
whole, its consumers too. The clock of a message starts before its body is encoded and stops when the collector's ack is
back at its probe: an upper bound of what it took to commit it.
"""

from __future__ import annotations

import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import certs, ground, loader
from bench.ingest import check_journal
from bench.memory import Memory
from bench.messages import Source, publish_packet

PROBES = 1_000
EVERY_S = 60.0
GOAL_P95_MS = 250.0
GOAL_GROWTH = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Milliseconds from sealing to the ack's arrival. ``growth``: of the collector's memory and the broker's, from the
    second sixth of the time to the last; ``mb``: what they held then."""

    messages: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    growth: dict[str, float]
    mb: dict[str, float]


def measure(folder: Path, *, seconds: float, tls: bool, probes: int = PROBES, every_s: float = EVERY_S) -> Figure:
    """One run. AssertionError: a message was not acknowledged, refused, or is not in the journal once."""
    certificate = certs.make(folder / "tls") if tls else None
    where = ground.prepare(folder / "data", probes, certificate)
    with ground.mosquitto(where.files) as broker, ground.serve(where, folder / "serve.log") as collector:
        context = None if certificate is None else certs.client_context(certificate)
        sessions = loader.connect((where.files.host, where.files.port), where.passwords, context)
        sources = {probe: Source(probe=probe, rng=random.Random(probe)) for probe in where.passwords}

        def seal(probe: str) -> bytes:
            source = sources[probe]
            payload = source.next(time.time_ns() // 1_000_000)
            return publish_packet(probe, payload, source.seq)

        rng, now_s = random.Random("bench"), time.monotonic()
        start_s = {probe: now_s + 1 + rng.random() * every_s for probe in where.passwords}
        with Memory({"broker": broker.pid, "collector": collector.pid}) as memory:
            took_s = loader.pace(sessions, start_s, every_s, now_s + 1 + seconds, seal)
        assert len(took_s) == sum(source.seq for source in sources.values()) == sum(s.acked for s in sessions)
        assert not any(s.refused or s.rejected for s in sessions)
        loader.close(sessions)
    check_journal(where.data / "journal.db", len(took_s))
    took_ms = sorted(seconds * 1_000 for seconds in took_s)
    p50, p95, p99, most = (round(took_ms[math.ceil(len(took_ms) * p / 100) - 1], 1) for p in (50, 95, 99, 100))
    return Figure(
        messages=len(took_ms),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=most,
        growth={name: round(memory.growth(name), 3) for name in memory.mb},
        mb={name: round(held[-1], 1) for name, held in memory.mb.items()},
    )


if __name__ == "__main__":
    print(measure(Path(sys.argv[1]), seconds=float(sys.argv[2]), tls=len(sys.argv) > 3))
