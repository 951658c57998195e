"""How is the judge's memory written down, and read back?

What homes said, not what was concluded: that is concluded again from it in seconds.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from balise_collector.judge.judge import Judge

VERSION = 3
KEPT_DAYS = 35  # of minutes: some 6 kB a home and day; history beyond is in the store


def parts(judge: Judge) -> Iterator[tuple[str, bytes]]:
    """What changed since it was last written down, by name."""
    for name, value in judge.remembered():
        raw = value.tobytes() if isinstance(value, array) else msgspec.json.encode(value)
        yield name, zlib.compress(raw, 1)


def restore(judge: Judge, found: Iterable[tuple[str, bytes]]) -> None:
    """Into a judge that knows nothing yet."""
    judge.recall((name, _value(name, zlib.decompress(body))) for name, body in found)


def _value(name: str, raw: bytes) -> Any:
    kind = name.partition("/")[0]
    if kind in ("minutes", "good"):
        page = array("I" if kind == "minutes" else "H")
        page.frombytes(raw)
        return page
    return msgspec.json.decode(raw)
