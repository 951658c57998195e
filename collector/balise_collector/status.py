"""How is the whole of it: is it running, does everything flow, and what did probes say that an operator should know?

Read from the files and from the running collector's own answer; it works while `balise serve` does not run, and says
so.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_collector.directory import Directory, dates
from balise_collector.fleet import CutOffs
from balise_collector.journal import Journal
from balise_collector.store import Reader, Unavailable
from balise_collector.store.kept import open_kept

DAY_MS = 86_400_000
SILENT_MS = 5 * 60_000  # five batches of a minute; `eco` probes send one in that time
ASK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look. ``problems`` None: nobody answered, so it is not known; empty: all is well.

    ``said``: what probes reported in the last 24 h, by kind: gaps by reason, steps of clocks, configurations refused.
    ``cut_off``: the probes that sent too much, with ``since`` and ``why``.
    """

    running: bool
    problems: tuple[str, ...] | None
    probes: Mapping[str, int]
    last_message_age_s: float | None
    journal: Mapping[str, int]
    lag_rows: Mapping[str, int]
    dead_letters: Mapping[str, int]
    orphans: Mapping[str, int]
    disk_free_bytes: int
    said: Mapping[str, int] = field(default_factory=dict)
    cut_off: tuple[Mapping[str, str], ...] = ()

    def is_well(self) -> bool:
        """Whether an operator has nothing to do."""
        return self.running and self.problems == () and not self.cut_off

    def as_json(self) -> dict[str, Any]:
        """One object."""
        return {name: getattr(self, name) for name in self.__slots__}


def look(data: Path, directory: Directory, now_ms: int) -> Status:
    """The state now. FileNotFoundError: there is no journal in DATA."""
    path = data / "journal.db"
    if not path.exists():
        raise FileNotFoundError(2, "no journal here; `balise serve` makes it", str(path))
    problems = ask(data)
    with closing(Journal(path)) as journal, closing(open_kept(data)) as reader:
        counts = journal.counts()
        cursors = journal.cursors()
        newest_ms = journal.newest_ms()
        return Status(
            running=problems is not None,
            problems=problems,
            probes=count_probes(directory, journal, _heard(reader, now_ms - SILENT_MS), now_ms),
            last_message_age_s=None if newest_ms is None else (now_ms - newest_ms) / 1000,
            journal=counts | {"bytes": journal.size_bytes(), "last_id": journal.last_id()},
            lag_rows={n: max(0, journal.last_id(n.rpartition(":")[2]) - id_) for n, id_ in cursors.items()},
            dead_letters=journal.dead_letter_reasons(),
            orphans=journal.orphans(),
            disk_free_bytes=shutil.disk_usage(data).free,
            said=_said(reader, now_ms),
            cut_off=cut_off(data),
        )


def _heard(reader: Reader, since_ms: int) -> set[str]:
    """Probes; none while InfluxDB does not answer, which is a problem of its own."""
    try:
        return {point.probe for point in reader.latest(since_ms=since_ms)}
    except Unavailable:
        return set()


def _said(reader: Reader, now_ms: int) -> dict[str, int]:
    try:
        return what_probes_said(reader, now_ms - DAY_MS, now_ms + DAY_MS)
    except Unavailable:
        return {}


def ask(data: Path) -> tuple[str, ...] | None:
    """What the running collector says is wrong; None where none runs."""
    try:
        said = json.loads((data / "serve.json").read_text())
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(said["http_host"], said["http_host"])  # noqa: S104
        line = http.client.HTTPConnection(host, int(said["http_port"]), timeout=ASK_TIMEOUT_S)
        with closing(line):
            line.request("GET", "/healthz")
            return tuple(map(str, json.load(line.getresponse())["problems"]))
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        return None  # nobody there, or somebody else


def cut_off(data: Path) -> tuple[Mapping[str, str], ...]:
    """The probes that are cut off now, the first one first."""
    path = data / "fleet.db"
    if not path.exists():
        return ()
    with closing(CutOffs(path)) as cutoffs:
        return tuple(
            {"probe": one.probe, "since": dates.write(one.at_ms), "why": one.why} for one in cutoffs.standing()
        )


def count_probes(directory: Directory, journal: Journal, heard: set[str], now_ms: int) -> dict[str, int]:
    """Assigned now; of those, with a session, and ``heard`` of in the last 5 minutes."""
    assigned = set(directory.sites(now_ms))
    online = {probe for probe, (is_online, _) in journal.presences().items() if is_online}
    return {
        "assigned": len(assigned),
        "online": len(assigned & online),
        "heard_5_min": len(assigned & heard),
        "never_seen": len(assigned - journal.presences().keys()),
    }


def what_probes_said(reader: Reader, start_ms: int, end_ms: int) -> dict[str, int]:
    """Events and gaps of all homes in a span, counted: ``gap size_bound`` 12 is twelve messages lost to that bound."""
    found: Counter[str] = Counter()
    for series in reader.series():
        if series.measurement not in ("gap", "agent_event"):
            continue
        for point in reader.read(series.home, series.measurement, series.target, start_ms, end_ms):
            if point.probe != series.probe:
                continue
            if series.measurement == "gap":
                found[f"gap {point.fields.get('why', '')}"] += int(point.fields.get("messages", 1))
            else:
                found[point.target] += 1
    return dict(sorted(found.items()))
