"""What came on a channel's socket?

Sleep, then drain without blocking: a wake-up for each datagram costs three times as much. Times are the kernel's, so
that sleeping costs none of their accuracy.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from balise_agent.net.tv.joining import ANCILLARY_BYTES, SLOT_BYTES, Joined, told

if TYPE_CHECKING:
    from balise_agent.net.tv.many import Slots

NAP_S = 0.05
MOST_AT_ONCE = 4_096  # in one drain: 0.7 s of the fastest channel; a flood does not keep us from looking at the time


class Came(NamedTuple):
    """Datagrams of one size, one after the other. ``dropped``: those that this machine dropped before the first, since
    the last one that came; between them it dropped none."""

    data: bytes
    arrivals_ns: list[int]
    dropped: int


def slots() -> Slots | None:
    """Room for many at once; None: here each needs its own call. What was received is the same."""
    try:
        from balise_agent.net.tv.many import Slots

        return Slots()
    except (ImportError, AttributeError, OSError):  # no libffi, no recvmmsg
        return None


class Receiver:
    """Of one channel. ``slots``: they may be shared by those that do not drain at the same time."""

    def __init__(self, joined: Joined, slots: Slots | None) -> None:
        self._joined, self._slots = joined, slots
        self._drops = 0  # as of the last datagram that was handed over

    def drain(self) -> Iterator[Came]:
        """All that waits."""
        return self._drain_one_by_one() if self._slots is None else self._drain(self._slots)

    def unseen_drops(self) -> int:
        """Those after the last datagram that came."""
        return self._joined.drops() - self._drops & 0xFFFFFFFF

    def _drain(self, slots: Slots) -> Iterator[Came]:
        number, drained = self._joined.socket.fileno(), 0
        while drained < MOST_AT_ONCE:
            count = slots.receive(number)
            if count:
                yield from self._received(slots, count)
            if count < slots.MOST:
                return
            drained += count

    def _received(self, slots: Slots, count: int) -> Iterator[Came]:
        """Mostly they are alike, and one piece."""
        sizes, arrivals_ns, drops, cut = slots.told(count)
        is_wanted = self._wanted(slots, count)
        if sizes.count(sizes[0]) == drops.count(drops[0]) == count and all(is_wanted) and not any(cut):
            yield self._came(slots.joined(count, sizes[0]), arrivals_ns, drops[0])
            return
        for nth, size in enumerate(sizes):
            if is_wanted[nth] and not cut[nth]:
                yield self._came(slots.one(nth, size), [arrivals_ns[nth]], drops[nth])

    def _wanted(self, slots: Slots, count: int) -> list[bool]:
        if not self._joined.address.source:
            return [True] * count
        return [self._joined.is_wanted(slots.source(nth, self._joined.address.af)) for nth in range(count)]

    def _drain_one_by_one(self) -> Iterator[Came]:
        slot, receive = bytearray(SLOT_BYTES), self._joined.socket.recvmsg_into
        view, into = memoryview(slot), [slot]
        for _ in range(MOST_AT_ONCE):
            try:
                size, ancillary, flags, source = receive(into, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            beside = told(ancillary)
            if self._joined.is_wanted(source[0]) and not flags & socket.MSG_TRUNC:  # no transport stream is so long
                arrival_ns = time.time_ns() if beside.stamp_ns is None else beside.stamp_ns
                yield self._came(bytes(view[:size]), [arrival_ns], beside.drops)

    def _came(self, data: bytes, arrivals_ns: list[int], drops: int | None) -> Came:
        """``drops``: of the socket so far; None: the kernel says nothing before the first."""
        dropped = 0
        if drops is not None:
            dropped, self._drops = drops - self._drops & 0xFFFFFFFF, drops
        return Came(data, arrivals_ns, dropped)


def listen(receiver: Receiver, take: Callable[[Came], None], is_over: Callable[[], bool]) -> None:
    """Until it is over."""
    while not is_over():
        for came in receiver.drain():
            take(came)
        time.sleep(NAP_S)
