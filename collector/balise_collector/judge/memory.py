"""What must be kept of a judge, so that another concludes the same from it?

What homes said and what was told, by name; never what was concluded: that is concluded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from balise_collector.judge.ground import Ground
from balise_collector.judge.marks import Channel, Marks
from balise_collector.judge.names import Names
from balise_collector.judge.platform import Blindness
from balise_collector.judge.shown import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Over the parts of a judge that remember."""

    ground: Ground
    marks: Marks
    names: Names
    shown: Shown
    blindness: Blindness

    def told(self) -> Iterator[tuple[str, Any]]:
        """What is to be kept of it, by name; of homes' minutes those that changed since they were last asked for."""
        for log in self.ground.logs.values():
            for day in sorted(log.cells.changed):
                yield f"minutes/{log.id}/{day}", log.cells.pages[day]
            log.cells.saved()
            if not log.is_empty:
                yield f"home/{log.id}", log.told()
        for channel, samples in self.marks.samples.items():
            yield from ((f"good/{channel}/{day}", page) for day, page in samples.good.items())
            yield f"bad/{channel}", sorted(sample for day in samples.bad.values() for sample in day)
        yield "beats", self.ground.heartbeats
        yield "references", self.ground.references
        yield "numbers", self.names.told()
        yield "paged", sorted(self.shown.paged)
        yield "said", self.shown.said()

    def names_known(self) -> set[str]:
        """The names of all of it, changed or not."""
        names = {"beats", "references", "numbers", "paged", "said"}
        for log in self.ground.logs.values():
            names |= set() if log.is_empty else {f"home/{log.id}"}
            names |= {f"minutes/{log.id}/{day}" for day in log.cells.pages}
        for channel, samples in self.marks.samples.items():
            names.add(f"bad/{channel}")
            names |= {f"good/{channel}/{day}" for day in samples.good}
        return names

    def recall(self, parts: Iterable[tuple[str, Any]]) -> None:
        """Into a judge that knows nothing yet. Homes that are not expected any more are passed over."""
        for name, value in parts:
            what, _, rest = name.partition("/")
            if what in ("minutes", "home"):
                self._recall_home(what, rest, value)
            elif what in ("good", "bad"):
                self._recall_channel(what, rest, value)
            elif what == "beats":
                self.ground.heartbeats[:] = [(int(ts), bool(ok)) for ts, ok in value]
            elif what == "references":
                self.ground.references.update({ch: [(t, bool(b)) for t, b in seen] for ch, seen in value.items()})
            else:
                self._recall_shown(what, value)
        self._relearn()

    def _recall_shown(self, what: str, value: Any) -> None:
        if what == "numbers":
            self.names.recall(value)
        elif what == "paged":
            self.shown.paged.update(value)
        elif what == "said":
            self.shown.recall(value)

    def _recall_home(self, what: str, rest: str, value: Any) -> None:
        home, _, day = rest.partition("/")
        log = self.ground.logs.get(home)
        if log is None:
            return
        if what == "minutes":
            log.cells.restore(int(day), value)
        else:
            log.recall(value)

    def _recall_channel(self, what: str, rest: str, value: Any) -> None:
        channel, _, day = rest.rpartition("/") if what == "good" else (rest, "", "")
        samples = self.marks.samples.setdefault(channel, Channel())
        if what == "good":
            samples.good[int(day)] = value
        else:
            samples.recall(value)

    def _relearn(self) -> None:
        """Marks all that is remembered: the next `advance` concludes everything from it."""
        marks = self.marks
        for log in self.ground.logs.values():
            marks.everything(log)
        for channel, samples in marks.samples.items():
            if samples.bad:
                marks.channels[channel] = 0
        if self.ground.heartbeats:
            self.blindness.beat(self.ground.heartbeats[0][0])
        marks.line(0)
