"""What do the packets that say something say: tables, clocks, pictures, damage?

Both engines hand the same packets over in the same order (`is_wanted`), so what is read does not depend on the engine,
nor on how the stream was cut into batches.

Rule 1: memory is bounded whatever comes: lists end, PIDs are 8,192, sections 4,096 bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from balise_agent.net.mpegts.continuity import Break
from balise_agent.net.mpegts.packet import DISCONTINUITY, RANDOM_ACCESS, SIZE, Header, pcr, ticks
from balise_agent.net.mpegts.psi import (
    CAT_PID,
    EIT_PID,
    NIT_PID,
    PAT,
    PAT_PID,
    PMT,
    SDT_PID,
    TDT_PID,
    Assembler,
    Tables,
)
from balise_agent.net.mpegts.random_access import is_start
from balise_agent.net.mpegts.steady import Rate
from balise_agent.net.mpegts.timeline import Timeline

TABLE_LIMIT_MS, PID_LIMIT_MS, PTS_LIMIT_MS = 500.0, 5_000.0, 700.0
PCR_LIMITS_MS = (40.0, 100.0)
MOST_ERRORS = 20
MOST_POINTS = 4_096
MOST_SECONDS = 100_000
_MS = 1_000_000
TICKS_A_MS = 27_000
_LONGEST_MS = 10_000.0  # between two PCRs; above it the clock jumped
_TABLES = frozenset({PAT_PID, CAT_PID, NIT_PID, SDT_PID, EIT_PID, TDT_PID})


class Error(NamedTuple):
    """Something wrong at a packet, for a person to look at."""

    at: int
    pid: int
    what: str


@dataclass(slots=True)
class Interval:
    """Between two of a kind, on the stream's timeline."""

    last_ns: float | None = None
    longest_ms: float | None = None
    count: int = 0
    sum_ms: float = 0.0

    def see(self, at_ns: float) -> float | None:
        """How long since the last one, in ms; None: it is the first."""
        last_ns, self.last_ns = self.last_ns, at_ns
        self.count += 1
        if last_ns is None:
            return None
        passed_ms = (at_ns - last_ns) / _MS
        self.sum_ms += passed_ms
        self.longest_ms = max(self.longest_ms or 0.0, passed_ms)
        return passed_ms


@dataclass(slots=True)
class Clock:
    """The PCRs of one PID."""

    count: int = 0
    last: int | None = None
    index: int = 0
    longest_ms: float | None = None
    above: list[int] = field(default_factory=lambda: [0, 0])
    jumps: int = 0
    rate: Rate = field(default_factory=Rate)
    points: list[tuple[float, float]] = field(default_factory=list)  # PCR time and arrival, in ms
    elapsed_ms: float = 0.0


