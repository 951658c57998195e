"""How do bulk bytes leave and arrive, beside the event loop?

Threads of their own: they sleep in the kernel, in sendfile() or between two drains, where the loop would wake for each
packet. What they count, the lease's report says.

Rule 1: so many streams at once, so long each, and no more. Rule 2: a stream that is over its time is reset.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from balise_agent.net.throughput.dialogue import Report
from balise_agent.net.throughput.machine import Link, Moment, interface_share, link_of, machine_share, moment
from balise_agent.net.throughput.shape import FILL_CC, FILL_S
from balise_agent.net.throughput.streams import Payload, Receiver, Sender, reset_on_close
from balise_agent.net.throughput.tcp_info import ask_congestion, congestion
from balise_agent.net.throughput.window import count

CONTROLS = ("bbr", "cubic")
IDLE_S = 5.0  # an upload that brings nothing for so long is over
_DONE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"
    b"Cache-Control: no-store\r\nContent-Encoding: identity\r\nConnection: close\r\n\r\n"
)

Ended = Callable[[], None]


@dataclass(slots=True, kw_only=True)
class _Body:
    """An upload's stream: what is still to come of it, and when it must have."""

    size: int
    early: int  # bytes of it that came with the head
    deadline_s: float
    ended: Ended
    says: bytes = b"%d"
    seen: int = 0
    seen_s: float = 0.0


