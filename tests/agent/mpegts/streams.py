"""Transport streams made by hand: packets, sections, clocks, pictures; and what a line does to them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

SIZE = 188
PMT_PID, VIDEO_PID, AUDIO_PID = 0x100, 0x101, 0x102
H264, MPEG_AUDIO = 0x1B, 0x03


def packet(
    pid: int,
    counter: int,
    payload: bytes = b"",
    *,
    starts: bool = False,
    adaptation: bytes | None = None,
    damaged: bool = False,
    scrambling: int = 0,
) -> bytes:
    """One packet. ``adaptation``: the field after its length; None: none but what stuffing needs; a packet without
    payload has adaptation alone."""
    room = SIZE - 4
    if adaptation is None and len(payload) < room:
        adaptation = b"" if len(payload) == room - 1 else b"\x00"
    field = b""
    if adaptation is not None:
        body = adaptation + b"\xff" * (room - 1 - len(adaptation) - len(payload))
        field = bytes([len(body)]) + body
    control = (0x20 if field else 0) | (0x10 if payload else 0)
    head = bytes([0x47, damaged << 7 | starts << 6 | pid >> 8, pid & 0xFF, scrambling << 6 | control | counter & 15])
    made = head + field + payload
    assert len(made) == SIZE
    return made


def with_pcr(ticks: int, flags: int = 0) -> bytes:
    """An adaptation field with a clock reference of 27 MHz."""
    base, extension = divmod(ticks, 300)
    return bytes([0x10 | flags]) + ((base & (1 << 33) - 1) << 15 | 0x3F << 9 | extension).to_bytes(6)


def crc(data: bytes) -> bytes:
    """CRC-32/MPEG-2, bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value.to_bytes(4)


def section(table: int, extension: int, body: bytes, version: int = 0) -> bytes:
    head = bytes([table]) + (0xB000 | len(body) + 9).to_bytes(2) + extension.to_bytes(2)
    whole = head + bytes([0xC1 | version << 1, 0, 0]) + body
    return whole + crc(whole)


def pat(version: int = 0, pmt_pid: int = PMT_PID) -> bytes:
    return section(0x00, 1, (1).to_bytes(2) + (0xE000 | pmt_pid).to_bytes(2), version)


def pmt(streams: Iterable[tuple[int, int]] = ((H264, VIDEO_PID), (MPEG_AUDIO, AUDIO_PID)), version: int = 0) -> bytes:
    body = (0xE000 | VIDEO_PID).to_bytes(2) + b"\xf0\x00"
    for kind, pid in streams:
        body += bytes([kind]) + (0xE000 | pid).to_bytes(2) + b"\xf0\x00"
    return section(0x02, 1, body, version)


def carried(pid: int, counter: int, whole: bytes) -> bytes:
    """A section in one packet."""
    return packet(pid, counter, (b"\x00" + whole).ljust(SIZE - 4, b"\xff"), starts=True)


def over_packets(pid: int, whole: bytes) -> list[bytes]:
    """A section in as many packets as it needs."""
    room, data = SIZE - 4, b"\x00" + whole
    parts = [data[at : at + room] for at in range(0, len(data), room)]
    return [packet(pid, n, part.ljust(room, b"\xff"), starts=n == 0) for n, part in enumerate(parts)]


def pes(kind: int, pts: int, body: bytes) -> bytes:
    stamp = bytes(
        [0x21 | pts >> 29 & 0x0E, pts >> 22 & 0xFF, 1 | pts >> 14 & 0xFE, pts >> 7 & 0xFF, 1 | pts << 1 & 0xFE]
    )
    return b"\x00\x00\x01" + bytes([kind]) + b"\x00\x00\x80\x80\x05" + stamp + body


class Muxer:
    """A programme of one video and one sound, 1,000 packets a second: tables each 100, a clock each 20, sound each 25,
    a picture each 40, one that needs no other each 25 pictures."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._counters: dict[int, int] = {}
        self.index = 0

    def packets(self, number: int) -> Iterator[bytes]:
        for _ in range(number):
            yield self._next()
            self.index += 1

    def _counter(self, pid: int) -> int:
        self._counters[pid] = self._counters.get(pid, -1) + 1
        return self._counters[pid]

    def _next(self) -> bytes:
        n = self.index
        if n % 100 == 0:
            return carried(0, self._counter(0), pat())
        if n % 100 == 1:
            return carried(PMT_PID, self._counter(PMT_PID), pmt())
        if n % 40 == 2:
            return self._picture(n)
        if n % 25 == 3:
            return packet(AUDIO_PID, self._counter(AUDIO_PID), pes(0xC0, n * 90, bytes(150)), starts=True)
        if n % 20 == 4:
            clock = with_pcr(n * 27_000)
            return packet(VIDEO_PID, self._counter(VIDEO_PID), self._rng.randbytes(170), adaptation=clock)
        if n % 7 == 0:
            return packet(0x1FFF, 0, bytes(184))
        return packet(VIDEO_PID, self._counter(VIDEO_PID), self._rng.randbytes(184))

    def _picture(self, n: int) -> bytes:
        unit = b"\x00\x00\x01\x65" if n % 1_000 == 2 else b"\x00\x00\x01\x41"
        flags = b"\x40" if n % 1_000 == 2 else b"\x00"
        body = pes(0xE0, n * 90, unit + self._rng.randbytes(100))
        return packet(VIDEO_PID, self._counter(VIDEO_PID), body, starts=True, adaptation=flags)


def stream(number: int, seed: int = 0) -> list[bytes]:
    return list(Muxer(seed).packets(number))


def harmed(packets: list[bytes], seed: int) -> list[bytes]:
    """Lost, sent twice, damaged, scrambled, flipped: what a line and a bad head-end do."""
    rng = random.Random(seed)
    return [harm for one in packets for harm in _harmed(one, rng)]


def _harmed(one: bytes, rng: random.Random) -> list[bytes]:
    draw = rng.random()
    if draw < 0.01:
        return []
    if draw < 0.02:
        return [one, one]
    if draw < 0.03:
        return [one[:1] + bytes([one[1] | 0x80]) + one[2:]]
    if draw < 0.04:
        place = rng.randrange(1, SIZE)
        return [one[:place] + bytes([one[place] ^ 1 << rng.randrange(8)]) + one[place + 1 :]]
    if draw < 0.045:
        return [one[:3] + bytes([one[3] | 0x80]) + one[4:]]
    return [one]


def datagrams(packets: list[bytes], each: int = 7) -> list[bytes]:
    return [b"".join(packets[at : at + each]) for at in range(0, len(packets), each)]


def over_rtp(parts: list[bytes], first: int = 0) -> list[bytes]:
    head = b"\x80\x21"
    return [
        head + (first + n & 0xFFFF).to_bytes(2) + (n * 630).to_bytes(4) + b"\x00\x00\x00\x07" + part
        for n, part in enumerate(parts)
    ]
