"""What does a probe say to `balise target`, and what is it told?

HTTP/1.1, one request a connection. ``POST /lease`` asks for the line's turn, and its connection stays open as long as
the test lives; ``GET /garbage`` and ``POST /upload`` are the streams, ``GET /report`` is what the target counted,
``POST /release`` gives the turn back.

Rule 1: an answer is bounded and total: any bytes are an answer or a `TroubleError` with its reason.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from balise_agent.contract import Outcome, failed, skipped
from balise_agent.net.datagram import send_reason
from balise_agent.net.throughput.streams import reset_on_close
from balise_agent.net.throughput.tcp_info import NOTHING, TcpInfo, ask_congestion
from balise_agent.net.throughput.window import Reading, Sample

CONNECT_S = 5.0  # SYNs at 0, 1 and 3 s (RFC 6298)
ANSWER_S = 10.0
GIVE_BACK_S = 1.0
"""How long a test that is stopped may take to give its turn back: two round trips over the queue that it has filled.
Below `child.KILL_S`."""
MOST_ANSWER_BYTES = 1 << 20  # a full test's report over 8 streams has 60 kB
MOST_RETRY_S = 86_400
LEASE = re.compile(r"[A-Za-z0-9_-]{22}")

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_SENDER = ("bytes_sent", "bytes_retrans", "busy_us", "rwnd_limited_us", "rtt_us", "min_rtt_us")


class TroubleError(Exception):
    """A test that cannot go on: its outcome, and what is known beside."""

    def __init__(self, outcome: Outcome, fields: Mapping[str, int] | None = None) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.fields = dict(fields or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A target: its address as `socket` has it. ``name``: for the Host header."""

    family: int
    address: tuple[Any, ...]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The line's turn. ``udp_port``: of the target's STAMP reflector."""

    id: str
    role: str
    udp_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the target counted: of what it sent, ``sent``; of what it received, ``samples``."""

    cc: str = "unknown"
    sent: tuple[Reading, ...] = ()
    samples: tuple[Sample, ...] = ()
    counter: str = "segments"
    gap_ratio: float = 0.0
    server_share: float | None = None


def connect(peer: Peer, cc: str = "") -> socket.socket:
    """A connection that resets when it is closed; ``cc``: how it sends, if it may."""
    sock = reset_on_close(socket.socket(peer.family, socket.SOCK_STREAM))
    try:
        ask_congestion(sock, (cc,) if cc else ())
        sock.settimeout(CONNECT_S)
        sock.connect(peer.address)
        sock.settimeout(ANSWER_S)
    except TimeoutError:
        sock.close()
        raise TroubleError(failed("connect_timeout")) from None
    except ConnectionRefusedError:
        sock.close()
        raise TroubleError(failed("connect_refused")) from None
    except OSError as exc:
        sock.close()
        raise TroubleError(failed(send_reason(exc))) from exc
    return sock


def request(
    method: str, path: str, peer: Peer, query: Mapping[str, object], length: int = 0, *, close: bool = True
) -> bytes:
    """The head of a request; ``close``: it is the connection's only one."""
    lines = [f"{method} {path}?{urlencode(query)} HTTP/1.1", f"Host: {peer.name}", "User-Agent: balise"]
    lines += ["Accept-Encoding: identity", f"Content-Length: {length}", *(["Connection: close"] if close else [])]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def read_head(sock: socket.socket) -> None:
    """Takes a stream's answer up to its body."""
    head = b""
    try:
        while b"\r\n\r\n" not in head:
            head += sock.recv(1)
            if len(head) > MOST_ANSWER_BYTES or (head and not head.startswith(b"H")):
                raise TroubleError(failed("bad_http"))
            if not head:
                raise TroubleError(failed("closed_early"))
    except TimeoutError:
        raise TroubleError(failed("timeout")) from None
    except OSError:
        raise TroubleError(failed("reset")) from None
    _check_status(head)


def ask(peer: Peer, method: str, path: str, query: Mapping[str, object]) -> Mapping[str, Any]:
    """One exchange of a connection of its own; the answer's JSON object."""
    with connect(peer) as sock:
        return _told(sock, request(method, path, peer, query))


def hold(peer: Peer, query: Mapping[str, object]) -> tuple[Lease, socket.socket]:
    """The line's turn, and the connection that holds it: when that ends, however it does, the turn is over too."""
    sock = connect(peer)
    try:
        return decode_lease(_told(sock, request("POST", "/lease", peer, {**query, "hold": 1}, close=False))), sock
    except BaseException:
        sock.close()
        raise


