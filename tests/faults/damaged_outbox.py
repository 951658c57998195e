"""How does the agent use an outbox, damaged or not, and what must come out of it?"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balise_agent import codec, sqlite_file
from balise_agent.contract import Batch, Record, Refusal
from balise_agent.outbox import Message, Outbox
from tests.faults.clocks import HandClock
from tests.faults.messages import values
from tests.faults.seen import Seen

COMMITS = 150
BOOT = "boot"
NEW = 10**6  # numbers of records committed to a damaged copy
_MAX = 10**6


@dataclass(slots=True)
class Original:
    """``sent``: (stream, seq) -> payload without its sending time. ``fields``: number of a record -> its fields.

    ``acked``: numbers of records that the collector has: those may go.
    """

    sent: dict[tuple[str, int], tuple[Any, bytes]] = field(default_factory=dict)
    fields: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)
    dates: dict[int, int] = field(default_factory=dict)
    clock_bt: int = 0


def build(folder: Path, seed: int) -> Original:
    """An outbox with messages acked and not, records sealed and not, in the main file and in the WAL."""
    rng, clock, original = random.Random(seed), HandClock(), Original()
    made = folder.with_name("made")
    made.mkdir()
    outbox = Outbox(made / "outbox.db", boot=BOOT, clock=clock)
    for n in range(COMMITS):
        clock.pass_ms(30_000)
        acked = outbox.waiting(0, 3) if rng.random() < 0.3 else []
        outbox.commit([_record(clock, n)], seal=rng.random() < 0.4, acked=[message.id for message in acked])
        original.fields[n] = values(n)
        for message in acked:
            original.acked |= {number for number, _date, _fields in _numbered(_decoded(message))}
            original.sent[_key(message)] = _content(message)
    folder.mkdir()
    for name in ("outbox.db", "outbox.db-wal"):
        shutil.copy(made / name, folder / name)
    outbox.seal()
    for message in outbox.waiting(0, _MAX):
        original.sent.setdefault(_key(message), _content(message))
        original.dates |= {n: date for n, date, _fields in _numbered(_decoded(message))}
    original.clock_bt = clock.bt
    outbox.close()
    return original


def use(folder: Path, original: Original) -> Seen:
    """Two starts: deliver all, commit, acknowledge; a file found malformed meanwhile is set aside at the next start."""
    clock = HandClock(bt=original.clock_bt + 60_000)
    clock.wall += clock.bt - 1_000_000
    path, delivered, restarts = folder / "outbox.db", dict[tuple[str, int], Message](), 0
    for start in range(2):
        while True:
            try:
                _start(path, clock, delivered, NEW + start)
                break
            except sqlite3.Error as exc:
                if not sqlite_file.is_damage(exc) or restarts > 3:
                    raise
                sqlite_file.mark_damaged(path)
                restarts += 1
    return _judge(original, delivered, restarts)


def _start(path: Path, clock: HandClock, delivered: dict[tuple[str, int], Message], n: int) -> None:
    with closing(Outbox(path, boot=BOOT, clock=clock)) as outbox:
        clock.pass_ms(60_000)
        outbox.commit([_record(clock, n)], seal=True)
        for _ in range(2):  # a damaged row is dropped at the first look, its gap delivered at the second
            waiting = outbox.waiting(0, _MAX)
            delivered |= {_key(message): message for message in waiting}
            outbox.commit((), seal=True, acked=[message.id for message in waiting])
        if [*outbox.waiting(0, _MAX)]:
            delivered |= {_key(message): message for message in outbox.waiting(0, _MAX)}
            outbox.commit((), acked=[message.id for message in outbox.waiting(0, _MAX)])
        assert outbox.waiting(0, _MAX) == [], "what is acknowledged is not sent again"


def _judge(original: Original, delivered: Mapping[tuple[str, int], Message], restarts: int) -> Seen:
    wrong: list[str] = []
    found: set[int] = set()
    said = False
    for key, message in delivered.items():
        batch = codec.decode_batch(codec.encode_batch(message.envelope, message.body))
        if isinstance(batch, Refusal):
            wrong.append(f"{key} is not to be read: {batch}")
            continue
        if key in original.sent and _content(message) != original.sent[key]:
            wrong.append(f"{key} is altered")
        said = said or any(record.measurement == "gap" for record in batch.body.records)
        for n, date, fields in _numbered(batch):
            found.add(n)
            if n < NEW and (fields != original.fields.get(n) or original.dates.get(n, date) != date):
                wrong.append(f"record {n} is altered: {fields} at {date}")
    missing = original.fields.keys() - original.acked - found
    left = sorted(found & original.fields.keys())
    if NEW not in found or NEW + 1 not in found:
        wrong.append("what was committed afterwards is not delivered")
    is_prefix = not missing or not left or min(missing) > max(left)
    return Seen(wrong=tuple(wrong), missing=len(missing), said=said, is_prefix=is_prefix, restarts=restarts)


def _record(clock: HandClock, n: int) -> Record:
    return Record(measurement="host", bt_ms=clock.bt, fields=values(n))


def _key(message: Message) -> tuple[str, int]:
    return (message.envelope.stream, message.envelope.seq)


def _content(message: Message) -> tuple[Any, bytes]:
    return (message.envelope, message.body)


def _decoded(message: Message) -> Batch:
    batch = codec.decode_batch(codec.encode_batch(message.envelope, message.body))
    assert isinstance(batch, Batch), batch
    return batch


def _numbered(batch: Batch) -> list[tuple[int, int, Mapping[str, Any]]]:
    hosts = [record for record in batch.body.records if record.measurement == "host"]
    return [(int(record.fields["uptime_s"]), batch.ts_ms(record), record.fields) for record in hosts]
