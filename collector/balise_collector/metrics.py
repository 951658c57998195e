"""What does the collector say of itself to Prometheus, and is it well?

``/metrics`` for a scraper, ``/healthz`` for a supervisor: 200 when all is well, 503 with what is not. Loopback by
default; no label holds a probe or a home.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from balise_collector.serve import State


class Figures(Collector):
    """Reads the state at each scrape; nothing is counted twice."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """All families."""
        state, journal = self._state, self._state.journal
        counts = journal.counts()
        oldest = state.intake.oldest_unacked_s
        yield _by("balise_messages", "Messages by what became of them.", "outcome", state.ingest.counts)
        yield _by("balise_refusals", "Messages that could not be read, by reason.", "reason", state.ingest.dead)
        yield _by(
            "balise_unknown_fields", "Fields dropped because no one knows them.", "field", state.ingest.unknown_fields
        )
        yield _by(
            "balise_consumer_restarts", "Starts of the consumers beyond the first.", "part", {"all": state.restarts}
        )
        yield _gauges("balise_consumer_lag_rows", "Rows that a consumer has still to read.", "consumer", state.lag())
        yield _gauges("balise_dead_letters", "Dead letters kept, by reason.", "reason", journal.dead_letter_reasons())
        yield _gauges("balise_orphans", "Messages kept apart, by reason.", "reason", journal.orphans())
        yield GaugeMetricFamily("balise_journal_bytes", "Size of the journal's files.", journal.size_bytes())
        free = shutil.disk_usage(journal.path.parent).free
        yield GaugeMetricFamily("balise_disk_free_bytes", "Free where the data is.", free)
        age = 0.0 if oldest is None else time.monotonic() - oldest
        yield GaugeMetricFamily("balise_oldest_unacknowledged_seconds", "Age of the oldest uncommitted message.", age)
        yield GaugeMetricFamily("balise_broker_up", "A session with the broker is open.", int(state.intake.is_open))
        yield GaugeMetricFamily("balise_chain_broken", "Messages that do not follow on.", counts["chain_broken"])
        yield GaugeMetricFamily("balise_chain_open", "Messages whose predecessor is not here.", counts["chain_open"])
        yield GaugeMetricFamily("balise_probes_cut_off", "Probes that sent too much.", state.guard.standing)
        online = sum(is_online for is_online, _ in journal.presences().values())
        yield GaugeMetricFamily("balise_probes_online", "Probes with a session.", online)
        yield GaugeMetricFamily("balise_probes_assigned", "Probes that stand in a home or place.", state.assigned)


class Server:
    """Answers on an address of its own, in its own threads."""

    def __init__(self, listen: tuple[str, int], state: State) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Figures(state))

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path == "/healthz":
                    problems = state.problems()
                    body = json.dumps({"ok": not problems, "problems": problems}).encode()
                    self._answer(503 if problems else 200, "application/json", body)
                else:
                    self._answer(404, "text/plain", b"/metrics or /healthz\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """A scrape each 15 s is no event."""

        self._server = ThreadingHTTPServer(listen, Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, with what is being answered."""
        self._server.shutdown()
        self._server.server_close()


def _by(name: str, text: str, label: str, values: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _gauges(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
