"""How is an InfluxDB asked over HTTP?

Rule 1: whatever happens on the way is `Unavailable`: it says nothing of what was sent.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from balise_collector.store import Unavailable
from balise_collector.store.influx.server import Server

CONNECT_S = 5.0
ANSWER_S = 15.0  # InfluxDB itself gives up a write after 10 s; a cause must be known within 30 s
_WORDS = 400  # of a complaint; it may repeat the line, which is kept beside it


class Answer(NamedTuple):
    """``body``: all of it."""

    status: int
    body: bytes

    @property
    def words(self) -> str:
        """The complaint, as both versions wrap it."""
        return words(self.body)


class Http:
    """One connection to one server, kept open; for one thread at a time."""

    def __init__(self, server: Server, *, answer_s: float = ANSWER_S) -> None:
        parts = urlsplit(server.url)
        self._base, self._headers, self._answer_s = parts.path, server.authorization(), answer_s
        self.where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        host, port = str(parts.hostname), parts.port
        self._connection = (
            http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        )

    def ask(
        self, method: str, path: str, params: Mapping[str, str], body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> Answer:
        """The whole answer. Unavailable: there was none."""
        try:
            response = self._request(method, path, params, body, headers)
            return Answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as exc:
            raise self._lost(exc) from exc

    def stream(self, method: str, path: str, params: Mapping[str, str], body: bytes = b"") -> Iterator[bytes]:
        """The answer line by line; all of it as one where it is a complaint. Unavailable: there was none, or half."""
        try:
            response = self._request(method, path, params, body, {"Content-Type": "application/x-www-form-urlencoded"})
            if response.status == http.client.OK:
                yield from response
            yield response.read()  # of a whole answer nothing is left, but reading that frees the connection
        except (OSError, http.client.HTTPException) as exc:
            raise self._lost(exc) from exc
        except GeneratorExit:
            self.close()  # the rest of the answer is not wanted
            raise

    def close(self) -> None:
        """Let go of the connection; the next question opens it again."""
        self._connection.close()

    def _request(
        self, method: str, path: str, params: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """A connection that the server closed while nothing was asked is opened once more."""
        target = f"{self._base}{path}" + (f"?{urlencode(params)}" if params else "")
        kept = self._connection.sock is not None
        try:
            return self._exchange(method, target, body, headers)
        except (ConnectionError, http.client.BadStatusLine):  # RemoteDisconnected is both
            self.close()
            if not kept:
                raise
        return self._exchange(method, target, body, headers)

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
            connection.sock.settimeout(self._answer_s)  # type: ignore[attr-defined]  # typeshed: always None
        connection.request(method, target, body or None, {**self._headers, **headers})
        return connection.getresponse()

    def _lost(self, exc: Exception) -> Unavailable:
        self.close()
        return Unavailable(f"{self.where}: {_why(exc)}")


def _why(exc: Exception) -> str:
    """In words, without the system's number."""
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {exc.verify_message}"
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__


def words(body: bytes | str) -> str:
    """What an answer complains of: 1.x says {"error": …}, 2.x {"message": …}, a proxy whatever it likes."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = None
    text = found.get("error") or found.get("message") if isinstance(found, dict) else None
    if text is None:
        text = body if isinstance(body, str) else body.decode(errors="replace")
    return " ".join(str(text).split())[:_WORDS]
