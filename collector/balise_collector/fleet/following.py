"""How far is a command, in its probe's own words since it was asked for?

Rule 1: only what the probe told everybody stands in the journal; a refusal of the moment does not (`Fleet.answer_to`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from balise_collector import wire
from balise_collector.journal import Journal

_AT_ONCE = 500  # rows
ENDS = ("done", "refused", "expired")
"""After these nothing more is said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was said: ``accepted``, ``running``, or how it ended; ``detail``: of what it came to, or why."""

    state: str
    detail: str = ""

    @property
    def is_end(self) -> bool:
        """Nothing follows it."""
        return self.state in ENDS


class Following:
    """What one probe says from now on of one command: made before that is asked for."""

    def __init__(self, journal: Journal, probe: str, command_id: str) -> None:
        self._journal, self._probe, self._id = journal, probe, command_id
        self._seen = journal.last_id()

    def steps(self) -> Iterator[Step]:
        """What was said since the last look, in order."""
        while True:
            entries, last = self._journal.entries(self._seen, _AT_ONCE)
            if last == self._seen:
                return
            self._seen = last
            for entry in entries:
                if entry.probe == self._probe:
                    yield from self._told(entry.body)

    def _told(self, body: bytes) -> Iterator[Step]:
        for record in wire.records(body):
            if record.measurement == "command" and record.fields.get("id") == self._id:
                yield Step(state=str(record.fields.get("state", "")), detail=str(record.fields.get("detail", "")))
