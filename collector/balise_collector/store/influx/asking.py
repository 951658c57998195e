"""How is an InfluxDB asked in InfluxQL, and what are its rows as points?

Rule 1: a field's type is the one that its name says (`lines.field_of`): JSON writes 60.0 as 60.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from balise_agent.contract import Value
from balise_collector.store import Unavailable
from balise_collector.store.influx.http import Http, words
from balise_collector.store.influx.lines import NONE, OUTCOME, REASON, TAGS, field_of
from balise_collector.store.influx.server import Server
from balise_collector.store.points import Point

_CHUNK_ROWS = 10_000
_READ = {"int": int, "float": float, "bool": bool, "str": str}

Rows = list[dict[str, Any]]
"""The series of one statement's answer, as InfluxDB writes them: name, tags, columns, values."""


class Asking:
    """Questions to one database. Unavailable: no answer, or a complaint."""

    def __init__(self, server: Server) -> None:
        self._http, self._database = Http(server), server.database

    def all(self, statements: Sequence[str], *, database: str | None = None) -> list[Rows]:
        """The answer to each statement."""
        if not statements:
            return []
        found: list[Rows] = [[] for _ in statements]
        for result in self._results(";".join(statements), self._database if database is None else database, {}):
            found[result.get("statement_id", 0)] += result.get("series", [])
        return found

    def stream(self, statement: str) -> Iterator[dict[str, Any]]:
        """The series of one statement in pieces, for an answer of any length."""
        for result in self._results(statement, self._database, {"chunked": "true", "chunk_size": str(_CHUNK_ROWS)}):
            yield from result.get("series", [])

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _results(self, query: str, database: str, options: dict[str, str]) -> Iterator[dict[str, Any]]:
        params = {"epoch": "ms", **options} | ({"db": database} if database else {})
        body = urlencode({"q": query}).encode()
        for line in self._http.stream("POST", "/query", params, body):
            if not line.strip():
                continue
            for result in self._read(line).get("results", []):
                if "error" in result:
                    raise Unavailable(f"{self._http.where}: {result['error']}")
                yield result

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line, parse_int=_int)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "results" not in answer:
            raise Unavailable(f"{self._http.where}: {words(line)}")
        return answer


def _int(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)  # a float's zero has a sign


class _Column(NamedTuple):
    at: int
    name: str
    read: Callable[[Any], Value]


def points(series: dict[str, Any]) -> Iterator[Point]:
    """The rows of a series of `SELECT *`, whose tags are columns, or its own where it was grouped by them."""
    measurement, columns = str(series["name"]), list(series["columns"])
    place = {name: columns.index(name) for name in ("time", OUTCOME, REASON, *TAGS) if name in columns}
    fields = [
        _Column(at, known[0], _READ[known[1]])
        for at, column in enumerate(columns)
        if column not in place and (known := field_of(measurement, column)) is not None
    ]
    given: dict[str, str] = series.get("tags", {})
    for row in series["values"]:
        tags = {name: row[place[name]] if name in place else given.get(name) for name in TAGS}
        kind = row[place[OUTCOME]] if OUTCOME in place else None
        if kind is None:
            continue  # not a point of ours
        yield Point(
            measurement=measurement,
            ts_ms=int(row[place["time"]]),
            kind=kind,
            reason=row[place[REASON]] if kind != "ok" and REASON in place else None,
            fields={name: read(row[at]) for at, name, read in fields if row[at] is not None},
            **{name: "" if value in (None, NONE) else value for name, value in tags.items()},
        )


def identifier(name: str) -> str:
    """A name in InfluxQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def text(value: str) -> str:
    """A text in InfluxQL."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
