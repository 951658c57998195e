"""What does the kernel say of one TCP connection?

By offset, from linux/tcp.h: the structure only ever grew at its end. A field that an older kernel lacks reads 0.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

INFO_BYTES = 232

_U32 = struct.Struct("@I")
_U64 = struct.Struct("@Q")
_CC_BYTES = 16  # TCP_CA_NAME_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """Counters since the connection began; times in us."""

    rcv_mss: int  # 536 until data have come
    rtt_us: int
    min_rtt_us: int
    data_segs_in: int
    bytes_acked: int
    bytes_received: int  # in order only: it stands still while a loss is open
    busy_us: int  # something to send was waiting or on its way
    rwnd_limited_us: int  # of those, stopped by the receiver's window
    bytes_sent: int
    bytes_retrans: int


NOTHING = TcpInfo(
    rcv_mss=0,
    rtt_us=0,
    min_rtt_us=0,
    data_segs_in=0,
    bytes_acked=0,
    bytes_received=0,
    busy_us=0,
    rwnd_limited_us=0,
    bytes_sent=0,
    bytes_retrans=0,
)


def decode(data: bytes) -> TcpInfo:
    """Of any length."""
    whole = data.ljust(INFO_BYTES, b"\0")

    def u32(offset: int) -> int:
        return int(_U32.unpack_from(whole, offset)[0])

    def u64(offset: int) -> int:
        return int(_U64.unpack_from(whole, offset)[0])

    return TcpInfo(
        rcv_mss=u32(20),
        rtt_us=u32(68),
        min_rtt_us=u32(148),
        data_segs_in=u32(152),
        bytes_acked=u64(120),
        bytes_received=u64(128),
        busy_us=u64(168),
        rwnd_limited_us=u64(176),
        bytes_sent=u64(200),
        bytes_retrans=u64(208),
    )


def read(sock: socket.socket, otherwise: TcpInfo = NOTHING) -> TcpInfo:
    """Of a socket; ``otherwise`` where it is closed."""
    try:
        return decode(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES))
    except OSError:
        return otherwise


def congestion(sock: socket.socket) -> str:
    """Name of the congestion control that it sends by."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CC_BYTES).partition(b"\0")[0].decode()
    except (OSError, UnicodeDecodeError):
        return "unknown"


def ask_congestion(sock: socket.socket, wanted: tuple[str, ...]) -> None:
    """The first of these that this kernel has and this user may take; else it stays as it is."""
    for name in wanted:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            return
