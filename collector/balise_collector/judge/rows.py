"""What does the judge take, and what does it give?

In: rows, in any order. Out: derived rows, as `Journal.derive` appends them. Whoever has records can judge them: the
consumer behind the journal and the direct path of the simulated town make the same rows.
"""

from __future__ import annotations

from typing import Any

import msgspec

from balise_collector.store import Point


class Row(Point, frozen=True, kw_only=True, gc=False):
    """A record as a point, and when the collector got it. ``home`` may be a place's id: a reference probe.

    Also the collector's own: ``presence`` (probe and home as in the journal) and ``platform`` (home "", target: part).
    Evidence from outside comes as `evidence.Evidence`.
    """

    received_ms: int


class Derived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A conclusion: the arguments of `Journal.derive`. The same measurement, tags and date again replace it."""

    measurement: str
    tags: dict[str, str]
    ts_ms: int
    fields: dict[str, Any]
