"""How evenly did a channel's datagrams come? RFC 4445: the delay factor of each second, and the longest silence."""

from __future__ import annotations

from collections.abc import Callable

from balise_agent.net.mpegts.packet import PCR_HZ, SIZE

SILENCE_NS = 200_000_000
_SECOND_NS = 1_000_000_000
_MOST = 20_000  # datagrams in a second; 216 Mbit/s are that


class Delivery:
    """Arrivals, second by second. ``rate``: tells packets a tick of 27 MHz, as the clock references do."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.longest_ns = 0
        self.silences: list[tuple[int, int]] = []
        self.delay_factor_ms: float | None = None
        self._second: list[tuple[int, int]] = []
        self._began_ns = 0

    def came(self, arrival_ns: int, size: int, rate: Callable[[], float]) -> None:
        """A datagram."""
        if self.first_ns is None or self.last_ns is None:
            self.first_ns = self._began_ns = arrival_ns
        else:
            gap_ns = arrival_ns - self.last_ns
            if gap_ns > self.longest_ns:
                self.longest_ns = gap_ns
            if gap_ns >= SILENCE_NS and len(self.silences) < 1_000:
                self.silences.append((self.last_ns, arrival_ns))
        if arrival_ns - self._began_ns >= _SECOND_NS:
            self._close(rate())
            self._began_ns = arrival_ns
        self.last_ns = arrival_ns
        if len(self._second) < _MOST:
            self._second.append((arrival_ns, size))

    def _close(self, rate: float) -> None:
        found = delay_factor_ms(self._second, rate * SIZE * PCR_HZ)
        self._second.clear()
        if found is not None:
            self.delay_factor_ms = max(self.delay_factor_ms or 0.0, found)


def delay_factor_ms(arrivals: list[tuple[int, int]], bytes_a_second: float) -> float | None:
    """RFC 4445 § 3.1 over (arrival in ns, bytes): how much a virtual buffer that empties at the media's rate swings."""
    if bytes_a_second <= 0 or len(arrivals) < 2:
        return None
    start_ns, held, low, high = arrivals[0][0], 0.0, 0.0, 0.0
    for arrival_ns, size in arrivals:
        before = held - bytes_a_second * (arrival_ns - start_ns) / 1e9
        held += size
        if before < low:
            low = before
        if before + size > high:
            high = before + size
    return (high - low) / bytes_a_second * 1_000
