"""Which message is to be sent next, which again, and which has arrived?

Pure: what is in flight, what the collector said, and a clock go in; ids and messages come out.

Rule 1: at most `window` messages are unacknowledged at once.
Rule 2: only the collector's ack ends a message; a PUBACK ends nothing.
Rule 3: what was not acknowledged in `RESEND_S` plus jitter is sent again; a new session sends all of it again.
Rule 4: messages are taken in one walk up the outbox's ids; what was read for a walk that has since begun anew is not
taken.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from balise_agent.contract import Ack
from balise_agent.outbox import Message

RESEND_S = 30.0
RESEND_JITTER = 1.5  # at most that many times as long: a fleet that one cut silenced must not send in one breath
SILENCE_S = 90.0
"""With messages in flight and nothing acknowledged for that long, the session is dead whatever TCP says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Messages to read: waiting ones with ids above ``after_id``, at most ``limit``."""

    after_id: int
    limit: int
    walk: int


@dataclass(slots=True)
class _Sent:
    message: Message
    again_at_s: float


@dataclass(slots=True)
class Delivery:
    """The state of one probe's deliveries; one thread uses it."""

    window: int
    rng: random.Random
    _in_flight: dict[tuple[str, int], _Sent] = field(default_factory=dict)
    _after_id: int = 0
    _walk: int = 0
    _heard_s: float = 0.0
    _done: set[int] = field(default_factory=set)  # acknowledged, not yet marked in the outbox

    def reset(self, now_s: float) -> None:
        """The session is another, or none: all that was in flight is to be sent again, from the oldest."""
        self._in_flight.clear()
        self._start_over()
        self._heard_s = now_s

    def overdue(self, now_s: float) -> list[Message]:
        """What is to be sent again now."""
        again = [sent for sent in self._in_flight.values() if now_s >= sent.again_at_s]
        for sent in again:
            sent.again_at_s = self._deadline(now_s)
        return [sent.message for sent in again]

    def wanted(self) -> Wanted | None:
        """What to read, to fill the window; None: it is full."""
        room = self.window - len(self._in_flight)
        return Wanted(after_id=self._after_id, limit=room, walk=self._walk) if room > 0 else None

    def take(self, wanted: Wanted, found: Sequence[Message], now_s: float) -> list[Message]:
        """Of what was read, what is to be sent now, for the first time in this walk."""
        if wanted.walk != self._walk:
            return []
        if not self._in_flight:
            self._heard_s = now_s  # silence is counted from the first message that nobody answers
        fresh: list[Message] = []
        for message in found[: self.window - len(self._in_flight)]:
            self._after_id = message.id
            key = (message.envelope.stream, message.envelope.seq)
            if message.id not in self._done and key not in self._in_flight:
                self._in_flight[key] = _Sent(message=message, again_at_s=self._deadline(now_s))
                fresh.append(message)
        self._walk += bool(found)
        return fresh

    def acked(self, ack: Ack, now_s: float) -> list[int]:
        """The outbox ids that an ack ends. What it rejects is ended too: the collector keeps it as a dead letter."""
        rejected = {seq for seq, _why in ack.rejected}
        ended = [
            key
            for key in self._in_flight
            if key[0] == ack.stream and (key[1] in rejected or any(a <= key[1] <= b for a, b in ack.ranges))
        ]
        ids = [self._in_flight.pop(key).message.id for key in ended]
        if ids:
            self._heard_s = now_s
            self._done.update(ids)
        return ids

    def kept(self, ids: Sequence[int]) -> None:
        """The outbox has marked these: they need not be remembered here."""
        self._done.difference_update(ids)

    def replayed(self) -> None:
        """Acked messages wait again, so the walk starts over."""
        self._start_over()

    def is_idle(self) -> bool:
        """Whether nothing that was sent still waits for its ack."""
        return not self._in_flight

    def is_silent(self, now_s: float) -> bool:
        """Whether the session looks dead."""
        return bool(self._in_flight) and now_s - self._heard_s > SILENCE_S

    def seconds_to_resend(self, now_s: float) -> float | None:
        """Until the next message is overdue; None: nothing is in flight."""
        due = min((sent.again_at_s for sent in self._in_flight.values()), default=None)
        return None if due is None else max(0.0, due - now_s)

    def _start_over(self) -> None:
        self._after_id = 0
        self._walk += 1

    def _deadline(self, now_s: float) -> float:
        return now_s + RESEND_S * self.rng.uniform(1.0, RESEND_JITTER)