def _told(sock: socket.socket, asked: bytes) -> Mapping[str, Any]:
    try:
        sock.sendall(asked)
        answer = _read_all(sock)
    except TimeoutError:
        raise TroubleError(failed("timeout")) from None
    except OSError:
        raise TroubleError(failed("reset")) from None
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        raise TroubleError(failed("bad_http" if head else "closed_early"))
    _check_status(head + b"\r\n\r\n")
    try:
        told = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise TroubleError(failed("bad_answer")) from None
    if not isinstance(told, dict):
        raise TroubleError(failed("bad_answer"))
    return told


def decode_lease(told: Mapping[str, Any]) -> Lease:
    """From the target's JSON."""
    match told:
        case {"lease": str(lease), "role": ("operator" | "offnet") as role, "udp_port": int(port)} if LEASE.fullmatch(
            lease
        ):
            return Lease(id=lease, role=role, udp_port=port)
        case _:
            raise TroubleError(failed("bad_answer"))


def encode_report(report: Report) -> bytes:
    """As JSON: of each moment its time in us, then a number or a row for each stream."""
    sent = [
        [round(r.at_s * 1e6), *([getattr(info, name) for name in _SENDER] for info in r.streams)] for r in report.sent
    ]
    samples = [[round(s.at_s * 1e6), *s.streams] for s in report.samples]
    plain = {"cc": report.cc, "counter": report.counter, "gap_ratio": report.gap_ratio}
    told = plain | {"sent": sent, "samples": samples, "server_share": report.server_share}
    return json.dumps(told, separators=(",", ":")).encode()


def decode_report(told: Mapping[str, Any]) -> Report:
    """From the target's JSON; `TroubleError` where it is none."""
    try:
        share = told["server_share"]
        report = Report(
            cc=str(told["cc"])[:16],
            sent=tuple(_reading(row) for row in told["sent"]),
            samples=tuple(Sample(at_s=row[0] / 1e6, streams=tuple(map(int, row[1:]))) for row in told["samples"]),
            counter="bytes" if told["counter"] == "bytes" else "segments",
            gap_ratio=float(told["gap_ratio"]),
            server_share=None if share is None else float(share),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise TroubleError(failed("bad_answer")) from None
    if not _in_order([s.at_s for s in report.samples]) or not _in_order([r.at_s for r in report.sent]):
        raise TroubleError(failed("bad_answer"))
    return report


def _in_order(times: Sequence[float]) -> bool:
    return all(a <= b for a, b in pairwise(times))


def _reading(row: list[Any]) -> Reading:
    streams = tuple(_sender_info(dict(zip(_SENDER, map(int, numbers), strict=True))) for numbers in row[1:])
    return Reading(at_s=row[0] / 1e6, streams=streams)


def _sender_info(numbers: Mapping[str, int]) -> TcpInfo:
    return TcpInfo(**{name: numbers.get(name, getattr(NOTHING, name)) for name in TcpInfo.__slots__})


def _read_all(sock: socket.socket) -> bytes:
    answer = bytearray()
    end_s = time.monotonic() + ANSWER_S
    while not _is_whole(answer) and (part := sock.recv(65_536)):
        answer += part
        if len(answer) > MOST_ANSWER_BYTES or time.monotonic() > end_s:
            raise TroubleError(failed("too_large" if len(answer) > MOST_ANSWER_BYTES else "timeout"))
    return bytes(answer)


def _is_whole(answer: bytearray) -> bool:
    """As its length says; where it says none, only the connection's end tells."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    return length is not None and head != answer and len(body) >= int(length[1])


def _check_status(head: bytes) -> None:
    status = _STATUS.match(head)
    if status is None:
        raise TroubleError(failed("bad_http"))
    match int(status[1]):
        case 200:
            return
        case 429:
            wait = _RETRY_AFTER.search(head)
            retry_s = min(int(wait[1]), MOST_RETRY_S) if wait else 0
            raise TroubleError(skipped("server_busy"), {"retry_after_s": retry_s} if retry_s else None)
        case 401 | 403:
            raise TroubleError(failed("token_refused"))
        case code:
            raise TroubleError(failed("http_status"), {"status": code})
