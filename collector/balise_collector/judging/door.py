"""How does evidence from outside come in over HTTP?

`POST /evidence` with `Authorization: Bearer TOKEN`, JSON lines; 200 `{"new": n, "known": n}`, 400 with the first line
that is none (then none is kept), 401, 413. Loopback by default: a proxy with TLS stands before it.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from balise_collector.judge.evidence import Evidence, EvidenceError, read
from balise_collector.judging.state import State

log = logging.getLogger(__name__)

MAX_BYTES = 4_000_000  # some 30,000 alarms at once
TIMEOUT_S = 10.0


def lines(text: bytes) -> list[Evidence]:
    """JSON lines. EvidenceError: with the number of the first that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(read(line))
            except EvidenceError as exc:
                raise EvidenceError(f"line {number}: {exc}") from exc
    return found


class Door:
    """The server; ``token`` is asked of each request."""

    def __init__(self, address: tuple[str, int], path: Path, token: str) -> None:
        self._path, self._token = path, token.encode()
        self._server = ThreadingHTTPServer(address, self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="evidence", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._server.server_address[0], self._server.server_address[1]  # type: ignore[return-value]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Keeps what was posted: status and answer."""
        try:
            said = lines(body)
        except EvidenceError as exc:
            return 400, {"error": str(exc)}
        state = State(self._path)
        try:
            with state.transaction():
                new = state.add_evidence(said)
        finally:
            state.close()
        return 200, {"new": new, "known": len(said) - new}

    def is_allowed(self, header: str) -> bool:
        return hmac.compare_digest(header.encode(), b"Bearer " + self._token)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_S

            def do_POST(self) -> None:
                status, answer = self._answer()
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def _answer(self) -> tuple[int, dict[str, Any]]:
                length = self.headers.get("Content-Length", "")
                if self.path != "/evidence":
                    return 404, {"error": "POST /evidence"}
                if not door.is_allowed(self.headers.get("Authorization", "")):
                    return 401, {"error": "Authorization: Bearer TOKEN"}
                if not length.isdigit() or int(length) > MAX_BYTES:
                    self.close_connection = True
                    return 413, {"error": f"Content-Length: at most {MAX_BYTES}"}
                return door.take(self.rfile.read(int(length)))

            def log_message(self, *_: object) -> None:
                return

        return Handler