@dataclass(slots=True)
class Streams:
    """The streams of one lease, or of one connection without. ``lasts_s``: what each may take; ``nic_bps``: what the
    interface has, None: what the kernel says of it."""

    payload: Payload
    lasts_s: float
    nic_bps: float | None = None
    _cc: str = "unknown"
    _fill: list[tuple[float, socket.socket, str]] = field(default_factory=list)
    _sender: Sender | None = None
    _receiver: Receiver | None = None
    _bodies: dict[socket.socket, _Body] = field(default_factory=dict)
    _link: Link | None = None
    _began: dict[str, Moment] = field(default_factory=dict)  # by direction
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _watching: bool = False
    _draining: bool = False
    _stopping: bool = False

    def send(self, sock: socket.socket, size: int, cc: str, ended: Ended, *, fill: bool = False) -> None:
        """``size`` random bytes, from a thread; the socket is this object's from now on. ``fill``: as `FILL_CC`."""
        reset_on_close(sock)
        self._begin("down", sock)
        wanted = cc if cc in CONTROLS else CONTROLS[0]
        ask_congestion(sock, (FILL_CC,) if fill else (wanted,))
        self._cc = congestion(sock)
        if fill:
            self._fill.append((time.monotonic() + FILL_S, sock, wanted))
        head = _HEAD % size

        def end(whole: bool) -> None:
            _close(sock, gently=whole)
            ended()

        with contextlib.suppress(OSError):  # the peer is gone: the thread finds out too
            sock.send(head)
        with self._lock:
            fresh = self._sender is None or not self._watching
            sender = self._sender = Sender(self.payload) if self._sender is None or fresh else self._sender
            sender.add(sock, size, deadline_s=time.monotonic() + self.lasts_s, ended=end)
            self._watching = True
        if fresh:
            threading.Thread(target=sender.run, args=(self._watched(sender),), daemon=True).start()

    def receive(self, sock: socket.socket, size: int, early: int, ended: Ended, says: bytes = b"%d") -> None:
        """A body of ``size``, of which ``early`` bytes were read with the head; then ``says`` how many, and closes."""
        reset_on_close(sock)
        self._begin("up", sock)
        sock.setblocking(False)
        now_s = time.monotonic()
        body = _Body(size=size, early=early, deadline_s=now_s + self.lasts_s, ended=ended, says=says, seen_s=now_s)
        with self._lock:
            self._bodies[sock] = body
            fresh = self._receiver is None or not self._draining
            receiver = self._receiver = Receiver() if self._receiver is None or fresh else self._receiver
            receiver.add(sock)
            self._draining = True
        if fresh:
            threading.Thread(target=self._drain, args=(receiver,), daemon=True).start()

    def report(self, direction: str) -> Report:
        """What was counted by now."""
        share = self._share(direction)
        if direction == "down":
            readings = () if self._sender is None else tuple(self._sender.readings)
            return Report(cc=self._cc, sent=readings, server_share=share)
        counted = count(() if self._receiver is None else tuple(self._receiver.readings))
        return Report(samples=counted.samples, counter=counted.counter, gap_ratio=counted.gap_ratio, server_share=share)

    @property
    def is_open(self) -> bool:
        """Whether a stream still runs."""
        return bool(self._bodies) or (self._sender is not None and self._sender.open > 0)

    def stop(self) -> None:
        """Resets what runs; its threads end within some ms."""
        self._stopping = True

    def _begin(self, direction: str, sock: socket.socket) -> None:
        if direction not in self._began:
            address = str(sock.getsockname()[0]).removeprefix("::ffff:")
            self._link = link_of(address)
            self._began[direction] = moment(self._link)

    def _share(self, direction: str) -> float | None:
        """How busy this machine was since the direction began: its processors or its interface, whichever more."""
        before = self._began.get(direction)
        if before is None:
            return None
        after = moment(self._link)
        nic_bps = self.nic_bps if self._link is None or self._link.bps is None else self._link.bps
        shares = (machine_share(before, after), interface_share(before, after, nic_bps))
        return max((share for share in shares if share is not None), default=None)

    def _watched(self, sender: Sender) -> Callable[[float], bool]:
        """Sampled while there are streams; what comes after has a sender of its own."""

        def over(now_s: float) -> bool:
            self._turn(now_s)
            with self._lock:
                if self._stopping:
                    sender.halt()
                self._watching = sender.open > 0 and not self._stopping
                return not self._watching

        return over

    def _turn(self, now_s: float) -> None:
        """Streams that have filled the queue go on by the control that was asked for."""
        for turn in [turn for turn in self._fill if turn[0] <= now_s]:
            self._fill.remove(turn)
            _, sock, wanted = turn
            if sock.fileno() >= 0:
                ask_congestion(sock, (wanted,))
                self._cc = congestion(sock)

    def _drain(self, receiver: Receiver) -> None:
        receiver.run(self._drained, lambda: self._settle(receiver))
        for sock in tuple(self._bodies) if self._stopping else ():
            self._end(sock, b"", receiver)
        receiver.close()

    def _drained(self, _now_s: float) -> bool:
        with self._lock:
            self._draining = bool(self._bodies) and not self._stopping
            return not self._draining

    def _settle(self, receiver: Receiver) -> None:
        """Ends what is whole, cut off, idle or late."""
        now_s = time.monotonic()
        for sock, body in tuple(self._bodies.items()):
            got = body.early + receiver.drained[sock]
            if got > body.seen:
                body.seen, body.seen_s = got, now_s
            if got >= body.size:
                self._end(sock, body.says % got, receiver)
            elif not receiver.is_open(sock) or now_s > body.deadline_s or now_s - body.seen_s > IDLE_S:
                self._end(sock, b"", receiver)

    def _end(self, sock: socket.socket, said: bytes, receiver: Receiver) -> None:
        with self._lock:
            body = self._bodies.pop(sock, None)
        if body is None:
            return
        receiver.drop(sock)
        if said:
            with contextlib.suppress(OSError):
                sock.send(_DONE % (len(said), said))
        _close(sock, gently=bool(said))
        body.ended()


def _close(sock: socket.socket, *, gently: bool) -> None:
    """Gently: what is queued still goes out."""
    if gently:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
            sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        sock.close()


def interface_bps() -> float | None:
    """The fastest interface that is up and says its speed; None where none does."""
    speeds = []
    for folder in Path("/sys/class/net").iterdir():
        with contextlib.suppress(OSError, ValueError):
            speeds.append(int((folder / "speed").read_text("ascii")))
    return max((mbps * 1e6 for mbps in speeds if mbps > 0), default=None)
