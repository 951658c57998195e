"""How is a valid single-programme transport stream made, packet by packet?

ISO/IEC 13818-1, at a constant rate: PAT, PMT and SDT, an MPEG-2 video of one grey picture with a PCR, an MPEG-1 audio
of silence, null packets for the rest. Nothing in it is of a real programme.

Rule 1: pure: what a packet holds follows from the service and its number in the stream alone, and state is only the
counters; the caller paces it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from balise_collector.headend import coded

SIZE, SYNC = 188, 0x47
PMT_PID, VIDEO_PID, AUDIO_PID = 0x100, 0x101, 0x102
PAT, SDT, NULL = 0x00, 0x11, 0x1FFF
CLOCK_HZ, TICKS = 90_000, 300  # PCR: 27 MHz, 300 a tick of 90 kHz
_STREAM_VIDEO, _STREAM_AUDIO = 0x02, 0x03
_REVERSED = bytes(int(f"{n:08b}"[::-1], 2) for n in range(256))
FRAME_S, GOP_FRAMES = 0.04, 25
AUDIO_S = 0.024  # MPEG-1 layer II: 1,152 samples at 48 kHz
PSI_S, SDT_S, PCR_S = 0.1, 1.0, 0.03
LEAD_S = 0.5  # a picture is shown so long after it has come


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``number``: of the programme; ``rate_bps``: of the whole stream, 800 kbit/s at least."""

    number: int
    name: str
    rate_bps: int


@dataclass(slots=True)
class Mux:
    """A stream from its first packet on. ``frozen``: its pictures are those of a source that stands still."""

    service: Service
    frozen: bool = False
    packets: int = 0
    _counters: dict[int, int] = field(default_factory=dict)
    _waiting: deque[bytes] = field(default_factory=deque)
    _next: dict[str, float] = field(default_factory=dict)
    _frames: int = 0
    _sent: int = 0  # the video's counter after what has left; what waits has its own already

    @property
    def now_s(self) -> float:
        """When the next packet leaves, since the first."""
        return self.packets * SIZE * 8 / self.service.rate_bps

    def take(self, count: int) -> list[bytes]:
        """The next packets."""
        return [self._packet() for _ in range(count)]

    def _packet(self) -> bytes:
        now_s = self.now_s
        self._fill(now_s)
        self.packets += 1
        if self._is_due("pcr", now_s, PCR_S):
            return self._clock(now_s)
        packet = self._waiting.popleft() if self._waiting else self._null()
        if packet[1] & 0x1F == VIDEO_PID >> 8 and packet[2] == VIDEO_PID & 0xFF:
            self._sent = packet[3] % 16 + 1
        return packet

    def _is_due(self, what: str, now_s: float, every_s: float) -> bool:
        if now_s < self._next.get(what, 0.0):
            return False
        self._next[what] = self._next.get(what, 0.0) + every_s
        return True

    def _fill(self, now_s: float) -> None:
        """What is due now: pictures and sound behind what waits, tables before it."""
        service = self.service
        if self._is_due("sdt", now_s, SDT_S):
            self._waiting.appendleft(self._section(SDT, sdt(service.number, service.name)))
        if self._is_due("psi", now_s, PSI_S):
            self._waiting.appendleft(self._section(PMT_PID, pmt(service.number)))
            self._waiting.appendleft(self._section(PAT, pat(service.number)))
        if self._is_due("video", now_s, FRAME_S):
            number = self._frames % GOP_FRAMES
            picture = coded.picture(number, still=self.frozen)
            self._waiting += self._pes(VIDEO_PID, 0xE0, picture, self._frames * FRAME_S + LEAD_S, access=number == 0)
            self._frames += 1
        if self._is_due("audio", now_s, AUDIO_S):
            at_s = self._next["audio"] - AUDIO_S + LEAD_S
            self._waiting += self._pes(AUDIO_PID, 0xC0, coded.SOUND, at_s, access=True)

    def _section(self, pid: int, section: bytes) -> bytes:
        return self._head(pid, start=True) + b"\x00" + section + b"\xff" * (SIZE - 5 - len(section))

    def _pes(self, pid: int, stream: int, data: bytes, pts_s: float, *, access: bool) -> Iterator[bytes]:
        """One access unit as one PES. Stuffing of the last packet stands in an adaptation field, as § 2.4.3.5 asks."""
        stamp = _stamp(round(pts_s * CLOCK_HZ))
        length = 0 if stream == 0xE0 else 8 + len(data)
        rest = b"\x00\x00\x01" + bytes([stream]) + length.to_bytes(2, "big") + b"\x84\x80\x05" + stamp + data
        start = True
        while rest:
            flags = 0x40 if start and access else 0
            room = SIZE - 4 - (2 if flags else 0)
            part, rest = rest[:room], rest[room:]
            yield self._with_field(pid, part, flags, start=start)
            start = False

    def _with_field(self, pid: int, part: bytes, flags: int, *, start: bool) -> bytes:
        free = SIZE - 4 - len(part)
        head = self._head(pid, start=start, field=free > 0)
        if free == 0:
            return head + part
        stuffed = b"" if free == 1 else bytes([flags]) + b"\xff" * (free - 2)
        return head + bytes([free - 1]) + stuffed + part

    def _clock(self, now_s: float) -> bytes:
        """A packet with the PCR and nothing else: the counter stands still."""
        ticks = round(now_s * CLOCK_HZ * TICKS)
        base, extension = divmod(ticks, TICKS)
        value = ((base % 2**33) << 15 | 0x7E00 | extension).to_bytes(6, "big")
        counter = (self._sent - 1) % 16
        head = bytes([SYNC, VIDEO_PID >> 8, VIDEO_PID & 0xFF, 0x20 | counter])
        return head + b"\xb7\x10" + value + b"\xff" * (SIZE - 12)

    def _null(self) -> bytes:
        return bytes([SYNC, 0x1F, 0xFF, 0x10]) + b"\xff" * (SIZE - 4)

    def _head(self, pid: int, *, start: bool, field: bool = False) -> bytes:
        counter = self._counters.get(pid, 0)
        self._counters[pid] = (counter + 1) % 16
        return bytes([SYNC, (0x40 if start else 0) | pid >> 8, pid & 0xFF, (0x30 if field else 0x10) | counter])


