"""What does a call across the line suffer: which of its packets arrive, and how late?

    python -m bench.relay.call send ADDRESS PORT SECONDS     two packets of 1,500 bytes every 20 ms: 1.2 Mbit/s
    python -m bench.relay.call receive PORT SECONDS          JSON: [when it was sent, its delay] of each, in s

Both ends read one machine's monotonic clock, so that delays are one way's.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

EVERY_S = 0.02
AT_ONCE = 2
PAYLOAD_BYTES = 1_472

_STAMP = struct.Struct("!Qd")


def send(address: str, port: int, seconds: float) -> None:
    """Sends; prints how many."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        begun_s, count = time.monotonic(), 0
        while (due_s := begun_s + count // AT_ONCE * EVERY_S) < begun_s + seconds:
            time.sleep(max(0.0, due_s - time.monotonic()))
            stamp = _STAMP.pack(count, time.monotonic())
            sock.sendto(stamp.ljust(PAYLOAD_BYTES, b"\0"), (address, port))
            count += 1
    print(count)


def receive(port: int, seconds: float) -> None:
    """Listens; prints what came."""
    came = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))  # noqa: S104 - in a network namespace of its own
        sock.settimeout(0.2)
        print("ready", flush=True)
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            try:
                data = sock.recv(2_048)
            except TimeoutError:
                continue
            _count, sent_s = _STAMP.unpack_from(data)
            came.append([sent_s, time.monotonic() - sent_s])
    print(json.dumps(came))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", address, port, seconds]:
            send(address, int(port), float(seconds))
        case ["receive", port, seconds]:
            receive(int(port), float(seconds))
        case _:
            sys.exit(__doc__)
