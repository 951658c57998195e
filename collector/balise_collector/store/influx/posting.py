"""How do lines come to an InfluxDB, and what did it make of them?

1.x takes them over plain HTTP. 2.x takes them through influxdb-client, of which only the synchronous writing of ready
lines is used: its batches live in memory and are dropped after a few minutes.

Rule 1: `post` returns on 204 alone. Anything else is one of three: `BadLines`, which a smaller piece may narrow down;
`TooLarge`, which a smaller piece cures; `Unavailable`, which is nobody's fault here and cured by waiting.
"""

from __future__ import annotations

import re
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from balise_agent.catalogue import Retention
from balise_collector.store import Unavailable
from balise_collector.store.influx.http import ANSWER_S, CONNECT_S, Http, words
from balise_collector.store.influx.server import Server, policy

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client import InfluxDBClient

_GZIP, _LEVEL = 16 + zlib.MAX_WBITS, 1  # level 1 makes a fifth of the size at 1 us a line; level 6 a sixth at 4 us
_LINE_IS_BAD = re.compile(r"parse|partial write|conflict|retention policy|dropped|schema|invalid field|time outside")
_TOO_OLD = re.compile(r"retention policy")


class BadLines(Exception):  # noqa: N818 - what it is, not that it is an error
    """InfluxDB refuses at least one of the lines; it may have kept others. Its words."""

    @property
    def only_too_old(self) -> bool:
        """Lines older than their policy keeps: both versions say so only when all others were kept."""
        return _TOO_OLD.search(str(self)) is not None


class TooLarge(Exception):  # noqa: N818
    """More at once than InfluxDB takes."""


class Post(Protocol):
    """Sends lines."""

    def post(self, retention: Retention, body: bytes) -> None:
        """Lines of one class, apart by line feeds; kept when it returns. BadLines, TooLarge, Unavailable."""

    def close(self) -> None:
        """Let go of the connection."""


def open_post(server: Server, *, answer_s: float = ANSWER_S, zipped: bool | None = None) -> Post:
    """As the server's version likes it. ``answer_s``: how long an answer is waited for; ``zipped`` None: where it is
    another machine."""
    kind = _ClientPost if server.org else _HttpPost
    return kind(server, answer_s, is_far(server) if zipped is None else zipped)


class _HttpPost:
    """`/write` of 1.x, which 2.x and 3 also understand."""

    def __init__(self, server: Server, answer_s: float, zipped: bool) -> None:
        self._http, self._database, self._zip = Http(server, answer_s=answer_s), server.database, zipped

    def post(self, retention: Retention, body: bytes) -> None:
        params = {"db": self._database, "rp": policy(retention), "precision": "ms"}
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._zip:
            body, headers = compress(body), headers | {"Content-Encoding": "gzip"}
        answer = self._http.ask("POST", "/write", params, body, headers)
        judge(answer.status, answer.words, self._http.where)

    def close(self) -> None:
        self._http.close()


class _ClientPost:
    """`/api/v2/write` through influxdb-client."""

    def __init__(self, server: Server, answer_s: float, zipped: bool) -> None:
        self._server, self._answer_s, self._zip = server, answer_s, zipped
        self._where = urlsplit(server.url).netloc
        self._client: InfluxDBClient | None = None

    def post(self, retention: Retention, body: bytes) -> None:
        from influxdb_client.client.write_api import SYNCHRONOUS
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        client = self._client or self._open()
        try:
            client.write_api(write_options=SYNCHRONOUS).write(
                self._server.bucket(retention),
                self._server.org,
                compress(body) if self._zip else body,
                "ms",  # type: ignore[arg-type]  # WritePrecision.MS is this text
            )
        except ApiException as exc:
            judge(exc.status, words(exc.body or exc.reason or ""), self._where)
        except (HTTPError, OSError) as exc:
            self.close()
            raise Unavailable(f"{self._where}: {exc}") from exc
        else:
            judge(client.api_client.last_response.status, "", self._where)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _open(self) -> InfluxDBClient:
        """Compressed here where it is: the library knows level 9 only, ten times as dear."""
        from influxdb_client.client.influxdb_client import InfluxDBClient

        server, timeouts_ms = self._server, (int(CONNECT_S * 1_000), int(self._answer_s * 1_000))
        self._client = InfluxDBClient(server.url, token=server.credential, org=server.org, timeout=timeouts_ms)
        if self._zip:
            self._client.api_client.set_default_header("Content-Encoding", "gzip")  # type: ignore[no-untyped-call]
        return self._client


def judge(status: int, complaint: str, where: str) -> None:
    """What an answer means; returns where the lines are kept.

    A 400 that speaks of no line (a proxy's, an unknown parameter) must not make a dead letter of everything.
    """
    if status == HTTPStatus.NO_CONTENT:
        return
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY) and _LINE_IS_BAD.search(complaint):
        raise BadLines(complaint)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise TooLarge(f"{where}: {status} {complaint}".rstrip())
    raise Unavailable(f"{where}: {status} {complaint}".rstrip())


def compress(body: bytes) -> bytes:
    """As gzip."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def is_far(server: Server) -> bool:
    """Over a network bytes are dear; on one machine the processor is."""
    return urlsplit(server.url).hostname not in ("localhost", "127.0.0.1", "::1")
