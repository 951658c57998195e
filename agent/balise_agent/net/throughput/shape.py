"""How long does a heavy test last, and over how many streams?"""

from __future__ import annotations

from dataclasses import dataclass

STREAMS = 4  # 4 x 1 s + 3 s reads within 1 % to 40 ms of round trip; BEREC's number too
MOST_STREAMS = 8
MANY_FROM_BPS = 500_000_000
"""Contracts from which a test has 8 streams: at 800 Mbit/s, 40 ms and a queue of 20 ms four read 94.7 to 99.8 % under
BBR (iperf3 -P4 beside them 96 to 100.6 %), eight 99.6 to 100.0 %."""
LOADED_STREAMS = 8
"""Of `loaded`: its 95th percentile under four is 92 to 98 % of a queue of 20 ms, 300 Mbit/s, under eight 97 to 98 %."""
SAMPLE_S = 0.1
MOST_BYTES = 1 << 36
"""Asked for on one connection: 64 GB, more than a full test takes at 10 Gbit/s. Time ends it, not size."""

FILL_CC, FILL_S = "reno", 0.3
"""How `loaded` fills the queue, and for how long, before cubic goes on: cubic's own slow start (HyStart) stops at the
first rise of the delay, and then takes 3 s for a queue of 200 ms; reno's doubles until the queue overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``discard_s`` of the streams' start, which no figure has, then ``duration_s`` that the figure is of."""

    discard_s: float
    duration_s: float

    @property
    def lasts_s(self) -> float:
        """Of one direction."""
        return self.discard_s + self.duration_s


def streams_for(down_bps: float | None, up_bps: float | None) -> int:
    """Of a test of rates, by what the line should have."""
    return MOST_STREAMS if max(down_bps or 0.0, up_bps or 0.0) >= MANY_FROM_BPS else STREAMS


SHAPES: dict[str, Shape] = {
    "light": Shape(discard_s=1.0, duration_s=3.0),
    "full": Shape(discard_s=3.0, duration_s=10.0),  # BEREC BoR (17) 178
    "loaded": Shape(discard_s=0.5, duration_s=2.0),
    "burst": Shape(discard_s=1.0, duration_s=3.0),  # of UDP, most of it at the line's rate, one way
    "speedtest": Shape(discard_s=0.0, duration_s=12.0),  # speedtest-cli stops a direction after 10 s
}
