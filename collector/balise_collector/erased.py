"""Which dates of which homes were erased, so that nothing of them comes back?

An outbox that is emptied weeks later still holds what was erased; so does a consumer that had read it before.

Rule 1: a home is known by a hash: where everything of it was erased, its id is not kept to say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_DOMAIN = b"balise erased "


class Span(NamedTuple):
    """From one date up to another. ``is_open``: some of it may still be under way somewhere."""

    from_ms: int
    to_ms: int
    is_open: bool


class Erased:
    """What the journal has erased, at one moment."""

    def __init__(self, spans: Iterable[tuple[bytes, Span]] = ()) -> None:
        found: dict[bytes, list[Span]] = {}
        for whose, span in spans:
            found.setdefault(whose, []).append(span)
        self._spans: Mapping[bytes, list[Span]] = found

    def __bool__(self) -> bool:
        return bool(self._spans)

    def covers(self, home: str, ts_ms: int) -> bool:
        """What is dated so was erased."""
        return any(span.from_ms <= ts_ms < span.to_ms for span in self._of(home))

    def is_going_on(self, home: str, ts_ms: int) -> bool:
        """It is being erased, so that whoever concludes something of it does so from what he should not have."""
        return any(span.is_open and span.from_ms <= ts_ms < span.to_ms for span in self._of(home))

    def names(self, home: str) -> bool:
        """Something of it was erased."""
        return bool(self._of(home))

    def _of(self, home: str) -> Iterable[Span]:
        return self._spans.get(whose(home), ()) if self._spans and home else ()


def whose(home: str) -> bytes:
    """What stands for the home."""
    return hashlib.sha256(_DOMAIN + home.encode()).digest()[:16]