class Reading:
    """All that was read so far."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.tables = Tables()
        self.clocks: dict[int, Clock] = {}
        self.pat, self.pmts = Interval(), {}  # type: tuple[Interval, dict[int, Interval]]
        self.pts: dict[int, Interval] = {}
        self.starts: dict[int, Interval] = {}
        self.random_access: dict[int, Interval] = {}
        self.damaged = 0
        self.truncated = 0
        self.errors: list[Error] = []
        self.bad_seconds: set[int] = set()
        self.missing_pids: set[int] = set()
        self.firsts: dict[str, float] = {}  # when the first of a kind came, ns
        self.psi_pids: frozenset[int] = _TABLES
        self.av_pids: dict[int, str] = {}
        self.video_pids: frozenset[int] = frozenset()
        self.scanned_pids: frozenset[int] = frozenset()  # videos that never said where a decoder can start
        self.wishes = 0  # counts changes of what is wanted
        self.losses: list[int] = []  # indices
        self.assemblers: dict[int, Assembler] = {}
        self.runs: dict[int, dict[bytes, tuple[int, ...]]] = {}  # of `batch_tables`

    def is_wanted(self, head: Header) -> bool:
        """Whether a packet says something beside its counter and the start of a PES packet."""
        if head.damaged or head.pid in self.psi_pids:
            return True
        if head.flags & RANDOM_ACCESS and head.pid in self.video_pids:
            return True
        return head.starts and head.pid in self.scanned_pids

    def lost_at(self, index: int) -> None:
        """Packets were lost just before this one; told in order."""
        self.losses.append(index)

    def forget(self) -> None:
        """A batch is over: of its losses only the last can be in an interval that is not."""
        del self.losses[:-1]

    def note(self, index: int, pid: int, what: str) -> None:
        """An error that counts against its second."""
        self.mark(self.timeline.at(index))
        self.errors.append(Error(index, pid, what))  # those of a batch; `Stream.end_batch` keeps the first of all

    def _first(self, what: str, index: int) -> None:
        self.firsts.setdefault(what, self.timeline.at(index))

    def mark(self, at_ns: float) -> None:
        """A second in which something was wrong."""
        if len(self.bad_seconds) < MOST_SECONDS:
            self.bad_seconds.add(int(at_ns // 1_000_000_000))

    def take(self, index: int, head: Header, packet: bytes, found: Break | bool) -> None:
        """A packet that is wanted. ``found``: what its counter said."""
        if head.damaged:
            self.damaged += 1
            self.note(index, head.pid, "damaged")
        elif found is True:
            return
        elif head.pid in self.psi_pids:
            self._table(index, head, packet, found)
        elif head.pid in self.video_pids and not head.scrambling:
            self._picture(index, head, packet)

    # clocks

    def clock(self, index: int, head: Header, packet: bytes, found: Break | bool) -> None:
        """A packet with a clock reference; it is taken before the packet itself, for it may date it."""
        value = pcr(packet)
        if value is None:
            return
        clock = self.clocks.setdefault(head.pid, Clock())
        clock.count += 1
        if head.damaged or found is True:
            return
        self._first("pcr", index)
        jumps = bool(head.flags & DISCONTINUITY)
        self.timeline.clock(index, head.pid, value, jumps=jumps)
        if clock.last is not None and not jumps:
            self._passed(clock, index, head.pid, value)
        clock.last, clock.index = value, index
        if self.timeline.is_live and len(clock.points) < MOST_POINTS:
            clock.points.append((clock.elapsed_ms, self.timeline.at(index) / _MS))

    def _passed(self, clock: Clock, index: int, pid: int, value: int) -> None:
        passed = ticks(value, clock.last or 0)
        passed_ms = passed / TICKS_A_MS
        is_lossy = bisect_right(self.losses, index) > bisect_right(self.losses, clock.index)
        if passed_ms > PCR_LIMITS_MS[1] and not is_lossy:
            clock.jumps += 1
            self.note(index, pid, "clock_jumps")
        if passed_ms > _LONGEST_MS:
            clock.points.clear()
            return
        clock.elapsed_ms += passed_ms
        clock.longest_ms = max(clock.longest_ms or 0.0, passed_ms)
        for nth, limit_ms in enumerate(PCR_LIMITS_MS):
            clock.above[nth] += passed_ms > limit_ms
        clock.rate.add(index - clock.index, passed, is_lossy=is_lossy)

    # tables

    def _table(self, index: int, head: Header, packet: bytes, found: Break | bool) -> None:
        if head.scrambling and head.pid in (PAT_PID, *self.tables.pmt_pids()):
            self.note(index, head.pid, "table_scrambled")
        if not head.has_payload or head.scrambling:
            return
        assembler = self.assemblers.setdefault(head.pid, Assembler())
        if isinstance(found, Break) and found.missing:
            assembler.lose()
        came = assembler.push(packet[head.payload : SIZE], starts=head.starts)
        self.truncated += came.truncated
        for section in came.sections:
            self._section(index, head.pid, section)

    def _section(self, index: int, pid: int, section: bytes) -> None:
        version = self.tables.version
        table = self.tables.take(pid, section)
        if table is None:
            self.note(index, pid, "crc")
            return
        if pid == PAT_PID:
            self._on_pat(index, table)
        elif table == PMT and pid in self.pmts:
            self._first("pmt", index)
            self._late(self.pmts[pid], index, pid, TABLE_LIMIT_MS, "pmt_late")
        if self.tables.version != version:
            self._refer(index)
            self.wishes += 1

    def _on_pat(self, index: int, table: int) -> None:
        if table != PAT:
            self.note(index, PAT_PID, "other_table_on_pat")
        else:
            self._first("pat", index)
            self._late(self.pat, index, PAT_PID, TABLE_LIMIT_MS, "pat_late")

    def _refer(self, index: int) -> None:
        """The tables refer to other PIDs than before."""
        at_ns = self.timeline.at(index)
        pmts = self.tables.pmt_pids()
        self.pmts = {pid: self.pmts.get(pid) or Interval(last_ns=at_ns) for pid in pmts}
        self.psi_pids = _TABLES | pmts
        self.av_pids = self.tables.of_kind()
        told = self.video_pids - self.scanned_pids
        self.video_pids = frozenset(pid for pid, codec in self.av_pids.items() if codec != "audio")
        self.scanned_pids = self.video_pids - told
        self.starts = {pid: self.starts.get(pid) or Interval(last_ns=at_ns) for pid in self.av_pids}
        self.assemblers = {pid: held for pid, held in self.assemblers.items() if pid in self.psi_pids}

    def _late(self, interval: Interval, index: int, pid: int, limit_ms: float, what: str) -> None:
        passed_ms = interval.see(self.timeline.at(index))
        if passed_ms is not None and passed_ms > limit_ms:
            self.late(index, pid, passed_ms, limit_ms, what)

    def late(self, index: int, pid: int, passed_ms: float, limit_ms: float, what: str) -> None:
        """It came, but long after the one before it."""
        at_ns = self.timeline.at(index)
        self.note(index, pid, what)
        self.absent(at_ns - (passed_ms - limit_ms) * _MS, at_ns)

    def absent(self, from_ns: float, to_ns: float) -> None:
        """Each second from the one to the other is bad."""
        first, last = int(from_ns // 1_000_000_000), int(to_ns // 1_000_000_000)
        for second in range(first, min(last, first + MOST_SECONDS) + 1):
            self.mark(second * 1_000_000_000)

    # pictures and sound

    def begins(self, index: int, pid: int, *, has_pts: bool) -> None:
        """A PES packet of a video or sound begins, clear and not for the second time."""
        at_ns = self.timeline.at(index)
        passed_ms = self.starts[pid].see(at_ns)
        if passed_ms is not None and passed_ms > PID_LIMIT_MS:
            self.gone(index, pid, passed_ms)
        if has_pts:
            self.pts.setdefault(pid, Interval()).see(at_ns)
        if pid in self.video_pids:
            self.firsts.setdefault("pes", at_ns)

    def gone(self, index: int, pid: int, passed_ms: float) -> None:
        """A PID that the tables refer to was not there for so long."""
        self.missing_pids.add(pid)
        self.late(index, pid, passed_ms, PID_LIMIT_MS, "pid_missing")

    def _picture(self, index: int, head: Header, packet: bytes) -> None:
        """Whether a decoder can start here. A stream that says so once is believed from then on."""
        if head.flags & RANDOM_ACCESS:
            if head.pid in self.scanned_pids:
                self.scanned_pids -= {head.pid}
                self.wishes += 1
        elif not head.starts or not is_start(self.av_pids[head.pid], packet[head.payload : SIZE]):
            return
        self._first("rap", index)
        self.random_access.setdefault(head.pid, Interval()).see(self.timeline.at(index))
