"""Does a power cut take anything that was promised? `python -m tests.faults.powercut [--states N] [--seed S] [--json]`

A kill is no power cut: with `synchronous=OFF` 60 kills lost nothing. So outbox and journal work under strace, and
disks are rebuilt as they could be at random moments (`disk`): each holds what was synced and a random part of the rest.
The real code opens each, and all that had been promised must be there, as it was and once.

`--control nosync` leaves the syncs out: it must lose, or this test could not see a loss.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_agent import codec
from balise_agent.contract import Batch, Envelope, Refusal, body_hash, chain_next, chain_start
from balise_agent.outbox import Outbox
from balise_agent.outbox_rows import Row, pending_rows, rows
from balise_collector.ingest import Ingest
from balise_collector.journal_salvage import open_journal
from tests.faults.clocks import HandClock
from tests.faults.disk import Disk, Op, put
from tests.faults.messages import Sent, home_of, messages, values
from tests.faults.trace import run
from tests.faults.workload import BOOT, DAMAGE, JOURNAL, MESSAGES, OUTBOX

ROOT = Path(__file__).parents[2]
JOURNAL_SHARE = 0.4
MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # what is asked of the disk is the same, and five times faster
LATER_MS = 10**9

Check = Callable[[Path, list[Any]], list[str]]
"""(root of a rebuilt disk, the promises made before the cut) -> what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A moment: what a disk can hold then, what had been promised, whether the workload had damaged its file."""

    name: str
    disk: Mapping[str, bytes | None]
    promises: list[Any]
    damaged: bool


@dataclass(slots=True)
class Result:
    """``lost`` counts promises that were not kept; ``wrong`` the other faults; ``examples`` say which state."""

    states: Counter[str] = field(default_factory=Counter)
    promises: int = 0
    lost: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, what: str, state: str, promises: int, faults: list[str]) -> None:
        """One state was looked at."""
        self.states[what] += 1
        self.promises += promises
        self.lost += sum(fault.startswith("lost") for fault in faults)
        self.wrong += sum(not fault.startswith("lost") for fault in faults)
        self.examples += [f"{what} {state}: {fault}" for fault in faults[: max(0, 8 - len(self.examples))]]

    def as_json(self) -> dict[str, Any]:
        """One object."""
        names = ("promises", "lost", "wrong", "examples")
        return {"states": dict(self.states)} | {name: getattr(self, name) for name in names}


def power_cuts(states: int, seed: int, *, sync: bool = True) -> Result:
    """Rebuilds that many disks, of outbox and journal, and looks at each."""
    logging.disable(logging.CRITICAL)  # each of them would speak of its damage
    try:
        return _power_cuts(states, seed, sync=sync)
    finally:
        logging.disable(logging.NOTSET)


def _power_cuts(states: int, seed: int, *, sync: bool) -> Result:
    result = Result()
    of_journal = round(states * JOURNAL_SHARE)
    sent = messages(seed, MESSAGES)
    for what, count, check in (
        ("outbox", states - of_journal, check_outbox),
        ("journal", of_journal, lambda root, promises: check_journal(root, promises, sent)),
    ):
        with tempfile.TemporaryDirectory(prefix="balise-cut-", dir=MEMORY) as name:
            ops = trace(what, Path(name), seed, sync=sync)
            for cut in cuts(ops, count, random.Random(f"{what} {seed}")):
                root = Path(name, "cut", cut.name)
                root.mkdir(parents=True)
                put(cut.disk, root)
                result.add(what, cut.name, len(cut.promises), _looked_at(check, root, cut))
    return result


def trace(what: str, folder: Path, seed: int, *, sync: bool) -> list[Op]:
    """The calls of one workload; that they are all of them is checked: done again, they make the same files."""
    root, marks = folder / "root", folder / "marks"
    root.mkdir()
    synchronous = "FULL" if sync else "OFF"
    command = [sys.executable, "-m", "tests.faults.workload", what, str(root), str(marks), str(seed), synchronous]
    ops = run(command, root, marks, ROOT)
    disk = Disk()
    for op in ops:
        disk.do(op)
    real = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".db-shm"}
    real = {path: content for path, content in real.items() if not path.endswith("-shm")}
    assert disk.everything() == real, "the trace does not hold all that was written"
    return ops if sync else [op for op in ops if not op.kind.startswith("sync")]


def cuts(ops: Sequence[Op], count: int, rng: random.Random) -> Iterator[Cut]:
    """Disks at ``count`` moments, in their order."""
    disk, promises, damaged, done = Disk(), list[Any](), False, 0
    for number, at in enumerate(sorted(rng.randint(0, len(ops)) for _ in range(count))):
        for op in ops[done:at]:
            disk.do(op)
            said = json.loads(op.data) if op.kind == "mark" else []
            damaged = damaged or said == DAMAGE
            promises += [] if said == DAMAGE else said
        done = max(done, at)
        yield Cut(name=f"{number}-after-{at}-calls", disk=disk.after_cut(rng), promises=promises, damaged=damaged)


def _looked_at(check: Check, root: Path, cut: Cut) -> list[str]:
    try:
        faults = check(root, cut.promises)
    except (sqlite3.Error, OSError, ValueError, TypeError) as exc:
        return [f"lost: not to be opened: {type(exc).__name__}: {exc}"]
    if not cut.damaged and damage_reported(root):
        faults.append("damage is reported where there is none")
    return faults


def damage_reported(root: Path) -> bool:
    """Whether what opened the files took them for damaged."""
    asked = {OUTBOX: "SELECT 1 FROM gaps", JOURNAL: "SELECT 1 FROM counted WHERE name LIKE 'journal_%'"}
    for path, sql in asked.items():
        if (root / path).exists():
            with closing(sqlite3.connect(root / path)) as db:
                return db.execute(sql).fetchone() is not None
    return False


# the outbox


def check_outbox(root: Path, promises: list[Any]) -> list[str]:
    """What the agent finds at its next start."""
    path = root / OUTBOX
    path.parent.mkdir(exist_ok=True)
    clock = HandClock(bt=LATER_MS, wall=1_800_000_000_000 + LATER_MS - 1_000_000)
    with closing(Outbox(path, boot=BOOT, clock=clock)) as outbox:
        held = records_in(path)
        faults = [f"lost: {key}" for key in promises if _key(key) not in held]
        for key in promises:
            found = held.get(_key(key), [])
            if len(found) > 1:
                faults.append(f"twice: {key}")
            if found and key["ts_ms"] is not None and found[0][0] != key["ts_ms"]:
                faults.append(f"other date: {key} {found}")
            if found and key["n"] is not None and found[0][1] != values(key["n"]):
                faults.append(f"altered: {key} {found}")
        outbox.seal()
        return faults + wrong_in_chain([*outbox_rows(path)]) + wrong_messages(outbox)


def _key(promise: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(promise[name] for name in ("boot", "measurement", "target", "bt_ms"))


def records_in(path: Path) -> dict[tuple[Any, ...], list[tuple[int | None, Mapping[str, Any]]]]:
    """All records of an outbox by boot, measurement, target and boot time: date and fields."""
    held: dict[tuple[Any, ...], list[tuple[int | None, Mapping[str, Any]]]] = {}
    with closing(sqlite3.connect(path)) as db:
        for row in rows(db, "1"):
            batch = _decoded(row)
            for r in batch.body.records:
                date = batch.ts_ms(r) if row.ts_ms else None
                held.setdefault((row.boot, r.measurement, r.target, r.bt_ms), []).append((date, r.fields))
        for pending in pending_rows(db):
            r = pending.parsed()
            date = None if pending.off_ms is None else pending.off_ms + r.bt_ms
            held.setdefault((pending.boot, r.measurement, r.target, r.bt_ms), []).append((date, r.fields))
    return held


def _decoded(row: Row) -> Batch:
    raw = codec.inflate(row.body)
    assert not isinstance(raw, Refusal)
    envelope = Envelope(
        stream=row.stream,
        seq=row.seq,
        boot=row.boot,
        ts_ms=row.ts_ms or 0,
        sent_ms=0,
        chain=row.chain or "A" * 22,
        retention=row.retention,
    )
    batch = codec.decode_body(envelope, raw)
    assert not isinstance(batch, Refusal)
    return batch


def outbox_rows(path: Path) -> Iterator[Row]:
    """As they stand."""
    with closing(sqlite3.connect(path)) as db:
        yield from rows(db, "1")


def wrong_in_chain(found: Sequence[Row]) -> list[str]:
    """Numbers given twice, and messages that do not follow on the one before them."""
    faults = []
    last: dict[str, tuple[int, str]] = {}
    for row in found:
        raw = codec.inflate(row.body)
        before = last.get(row.stream)
        if before is not None and row.chain is not None and row.ts_ms is not None and not isinstance(raw, Refusal):
            expected = chain_next(before[1], row.seq, row.ts_ms, body_hash(raw))
            if (row.seq, row.chain) != (before[0] + 1, expected):
                faults.append(f"chain: {row.stream} {row.seq} does not follow on {before[0]}")
        if row.chain is not None:
            last[row.stream] = (row.seq, row.chain)
    return faults


def wrong_messages(outbox: Outbox) -> list[str]:
    """What would be sent and could not be read; damage that is reported where a power cut is no damage."""
    faults = []
    for message in outbox.waiting(0, 10**6):
        batch = codec.decode_batch(codec.encode_batch(message.envelope, message.body))
        if isinstance(batch, Refusal):
            faults.append(f"unreadable: {message.envelope.stream} {message.envelope.seq}: {batch}")
            continue
        if batch.envelope.seq == 1:
            start = chain_start(batch.envelope.stream, batch.envelope.previous)
            if chain_next(start, 1, batch.envelope.ts_ms, batch.body_hash) != batch.envelope.chain:
                faults.append(f"chain: {batch.envelope.stream} does not begin where it says")
    return faults


# the journal


def check_journal(root: Path, promises: list[Any], sent: Sequence[Sent]) -> list[str]:
    """What the collector finds at its next start, and that all comes right when everything is sent again."""
    path = root / JOURNAL
    path.parent.mkdir(exist_ok=True)
    by_key = {message.key: message for message in sent}
    acked = {(p, s, n) for p, s, ranges in promises for a, b in ranges for n in range(a, b + 1)}
    with closing(open_journal(path)) as journal:
        entries, _last = journal.entries(0, 10**6)
        counted = Counter((entry.probe, entry.stream, entry.seq) for entry in entries)
        faults = [f"lost: {key}" for key in sorted(acked - counted.keys())]
        faults += [f"twice: {key}" for key, n in counted.items() if n > 1]
        for entry in entries:
            original = by_key[(entry.probe, entry.stream, entry.seq)]
            if (entry.ts_ms, entry.body, entry.place) != (original.ts_ms, original.body, home_of(entry.probe, 0)):
                faults.append(f"altered: {original.key}")
        if journal.damaged:
            faults.append(f"damaged rows: {journal.damaged}")
        ingest = Ingest(journal, home_of, lambda: sent[-1].ts_ms + 1_000)
        ingest.take([message.incoming for message in sent])
        if (ingest.counts["new"], ingest.counts["duplicate"]) != (len(sent) - len(counted), len(counted)):
            faults.append(f"sent again: {dict(ingest.counts)} with {len(counted)} there")
    with closing(sqlite3.connect(path)) as db:
        links = Counter(link for (link,) in db.execute("SELECT link FROM chain"))
    return faults if links == {1: len(sent)} else [*faults, f"chain: {dict(links)}"]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    options.add_argument("--states", type=int, default=2_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--control", choices=["nosync"])
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    result = power_cuts(asked.states, asked.seed, sync=asked.control is None)
    if asked.json:
        print(json.dumps({"seed": asked.seed, "control": asked.control} | result.as_json()))
    else:
        print(f"seed {asked.seed}: {dict(result.states)} disks, {result.promises} promises looked for")
        print(f"{result.lost} lost, {result.wrong} otherwise wrong", *result.examples, sep="\n  ")
    return 1 if result.lost or result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
