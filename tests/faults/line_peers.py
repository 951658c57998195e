"""Who answers at the far end? `python -m tests.faults.line_peers stamp|dns|web ADDRESS...` says "ready" and serves.

Small peers of the ladder: a stateful STAMP reflector, a resolver that knows every name, a page of 204.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Callable

from balise_agent.net import dnsmsg, stamp

PORTS = {"stamp": stamp.PORT, "dns": 53, "web": 80}


def main(kind: str, addresses: list[str]) -> None:
    """Serves until killed."""
    serve = {"stamp": _reflect, "dns": _resolve, "web": _page}[kind]
    ready = selectors.DefaultSelector()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM if kind == "web" else socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, PORTS[kind]))
        if kind == "web":
            sock.listen()
        ready.register(sock, selectors.EVENT_READ, serve())
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            key.data(key.fileobj)


Serve = Callable[[socket.socket], None]


def _reflect() -> Serve:
    reached: dict[tuple[object, int], int] = {}

    def serve(sock: socket.socket) -> None:
        data, source = sock.recvfrom(2048)
        received_ns = time.time_ns()
        asked = stamp.decode_sender(data)
        if asked is None:
            return
        session = source[:2], asked.session
        count = reached.get(session, 0)
        reached[session] = count + 1
        packet = stamp.ReflectedPacket(
            sequence=count,
            time_ns=time.time_ns(),
            session=asked.session,
            received_ns=received_ns,
            sender_sequence=asked.sequence,
            sender_time_ns=asked.time_ns,
            sender_error=asked.error,
            sender_ttl=64,
        )
        sock.sendto(stamp.encode_reflected(packet), source)

    return serve


def _resolve() -> Serve:
    def serve(sock: socket.socket) -> None:
        data, source = sock.recvfrom(2048)
        query = dnsmsg.decode_query(data)
        if query is not None:
            here = dnsmsg.Resource(owner=query.question.name, type=dnsmsg.TYPE_A, ttl_s=0, data=bytes((10, 9, 0, 1)))
            sock.sendto(dnsmsg.encode_answer(query, answers=[here]), source)

    return serve


def _page() -> Serve:
    def serve(sock: socket.socket) -> None:
        peer, _ = sock.accept()
        with peer:
            peer.settimeout(2)
            try:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                return

    return serve


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
