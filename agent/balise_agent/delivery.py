"""Which message is to be sent next, which again, and which has arrived?

Pure: what is in flight, what the collector said, and a clock go in; ids and messages come out.

Rule 1: at most `window` messages are unacknowledged at once.
Rule 2: only the collector's ack ends a message; a PUBACK ends nothing.
Rule 3: what was not acknowledged in `RESEND_S` plus jitter is sent again; a new session sends all of it again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from balise_agent.contract import Ack
from balise_agent.outbox import Message

RESEND_S = 30.0
SILENCE_S = 90.0
"""With messages in flight and nothing acknowledged for that long, the session is dead whatever TCP says."""


@dataclass(slots=True)
class _Sent:
    message: Message
    again_at_s: float


@dataclass(slots=True)
class Delivery:
    """The state of one probe's deliveries. ``read``: messages waiting above an id (`Outbox.waiting`)."""

    window: int
    rng: random.Random
    _in_flight: dict[tuple[str, int], _Sent] = field(default_factory=dict)
    _after_id: int = 0
    _heard_s: float = 0.0
    _done: set[int] = field(default_factory=set)

    def reset(self, now_s: float) -> None:
        """A new session: all that was in flight is to be sent again, from the oldest."""
        self._in_flight.clear()
        self._after_id = 0
        self._heard_s = now_s

    def next(self, now_s: float, read: Callable[[int, int], Sequence[Message]]) -> list[Message]:
        """What to send now: first what is overdue, then new ones as far as the window allows."""
        again = [sent for sent in self._in_flight.values() if now_s >= sent.again_at_s]
        for sent in again:
            sent.again_at_s = self._deadline(now_s)
        room = self.window - len(self._in_flight)
        fresh = self._fresh(now_s, room, read) if room > 0 else []
        return [sent.message for sent in again] + fresh

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
        self._after_id = 0

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

    def _fresh(self, now_s: float, room: int, read: Callable[[int, int], Sequence[Message]]) -> list[Message]:
        if not self._in_flight:
            self._heard_s = now_s  # silence is counted from the first message that nobody answers
        fresh: list[Message] = []
        while len(fresh) < room:
            found = read(self._after_id, room)
            for message in found[: room - len(fresh)]:
                self._after_id = message.id
                key = (message.envelope.stream, message.envelope.seq)
                if message.id not in self._done and key not in self._in_flight:
                    self._in_flight[key] = _Sent(message=message, again_at_s=self._deadline(now_s))
                    fresh.append(message)
            if len(found) < room:
                break
        return fresh

    def _deadline(self, now_s: float) -> float:
        return now_s + RESEND_S * self.rng.uniform(1.0, 1.5)
