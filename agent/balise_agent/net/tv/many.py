"""How are many datagrams, and what the kernel says beside each, received by one call? `recvmmsg`, which Python lacks.

A call of Python's for each datagram costs 4 us more than this one (design/103).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import time
from array import array
from typing import Any, NamedTuple

from balise_agent.net.tv.joining import SLOT_BYTES, SO_TIMESTAMPNS

_NAME_BYTES = 32  # struct sockaddr_in6 has 28


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr, whose first seven are a struct msghdr that is a multiple of a pointer."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vectors_count", ctypes.c_size_t),
        ("beside", ctypes.c_void_p),
        ("beside_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_byte * (ctypes.sizeof(ctypes.c_void_p) - ctypes.sizeof(ctypes.c_int))),
        ("size", ctypes.c_uint),
    )


class _Beside(ctypes.Structure):
    """Two control messages, in the kernel's order; the second only of a socket that dropped some before."""

    _fields_ = (
        ("stamp_size", ctypes.c_size_t),
        ("stamp_level", ctypes.c_int),
        ("stamp_kind", ctypes.c_int),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
        ("drops_size", ctypes.c_size_t),
        ("drops_level", ctypes.c_int),
        ("drops_kind", ctypes.c_int),
        ("drops", ctypes.c_uint32),
    )


class Received(NamedTuple):
    """Of each datagram. ``drops``: of its socket so far; None: not said. ``cut``: it was longer than a slot."""

    sizes: list[int]
    arrivals_ns: list[int]
    drops: list[int | None]
    cut: list[bool]


class Slots:
    """Room for the datagrams of one call. AttributeError: this C library has no such call."""

    MOST = 128  # 8 Mbit/s are 38 in a nap

    def __init__(self) -> None:
        self._receive = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._data = bytearray(self.MOST * SLOT_BYTES)
        self._names = bytearray(self.MOST * _NAME_BYTES)
        self._beside = bytearray(self.MOST * ctypes.sizeof(_Beside))
        self._vectors = (_Vector * self.MOST)()
        self._messages = bytearray(self.MOST * ctypes.sizeof(_Message))
        self._prepare()
        self._as_told = bytes(self._messages)  # the kernel writes sizes over ours
        self._place = ctypes.addressof(ctypes.c_char.from_buffer(self._messages))
        self._view = memoryview(self._data)

    def receive(self, number: int) -> int:
        """How many came; 0: none waits. ``number``: of a socket that does not block."""
        self._messages[:] = self._as_told
        while (count := self._receive(number, ctypes.c_void_p(self._place), self.MOST, 0, None)) < 0:
            match ctypes.get_errno():
                case errno.EINTR:
                    continue
                case errno.EAGAIN:
                    return 0
                case other:
                    raise OSError(other, os.strerror(other))
        return int(count)

    def told(self, count: int) -> Received:
        """What stands beside the first so many."""
        messages = memoryview(self._messages)[: count * ctypes.sizeof(_Message)]
        beside = memoryview(self._beside)[: count * ctypes.sizeof(_Beside)]
        lengths = _column(messages, _Message.beside_size, _Message, "L")
        kinds = _column(beside, _Beside.stamp_kind, _Beside, "i")
        is_stamped = min(lengths) >= _STAMP_BYTES and kinds.count(SO_TIMESTAMPNS) == count  # they all are
        flags = _column(messages, _Message.flags, _Message, "i")
        return Received(
            sizes=_column(messages, _Message.size, _Message, "I"),
            arrivals_ns=_stamps_ns(beside) if is_stamped else [time.time_ns()] * count,
            drops=[None] * count if max(lengths) <= _STAMP_BYTES else _drops(beside, lengths),
            cut=[bool(one & socket.MSG_TRUNC) for one in flags] if any(flags) else [False] * count,
        )

    def joined(self, count: int, size: int) -> bytes:
        """The first so many datagrams, which have one size."""
        view = self._view
        return b"".join([view[at : at + size] for at in range(0, count * SLOT_BYTES, SLOT_BYTES)])

    def one(self, nth: int, size: int) -> bytes:
        """A datagram."""
        return bytes(self._view[nth * SLOT_BYTES : nth * SLOT_BYTES + size])

    def source(self, nth: int, af: int) -> str:
        """The address that it came from."""
        size, family = (4, socket.AF_INET) if af == 4 else (16, socket.AF_INET6)
        at = nth * _NAME_BYTES + (4 if af == 4 else 8)  # struct sockaddr_in, sockaddr_in6
        return socket.inet_ntop(family, self._names[at : at + size])

    def _prepare(self) -> None:
        of = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (self._data, self._names, self._beside)]
        data, names, beside = of
        for nth in range(self.MOST):
            self._vectors[nth] = _Vector(data + nth * SLOT_BYTES, SLOT_BYTES)
            message = _Message.from_buffer(self._messages, nth * ctypes.sizeof(_Message))
            message.name, message.name_size = names + nth * _NAME_BYTES, _NAME_BYTES
            message.vectors = ctypes.addressof(self._vectors) + nth * ctypes.sizeof(_Vector)
            message.vectors_count = 1
            message.beside = beside + nth * ctypes.sizeof(_Beside)
            message.beside_size = ctypes.sizeof(_Beside)


_STAMP_BYTES = _Beside.drops_size.offset


def _stamps_ns(beside: memoryview) -> list[int]:
    seconds = _column(beside, _Beside.seconds, _Beside, "l")
    nanoseconds = _column(beside, _Beside.nanoseconds, _Beside, "l")
    return [1_000_000_000 * whole + part for whole, part in zip(seconds, nanoseconds, strict=True)]


def _drops(beside: memoryview, lengths: list[int]) -> list[int | None]:
    drops = zip(_column(beside, _Beside.drops, _Beside, "I"), lengths, strict=True)
    return [many if length > _STAMP_BYTES else None for many, length in drops]


def _column(rows: memoryview, field: ctypes._CField[Any, Any, Any], of: type[ctypes.Structure], code: str) -> list[int]:
    """A field of each row; ``code``: its type. An array is cut into steps ten times as fast as a memoryview is."""
    cells = array(code, bytes(rows))
    return cells[field.offset // cells.itemsize :: ctypes.sizeof(of) // cells.itemsize].tolist()
