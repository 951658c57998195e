"""What came on a channel's socket?

Sleep, then drain without blocking: 0.7 % of a core for 8 Mbit/s, where a wake-up for each datagram costs 2 %. Times are
the kernel's, so that sleeping costs none of their accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from balise_agent.net.tv.joining import ANCILLARY_BYTES, SLOT_BYTES, Joined, told

NAP_S = 0.05
MOST_AT_ONCE = 4_096  # in one drain: 0.7 s of the fastest channel; a flood does not keep us from looking at the time


class Came(NamedTuple):
    """A datagram. ``dropped``: those that this machine dropped before it, since the last one."""

    data: bytes
    arrival_ns: int
    dropped: int


class Receiver:
    """Of one channel."""

    def __init__(self, joined: Joined) -> None:
        self._joined = joined
        self._slot = bytearray(SLOT_BYTES)
        self._drops = 0
        self.foreign = 0  # datagrams of another source than the one that is wanted

    def drain(self) -> Iterator[Came]:
        """All that waits."""
        slot, receive = self._slot, self._joined.socket.recvmsg_into
        view, into = memoryview(slot), [slot]
        for _ in range(MOST_AT_ONCE):
            try:
                size, ancillary, flags, source = receive(into, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            beside = told(ancillary)
            dropped = 0
            if beside.drops is not None:
                dropped, self._drops = beside.drops - self._drops & 0xFFFFFFFF, beside.drops
            if not self._joined.is_wanted(source[0]):
                self.foreign += 1
                continue
            if flags & 0x20:  # MSG_TRUNC: no transport stream has such datagrams
                continue
            arrival_ns = time.time_ns() if beside.stamp_ns is None else beside.stamp_ns
            yield Came(bytes(view[:size]), arrival_ns, dropped)

    def unseen_drops(self) -> int:
        """Those after the last datagram that came."""
        return self._joined.drops() - self._drops & 0xFFFFFFFF


def listen(receiver: Receiver, take: Callable[[Came], None], is_over: Callable[[], bool]) -> None:
    """Until it is over."""
    while not is_over():
        for came in receiver.drain():
            take(came)
        time.sleep(NAP_S)
