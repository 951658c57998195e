"""What is the tally of a day's tests, and what is told of it?

Pure, on the `Ledger` that the outbox keeps.

Rule 1: a day is told once, when it is over, without time of day.
Rule 2: each slot is counted once: it ran, was aborted, or was skipped for its last reason; off, where nobody tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from balise_agent import civil
from balise_agent.budget import REASONS, Bounds, Count
from balise_agent.contract import Record, Value
from balise_agent.heavy_plan import Slot, Tried
from balise_agent.outbox_budget import Ledger, day_key

_KEPT_MONTHS = 2


def add(ledger: Ledger, day: int, kind: str, **more: int) -> Ledger:
    """So much more of a kind of test on that day, and in its month."""
    counts = dict(ledger.counts)
    for period in (day_key(day), civil.month_of(day)):
        before = counts.get((period, kind), Count())
        added = {name: max(0, getattr(before, name) + value) for name, value in more.items()}
        counts[period, kind] = replace(before, **added)
    return replace(ledger, counts=counts)


def tried(ledger: Ledger, slot: Slot, at_s: float, *, over: bool, why: str = "") -> Ledger:
    """A slot was tried."""
    before = ledger.tried.get(slot.id, Tried())
    now = Tried(count=before.count + 1, last_s=at_s, over=over, why=why)
    return replace(ledger, tried={**ledger.tried, slot.id: now})


def begin(ledger: Ledger, day: int) -> Ledger:
    """A fresh day; of the months before only the last is kept."""
    months = sorted({period for period, _ in ledger.counts if not period.startswith("d")} | {civil.month_of(day)})
    kept = {key: count for key, count in ledger.counts.items() if key[0] in months[-_KEPT_MONTHS:]}
    return Ledger(day=day, counts=kept)


def close(ledger: Ledger, slots: Iterable[Slot]) -> Ledger:
    """The day is over: each of its slots is counted as what became of it. ``slots``: those of that day."""
    day = ledger.day
    if day is None:
        return ledger
    for slot in slots:
        was = ledger.tried.get(slot.id, Tried())
        ledger = add(ledger, day, slot.probe, planned=1)
        if not was.over or was.why:
            ledger = add(ledger, day, slot.probe, **{was.why or "off": 1})
    return ledger


def records(ledger: Ledger, limits: Bounds, bt_ms: int) -> list[Record]:
    """What is told of the day that was closed."""
    if ledger.day is None:
        return []
    month = ledger.of(civil.month_of(ledger.day))
    month_bytes = sum(count.bytes for count in month.values())
    found = []
    for kind, count in sorted(ledger.of(day_key(ledger.day)).items()):
        fields: dict[str, Value] = {"day": ledger.day, "planned": count.planned, "on_demand": count.on_demand}
        fields |= {"run": count.run, "aborted": count.aborted, "skipped": count.skipped}
        fields |= {f"skipped_{reason}": int(getattr(count, reason)) for reason in REASONS}
        fields |= {"bytes": count.bytes, "budget_bytes": limits.day_bytes}
        fields |= {"month_bytes": month_bytes, "month_budget_bytes": limits.month_bytes}
        found.append(Record(measurement="heavy_day", target=kind, bt_ms=bt_ms, fields=fields))
    return found
