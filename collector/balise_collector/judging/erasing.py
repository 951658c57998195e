"""How is a home forgotten in DATA/judge.db?

Rule 1: its memory goes whole, for it is made again of what comes; incidents, evidence and webhooks of the asked dates
stay, with their counts, and name it no more.
Rule 2: done twice it takes nothing more; killed in between, it is done again.
"""

from __future__ import annotations

import fcntl
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balise_collector.erasures import Asked, Erasures
from balise_collector.judging.memory import KEPT_DAYS
from balise_collector.judging.state import State

NOBODY = "erased"
OVER = ("closed", "reviewed")


class Judging(Exception):  # noqa: N818 - what it says
    """Somebody judges: what is to be done in the file, he does."""


@contextmanager
def held(data: Path, *, wait: bool) -> Iterator[None]:
    """DATA/judge.db is ours: nobody else has a memory that he would write over it. Judging: not ours, and no ``wait``.

    A file of its own: sqlite3 drops its locks when another handle of judge.db is closed.
    """
    with Path(data, "judge.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as exc:
            raise Judging(str(data)) from exc
        yield


def erase(state: State, asked: Asked, now_ms: int) -> None:
    """In the file; what is free in it is overwritten when `State.clean` returns."""
    names = re.compile(rf"(?<!\w){re.escape(asked.home)}(?!\w)")
    with state.transaction():
        if asked.from_ms <= now_ms and asked.to_ms > now_ms - KEPT_DAYS * 86_400_000:
            state.edit("memory", "part", "body", lambda part, body: _memory(names, asked.home, part, body))
        for table, key, column in (("incident", "id", "body"), ("change", "n", "body"), ("hook", "n", "body")):
            state.edit(table, key, column, lambda _, body: _told(names, asked, body, now_ms))
        state.edit("evidence", "n", "body", lambda _, body: _evidence(asked, body))
        state.edit_follows(asked.from_ms, asked.to_ms, lambda text: names.sub(NOBODY, text))
        state.same_states()


def erase_all(state: State, erasures: Erasures, now_ms: int, changed: Callable[[], None] = lambda: None) -> int:
    """What was asked and the journal has done; how many. ``changed``: the file holds less than before."""
    asked = erasures.waiting_for("judge")
    for one in asked:
        erase(state, one, now_ms)
    if asked:
        changed()
        state.clean()
    for one in asked:
        erasures.forgot(one.id, "judge")
    return len(asked)


def _memory(names: re.Pattern[str], home: str, part: str, body: bytes) -> bytes | None:
    what, _, rest = part.partition("/")
    if what in ("home", "minutes"):
        return None if rest.partition("/")[0] == home else body
    if what == "good":
        return body
    said = zlib.decompress(body).decode()
    if names.search(said) is None:
        return body
    return zlib.compress(json.dumps(_without(names, json.loads(said))).encode(), 1)


def _told(names: re.Pattern[str], asked: Asked, body: str | bytes, now_ms: int) -> str | bytes | None:
    """An incident as it was told, or a message of it."""
    text = body if isinstance(body, str) else body.decode()
    if names.search(text) is None:
        return body
    said = json.loads(text)
    fields = said.get("incident", said)
    if fields["since_ms"] >= asked.to_ms or fields.get("until_ms", now_ms) < asked.from_ms:
        return body
    if names.fullmatch(str(fields.get("code", ""))) and fields.get("state") not in OVER:
        fields |= {"state": "closed", "until_ms": now_ms}
    made = json.dumps(_without(names, said), sort_keys=True)
    return made if isinstance(body, str) else made.encode()


def _evidence(asked: Asked, body: bytes) -> bytes | None:
    said = json.loads(body)
    is_its = (said["scope"], said["code"]) == ("home", asked.home)
    return None if is_its and asked.from_ms <= said["ts_ms"] < asked.to_ms else body


def _without(names: re.Pattern[str], value: Any) -> Any:
    """A plain value without the home: out of lists with what is said beside it, out of texts its name alone."""
    if isinstance(value, dict):
        return {k: _without(names, v) for k, v in value.items() if names.search(k) is None}
    if isinstance(value, list):
        return [_without(names, one) for one in value if not _names(names, one)]
    return names.sub(NOBODY, value) if isinstance(value, str) else value


def _names(names: re.Pattern[str], one: Any) -> bool:
    """Itself, or a sample ``[date, home]``."""
    if isinstance(one, list):
        return any(_names(names, part) for part in one)
    return isinstance(one, str) and names.fullmatch(one) is not None
