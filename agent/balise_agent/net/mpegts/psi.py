"""Which programmes, streams and services does a transport stream announce, and are its tables whole?

Sections of ISO/IEC 13818-1 § 2.4.4 (PAT, CAT, PMT) and ETSI EN 300 468 (SDT); others are checked for their CRC and
counted.

Rule 1: any bytes: a section is at most 4,096 bytes, a table's list at most what fits in it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

PAT_PID, CAT_PID, NIT_PID, SDT_PID, EIT_PID, TDT_PID = 0x00, 0x01, 0x10, 0x11, 0x12, 0x14
PAT, CAT, PMT, NIT, SDT, TDT, TOT = 0x00, 0x01, 0x02, 0x40, 0x42, 0x70, 0x73
VIDEO_TYPES = {0x01: "mpeg2", 0x02: "mpeg2", 0x1B: "h264", 0x24: "hevc"}
AUDIO_TYPES = frozenset({0x03, 0x04, 0x0F, 0x11, 0x81})
_PRIVATE = 0x06  # private PES: its descriptors tell
_AUDIO_DESCRIPTORS = frozenset({0x6A, 0x7A, 0x7C, 0x7B})  # AC-3, E-AC-3, AAC, DTS
_SERVICE_DESCRIPTOR = 0x48
_WITHOUT_CRC = frozenset({TDT, 0x71, 0x72, 0x7E})
_MOST_CACHED = 256
SI_PIDS = frozenset(range(0x10, 0x20))  # no PMT can be there (EN 300 468 § 5.1.3)

# zlib's CRC is the same polynomial read from the other end: equal to a bitwise MPEG-2 CRC-32.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc_is_right(section: bytes) -> bool:
    """CRC-32/MPEG-2 over a section with its own CRC at its end."""
    return zlib.crc32(section.translate(_REVERSED)) == 0xFFFFFFFF


class Stream(NamedTuple):
    """An elementary stream of a PMT. ``codec``: of a video, "audio", or "" for what is not judged."""

    pid: int
    kind: int
    codec: str


class Found(NamedTuple):
    """What a packet's payload brought: whole sections, and how many were cut short by the next one."""

    sections: tuple[bytes, ...]
    truncated: int


@dataclass(slots=True)
class Assembler:
    """Sections of one PID from the payloads of its packets. ``held``: a section's beginning; None: not in one."""

    held: bytearray | None = None
    _last: bytes = b""
    _found: Found | None = None

    def lose(self) -> None:
        """A packet was lost: what was begun is over, and no fault of its own."""
        self.held = None

    @property
    def again(self) -> tuple[bytes, Found] | None:
        """A payload that would bring what it brought before; None: there is none, or a section is begun."""
        return None if self.held is not None or self._found is None else (self._last, self._found)

    def push(self, payload: bytes, *, starts: bool) -> Found:
        """The next payload; ``starts``: it begins with a pointer to where a section begins."""
        if starts and self.held is None and payload == self._last and self._found is not None:
            return self._found
        alone = starts and self.held is None
        found = self._push(payload, starts=starts)
        if alone and self.held is None:  # mostly the same table again, in one packet
            self._last, self._found = payload, found
        return found

    def _push(self, payload: bytes, *, starts: bool) -> Found:
        sections: list[bytes] = []
        truncated = 0
        if starts:
            pointer = payload[0] if payload else 0
            tail, payload = payload[1 : 1 + pointer], payload[1 + pointer :]
            if self.held is not None:
                self.held += tail
                self._cut(sections)
                truncated = int(self.held is not None)
            self.held = bytearray(payload)
        elif self.held is not None:
            self.held += payload
        self._cut(sections)
        return Found(tuple(sections), truncated)

    def _cut(self, sections: list[bytes]) -> None:
        """Takes whole sections from what is held; stuffing ends it."""
        while self.held is not None:
            if len(self.held) > 0 and self.held[0] == 0xFF:
                self.held = None
                return
            if len(self.held) < 3:
                return
            size = 3 + ((self.held[1] & 0x0F) << 8 | self.held[2])
            if len(self.held) < size:
                return
            sections.append(bytes(self.held[:size]))
            del self.held[:size]
            if not self.held:
                self.held = None


