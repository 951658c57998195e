"""How are the streams of a test filled and emptied, and what did the kernel count meanwhile?

Rule 1: payload is never copied: out by sendfile() from memory, in by MSG_TRUNC, which drops it in the kernel.
Rule 2: a receiver drains every 2 ms. Woken by each packet it costs 6.3 CPU-s/GB, by SO_RCVLOWAT it throttles TCP.
Rule 3: a socket that is dropped resets (SO_LINGER 1, 0), a killed process's too: the line is quiet within a round trip
and its queue.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from balise_agent.net.throughput import tcp_info
from balise_agent.net.throughput.shape import SAMPLE_S
from balise_agent.net.throughput.tcp_info import NOTHING, TcpInfo
from balise_agent.net.throughput.window import Reading

PAYLOAD_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
DRAIN_S = 0.002
STOP_S = 0.02
"""A thread that sends looks up this often; so long a dropped stream may live on."""

_DISCARD_BYTES = 32 << 20  # address space; the kernel never touches it
_BUSY_BYTES = 1 << 20  # drained in one pass: 4 Gbit/s, where a pause of 2 ms would leave the buffers full
_LINGER = struct.pack("@ii", 1, 0)
_TIMEVAL = struct.Struct("@ll")

Each = Callable[[], None]


def reset_on_close(sock: socket.socket) -> socket.socket:
    """The same socket: closing it throws away what is queued."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    return sock


def nothing() -> None:
    """What is done on each pass, where nothing is."""


class Receiver:
    """Empties streams and samples their counters. `add` may be called by another thread while `run` runs."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buffer = mmap.mmap(-1, _DISCARD_BYTES)
        self._open: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._infos: list[TcpInfo] = []
        self.drained: dict[socket.socket, int] = {}
        self.readings: list[Reading] = []

    @property
    def open(self) -> int:
        """Streams that the peer has not ended."""
        return len(self._open)

    @property
    def started_s(self) -> float | None:
        """When the first payload was seen."""
        return self.readings[0].at_s if self.readings else None

    def add(self, sock: socket.socket) -> None:
        """One more stream."""
        self.drained[sock] = 0
        self._infos.append(NOTHING)
        self._all.append(sock)
        self._open.append(sock)

    def is_open(self, sock: socket.socket) -> bool:
        """Whether the peer has not ended this one."""
        return sock in self._open

    def drop(self, sock: socket.socket) -> None:
        """No more of this one; its counters stay as they are."""
        if sock in self._open:
            self._open.remove(sock)

    def run(self, over: Callable[[float], bool], each: Each = nothing) -> None:
        """Until ``over`` of the time; ``each`` is called on every pass."""
        due_s = 0.0
        while True:
            moved = sum(self._drain(sock) for sock in tuple(self._open))
            each()
            now_s = self._monotonic()
            if (moved or self.readings) and now_s >= due_s:
                self._sample(now_s)
                due_s = max(due_s + SAMPLE_S, now_s) if due_s else now_s + SAMPLE_S
            if over(now_s):
                break
            if moved < _BUSY_BYTES:
                time.sleep(DRAIN_S)
        if self.readings:
            self._sample(self._monotonic())

    def close(self) -> None:
        """Gives the address space back; the sockets are their owner's."""
        self._buffer.close()

    def _drain(self, sock: socket.socket) -> int:
        try:
            got = sock.recv_into(self._buffer, 0, socket.MSG_TRUNC | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            got = 0
        if got == 0:
            self.drop(sock)
        self.drained[sock] += got
        return got

    def _sample(self, now_s: float) -> None:
        for index, sock in enumerate(tuple(self._all)):
            self._infos[index] = tcp_info.read(sock, self._infos[index])
        self.readings.append(Reading(at_s=now_s, streams=tuple(self._infos)))


class Payload:
    """Random bytes in memory, to be sent as often as one likes; nothing on the way can compress them."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("balise-payload", os.MFD_CLOEXEC)
        for _ in range(0, PAYLOAD_BYTES, _PIECE_BYTES):  # whole it would be in memory twice
            os.write(self._fd, os.urandom(_PIECE_BYTES))

    def close(self) -> None:
        """Gives the memory back."""
        os.close(self._fd)

    def send(self, sock: socket.socket, size: int, over: Callable[[], bool]) -> int:
        """Up to ``size`` bytes on a blocking socket, until ``over``; how many it took. OSError: the peer is gone."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(0, int(STOP_S * 1e6)))
        sent = 0
        while sent < size and not over():
            offset = sent % PAYLOAD_BYTES
            with contextlib.suppress(BlockingIOError):
                sent += os.sendfile(sock.fileno(), self._fd, offset, min(size - sent, PAYLOAD_BYTES - offset))
        return sent


@dataclass(slots=True, kw_only=True)
class _Stream:
    sock: socket.socket
    info: TcpInfo = NOTHING


class Sender:
    """Fills streams, a thread each, and samples their counters. `add` may be called while `run` runs."""

    def __init__(self, payload: Payload, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._payload = payload
        self._monotonic = monotonic
        self._streams: list[_Stream] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._sending = 0
        self._lock = threading.Lock()
        self.readings: list[Reading] = []

    @property
    def open(self) -> int:
        """Streams that are being filled."""
        return self._sending

    def add(self, sock: socket.socket, size: int, *, deadline_s: float, ended: Callable[[bool], None]) -> None:
        """One more stream; ``ended``, from its thread: whether all of it was taken. The socket is its owner's again."""
        stream = _Stream(sock=sock)
        self._streams.append(stream)
        thread = threading.Thread(target=self._fill, args=(stream, size, deadline_s, ended), daemon=True)
        with self._lock:
            self._sending += 1
        self._threads.append(thread)
        thread.start()

    def run(self, over: Callable[[float], bool], each: Each = nothing, every_s: float = SAMPLE_S) -> None:
        """Sample until ``over`` of the time; ``each`` is called every ``every_s``."""
        due_s = 0.0
        while True:
            each()
            now_s = self._monotonic()
            if now_s >= due_s:
                self._sample(now_s)
                due_s = now_s + SAMPLE_S
            if over(now_s):
                return
            time.sleep(every_s)

    def halt(self) -> None:
        """Ends all streams within `STOP_S`."""
        self._stopping = True

    def stop(self) -> None:
        """`halt`, and waits for it."""
        self.halt()
        for thread in self._threads:
            thread.join()

    def _fill(self, stream: _Stream, size: int, deadline_s: float, ended: Callable[[bool], None]) -> None:
        sent = -1
        try:
            stream.sock.setblocking(True)
            sent = self._payload.send(stream.sock, size, lambda: self._stopping or self._monotonic() > deadline_s)
        except OSError:
            pass  # the peer is gone: what it took, it has counted
        finally:
            stream.info = tcp_info.read(stream.sock, stream.info)
            with self._lock:
                self._sending -= 1
            ended(sent == size)

    def _sample(self, now_s: float) -> None:
        for stream in self._streams:
            stream.info = tcp_info.read(stream.sock, stream.info)
        self.readings.append(Reading(at_s=now_s, streams=tuple(stream.info for stream in self._streams)))
