"""What do the tests of forwarding stand on? A journal with rows of a few homes, and an InfluxDB that they go to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from balise_collector.consumers import Loop, StoreConsumer, points_of
from balise_collector.forward import Forwarder, feed_key
from balise_collector.ingest import Ingest
from balise_collector.journal import Journal
from balise_collector.placement import Place, Placement
from balise_collector.store import Point, Store
from balise_collector.store.chunks import open_store
from balise_collector.store.influx.posting import Post, open_post
from balise_collector.store.influx.server import Server
from balise_collector.store.influx.state import State
from tests.collector.sender import Sender, row

MINUTE_MS = 60_000
HALF_AN_ANSWER, HALF_CLOSED, SILENT = 0, 1, 2
NOW_MS = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS


def place(probe: str, _ts_ms: int) -> Placement:
    return Place(home=f"home{probe[-4:]}", building="b1", pon="p1")


def rows(number: int) -> list[dict[str, object]]:
    """A minute of one probe: seven records as the wire has them."""
    reach = {"method": "icmp", "af": 4, "window_s": 60.0, "sent": 6, "lost": number % 3, "p50_us": 8_000 + number}
    return [
        *(row(at, "reach", k=k, **reach) for at, k in enumerate(("gw", "op", "any1"))),
        *(row(3 + at, "dns", k=k, query_ms=1.5 + number, rcode=0, tc=False) for at, k in enumerate(("box", "public"))),
        row(5, "web", k="target", total_ms=20.25, status=200, bytes=1_024),
        row(6, "host", cpu_pct=3.0, uptime_s=number, clock_ok=True),
    ]


def fill(journal: Journal, messages: int, *, probes: int = 4, start: int = 0) -> None:
    """That many messages of each probe, a minute apart, the last of them just now."""
    ingest = Ingest(journal, place, lambda: NOW_MS)
    for probe in range(probes):
        sender = Sender(f"probe{probe:04d}")
        dates = (NOW_MS - (messages - number) * MINUTE_MS for number in range(messages))
        ingest.take([sender.sends(*rows(start + number), ts_ms=ts_ms) for number, ts_ms in enumerate(dates)])
    with journal.transaction():
        journal.derive("platform", {"part": "ingest"}, NOW_MS, {"rows": messages, "broker_ok": True})


def points(journal: Journal) -> list[Point]:
    """What the rows say."""
    found, _ = journal.entries(0, 10**6)
    return [point for entry in found for point in points_of(entry)]


@dataclass
class Ground:
    """A journal, a store that it was written to, and one forwarder."""

    folder: Path
    journal: Journal
    store: Store
    letters: Journal
    state: State
    forwarder: Forwarder
    loop: Loop
    server: Server
    key: str

    def keep(self) -> None:
        """Everything into the embedded store."""
        Loop(self.journal, [StoreConsumer(store=self.store, journal=self.journal.name)]).drain()

    def behind(self) -> int:
        """Rows still to be sent."""
        return self.journal.last_id() - self.state.cursor(self.key)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The forwarder in a thread, until the end of the block."""
        thread = threading.Thread(target=self.loop.run)
        thread.start()
        try:
            yield
        finally:
            self.loop.stop()
            thread.join()


@contextmanager
def path(
    folder: Path,
    server: Server,
    *,
    connect: Callable[[], Post] | None = None,
    lines: int = 500,
    rows: int = 200,
    whose: str = "test",
) -> Iterator[Ground]:
    """In a folder, towards a server."""
    with (
        closing(Journal(folder / "journal.db")) as journal,
        closing(Journal(folder / "journal.db")) as read,  # by the loop, in whatever thread it runs
        closing(Journal(folder / "journal.db")) as letters,
        closing(open_store(folder / "store")) as store,
    ):
        state = State(folder / "influx" / "state.db")
        forwarder = Forwarder(
            letters=letters,
            state=state,
            whose=whose,
            connect=connect or (lambda: open_post(server)),
            now_ms=lambda: NOW_MS,
            lines=lines,
        )
        loop = Loop(read, [forwarder], rows=rows, retry_s=(0.01, 0.1))
        with closing(forwarder):
            key = feed_key(journal.name, whose, "journal")
            yield Ground(folder, journal, store, letters, state, forwarder, loop, server, key)


class Pretender:
    """Something on an address that answers writes as it is told: (status, body) in turn, the last one for ever.

    Bodies of requests that it said 204 to are kept. Instead of a status: `HALF_AN_ANSWER`, `HALF_CLOSED` (it says no
    more, and goes on reading), `SILENT` (it answers when it is closed).
    """

    def __init__(self, *answers: tuple[int, bytes], port: int = 0) -> None:
        self.script = list(answers)
        self.kept: list[bytes] = []
        self._closed = threading.Event()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.before_answer: Callable[[bytes], object] = lambda _body: None
        pretender = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if pretender.is_closed:  # on a connection from before
                    self.close_connection = True
                    return
                pretender.asked.append((self.path, dict(self.headers)))
                pretender.before_answer(body)
                script = pretender.script
                status, said = script.pop(0) if len(script) > 1 else script[0]
                if status < 100:
                    self._fails(status)
                    return
                if status == 204:
                    pretender.kept.append(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def _fails(self, how: int) -> None:
                self.close_connection = True
                if how == HALF_AN_ANSWER:
                    self.wfile.write(b"HTTP/1.1 2")
                elif how == HALF_CLOSED:
                    self.connection.shutdown(socket.SHUT_WR)
                    while self.rfile.read(65_536):
                        pass
                else:
                    pretender._closed.wait()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def is_closed(self) -> bool:
        """Nothing listens any more."""
        return self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
