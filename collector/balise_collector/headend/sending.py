"""A head-end on this machine's loopback: a few channels by multicast, and what can be wrong with each.

    python -m balise_collector.headend [--channels N] [--fault channel=N[,kind=KIND]]...

It says where they are as one line of JSON: channel N is on the group `first` + N, at `port`; even ones in RTP, odd ones
in UDP alone. Kinds: `loss` (one datagram in twenty), `cc` (a counter jumps each second), `freeze` (the picture stands
still), `off` (nothing is sent).
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from balise_collector.headend.mux import VIDEO_PID, Mux, Service

KINDS = ("loss", "cc", "freeze", "off")
CHANNELS, MOST_CHANNELS = 6, 60
PER_DATAGRAM = 7
RATE_BPS = 1_000_000
TURN_S = 0.01
LATE_S = 0.5
"""So far behind, the stream is delayed as a whole instead of sent in one burst, which a receiver might drop."""
_LOSS = 0.05
_CC_EVERY_S = 1.0
_FIRST = int(ipaddress.IPv4Address("239.255.0.0"))  # RFC 2365: of this site alone


def read_faults(texts: list[str]) -> dict[int, str]:
    """Channel to what is wrong with it. ValueError: one of them is no fault of a channel."""
    found: dict[int, str] = {}
    for text in texts:
        told = dict(part.partition("=")[::2] for part in text.split(","))
        number, kind = told.pop("channel", ""), told.pop("kind", "loss")
        fits = number.isascii() and number.isdigit() and 1 <= int(number[:4]) <= MOST_CHANNELS and len(number) < 4
        if told or not fits or kind not in KINDS:
            raise ValueError(f"{text}: not channel=1-{MOST_CHANNELS} with, if any, kind={'|'.join(KINDS)}")
        found[int(number)] = kind
    return found


def group(first: int, number: int) -> str:
    """The address of that channel's group."""
    return str(ipaddress.IPv4Address(first + number))


def url(told: Mapping[str, int], number: int) -> str:
    """What a channel list says of it; ``told``: the line of JSON."""
    return f"{'udp' if number % 2 else 'rtp'}://{group(told['first'], number)}:{told['port']}"


@dataclass(slots=True)
class Sender:
    """One channel on its group. ``rng``: decides which datagrams are lost."""

    number: int
    to: tuple[str, int]
    fault: str
    rng: random.Random
    mux: Mux = field(init=False)
    lost: int = 0
    _sequence: int = 0
    _jumps: int = 0

    def __post_init__(self) -> None:
        service = Service(number=self.number, name=f"Channel {self.number}", rate_bps=RATE_BPS)
        self.mux = Mux(service, frozen=self.fault == "freeze")
        self._sequence = self.rng.randrange(2**16)

    def datagrams(self, until_s: float) -> list[bytes]:
        """What is sent until that moment of the stream."""
        found = []
        while self.mux.now_s < until_s:
            datagram = self._next()
            if self.fault == "off" or (self.fault == "loss" and self.rng.random() < _LOSS):
                self.lost += 1
            else:
                found.append(datagram)
        return found

    def _next(self) -> bytes:
        at_s = self.mux.now_s
        packets = self.mux.take(PER_DATAGRAM)
        if self.fault == "cc" and at_s >= (self._jumps + 1) * _CC_EVERY_S:
            self._jumps += 1
        payload = b"".join(self._shifted(packet) for packet in packets)
        if self.number % 2:
            return payload
        self._sequence = (self._sequence + 1) % 2**16
        stamp = round(at_s * 90_000) % 2**32
        head = (
            b"\x80\x21" + self._sequence.to_bytes(2, "big") + stamp.to_bytes(4, "big") + self.number.to_bytes(4, "big")
        )
        return head + payload

    def _shifted(self, packet: bytes) -> bytes:
        """The video's counter, after so many jumps of it."""
        if not self._jumps or int.from_bytes(packet[1:3], "big") & 0x1FFF != VIDEO_PID:
            return packet
        return packet[:3] + bytes([packet[3] & 0xF0 | (packet[3] + 5 * self._jumps) % 16]) + packet[4:]


def run(senders: list[Sender], sock: socket.socket) -> None:
    """Until interrupted."""
    start_s = time.monotonic()
    while True:
        now_s = time.monotonic() - start_s
        late_s = now_s - min((sender.mux.now_s for sender in senders), default=now_s)
        if late_s > LATE_S:
            start_s += late_s
            continue
        for sender in senders:
            for datagram in sender.datagrams(now_s):
                sock.sendto(datagram, sender.to)
        time.sleep(TURN_S)


def multicast_socket() -> socket.socket:
    """Sends to groups of this machine alone."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
    return sock


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="balise_collector.headend", description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=CHANNELS, choices=range(1, MOST_CHANNELS + 1), metavar="N")
    parser.add_argument("--fault", action="append", default=[], metavar="channel=N[,kind=KIND]")
    asked = parser.parse_args()
    try:
        faults = read_faults(asked.fault)
    except ValueError as exc:
        parser.error(str(exc))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    # A /24 and a port of its own: two demos on one machine do not hear each other.
    first, port = _FIRST + 256 * secrets.randbelow(256), _free_port()
    senders = [
        Sender(number=n, to=(group(first, n), port), fault=faults.get(n, ""), rng=random.Random(n))
        for n in range(1, asked.channels + 1)
    ]
    with multicast_socket() as sock:
        print(json.dumps({"channels": asked.channels, "first": first, "port": port}), flush=True)
        run(senders, sock)
