"""What does a tenant who listens to music, or has a call, fetch?

python -m bench.relay.stream serve PORT BPS        to whoever connects, a piece each 50 ms
python -m bench.relay.stream fetch ADDRESS PORT    prints when the first byte came, on the monotonic clock
"""

from __future__ import annotations

import socket
import sys
import time

EVERY_S = 0.05


def serve(port: int, bps: float) -> None:
    """One client after the other."""
    piece = b"\0" * max(1, round(bps / 8 * EVERY_S))
    with socket.create_server(("0.0.0.0", port)) as listener:  # noqa: S104 - in a network namespace of its own
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            with client:
                _feed(client, piece)


def _feed(client: socket.socket, piece: bytes) -> None:
    due_s = time.monotonic()
    while True:
        try:
            client.sendall(piece)
        except OSError:
            return
        due_s += EVERY_S
        time.sleep(max(0.0, due_s - time.monotonic()))


def fetch(address: str, port: int) -> None:
    """Until killed."""
    with socket.create_connection((address, port)) as sock:
        sock.recv(1)
        print(time.monotonic(), flush=True)
        while sock.recv(65_536):
            pass


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port, bps]:
            serve(int(port), float(bps))
        case ["fetch", address, port]:
            fetch(address, int(port))
        case _:
            sys.exit(__doc__)
