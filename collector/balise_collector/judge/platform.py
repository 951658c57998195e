"""When was it us who heard nothing? One incident of the platform a hole in its own minutes; it blames nobody."""

from __future__ import annotations

from balise_collector.judge.ground import Ground
from balise_collector.judge.incidents import Incident


class Blindness:
    """What the collector's own minutes tell; they come in order, or late."""

    __slots__ = ("_found", "_from_ms", "_ground")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._found: list[Incident] = []
        self._from_ms: int | None = None

    def beat(self, ts_ms: int) -> None:
        """A minute came: from there on holes are looked for again."""
        self._from_ms = ts_ms if self._from_ms is None else min(ts_ms, self._from_ms)

    def incidents(self, now_ms: int) -> list[Incident]:
        """One a hole; the same objects as long as nothing changed."""
        beats = self._ground.heartbeats
        if not beats:
            return self._found
        gap_ms = self._ground.settings.heartbeat_s * 1_000
        is_open = bool(self._found) and self._found[-1].until_ms is None
        silent = now_ms - beats[-1][0] > gap_ms or not beats[-1][1]
        if self._from_ms is None and is_open == silent:
            return self._found
        since = beats[-1][0] if self._from_ms is None else self._from_ms
        since -= 2 * gap_ms
        open_ms = self._found[-1].since_ms if is_open else since
        since = min(since, open_ms)
        kept = [i for i in self._found if i.until_ms is not None and i.until_ms < since]
        known = {i.key: i for i in self._found}
        fresh = [self._incident(*hole) for hole in self._ground.blind(since, now_ms)]
        fresh = [i for i in fresh if i.since_ms > (kept[-1].since_ms if kept else -1)]
        self._found = kept + [known[i.key] if known.get(i.key) == i else i for i in fresh]
        self._from_ms = None
        return self._found

    def _incident(self, start_ms: int, end_ms: int | None) -> Incident:
        return Incident(
            kind="platform",
            element=("operator", ""),
            what="platform",
            since_ms=start_ms,
            opened_ms=start_ms + self._ground.settings.heartbeat_s * 1_000,
            until_ms=end_ms,
            spells=(),
            homes=len(self._ground.topology.homes),
            measured=len(self._ground.logs),
            cause="platform",
            confidence="sure",
            evidence=("the collector itself heard nothing: no minute of its own, or no session with the broker",),
            reviewed=end_ms is not None,
        )