@dataclass(slots=True)
class Tables:
    """What the tables say, as of the last section of each. ``version`` counts changes of what is referred to."""

    version: int = 0
    programmes: dict[int, int] = field(default_factory=dict)  # programme number -> PID of its PMT
    streams: dict[int, tuple[Stream, ...]] = field(default_factory=dict)  # PID of the PMT -> its streams
    services: dict[int, str] = field(default_factory=dict)
    sections: dict[tuple[int, int], int] = field(default_factory=dict)  # (PID, table_id) -> how many came whole
    crc_errors: int = 0
    _accepted: dict[tuple[int, int, int, int], bytes] = field(default_factory=dict)
    _whole: dict[tuple[int, int, int, int], bytes] = field(default_factory=dict)  # of those that are only counted

    def take(self, pid: int, section: bytes) -> int | None:
        """The table_id of a section that is whole; None: its CRC is wrong, or there is nothing."""
        if not section:
            return None
        table = section[0]
        if self.is_known(pid, section):
            return self._count(pid, table)
        if table not in _WITHOUT_CRC and not crc_is_right(section):
            self.crc_errors += 1
            return None
        known = self._whole if is_only_counted(pid, table) else self._accepted
        if len(known) >= _MOST_CACHED:
            known.clear()
        known[pid, table, section[3] << 8 | section[4], section[6]] = section
        self._read(pid, table, section)
        return self._count(pid, table)

    def is_known(self, pid: int, section: bytes) -> bool:
        """Whether it is the last one of its kind again, or one that has no CRC and is not read."""
        if len(section) < 8 or not section[1] & 0x80:
            return True
        known = self._whole if is_only_counted(pid, section[0]) else self._accepted
        return known.get((pid, section[0], section[3] << 8 | section[4], section[6])) == section

    def count(self, pid: int, table: int, sections: int) -> None:
        """So many more, all known."""
        self.sections[pid, table] = self.sections.get((pid, table), 0) + sections

    def pmt_pids(self) -> frozenset[int]:
        """Where the PAT says that PMTs are."""
        return frozenset(self.programmes.values()) - SI_PIDS

    def of_kind(self) -> dict[int, str]:
        """Codec of each video PID, "audio" of each audio PID."""
        return {stream.pid: stream.codec for streams in self.streams.values() for stream in streams if stream.codec}

    def _count(self, pid: int, table: int) -> int:
        self.count(pid, table, 1)
        return table

    def _read(self, pid: int, table: int, section: bytes) -> None:
        body = section[8:-4]
        if pid == PAT_PID and table == PAT:
            self._set_programmes(section[6], _pat(body))
        elif table == PMT and pid in self.pmt_pids():
            self._set_streams(pid, _pmt(body))
        elif pid == SDT_PID and table == SDT:
            self.services |= dict(_sdt(body))

    def _set_programmes(self, number: int, found: dict[int, int]) -> None:
        known = self.programmes if number else {}
        if {**known, **found} == self.programmes:
            return
        self.programmes = {**known, **found}
        self.streams = {pid: streams for pid, streams in self.streams.items() if pid in self.pmt_pids()}
        self.version += 1

    def _set_streams(self, pid: int, found: tuple[Stream, ...]) -> None:
        if self.streams.get(pid) != found:
            self.streams[pid] = found
            self.version += 1


def is_only_counted(pid: int, table: int) -> bool:
    """Whether a section's CRC is all that is looked at."""
    return pid in SI_PIDS and not (pid == SDT_PID and table == SDT)


def _pat(body: bytes) -> dict[int, int]:
    pairs = (body[at : at + 4] for at in range(0, len(body) - 3, 4))
    return {one[0] << 8 | one[1]: (one[2] & 0x1F) << 8 | one[3] for one in pairs if one[0] or one[1]}


def _pmt(body: bytes) -> tuple[Stream, ...]:
    if len(body) < 4:
        return ()
    at, found = 4 + ((body[2] & 0x0F) << 8 | body[3]), []
    while at + 5 <= len(body):
        kind, pid = body[at], (body[at + 1] & 0x1F) << 8 | body[at + 2]
        size = (body[at + 3] & 0x0F) << 8 | body[at + 4]
        found.append(Stream(pid, kind, _codec(kind, body[at + 5 : at + 5 + size])))
        at += 5 + size
    return tuple(found)


def _codec(kind: int, descriptors: bytes) -> str:
    if kind in VIDEO_TYPES:
        return VIDEO_TYPES[kind]
    if kind in AUDIO_TYPES:
        return "audio"
    tags = {tag for tag, _ in _descriptors(descriptors)}
    return "audio" if kind == _PRIVATE and tags & _AUDIO_DESCRIPTORS else ""


def _sdt(body: bytes) -> Iterator[tuple[int, str]]:
    at = 3
    while at + 5 <= len(body):
        size = (body[at + 3] & 0x0F) << 8 | body[at + 4]
        for tag, value in _descriptors(body[at + 5 : at + 5 + size]):
            if tag == _SERVICE_DESCRIPTOR and len(value) > 2:
                start = 2 + value[1]
                name = value[start + 1 : start + 1 + value[start]] if start < len(value) else b""
                yield body[at] << 8 | body[at + 1], _text(name)
        at += 5 + size


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(data):
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def _text(name: bytes) -> str:
    """EN 300 468 annex A, as far as names of services need it: a first byte below 0x20 selects the character set."""
    if name[:1] == b"\x15":
        return name[1:].decode("utf-8", "replace")
    skip = 3 if name[:1] == b"\x10" else 1 if name[:1] < b"\x20" else 0
    return "".join(char for char in name[skip:].decode("latin-1") if char.isprintable())
