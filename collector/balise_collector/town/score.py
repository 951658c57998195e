"""How right was somebody about the town?

Minutes first (`minutes`), then incidents (`matching`): one a fault, in its place, for its cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from balise_collector.town.faults import Fault
from balise_collector.town.matching import Match, Matches, match
from balise_collector.town.minutes import Count, Minutes, count, false_greens, green_in_silence_s
from balise_collector.town.notes import Notes
from balise_collector.town.topology import Town
from balise_collector.town.truth import Truth

SILENT_MS = 25 * 60_000  # longer than anything that is shown green may be old
NONE_SEEN = 3.0  # no event in a time T: with 95 % confidence there are fewer than 3 in T


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares are None where there was nothing to be right about. ``by_fault``: recall of each kind, and the share that
    was found of a kind that hits no service. ``false_bound``: how many false incidents a month of 1,000 probed homes
    this run leaves possible, with 95 % confidence."""

    recall: float | None
    precision: float | None
    place_right: float | None
    cause_right: float | None
    false_green_p95_s: float | None
    by_fault: dict[str, float | None]
    false_incidents: int
    missed: int
    incidents: int
    detect_p95_s: float | None
    recall_live: float | None
    precision_live: float | None
    incidents_per_fault: float | None
    alerts: int
    green_in_silence_s: float
    false_bound: float | None
    by_service: dict[str, dict[str, float | None]]
    kinds: dict[str, dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """As `balise town run --json` prints it."""
        return asdict(self)


def score(truth: Truth, notes: Notes, town: Town, *, alerts: int) -> Score:
    """All of it. ``alerts``: how many an operator would have had."""
    minutes, found = count(truth, notes), match(truth, notes, town)
    total, live = _total(minutes.by_service), _total(minutes.live)
    return Score(
        recall=total.recall,
        precision=total.precision,
        place_right=_share(sum(m.place_right for m in found.firsts), len(found.firsts)),
        cause_right=_share(sum(m.cause_right for m in found.firsts), len(found.firsts)),
        false_green_p95_s=p95(false_greens(truth, notes)),
        by_fault=_by_fault(truth.faults, minutes, found),
        false_incidents=len(found.false),
        missed=len(found.missed),
        incidents=len(notes.incidents),
        detect_p95_s=p95(max(0, m.opened_ms - m.fault.start_ms) / 1_000 for m in found.firsts),
        recall_live=live.recall,
        precision_live=live.precision,
        incidents_per_fault=_share(sum(len(m.ids) for m in found.firsts), len(found.firsts)),
        alerts=alerts,
        green_in_silence_s=green_in_silence_s(truth, notes, SILENT_MS),
        false_bound=_bound(len(found.false), truth),
        by_service={
            name: {"recall": minutes.by_service[name].recall, "precision": minutes.by_service[name].precision}
            for name in sorted(minutes.by_service)
        },
        kinds=_kinds(truth.faults, minutes, found),
    )


def _total(by_service: dict[str, Count]) -> Count:
    """The services; the probe's own state is told beside, not counted."""
    found = Count()
    for name, one in by_service.items():
        if name != "probe":
            found.add(one)
    return found


def _by_fault(faults: Sequence[Fault], minutes: Minutes, found: Matches) -> dict[str, float | None]:
    kinds = _kinds(faults, minutes, found)
    return {
        kind: said["recall"] if said["recall"] is not None else said["found"]
        for kind, said in kinds.items()
        if said["recall"] is not None or said["found"] is not None
    }


def _kinds(faults: Sequence[Fault], minutes: Minutes, found: Matches) -> dict[str, dict[str, Any]]:
    """A row a kind: how many there were, and what was made of them."""
    rows: dict[str, dict[str, Any]] = {}
    for kind in sorted({fault.kind for fault in faults}):
        firsts = [m for m in found.firsts if m.fault.kind == kind]
        missed = sum(fault.kind == kind for fault in found.missed)
        rows[kind] = {
            "faults": sum(fault.kind == kind for fault in faults),
            "recall": minutes.by_kind[kind].recall if kind in minutes.by_kind else None,
            "found": _share(len(firsts), len(firsts) + missed),
            "place_right": _share(sum(m.place_right for m in firsts), len(firsts)),
            "cause_right": _share(sum(m.cause_right for m in firsts), len(firsts)),
            "incidents_per_fault": _share(_ids(firsts), len(firsts)),
        }
    return rows


def _ids(matches: Sequence[Match]) -> int:
    return sum(len(m.ids) for m in matches)


def _bound(false: int, truth: Truth) -> float | None:
    """The upper end of a 95 % interval of a Poisson rate."""
    months = len(truth.probed) / 1_000 * (truth.bounds[1] - truth.bounds[0]) / (30 * 86_400_000)
    above = NONE_SEEN if false == 0 else false + 1.645 * math.sqrt(false) + 1.35
    return round(above / months, 3) if months else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def p95(values: Iterable[float]) -> float | None:
    """Nearest rank; None of none."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None
