"""When is a request sent again, and when is it given up?

RFC 3261 § 17.1, the client's side, for INVITE and the others. Pure: times are handed in, bytes are somebody else's.

Rule: a request is sent at 0, T1, 3 T1, 7 T1 …; over a reliable transport once. INVITE's stop at the first answer, the
others' slow down to T2.
"""

from __future__ import annotations

import math
from typing import Literal

T1_S = 0.5  # RFC 3261 § 17.1.1.1: an estimate of the round trip
T2_S = 4.0  # the longest time between two transmissions of a request that is no INVITE
TIMEOUT_S = 64 * T1_S  # Timers B and F

Due = Literal["send", "timeout"]


class ClientTransaction:
    """One request, from its first transmission to its final answer or its end.

    ``timeout_s``: without any answer; ``ring_s``: an INVITE's, after a provisional one.
    """

    def __init__(
        self, now_s: float, *, invite: bool, reliable: bool, timeout_s: float = TIMEOUT_S, ring_s: float = TIMEOUT_S
    ) -> None:
        self._invite, self._reliable, self._ring_s = invite, reliable, ring_s
        self._wait_s = T1_S
        self._send_s = now_s
        self._end_s = now_s + timeout_s
        self.transmissions = 0
        self.state: Literal["calling", "proceeding", "completed", "ended"] = "calling"

    @property
    def next_s(self) -> float:
        """When `due` is to be asked again; infinity: never."""
        return math.inf if self.state in ("completed", "ended") else min(self._send_s, self._end_s)

    def due(self, now_s: float) -> Due | None:
        """What is to be done now. ``send`` says that it is done; ``timeout`` ends the transaction."""
        if self.state in ("completed", "ended"):
            return None
        if now_s >= self._end_s:
            self.state = "ended"
            return "timeout"
        if now_s < self._send_s:
            return None
        self.transmissions += 1
        self._send_s = math.inf if self._reliable else now_s + self._wait_s
        longest_s = math.inf if self._invite else T2_S
        self._wait_s = min(2 * self._wait_s, longest_s)
        return "send"

    def answered(self, code: int, now_s: float) -> bool:
        """Takes an answer in; True: it is the final one."""
        if self.state in ("completed", "ended"):
            return False
        if code >= 200:
            self.state = "completed"
            return True
        if self.state == "calling":
            self.state = "proceeding"
            if self._invite:
                self._send_s = math.inf
                self._end_s = now_s + self._ring_s
        if not self._invite and not self._reliable:
            self._wait_s = T2_S  # Timer E, § 17.1.2.2
        return False
