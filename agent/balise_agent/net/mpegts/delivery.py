"""How evenly did a channel's datagrams come? RFC 4445: the delay factor of each second, and the longest silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import sub

from balise_agent.net.mpegts.packet import PCR_HZ, SIZE

SILENCE_NS = 200_000_000
_SECOND_NS = 1_000_000_000
_MOST = 20_000  # datagrams in a second; 216 Mbit/s are that
_MOST_SILENCES = 1_000


class Delivery:
    """Arrivals, second by second. ``rate``: tells packets a tick of 27 MHz, as the clock references do."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.longest_ns = 0
        self.silences: list[tuple[int, int]] = []
        self.delay_factor_ms: float | None = None
        self._arrivals_ns: list[int] = []  # of the second that has begun
        self._sizes: list[int] = []
        self._began_ns = 0

    def came(self, arrival_ns: int, size: int, rate: Callable[[], float]) -> None:
        """A datagram."""
        if self.first_ns is None or self.last_ns is None:
            self.first_ns = self._began_ns = arrival_ns
        else:
            gap_ns = arrival_ns - self.last_ns
            if gap_ns > self.longest_ns:
                self.longest_ns = gap_ns
            if gap_ns >= SILENCE_NS and len(self.silences) < _MOST_SILENCES:
                self.silences.append((self.last_ns, arrival_ns))
        if arrival_ns - self._began_ns >= _SECOND_NS:
            self._close(rate())
            self._began_ns = arrival_ns
        self.last_ns = arrival_ns
        if len(self._sizes) < _MOST:
            self._arrivals_ns.append(arrival_ns)
            self._sizes.append(size)

    @property
    def second_ends_ns(self) -> int:
        """The second that has begun goes on until then."""
        return 0 if self.first_ns is None else self._began_ns + _SECOND_NS

    def came_run(self, arrivals_ns: Sequence[int], size: int) -> None:
        """`came` for each of some within a second, of one size."""
        before = [arrivals_ns[0] if self.last_ns is None else self.last_ns, *arrivals_ns[:-1]]
        longest_ns = max(map(sub, arrivals_ns, before))
        self.longest_ns = max(self.longest_ns, longest_ns)
        if longest_ns >= SILENCE_NS:
            pairs = zip(before, arrivals_ns, strict=True)
            self.silences += [(last, at) for last, at in pairs if at - last >= SILENCE_NS]
            del self.silences[_MOST_SILENCES:]
        self.last_ns = arrivals_ns[-1]
        kept = arrivals_ns[: _MOST - len(self._sizes)]
        self._arrivals_ns += kept
        self._sizes += [size] * len(kept)

    def _close(self, rate: float) -> None:
        found = delay_factor_ms(self._arrivals_ns, self._sizes, rate * SIZE * PCR_HZ)
        self._arrivals_ns.clear()
        self._sizes.clear()
        if found is not None:
            self.delay_factor_ms = max(self.delay_factor_ms or 0.0, found)


def delay_factor_ms(arrivals_ns: list[int], sizes: list[int], bytes_a_second: float) -> float | None:
    """RFC 4445 § 3.1: how much a virtual buffer that empties at the media's rate swings."""
    if bytes_a_second <= 0 or len(arrivals_ns) < 2:
        return None
    start_ns, held, low, high = arrivals_ns[0], 0.0, 0.0, 0.0
    for arrival_ns, size in zip(arrivals_ns, sizes, strict=True):
        before = held - bytes_a_second * (arrival_ns - start_ns) / 1e9
        held += size
        if before < low:
            low = before
        if before + size > high:
            high = before + size
    return (high - low) / bytes_a_second * 1_000