def pat(number: int) -> bytes:
    """Which PID describes the programme."""
    return _long(0x00, 1, number.to_bytes(2, "big") + (0xE000 | PMT_PID).to_bytes(2, "big"))


def pmt(number: int) -> bytes:
    """Its streams."""
    streams = b"".join(
        bytes([kind]) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\x00"
        for kind, pid in ((_STREAM_VIDEO, VIDEO_PID), (_STREAM_AUDIO, AUDIO_PID))
    )
    return _long(0x02, number, (0xE000 | VIDEO_PID).to_bytes(2, "big") + b"\xf0\x00" + streams)


def sdt(number: int, name: str) -> bytes:
    """Its name (EN 300 468)."""
    provider, said = b"Balise", name.encode("ascii", "replace")[:60]
    text = b"\x01" + bytes([len(provider)]) + provider + bytes([len(said)]) + said
    descriptor = b"\x48" + bytes([len(text)]) + text
    loop = (0x8000 | len(descriptor)).to_bytes(2, "big")  # running
    return _long(0x42, 1, b"\x00\x01\xff" + number.to_bytes(2, "big") + b"\xfc" + loop + descriptor, private=True)


def _long(table: int, extension: int, body: bytes, *, private: bool = False) -> bytes:
    """A section with its CRC."""
    flags = 0xF000 if private else 0xB000
    head = bytes([table]) + (flags | len(body) + 9).to_bytes(2, "big") + extension.to_bytes(2, "big") + b"\xc1\x00\x00"
    section = head + body
    # CRC-32/MPEG-2 is zlib's with the bits the other way round and no last inversion.
    crc = zlib.crc32(section.translate(_REVERSED)) ^ 0xFFFFFFFF
    return section + int(f"{crc:032b}"[::-1], 2).to_bytes(4, "big")


def _stamp(pts: int) -> bytes:
    pts %= 2**33
    return (
        bytes([0x21 | (pts >> 29 & 0x0E)])
        + (pts >> 14 & 0xFFFE | 1).to_bytes(2, "big")
        + ((pts << 1) & 0xFFFE | 1).to_bytes(2, "big")
    )
