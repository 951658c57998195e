"""How are the tables of a batch read that were read before?

A table comes again each 100 ms, byte for byte. PAT and PMT: a PID whose packets are all the last one again is compared
in one go and counted (`repeated`). Tables of DVB go over several packets, and many take turns: each run of packets,
from one start to the next, is looked up whole (`read_service_information`).

Rule 1: whatever is not like that, damaged, scrambled, twice or with an adaptation field, is read packet by packet.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from balise_agent.net.mpegts.batch_times import Times, see
from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.heads import DAMAGED, STARTS, Array, Groups, Heads
from balise_agent.net.mpegts.packet import SIZE, header
from balise_agent.net.mpegts.psi import (
    EIT_PID,
    NIT_PID,
    PAT,
    PAT_PID,
    PMT,
    SDT_PID,
    TDT_PID,
    Assembler,
    is_only_counted,
)
from balise_agent.net.mpegts.reading import TABLE_LIMIT_MS, Interval, Reading
from balise_agent.net.mpegts.stream import Stream

SI_TABLES = frozenset({NIT_PID, SDT_PID, EIT_PID, TDT_PID})
_ROOM = SIZE - 4
_PLAIN = DAMAGED | 0xF0
_PAYLOAD = 0x10
_MOST_RUNS = 512
_MOST_BYTES = 23 * _ROOM  # the longest section


class Again(NamedTuple):
    """A PID whose packets are all the last one again, which brought these tables. ``interval``: of its table."""

    pid: int
    places: Array
    tables: tuple[int, ...]
    interval: Interval | None


def read_service_information(stream: Stream, heads: Heads, found: dict[int, Break | bool]) -> None:
    """Nothing else depends on these tables, nor they on anything: so not in order with other PIDs."""
    for pid in (pid for pid in heads.groups if pid in SI_TABLES):
        places = heads.places(pid)
        starts = _starts(heads, places, found)
        if starts is None:
            _one_by_one(stream, heads, found, places)
        else:
            _by_run(stream, heads, pid, places, starts)


def _starts(heads: Heads, places: Array, found: dict[int, Break | bool]) -> list[int] | None:
    """Which of them begin a section; None: rule 1."""
    words = heads.words[places]
    if (words & _PLAIN != _PAYLOAD).any():
        return None
    if found and not found.keys().isdisjoint((places + heads.index).tolist()):
        return None
    return list(np.flatnonzero(words & STARTS).tolist())


def _one_by_one(stream: Stream, heads: Heads, found: dict[int, Break | bool], places: Array) -> None:
    for place in places.tolist():
        packet, index = heads.packet(place), heads.index + place
        stream.reading.take(index, header(packet), packet, found.get(index, False))


def _by_run(stream: Stream, heads: Heads, pid: int, places: Array, starts: list[int]) -> None:
    reading, payloads = stream.reading, heads.packets[places, 4:].tobytes()
    assembler, known = reading.assemblers.setdefault(pid, Assembler()), reading.runs.setdefault(pid, {})
    first = starts[0] if starts else len(places)
    _one_by_one(stream, heads, {}, places[:first])  # the end of what the batch before began
    for start, end in pairwise([*starts, len(places)]):
        run, is_begun = payloads[start * _ROOM : end * _ROOM], assembler.held is not None
        tables = None if is_begun else known.get(run) or _again(reading, pid, run)
        if tables is not None:
            for table in tables:
                reading.tables.count(pid, table, 1)
            continue
        tables = _read_run(reading, heads, places[start:end])
        if not is_begun and assembler.held is None and tables is not None and len(run) <= _MOST_BYTES:
            if len(known) >= _MOST_RUNS:
                known.clear()
            known[run] = tables


def _read_run(reading: Reading, heads: Heads, places: Array) -> tuple[int, ...] | None:
    """The tables that it brought; None: they were not sound, or say more than that they came."""
    before, errors = Counter(reading.tables.sections), (reading.tables.crc_errors, reading.truncated)
    for place in places.tolist():
        packet = heads.packet(place)
        reading.take(heads.index + place, header(packet), packet, False)
    if errors != (reading.tables.crc_errors, reading.truncated):
        return None
    came = Counter(reading.tables.sections) - before
    return tuple(table for _, table in came.elements()) if all(is_only_counted(*one) for one in came) else None


def repeated(stream: Stream, heads: Heads, at: int, found: dict[int, Break | bool]) -> Iterator[Again]:
    """PAT and PMTs that from this place on say nothing new."""
    reading = stream.reading
    for pid in (PAT_PID, *reading.pmts):
        places = heads.places(pid)
        places = places[np.searchsorted(places, at) :]
        tables = _again(reading, pid)
        if not len(places) or tables != ((PAT,) if pid == PAT_PID else (PMT,)):
            continue
        last = reading.assemblers[pid].again
        if last is None or not _are_all(heads, places, last[0]):
            continue
        if found and any(found.get(index) is True for index in (places + heads.index).tolist()):
            continue
        yield Again(pid, places, tables, reading.pat if pid == PAT_PID else reading.pmts[pid])


def _again(reading: Reading, pid: int, payload: bytes | None = None) -> tuple[int, ...] | None:
    """The tables that a PID's last packet brought, if it would bring them again without more ado. ``payload``: it is
    this one."""
    assembler = reading.assemblers.get(pid)
    if assembler is None or assembler.again is None:
        return None
    last, came = assembler.again
    if came.truncated or (payload is not None and payload != last):
        return None
    is_known = all(reading.tables.is_known(pid, section) for section in came.sections)
    return tuple(section[0] for section in came.sections) if is_known else None


def _are_all(heads: Heads, places: Array, payload: bytes) -> bool:
    if len(payload) != _ROOM:
        return False
    if (heads.words[places] & (_PLAIN | STARTS) != _PAYLOAD | STARTS).any():
        return False
    return bool((heads.packets[places, 4:] == np.frombuffer(payload, np.uint8)).all())


def count(stream: Stream, heads: Heads, again: list[Again], end: int, dates: Times) -> None:
    """Those before a place."""
    reading, parts = stream.reading, []  # type: tuple[Reading, list[tuple[Again, Array, Interval]]]
    for one in again:
        places = one.places if end == len(heads.words) else one.places[: np.searchsorted(one.places, end)]
        if len(places) and one.interval is not None:
            parts.append((one, places, one.interval))
            reading.tables.count(one.pid, one.tables[0], len(places))
    if not parts:
        return
    ends = list(accumulate(len(places) for _, places, _ in parts))
    groups = Groups([one.pid for one, _, _ in parts], [0, *ends[:-1]], ends)
    indices = np.concatenate([places for _, places, _ in parts]) + heads.index
    times = dates.at(indices)
    for pid, first in zip(groups.pids, times[groups.starts].tolist(), strict=True):
        name = _name(pid)
        reading.firsts[name] = min(reading.firsts.get(name, first), first)
    for nth, passed_ms in see([interval for _, _, interval in parts], times, groups, TABLE_LIMIT_MS):
        pid = groups.pids[bisect_right(groups.starts, nth) - 1]
        reading.late(int(indices[nth]), pid, passed_ms, TABLE_LIMIT_MS, f"{_name(pid)}_late")


def _name(pid: int) -> str:
    return "pat" if pid == PAT_PID else "pmt"
