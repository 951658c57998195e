"""What becomes of one echo: is it answered, late, refused or lost? The ladder is told each as it comes.

Rule 1: late after ``overdue_s``, lost after ``lost_s``, and each is told once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from balise_agent.probes.line import Line


class Pace(Protocol):
    """What the ladder asks of `ReachSettings`."""

    @property
    def fast_s(self) -> float: ...
    @property
    def overdue_s(self) -> float: ...
    @property
    def lost_s(self) -> float: ...


class Watch:
    """The fate of one echo, as the ladder is told it: late after ``overdue_s``, lost after ``lost_s``."""

    __slots__ = ("_label", "_line", "_pace", "_sent_ms", "_state", "_timer")

    def __init__(self, line: Line, label: str, pace: Pace) -> None:
        self._line, self._label, self._pace = line, label, pace
        self._sent_ms = line.now_ms()
        self._state = "open"
        self._timer = asyncio.get_running_loop().call_later(pace.overdue_s, self._overdue)

    def answered(self, rtt_us: int) -> None:
        """It came back, late perhaps."""
        self.drop()
        self._line.answered(self._label, self._sent_ms)
        if self._is_steady:
            self._line.hint.answered(self._sent_ms, rtt_us)

    def refused(self, reason: str, router: str | None = None, took_ms: int | None = None) -> None:
        """A router said so, ``took_ms`` after it was sent, or the probe could not send it."""
        if self._state in ("open", "late"):
            was, self._state = self._state, "lost"
            self._timer.cancel()
            self._line.refused(self._label, self._sent_ms, reason, router, took_ms, was_late=was == "late")

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self._timer.cancel()
        self._state = "over"

    def _overdue(self) -> None:
        self._state = "late"
        rest_s = max(0.0, self._pace.lost_s - self._pace.overdue_s)
        self._timer = asyncio.get_running_loop().call_later(rest_s, self.lost)
        self._line.late(self._label, self._sent_ms)

    def lost(self) -> None:
        """It will not come back."""
        if self._state == "late":
            self._state = "lost"
            self._timer.cancel()
            self._line.lost(self._label, self._sent_ms)
            if self._is_steady:
                self._line.hint.lost(self._sent_ms)

    @property
    def _is_steady(self) -> bool:
        """Of the operator's target, the one that is asked each 1.5 s."""
        return self._label.startswith("op")
