"""Does a group still come to this machine after it was left?

A socket cannot tell: the kernel gives it nothing of a group that it left, whatever is on the wire. A packet socket
can, where this user may open one (CAP_NET_RAW), else the question has no answer.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import time

from balise_agent.net.tv.address import Address
from balise_agent.net.tv.joining import ANCILLARY_BYTES, SO_TIMESTAMPNS, told
from balise_agent.net.tv.times import LEAVE_S

QUIET_S = (
    1.0  # IGMPv3's last member query interval (RFC 3376 § 8.8): a router that asks again has had its answer by then
)

_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_ALLMULTI = 263, 1, 2
_DESTINATION = {4: slice(16, 20), 6: slice(24, 40)}
_OUTGOING, _LOOPBACK = 4, 772  # PACKET_OUTGOING; ARPHRD_LOOPBACK: what is sent there is there, whoever left
_SNAP_BYTES = 64
_MOST_AT_ONCE = 4_096


class Watch:
    """What the wire carries for a group; made before it is left. None of it is kept."""

    def __init__(self, address: Address, interface: str) -> None:
        self._address = address
        self._group = ipaddress.ip_address(address.group).packed
        self._socket: socket.socket | None = None
        self._is_loopback = False
        with contextlib.suppress(OSError):  # this user may not, or there is no such interface
            self._socket = self._open(interface)

    def left_ms(self, left_ns: int) -> float | None:
        """From leaving to the last datagram; `LEAVE_S` where it did not end; None: it cannot be seen."""
        if self._socket is None:
            return None
        last_ns, start_s = left_ns, time.monotonic()
        quiet_s = start_s
        while (now_s := time.monotonic()) - start_s < LEAVE_S and now_s - quiet_s < QUIET_S:
            select.select([self._socket], [], [], 0.05)
            try:
                came = self._came()
            except OSError:  # ENETDOWN: the cable was pulled
                return None
            if came:
                last_ns, quiet_s = max(last_ns, *came), time.monotonic()
            if self._is_loopback:
                return None
        return min((last_ns - left_ns) / 1e6, LEAVE_S * 1_000)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _open(self, interface: str) -> socket.socket:
        kind = _ETHERTYPES[self._address.af]
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(kind))
        try:
            opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            if interface:
                opened.bind((interface, kind))
                request = struct.pack("@iHH8s", socket.if_nametoindex(interface), _PACKET_MR_ALLMULTI, 0, b"")
                opened.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
        except OSError:
            opened.close()
            raise
        return opened

    def _came(self) -> list[int]:
        """Stamps of this group's packets that came in; those that this machine sent are not among them."""
        found: list[int] = []
        opened = self._socket
        for _ in range(_MOST_AT_ONCE):
            if opened is None:
                break
            try:
                data, ancillary, _, source = opened.recvmsg(_SNAP_BYTES, ANCILLARY_BYTES)
            except BlockingIOError:
                break
            if source[2] == _OUTGOING or data[_DESTINATION[self._address.af]] != self._group:
                continue
            self._is_loopback |= source[3] == _LOOPBACK
            found.append(told(ancillary).stamp_ns or time.time_ns())
        return found
